//! Waiting with the CPU halted, where no thread can be switched out: in a pinned section, or in a stop, with interrupts on or off. An NMI ends
//! it, as nothing else gets through.
//!
//! The waiter names its word, then polls, then halts; whoever changes the word looks for such CPUs after that. Both have a sequentially
//! consistent fence in between, so one of them sees the other. Between the last look and the `hlt` the NMI may come too early: its handler
//! recognizes that stretch of code by its address, and goes on behind it.
//!
//! An NMI that is on its way when its CPU leaves would find a CPU without tables when that starts again. It can't: the one that changed the word
//! sends it before it does anything else, and is itself a part of the stop, or of the pass of all stoppers, that has to end before.

use core::arch::naked_asm;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicUsize, fence};

use crate::apic::{self, Message};
use crate::cpu;
use crate::irq;

/// How many CPUs doze.
static DOZERS: AtomicUsize = AtomicUsize::new(0);

/// Halts until somebody [tells](tell) that `word` changed, or an interrupt comes, if they are on. `over` is asked once before; if it says true
/// there is no halt. The caller can't be moved.
pub(crate) fn until_told(word: &AtomicUsize, over: impl FnOnce() -> bool) {
    let dozes_on = &cpu::here().dozes_on;
    dozes_on.store((&raw const *word).addr(), Relaxed);
    DOZERS.fetch_add(1, SeqCst);
    fence(SeqCst);
    if !over() {
        // SAFETY: halting harms nobody; see the module for why it ends.
        unsafe { halt_while_set(dozes_on) };
    }
    dozes_on.store(0, Relaxed);
    DOZERS.fetch_sub(1, SeqCst);
}

/// The word at this address has changed, and there was a sequentially consistent fence since. The sender can't be interrupted between finding a dozing
/// CPU and sending to it.
pub(crate) fn tell(word: *const AtomicUsize) {
    if DOZERS.load(Relaxed) == 0 {
        return;
    }
    let on = irq::close();
    for cpu in cpu::installed() {
        if cpu.dozes_on.load(Relaxed) == word.addr()
            && cpu.dozes_on.compare_exchange(word.addr(), 0, SeqCst, Relaxed).is_ok()
        {
            apic::send(cpu.apic_id(), Message::Nmi);
        }
    }
    irq::open_if(on);
}

/// In the NMI's handler: `rip` is where it goes on.
pub(crate) fn wake_up(rip: &mut u64) {
    let begin = halt_while_set as *const () as usize as u64;
    if (begin..begin + STRETCH).contains(rip) {
        *rip = begin + STRETCH;
    }
}

/// How long the code up to the `ret` is, in bytes: the comparison, the jump and the `hlt`.
const STRETCH: u64 = 7;

/// Halts once if `*word` is not 0.
#[unsafe(naked)]
unsafe extern "C" fn halt_while_set(word: *const AtomicUsize) {
    // cmp qword ptr [rdi], 0: 48 83 3f 00; je +1: 74 01; hlt: f4.
    naked_asm!(".byte 0x48, 0x83, 0x3f, 0x00, 0x74, 0x01, 0xf4", "ret")
}
