//! The way up, on the control CPU.

use core::panic::Location;
use core::sync::atomic::Ordering::{Relaxed, Release};

use super::state::StateId;
use super::{HotplugError, SyncWord};
use crate::context::Task;
use crate::cpu::CpuId;
use crate::event::{Sync, What};
use crate::machine::Machine;
use crate::platform::{Platform, Site, WaitContext, WaitFor, Word};

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Brings `cpu` online. Nothing to do if it is.
    ///
    /// Context: thread.
    ///
    /// # Errors
    /// See [`HotplugError`]; unless it says otherwise, the CPU is as it was before.
    #[doc(alias = "add_cpu")]
    #[track_caller]
    pub fn cpu_up(&self, task: &mut Task, cpu: CpuId) -> Result<(), HotplugError> {
        self.cpu_up_to(task, cpu, StateId::ACTIVE)
    }

    /// Brings `cpu` up to `target` and leaves it there. Nothing to do if it is there, or above.
    ///
    /// # Errors
    /// As [`cpu_up`](Self::cpu_up); [`NotARestState`](HotplugError::NotARestState).
    #[track_caller]
    pub fn cpu_up_to(&self, task: &mut Task, cpu: CpuId, target: StateId) -> Result<(), HotplugError> {
        let from = Location::caller();
        if cpu.index() >= N || !self.possible.contains(cpu) {
            return Err(HotplugError::NoSuchCpu(cpu));
        }
        if !target.can_rest() {
            return Err(HotplugError::NotARestState(target));
        }
        self.with_write_lock(task, from, |machine, task| {
            if machine.hotplug.disabled.load(Relaxed) > 0 {
                return Err(HotplugError::Disabled);
            }
            if !machine.present.contains(cpu) {
                return Err(HotplugError::NotPresent(cpu));
            }
            if machine.state(cpu) >= target {
                return Ok(());
            }
            machine.emit(|| What::UpBegin { who: cpu, target });
            let result = machine.up(task, cpu, target, from);
            machine.emit(|| What::UpEnd { who: cpu, ok: result.is_ok() });
            result
        })
    }

    fn up(
        &self,
        task: &mut Task,
        who: CpuId,
        target: StateId,
        from: &'static Location<'static>,
    ) -> Result<(), HotplugError> {
        let began = self.state(who);
        if began < StateId::AP_ONLINE {
            if began == StateId::BRINGUP {
                // A CPU only rests there if it was not seen dead, or is stuck on its way up.
                return Err(HotplugError::Stuck(who));
            }
            self.walk(task, who, began, target.min(StateId::BRINGUP.prev()))?;
            if target < StateId::BRINGUP {
                return Ok(());
            }
            self.set_state(who, StateId::BRINGUP);
            if let Err(error) = self.bring_up(who, from) {
                if !matches!(error, HotplugError::Stuck(_)) {
                    self.walk_back(task, who, StateId::BRINGUP, began)?;
                }
                return Err(error);
            }
        }
        let online = self.state(who);
        if let Err(error) = self.ask_for_walk(who, online, target.min(StateId::ACTIVE.prev())) {
            if began < StateId::AP_ONLINE && matches!(error, super::walk::Broken::Vetoed(_)) {
                // Nobody was ever put on it, so it can go at once.
                self.take_down(who, from)?;
                self.walk_back(task, who, StateId::BRINGUP, began)?;
            }
            return Err(error.into());
        }
        if target == StateId::ACTIVE {
            self.become_active(who);
        }
        Ok(())
    }

    /// Starts `who` and brings it to AP_ONLINE.
    fn bring_up(&self, who: CpuId, from: &'static Location<'static>) -> Result<(), HotplugError> {
        let last = self.sync_of(who);
        let kicked = SyncWord { incarnation: last.incarnation + 1, step: Sync::Kicked };
        self.emit(|| What::SyncMoved { who, to: Sync::Kicked });
        // Release: what PREPARE did is visible to the CPU that answers. Nobody else moves the word of a CPU that does not run, and
        // a late one of an earlier start finds another incarnation.
        self.cpu[who.index()].hotplug.sync.store(kicked.pack(), Release);
        if let Err(error) = self.platform.start(who, kicked.incarnation) {
            self.move_sync(who, kicked, Sync::GivenUp);
            return Err(HotplugError::Start { cpu: who, error });
        }
        let alive = SyncWord { step: Sync::Alive, ..kicked };
        if !self.await_sync(who, alive, "cpu_up: the started CPU to answer", from, || true)
            && self.move_sync(who, kicked, Sync::GivenUp)
        {
            return Err(HotplugError::NoAnswer(who));
        }
        let released = SyncWord { step: Sync::Released, ..kicked };
        self.move_sync(who, alive, Sync::Released);
        let online = SyncWord { step: Sync::Online, ..kicked };
        let accepts = || self.accepting.contains(who);
        if !self.await_sync(who, online, "cpu_up: the started CPU to be online", from, accepts)
            && self.move_sync(who, released, Sync::GivenUp)
        {
            return Err(HotplugError::Stuck(who));
        }
        // It is committed; if it was at the last moment, its bits follow at once.
        while !self.await_sync(who, online, "cpu_up: the online bit", from, accepts) {}
        self.set_state(who, StateId::AP_ONLINE);
        self.emit(|| What::ThreadsUnparked { who });
        self.platform.unpark_threads(who);
        self.platform.lines_back(who);
        Ok(())
    }

    fn await_sync(
        &self,
        who: CpuId,
        what: SyncWord,
        name: &'static str,
        from: &'static Location<'static>,
        and: impl Fn() -> bool,
    ) -> bool {
        let site = Site { what: name, at: from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, who);
        let deadline = self.platform.deadline_in(self.platform.timeout_ns());
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        let sync = &self.cpu[who.index()].hotplug.sync;
        self.platform.wait_until(sync, &wait, || (self.sync_of(who) == what && and()).then_some(())).is_some()
    }
}
