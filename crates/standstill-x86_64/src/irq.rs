//! Interrupts: one mask (the flag of the CPU), preemption, and the stopper at the end of an interrupt.
//!
//! The local and the hard mask are the same here. A stop IPI sets `need_stopper`. The stopper then runs
//!
//! 1. at the end of that interrupt, on top of the interrupted context, if its preempt count is 0;
//! 2. else in the `preempt_enable` that brings it to 0, if interrupts are on there;
//! 3. else in the `irq_restore` that opens them.
//!
//! The APIC was told about the end of the interrupt before, so handlers go on while the stopper runs.

use core::arch::asm;
use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

use standstill::platform::{Ipi, Irq};
use standstill::{CpuId, CpuMask};

use crate::X86;
use crate::apic::{self, Message};
use crate::cpu::{self, Cpu, Doing};
use crate::doze;
use crate::kernel::Kernel;
use crate::polls::{self, Asked};
use crate::power;

/// The vectors of the interrupts that CPUs send each other.
pub mod vector {
    /// The call queue is not empty.
    pub const CALL: u8 = 0xf0;
    /// The stopper has work.
    pub const STOP: u8 = 0xf1;
    /// Halt for good.
    pub const HALT: u8 = 0xf2;
}

const INTERRUPT_FLAG: u64 = 1 << 9;

/// What `irq_save` found: were the interrupts open?
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flags(bool);

/// Are this CPU's interrupts open?
#[inline]
pub fn are_on() -> bool {
    let flags: u64;
    // SAFETY: reads the flags by way of the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags & INTERRUPT_FLAG != 0
}

/// Closes this CPU's interrupts and returns whether they were open.
#[inline]
pub fn close() -> bool {
    let on = are_on();
    // SAFETY: closing is always allowed. Not `nomem`: nothing moves out of the section.
    unsafe { asm!("cli", options(nostack)) };
    on
}

/// Opens this CPU's interrupts if `on`.
#[inline]
pub fn open_if(on: bool) {
    if on {
        // SAFETY: they were open when the caller closed them.
        unsafe { asm!("sti", options(nostack)) };
    }
}

/// Handles an interrupt that a CPU sent: the vectors of [`vector`]; and every one that a CPU throws away that has just been started. False for
/// others, which are not touched.
///
/// # Safety
/// In the handler of `vector`, interrupts off.
pub unsafe fn handle<K: Kernel>(vector: u8) -> bool {
    if cpu::here().discards.load(Relaxed) {
        if vector != apic::SPURIOUS {
            apic::end_of_interrupt();
        }
        return true;
    }
    match vector {
        vector::CALL => {
            // SAFETY: this CPU got the IPI, and is in interrupt context with interrupts off.
            unsafe { run_calls::<K>() };
            // Last, as nobody who waits for the calls has to wait for it. An IPI that came meanwhile is latched, and is taken after this.
            apic::end_of_interrupt();
        }
        vector::STOP => {
            apic::end_of_interrupt();
            cpu::here().need_stopper.store(true, Relaxed);
        }
        vector::HALT => {
            apic::end_of_interrupt();
            // SAFETY: as above.
            unsafe { K::entry().on_halt_ipi() };
        }
        _ => return false,
    }
    true
}

/// The call queue is not empty.
///
/// # Safety
/// This CPU got the IPI or was asked by memory; interrupts are off.
unsafe fn run_calls<K: Kernel>() {
    let was = cpu::here().now_doing(Doing::Handler);
    // SAFETY: the contract of this function.
    unsafe { K::entry().on_call_ipi() };
    cpu::here().doing.store(was, Relaxed);
}

/// Does what the handlers of those interrupts do that were spared this CPU. What has to come next is [`interrupt_exit`].
///
/// # Safety
/// With interrupts off, in an interrupt handler or in the idle context.
pub unsafe fn handle_asked<K: Kernel>(asked: Asked) {
    if asked.calls() {
        // SAFETY: it was asked to; interrupts are off.
        unsafe { run_calls::<K>() };
    }
    if asked.stops() {
        cpu::here().need_stopper.store(true, Relaxed);
    }
}

/// The handler of NMIs. `rip` is where it goes on after the NMI, and may be changed. The CPU halts for good if it was asked to. If it is parked
/// and was asked to, it starts anew. Neither comes back from here.
///
/// # Safety
/// In the NMI's handler, on a stack of its own.
pub unsafe fn handle_nmi<K: Kernel>(rip: &mut u64) {
    let me = cpu::here();
    if me.doing() == Doing::Off {
        if me.start_by_nmi.swap(false, Acquire) {
            // SAFETY: the CPU is parked, so nothing of its old life is needed, and control has given it a stack.
            unsafe { power::restart::<K>(me) }
        }
        return;
    }
    // From here on it wakes nobody: what it interrupted may hold the very lock.
    me.in_nmi.store(true, Relaxed);
    if !me.halt_at_nmi.load(Acquire) {
        K::nmi(*rip);
        me.in_nmi.store(false, Relaxed);
        doze::wake_up(rip);
        return;
    }
    me.stopped_at.store(*rip, Relaxed);
    // SAFETY: this CPU got the NMI and is in its context.
    unsafe { K::entry().on_halt_ipi() }
}

