//! `stop_others`: panic, reboot, kexec.

use core::panic::Location;
use core::sync::atomic::Ordering::{Relaxed, Release};

use crate::context::Context;
use crate::cpu::CpuId;
use crate::event::What;
use crate::machine::Machine;
use crate::mask::{AtomicCpuMask, CpuMask};
use crate::platform::{Ipi, Memory, Platform, Site, WaitContext, WaitFor, Word};

/// Who halts whom.
pub(crate) struct Halt<P: Memory, const W: usize> {
    /// The CPU that stops the others, plus 1; 0: nobody yet.
    owner: P::Word,
    /// The CPUs that have halted.
    halted: AtomicCpuMask<P, W>,
    /// How many; what the owner waits on.
    count: P::Word,
}

impl<P: Memory, const W: usize> Halt<P, W> {
    pub(crate) const fn new() -> Self {
        Halt { owner: P::Word::ZERO, halted: AtomicCpuMask::new(), count: P::Word::ZERO }
    }
}

impl<P: Memory, const W: usize> Halt<P, W> {
    /// Does a CPU stop the others?
    pub(crate) fn is_taken(&self) -> bool {
        self.owner.load(Relaxed) != 0
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Halts every other online CPU for good and returns those that did not stop. First by IPI; those that have not answered
    /// after `grace_ns` nanoseconds by the port's strongest means, with as much time again.
    ///
    /// The first caller wins: a second CPU that calls it halts itself in here, so that of two CPUs that panic one is
    /// left to tell. The masks are not changed: a dump shows what they were. From then on this CPU is alone: its stopper does nothing
    /// any more, and a call or a stop that waits for another CPU never ends.
    ///
    /// What a CPU that did stop wrote before is visible to the caller: for a dump.
    ///
    /// Context: any, an NMI handler too. Takes no locks and waits for no queue.
    #[doc(alias = "smp_send_stop")]
    #[doc(alias = "panic_smp_self_stop")]
    #[track_caller]
    pub fn stop_others(&self, _ctx: &impl Context, grace_ns: u64) -> CpuMask<W> {
        self.halt_others(grace_ns, Location::caller())
    }

    /// A function of its own, so that what it does has places in this file.
    fn halt_others(&self, grace_ns: u64, from: &'static Location<'static>) -> CpuMask<W> {
        let flags = self.platform.irq_save();
        let me = self.platform.this_cpu();
        // Relaxed: who wins need not know what the others did, and who comes up looks behind a fence.
        if let Err(owner) = self.halt.owner.compare_exchange(0, me.index() + 1, Relaxed, Relaxed)
            && owner != me.index() + 1
        {
            self.halt_self(me);
        }
        // Against the fence of a CPU that comes up: it is seen online here (relaxed: the fences order it), or sees that it is to halt.
        self.platform.fence();
        let mut others = self.online.now();
        others.remove(me);
        let mut left = others;
        for hard in [false, true] {
            left = left.without(&self.halt.halted.now());
            for cpu in &left {
                if hard {
                    self.platform.halt_hard(cpu);
                } else {
                    self.emit(|| What::IpiSent { to: cpu, why: Ipi::Halt });
                    self.platform.send_ipi(cpu, Ipi::Halt);
                }
            }
            let site = Site { what: "stop_others: the other CPUs to halt", at: from };
            let stalled = |waited_ns| {
                for cpu in &left.without(&self.halt.halted.now()) {
                    self.report_stall(site, waited_ns, cpu);
                }
            };
            let deadline = self.platform.deadline_in(grace_ns);
            let wait = WaitFor { site, context: WaitContext::Frozen, deadline, stalled: &stalled };
            self.platform.wait_until(&self.halt.count, &wait, || {
                // Relaxed: looked at once more below.
                left.is_subset(&self.halt.halted.now()).then_some(())
            });
        }
        // SAFETY: from the save above.
        unsafe { self.platform.irq_restore(flags) };
        // Acquire: pairs with the release of each CPU that halted: what it did is visible.
        others.without(&self.halt.halted.snapshot())
    }

    /// This CPU was told to halt, or lost the race to tell the others.
    pub(crate) fn halt_self(&self, me: CpuId) -> ! {
        self.platform.irq_save();
        self.platform.hard_irq_disable();
        // Release: pairs with the owner's acquire of the mask.
        self.halt.halted.insert(me);
        // Release: a port that sleeps reads it (acquire) before it looks at the mask: who finds it changed finds the bit.
        self.halt.count.fetch_add(1, Release);
        self.platform.notify(&raw const self.halt.count);
        self.platform.halt()
    }
}
