//! The way up, on the control CPU.

use core::panic::Location;
use core::sync::atomic::Ordering::{Relaxed, Release};

use super::state::StateId;
use super::walk::{Broken, Dir};
use super::{HotplugError, SyncWord};
use crate::context::Task;
use crate::cpu::CpuId;
use crate::event::{Sync, What};
use crate::machine::Machine;
use crate::platform::{Deadline, Platform, Site, WaitContext, WaitFor, Word};

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
        self.operation(task, cpu, target, Dir::Up, from, |machine, task| machine.up(task, cpu, target, from))
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
            if began < StateId::BRINGUP {
                self.walk(task, who, began, target.min(StateId::BRINGUP.prev()))?;
                if target < StateId::BRINGUP {
                    return Ok(());
                }
                self.set_state(who, StateId::BRINGUP);
            }
            if let Err(error) = self.bring_up(who, from) {
                if !matches!(error, HotplugError::Stuck(_)) {
                    self.walk_back(task, who, StateId::BRINGUP, began, error.why())?;
                }
                return Err(error);
            }
        }
        let online = self.state(who);
        if let Err(broken) = self.ask_for_walk(who, online, target.min(StateId::ACTIVE.prev())) {
            if let Broken::Vetoed(veto) = broken
                && began < StateId::AP_ONLINE
            {
                // Nobody was ever put on it, so it can go at once. If it can't, it stays where it is, and the caller learns both.
                self.take_down(who, from).map_err(|error| error.after(veto.reason, who))?;
                self.walk_back(task, who, StateId::BRINGUP, began, veto.reason)?;
            }
            return Err(broken.into());
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
        let answered = || self.sync_of(who) == alive;
        if !self.await_handshake(who, "cpu_up: the started CPU to answer", from, self.patience(), answered)
            && self.move_sync(who, kicked, Sync::GivenUp)
        {
            return Err(HotplugError::NoAnswer(who));
        }
        let released = SyncWord { step: Sync::Released, ..kicked };
        self.move_sync(who, alive, Sync::Released);
        let online = SyncWord { step: Sync::Online, ..kicked };
        let commits = || self.sync_of(who) == online;
        let what = "cpu_up: the started CPU to be online";
        if !self.await_handshake(who, what, from, self.patience(), commits) {
            // First counted, then given up: it counts itself off when it has come to its end.
            self.hotplug.loose.fetch_add(1, Relaxed);
            if self.move_sync(who, released, Sync::GivenUp) {
                return Err(HotplugError::Stuck(who));
            }
            self.hotplug.loose.fetch_sub(1, Relaxed);
        }
        // It is committed, and its bits follow at once.
        let site = Site { what: "cpu_up: the online bit", at: from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, who);
        let wait = WaitFor { site, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &stalled };
        let accepts = || self.accepting.contains(who).then_some(());
        self.platform.wait_until(self.accepting.word_of(who), &wait, accepts);
        self.set_state(who, StateId::AP_ONLINE);
        self.emit(|| What::ThreadsUnparked { who });
        self.platform.unpark_threads(who);
        self.platform.lines_back(who);
        Ok(())
    }
}
