//! Starting a CPU, and how it ends.
//!
//! A CPU that dies writes its caches back, switches its APIC off, and makes the store that a live CPU waits for, as its last access; then it halts with
//! interrupts off, in code that uses no stack. INIT wakes it.
//!
//! The CPU that the firmware started can't be woken so: an INIT sends it back to the firmware. An NMI wakes it, whose handler starts it anew.
//! Its APIC was not reset then, so what was latched there is thrown away first.

use core::arch::naked_asm;
use core::ptr;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use standstill::CpuId;
use standstill::platform::{Cpus, StartError};

use crate::X86;
use crate::apic::{self, Message};
use crate::cpu::{self, Cpu, Doing};
use crate::irq;
use crate::kernel::Kernel;
use crate::time::{delay_ns, now_ns};
use crate::trampoline;

/// How long a start-up message may take to show before it is sent again.
const SECOND_NS: u64 = 200_000;

/// The entry of started CPUs, for [`trampoline::install`].
pub extern "C" fn entry<K: Kernel>(cpu: &'static Cpu) -> ! {
    let id = cpu.id();
    // SAFETY: this CPU found its block by its APIC id, and its interrupts are off.
    unsafe { cpu::enter(id) };
    K::started(id);
    // SAFETY: the kernel has just loaded its handlers.
    unsafe { apic::enable() };
    irq::discard_latched();
    cpu.seen.store(true, Release);
    // SAFETY: the incarnation is from the start that was sent to this CPU: a later one would have reset it. The context is fresh,
    // interrupts are off and the preempt count is 1.
    let came_up = unsafe { K::entry().start_cpu(cpu.incarnation.load(Acquire)) };
    if came_up.is_err() {
        leave(&NOBODY_LOOKS, 0);
    }
    // SAFETY: this is the idle context, interrupts off.
    unsafe { cpu::begin_idle() };
    K::run()
}

/// Where a CPU that nobody waits for makes its last store.
static NOBODY_LOOKS: AtomicUsize = AtomicUsize::new(0);

/// A CPU that parks can't wake anybody after its last store. So it says before that it will store to a word, wakes who sleeps on that,
/// and those look at it again and again from then on.
fn announce<K: Kernel>(dead: &AtomicUsize) {
    let word = ptr::from_ref(dead).addr();
    cpu::here().dies_by.store(word, SeqCst);
    K::wake(word);
}

/// Is a store to `word` to be expected that nobody will tell? From the announcement on, until that CPU is started again.
pub(crate) fn may_change_unseen(word: &AtomicUsize) -> bool {
    cpu::installed().iter().any(|cpu| cpu.dies_by.load(SeqCst) == ptr::from_ref(word).addr())
}

/// Parks for good.
fn leave(dead: &AtomicUsize, value: usize) -> ! {
    irq::close();
    apic::disable();
    cpu::here().now_doing(Doing::Off);
    // SAFETY: the word is alive until the store, which is the last thing this CPU does.
    unsafe { park(dead, value) }
}

/// Writes the caches back, stores `value` to `dead`, and halts. The store is a release: on x86 each store is one.
///
/// # Safety
/// Interrupts are off, and nothing on this CPU's stack is needed any more.
#[unsafe(naked)]
unsafe extern "C" fn park(dead: *const AtomicUsize, value: usize) -> ! {
    naked_asm!("wbinvd", "mov [rdi], rsi", "2:", "cli", "hlt", "jmp 2b")
}

/// Starts this CPU anew from its NMI's handler: on a fresh stack, NMIs open again.
///
/// # Safety
/// Nothing of the interrupted context is needed any more; control has set the stack.
pub(crate) unsafe fn restart<K: Kernel>(me: &'static Cpu) -> ! {
    // SAFETY: the caller's promise.
    unsafe { return_into(me, me.stack_top.load(Relaxed), entry::<K>) }
}

