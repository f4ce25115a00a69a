//! A port for counting instructions: two CPUs on one thread. CPU 1 runs only where the bench goes to it; what CPU 0 waits for has happened by then.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::OnceLock;

use standstill::CpuId;
use standstill::platform::{Cpus, Deadline, Entry, Ipi, Irq, StartError, Wait, WaitFor};

pub(crate) struct One;

const STOP: usize = 1;
const CALL: usize = 2;

/// The CPU that runs.
static HERE: AtomicUsize = AtomicUsize::new(0);
static CPUS: [Cpu; 2] = [const { Cpu::new() }; 2];
static ENTRY: OnceLock<&'static dyn Entry> = OnceLock::new();

struct Cpu {
    off: AtomicBool,
    preempt: AtomicUsize,
    pending: AtomicUsize,
}

impl Cpu {
    const fn new() -> Self {
        Cpu { off: AtomicBool::new(false), preempt: AtomicUsize::new(0), pending: AtomicUsize::new(0) }
    }
}

fn here() -> &'static Cpu {
    &CPUS[HERE.load(Relaxed)]
}

fn entry() -> &'static dyn Entry {
    *ENTRY.get().expect("the bench has set it")
}

pub(crate) fn set_entry(entry: &'static dyn Entry) {
    assert!(ENTRY.set(entry).is_ok(), "there is one machine");
}

/// Runs `f` as CPU 1, in an interrupt handler.
pub(crate) fn on_the_other(f: impl FnOnce(&'static dyn Entry)) {
    HERE.store(1, Relaxed);
    CPUS[1].off.store(true, Relaxed);
    CPUS[1].pending.store(0, Relaxed);
    f(entry());
    CPUS[1].off.store(false, Relaxed);
    HERE.store(0, Relaxed);
}

/// What is pending for this CPU is taken, if it may be. CPU 0 gets nothing but stops.
#[inline]
fn take() {
    let cpu = here();
    let may = !cpu.off.load(Relaxed) && cpu.preempt.load(Relaxed) == 0;
    if may && cpu.pending.load(Relaxed) & STOP != 0 {
        cpu.pending.store(0, Relaxed);
        // SAFETY: preempt count 0, interrupts on. It is not nested: a stopper pins nobody who could come here.
        unsafe { entry().run_stopper() };
    }
}

standstill::platform::native_memory!(One);
nobody_leaves!(One);

// SAFETY: one thread runs everything, and takes what is pending in `take` only, which looks at the mask and at the preempt count.
unsafe impl Irq for One {
    type Flags = bool;
    #[inline]
    fn this_cpu(&self) -> CpuId {
        CpuId::new(HERE.load(Relaxed))
    }
    #[inline]
    fn irq_save(&self) -> bool {
        let off = &here().off;
        let was_on = !off.load(Relaxed);
        off.store(true, Relaxed);
        was_on
    }
    #[inline]
    unsafe fn irq_restore(&self, were_on: bool) {
        if were_on {
            here().off.store(false, Relaxed);
            take();
        }
    }
    #[inline]
    fn irqs_on(&self) -> bool {
        !here().off.load(Relaxed)
    }
    fn hard_irq_disable(&self) {}
    #[inline]
    fn preempt_disable(&self) {
        let count = &here().preempt;
        count.store(count.load(Relaxed) + 1, Relaxed);
    }
    #[inline]
    unsafe fn preempt_enable(&self) {
        let count = &here().preempt;
        count.store(count.load(Relaxed) - 1, Relaxed);
        take();
    }
    #[inline]
    fn send_ipi(&self, to: CpuId, why: Ipi) {
        let pending = &CPUS[to.index()].pending;
        let bit = if why == Ipi::Stop { STOP } else { CALL };
        pending.store(pending.load(Relaxed) | bit, Relaxed);
    }
}

// SAFETY: `wait_until` returns what `poll` said; nothing expires.
unsafe impl Wait for One {
    fn deadline_in(&self, _: u64) -> Deadline {
        Deadline(1)
    }
    fn expired(&self, _: Deadline) -> bool {
        false
    }
    #[inline]
    fn wait_until<R>(
        &self,
        _: &AtomicUsize,
        wait: &WaitFor<'_>,
        mut poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let result = poll();
        assert!(result.is_some(), "there is nobody who could end the wait for {}", wait.site);
        result
    }
}

// SAFETY: 1. it is called at once, as CPU 1. 2., 3. nobody dies or halts. 4. one thread runs both.
unsafe impl Cpus for One {
    fn start(&self, cpu: CpuId, incarnation: usize) -> Result<(), StartError> {
        assert_eq!(cpu, CpuId::new(1));
        on_the_other(|entry| {
            // SAFETY: see above.
            assert!(unsafe { entry.start_cpu(incarnation) }.is_ok(), "nobody gives up");
        });
        Ok(())
    }
    fn die(&self, _: &AtomicUsize, _: usize) -> ! {
        std::process::abort()
    }
    fn halt(&self) -> ! {
        std::process::abort()
    }
    fn halt_hard(&self, _: CpuId) {}
}