/// Takes and forgets everything that this CPU's APIC has latched in an earlier life: an INIT does that, an NMI does not.
pub(crate) fn discard_latched() {
    let me = cpu::here();
    me.discards.store(true, Relaxed);
    while apic::has_latched() {
        // SAFETY: the handlers are loaded, and do nothing but tell the end.
        unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
    }
    me.discards.store(false, Relaxed);
}

/// The end of each interrupt, its end told to the APIC: runs the stopper if it has work and the interrupted context is preemptible. A CPU
/// that leaves the machine does not come back from here.
///
/// # Safety
/// In an interrupt handler, interrupts off; they were on in the interrupted context. Or in the idle context with interrupts closed, after [`handle_asked`].
pub unsafe fn interrupt_exit<K: Kernel>() {
    stopper_if_preemptible::<K>();
}

/// With interrupts off, before and after.
fn stopper_if_preemptible<K: Kernel>() {
    let me = cpu::here();
    while me.preempt.load(Relaxed) == 0 && me.need_stopper.load(Relaxed) {
        // The count keeps each `preempt_enable` inside from coming here again, and the scheduler away.
        me.preempt.store(1, Relaxed);
        let was = me.now_doing(Doing::Stopper);
        open_if(true);
        while me.need_stopper.swap(false, Relaxed) {
            // SAFETY: 1. the context below has preempt count 0 and is a thread or idle, as handlers run with interrupts off; the interrupt's
            // end was told; interrupts are on. 2. The count is up, so only handlers interrupt.
            unsafe { K::entry().run_stopper() };
        }
        close();
        me.doing.store(was, Relaxed);
        me.preempt.store(0, Relaxed);
        // A stop IPI between the last swap and `close` found the count up: look again.
    }
}

/// In a thread, interrupts on: a stop IPI found the count up.
#[cold]
fn deferred_stopper<K: Kernel>() {
    close();
    // Moved meanwhile? Then the stopper of the old CPU ran at the switch, and this looks at the new CPU's.
    stopper_if_preemptible::<K>();
    open_if(true);
}

// SAFETY: 1., 2. the flag of the CPU closes the hardware, which latches. 3. The scheduler switches only with the count at 0, and the
// stopper looks at it. 4. The APIC's write is ordered after the sender's stores: uncached, or behind a
// fence; for one that polls see polls.rs. 5. See the module.
unsafe impl<K: Kernel> Irq for X86<K> {
    type Flags = Flags;

    #[inline]
    fn this_cpu(&self) -> CpuId {
        cpu::this_cpu()
    }

    #[track_caller]
    #[inline]
    fn irq_save(&self) -> Flags {
        let on = close();
        if on {
            cpu::here().off_at.store(ptr::from_ref(Location::caller()).cast_mut(), Relaxed);
        }
        Flags(on)
    }

    #[inline]
    unsafe fn irq_restore(&self, flags: Flags) {
        if flags.0 {
            cpu::here().off_at.store(ptr::null_mut(), Relaxed);
            open_if(true);
            if cpu::needs_stopper() {
                deferred_stopper::<K>();
            }
        }
    }

    #[inline]
    fn irqs_on(&self) -> bool {
        are_on()
    }

    fn hard_irq_disable(&self) {
        close();
    }

    #[inline]
    fn preempt_disable(&self) {
        cpu::preempt_add();
    }

    #[inline]
    unsafe fn preempt_enable(&self) {
        cpu::preempt_sub();
        if cpu::needs_stopper() && cpu::preempt_count() == 0 && are_on() {
            deferred_stopper::<K>();
        }
    }

    fn send_ipi(&self, to: CpuId, why: Ipi) {
        if why == Ipi::Stop && to == cpu::this_cpu() {
            // What the handler would do. The library holds preemption off here, so the end of that section looks at it, or the end of
            // the handler that this is.
            cpu::here().need_stopper.store(true, Relaxed);
            return;
        }
        let to = cpu::block(to);
        if !polls::ask(to, why) {
            apic::send(to.apic_id(), message(why));
        }
    }

    fn send_ipi_mask<const W: usize>(&self, to: &CpuMask<W>, why: Ipi) {
        let me = cpu::this_cpu();
        if to.contains(me) {
            self.send_ipi(me, why);
        }
        let others = to.iter().filter(|cpu| *cpu != me).map(cpu::block);
        let asleep = others.filter(|cpu| !polls::ask(cpu, why));
        apic::send_each(asleep.map(Cpu::apic_id), message(why));
    }
}

fn message(why: Ipi) -> Message {
    Message::Fixed(match why {
        Ipi::Call => vector::CALL,
        Ipi::Stop => vector::STOP,
        Ipi::Halt => vector::HALT,
    })
}
