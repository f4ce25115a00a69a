//! `stop_others`: panic, reboot, kexec.

use core::panic::Location;
use core::sync::atomic::Ordering::{Relaxed, Release};

use crate::context::Context;
use crate::cpu::CpuId;
use crate::event::What;
use crate::hotplug::Life;
use crate::machine::Machine;
use crate::mask::{AtomicCpuMask, CpuMask};
use crate::platform::{Deadline, Ipi, Memory, Platform, Site, WaitContext, WaitFor, Word};

/// Who halts whom.
pub(crate) struct Halt<P: Memory, const W: usize> {
    /// The CPU that stops the others, plus 1; 0: nobody yet.
    owner: P::Word,
    /// The CPUs that have halted.
    halted: AtomicCpuMask<P, W>,
    /// How many did, or began to die meanwhile; what the owner waits on.
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
    /// Halts every other CPU that runs anything for good, and returns those that did not stop. First by
    /// IPI; those that have not answered after `grace_ns` nanoseconds by the port's strongest means, with
    /// as much time again. That includes CPUs that are not online: one in its STARTING callbacks, in its
    /// DYING ones, or on its way to its death. A CPU that was started and has not answered yet halts when
    /// it does, before it runs a callback.
    ///
    /// The first caller wins: a second CPU that calls it halts itself in here, so that of two CPUs that
    /// panic one is left to tell. The masks are not changed: a dump shows what they were. From then on
    /// this CPU is alone, but for those that are returned: its stopper does nothing any more, and a call
    /// or a stop that waits for another CPU never ends.
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
        // Relaxed: who wins need not know what the others did, and who begins or ends to run something
        // looks behind a fence.
        if let Err(owner) = self.halt.owner.compare_exchange(0, me.index() + 1, Relaxed, Relaxed)
            && owner != me.index() + 1
        {
            self.halt_self(me);
        }
        // Against the fence of `halt_if_told`.
        self.platform.fence();
        // Relaxed: it does not change after the boot.
        let mut left = self.possible.now();
        left.remove(me);
        for hard in [false, true] {
            left = self.still_running(&left);
            for cpu in &left {
                if hard {
                    self.platform.halt_hard(cpu);
                } else {
                    self.emit(|| What::IpiSent { to: cpu, why: Ipi::Halt });
                    self.platform.send_ipi(cpu, Ipi::Halt);
                }
            }
            self.await_halts(&left, self.platform.deadline_in(grace_ns), from);
        }
        // SAFETY: from the save above.
        unsafe { self.platform.irq_restore(flags) };
        self.still_running(&left)
    }

    /// Those of `cpus` that run something, and were not halted.
    fn still_running(&self, cpus: &CpuMask<W>) -> CpuMask<W> {
        // Acquire, of both: pairs with the release of each CPU that halted or died: what it did is visible.
        let left = cpus.without(&self.halt.halted.snapshot());
        left.iter().filter(|cpu| self.life_of(*cpu) != Life::Still).collect()
    }

    /// Waits for `left`, in two parts. Each CPU that runs something counts itself in when it halts, or
    /// when it has nothing left to do but to die. After that it changes the word of its death when it
    /// dies, or it halts on its way there, of which that word says nothing. So those are watched, one by
    /// one.
    fn await_halts(&self, left: &CpuMask<W>, deadline: Deadline, from: &'static Location<'static>) {
        let site = Site { what: "stop_others: the other CPUs to halt", at: from };
        let stalled = |waited_ns| {
            for cpu in &self.still_running(left) {
                self.report_stall(site, waited_ns, cpu);
            }
        };
        let wait = WaitFor { site, context: WaitContext::Frozen, deadline, stalled: &stalled };
        let rest = self.platform.wait_until(&self.halt.count, &wait, || {
            let running = self.still_running(left);
            running.iter().all(|cpu| self.life_of(cpu) != Life::Runs).then_some(running)
        });
        for cpu in &rest.unwrap_or(CpuMask::EMPTY) {
            let gone = || self.still_running(&CpuMask::of(cpu)).is_empty().then_some(());
            if self.platform.watch_until(self.death_of(cpu), &wait, gone).is_none() {
                break;
            }
        }
    }

    /// After a step of this CPU from running nothing to running something, or back.
    pub(crate) fn halt_if_told(&self, me: CpuId) {
        // Against the fence of `stop_others`: that sees the step, or is seen here.
        self.platform.fence();
        if self.halt.is_taken() {
            self.halt_self(me);
        }
    }

    /// This CPU has nothing left to do but to die.
    pub(crate) fn dies_while_others_halt(&self) {
        // As in `halt_if_told`.
        self.platform.fence();
        if self.halt.is_taken() {
            self.count_in_halt();
        }
    }

    fn count_in_halt(&self) {
        // Release: a port that sleeps reads it (acquire) before it looks at where the CPUs are: who finds
        // it changed finds that changed.
        self.halt.count.fetch_add(1, Release);
        self.platform.notify(&raw const self.halt.count);
    }

    /// This CPU was told to halt, or lost the race to tell the others.
    pub(crate) fn halt_self(&self, me: CpuId) -> ! {
        self.platform.irq_save();
        self.platform.hard_irq_disable();
        // Release: pairs with the owner's acquire of the mask.
        self.halt.halted.insert(me);
        self.count_in_halt();
        self.platform.halt()
    }
}