/// An `iretq` to `to(cpu)` on `stack`, interrupts off: only an `iretq` lets the next NMI in.
///
/// # Safety
/// As `restart`.
#[unsafe(naked)]
unsafe extern "C" fn return_into(cpu: &'static Cpu, stack: usize, to: extern "C" fn(&'static Cpu) -> !) -> ! {
    naked_asm!(
        "mov rsp, rsi",
        "sub rsi, 8",
        "xor ebp, ebp",
        "mov eax, ss",
        "push rax",
        "push rsi",
        "push 2",
        "mov eax, cs",
        "push rax",
        "push rdx",
        "iretq",
    )
}

/// The first signal of a start, and all that the CPU will find. True if it needs a start-up message then, false if an NMI did it.
fn reset<K: Kernel>(id: CpuId, incarnation: usize) -> Result<bool, StartError> {
    if trampoline::page().is_none() {
        return Err(StartError("the trampoline was not installed: call trampoline::install at boot"));
    }
    let target = cpu::block(id);
    let Some(to) = reachable(target) else {
        return Err(StartError("the CPU has no APIC id that this APIC can reach"));
    };
    target.stack_top.store(K::idle_stack(id), Relaxed);
    target.incarnation.store(incarnation, Release);
    target.seen.store(false, Release);
    // Whoever starts it has seen its last store.
    target.dies_by.store(0, Release);
    let by_nmi = target.is_boot.load(Relaxed);
    if by_nmi {
        target.start_by_nmi.store(true, Release);
    }
    apic::send(to, if by_nmi { Message::Nmi } else { Message::Init });
    Ok(!by_nmi)
}

/// Its APIC id, if messages get there.
fn reachable(cpu: &Cpu) -> Option<u32> {
    let to = cpu.apic_id();
    (to != u32::MAX && (to <= 0xfe || apic::is_x2apic())).then_some(to)
}

/// Where to send the start-up message to, if `id` has got an INIT and not shown since.
fn waits_for_start_up(id: CpuId) -> Option<u32> {
    let target = cpu::block(id);
    let waits = !target.is_boot.load(Relaxed) && !target.seen.load(Acquire);
    if waits { reachable(target) } else { None }
}

// SAFETY: 1. see `entry`. 2. See `park`. 3. A halted CPU has its interrupts off and halts again after an NMI.
// 4. The start signals go through the APIC as IPIs do: uncached, or behind a fence.
unsafe impl<K: Kernel> Cpus for X86<K> {
    fn start(&self, id: CpuId, incarnation: usize) -> Result<(), StartError> {
        let mut result = Ok(());
        self.start_each([(id, incarnation)].into_iter(), |_, error| result = Err(error));
        result
    }

    /// INIT to all, then the delay, then the start-up message to all, then the same to those that have not shown.
    fn start_each(
        &self,
        cpus: impl Iterator<Item = (CpuId, usize)> + Clone,
        mut failed: impl FnMut(CpuId, StartError),
    ) {
        let mut by_init = false;
        for (id, incarnation) in cpus.clone() {
            match reset::<K>(id, incarnation) {
                Ok(init) => by_init |= init,
                Err(error) => failed(id, error),
            }
        }
        let (Some(page), true) = (trampoline::page(), by_init) else { return };
        delay_ns(K::INIT_DELAY_NS);
        for _ in 0..2 {
            for to in cpus.clone().filter_map(|(id, _)| waits_for_start_up(id)) {
                apic::send(to, Message::StartUp(page));
            }
            let until = now_ns() + SECOND_NS;
            while cpus.clone().any(|(id, _)| waits_for_start_up(id).is_some()) {
                if now_ns() >= until {
                    break;
                }
                core::hint::spin_loop();
            }
        }
    }

    fn die(&self, dead: &AtomicUsize, value: usize) -> ! {
        announce::<K>(dead);
        leave(dead, value)
    }

    fn halt(&self) -> ! {
        irq::close();
        cpu::here().now_doing(Doing::Halted);
        loop {
            x86_64::instructions::hlt();
        }
    }

    fn halt_hard(&self, id: CpuId) {
        let target = cpu::block(id);
        target.halt_at_nmi.store(true, Release);
        apic::send(target.apic_id(), Message::Nmi);
    }
}
