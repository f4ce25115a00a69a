//! The way down, on the control CPU.

use core::panic::Location;
use core::sync::atomic::Ordering::Relaxed;

use super::HotplugError;
use super::leave::{LEFT, NOT_IDLE};
use super::state::{Reason, StateId};
use super::walk::Dir;
use crate::context::{Pinned, Stopped, Task};
use crate::cpu::CpuId;
use crate::event::{Sync, What};
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{DataCell, Deadline, Platform, Site, Vacate, WaitContext, WaitFor, Word};
use crate::protocol::Stages;
use crate::stop::{Plan, Receipt, StopBody, StopWork, WorkBody};

/// How long to wait before another look whether a thread has gone, in nanoseconds.
const LOOK_AGAIN_NS: u64 = 100_000;

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Takes `cpu` offline. Nothing to do if it is already.
    ///
    /// Context: thread, and not inside a hotplug callback; it is moved off `cpu` if it is there.
    ///
    /// # Errors
    /// See [`HotplugError`]; unless it says otherwise, the CPU is as it was before.
    #[doc(alias = "remove_cpu")]
    #[doc(alias = "cpu_device_down")]
    #[track_caller]
    pub fn cpu_down(&self, task: &mut Task, cpu: CpuId) -> Result<(), HotplugError> {
        self.cpu_down_to(task, cpu, StateId::OFFLINE)
    }

    /// Takes `cpu` down to `target` and leaves it there. Nothing to do if it is there, or below.
    ///
    /// Context: as [`cpu_down`](Self::cpu_down).
    ///
    /// # Errors
    /// As [`cpu_down`](Self::cpu_down); [`NotARestState`](HotplugError::NotARestState).
    #[track_caller]
    pub fn cpu_down_to(&self, task: &mut Task, cpu: CpuId, target: StateId) -> Result<(), HotplugError> {
        if !target.can_rest() {
            return Err(HotplugError::NotARestState(target));
        }
        let from = Location::caller();
        self.with_write_lock(task, from, |machine, task| {
            machine.knows(cpu)?;
            machine.allowed(&CpuMask::of(cpu))?;
            if !machine.has_to_move(cpu, target, Dir::Down)? {
                return Ok(());
            }
            machine.emit(|| What::DownBegin { who: cpu, target });
            let result = machine.down(task, cpu, target, from);
            machine.emit(|| What::DownEnd { who: cpu, ok: result.is_ok() });
            result
        })
    }

    fn down(
        &self,
        task: &mut Task,
        who: CpuId,
        target: StateId,
        from: &'static Location<'static>,
    ) -> Result<(), HotplugError> {
        let began = self.state(who);
        if began < StateId::AP_ONLINE {
            return self.walk_dead(task, who, target);
        }
        // Relaxed here and below: CPUs come and go only under the lock that this thread holds for writing.
        if target < StateId::AP_ONLINE && self.online.now() == CpuMask::of(who) {
            return Err(HotplugError::LastOnline(who));
        }
        self.leave_active(who, from)?;
        let result = self.down_online(task, who, target, from);
        if result.is_err() && began == StateId::ACTIVE && self.state(who).next() == StateId::ACTIVE {
            self.become_active(who);
        }
        result
    }

    /// From the ONLINE states on; `who` is not active any more.
    fn down_online(
        &self,
        task: &mut Task,
        who: CpuId,
        target: StateId,
        from: &'static Location<'static>,
    ) -> Result<(), HotplugError> {
        let began = self.state(who);
        self.ask_for_walk(who, began, target.max(StateId::AP_ONLINE))?;
        if target >= StateId::AP_ONLINE {
            return Ok(());
        }
        if let Err(error) = self.take_down(who, from) {
            if !matches!(error, HotplugError::NotDead(_)) {
                // It refused at the last moment, and runs on: its ONLINE callbacks come back.
                self.ask_for_rollback(who, StateId::AP_ONLINE, began, error.why())?;
            }
            return Err(error);
        }
        self.walk_dead(task, who, target)
    }

    /// DEAD callbacks, on this CPU. They can't fail.
    pub(super) fn walk_dead(&self, task: &mut Task, who: CpuId, target: StateId) -> Result<(), HotplugError> {
        Ok(self.walk(task, who, self.state(who), target)?)
    }

    /// No thread is put on `who` any more, this one included, and whoever saw it active has taken notice.
    fn leave_active(&self, who: CpuId, from: &'static Location<'static>) -> Result<(), HotplugError> {
        let active = self.state(who) == StateId::ACTIVE;
        if active {
            self.emit(|| What::ActiveCleared { who });
            self.active.remove(who);
            self.platform.evict(who);
        }
        if let Err(why) = self.platform.vacate(who) {
            if active {
                self.become_active(who);
            }
            return Err(match why {
                Vacate::Bound => HotplugError::BoundCaller(who),
                Vacate::Nowhere if self.online.now() == CpuMask::of(who) => HotplugError::LastOnline(who),
                Vacate::Nowhere => HotplugError::LastActive(who),
            });
        }
        if !active {
            return Ok(());
        }
        self.set_state(who, StateId::ACTIVE.prev());
        self.stop.turn.lock(self, WaitContext::Task, "cpu_down: its turn", from);
        self.pass(from);
        self.stop.turn.unlock(&self.platform);
        Ok(())
    }

    pub(super) fn become_active(&self, who: CpuId) {
        self.platform.readmit(who);
        self.emit(|| What::ActiveSet { who });
        self.active.insert(who);
        self.set_state(who, StateId::ACTIVE);
    }

    /// From AP_ONLINE to dead: parks its threads, empties it, stops the machine. Whatever refuses is undone here.
    pub(super) fn take_down(&self, who: CpuId, from: &'static Location<'static>) -> Result<(), HotplugError> {
        if let Err(reason) = self.platform.aim_lines_away(who) {
            self.platform.lines_back(who);
            return Err(HotplugError::Lines { cpu: who, reason });
        }
        self.ask_to_park(who);
        self.platform.park_threads(who);
        self.emit(|| What::ThreadsParked { who });
        let result = self.await_empty(who, from).and_then(|()| self.stop_and_leave(who, from));
        if let Err(reason) = result {
            self.emit(|| What::ThreadsUnparked { who });
            self.platform.unpark_threads(who);
            self.platform.lines_back(who);
            return Err(reason);
        }
        self.await_dead(who, from)
    }

    /// Waits until only the idle context is left on `who`.
    fn await_empty(&self, who: CpuId, from: &'static Location<'static>) -> Result<(), HotplugError> {
        let limit = self.patience();
        let site = Site { what: "cpu_down: the threads to leave", at: from };
        // Almost always empty at the first look, as the pass made every CPU switch. If not, no word of the library changes when a
        // thread goes, so look again now and then.
        let sync = &self.cpu[who.index()].hotplug.sync;
        while let Some(by) = self.platform.occupied(who) {
            if self.platform.expired(limit) {
                return Err(HotplugError::Occupied { cpu: who, by });
            }
            let deadline = self.platform.deadline_in(LOOK_AGAIN_NS);
            let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &|_| () };
            self.platform.wait_until(sync, &wait, || self.platform.occupied(who).is_none().then_some(()));
        }
        Ok(())
    }

    fn stop_and_leave(&self, who: CpuId, from: &'static Location<'static>) -> Result<(), HotplugError> {
        self.stop.turn.lock(self, WaitContext::Task, "cpu_down: its turn", from);
        let left = if self.protocol.stages == Stages::None {
            self.leave_without_stop(who, from)
        } else {
            self.leave_in_stop(who, from)
        };
        self.stop.turn.unlock(&self.platform);
        left.map_err(|()| {
            // SAFETY: `who` wrote it in the stop (or the work) that has just ended, and does not write it again.
            let reason: Reason = unsafe { self.cpu[who.index()].hotplug.refusal.read() };
            if reason == NOT_IDLE {
                HotplugError::Occupied {
                    cpu: who,
                    by: self.platform.occupied(who).unwrap_or("what its stopper interrupted"),
                }
            } else {
                HotplugError::Lines { cpu: who, reason }
            }
        })
    }

    fn leave_in_stop(&self, who: CpuId, from: &'static Location<'static>) -> Result<(), ()> {
        let alone = CpuMask::of(who);
        let plan = Plan { leaving: alone, ..Plan::new(self.online.now(), alone, self.splits()) };
        let run = |stopped: &Stopped<'_>| self.leave_in_run(stopped);
        // SAFETY: `run` is alive until this returns.
        let stop = unsafe { self.carry_out(&plan, StopBody::of(&run), WaitContext::Task, from) };
        let receipt = Receipt::unpack(self.cpu[who.index()].stop.receipt.load(Relaxed));
        if stop.is_ok() && receipt == Receipt::Ran(LEFT) { Ok(()) } else { Err(()) }
    }

    fn leave_without_stop(&self, who: CpuId, from: &'static Location<'static>) -> Result<(), ()> {
        let turn_away = |pinned: &mut Pinned<'_>| self.turn_away(pinned);
        if self.run_on_stopper(who, &turn_away, from) != Ok(LEFT) {
            return Err(());
        }
        self.pass(from);
        let leave = |pinned: &mut Pinned<'_>| self.leave_alone(pinned);
        let work = StopWork::new();
        // SAFETY: the work ends with the CPU. Both are alive until it was seen dead: this function waits for that. If it never
        // dies, neither returns.
        unsafe { self.queue_one(who, &work, WorkBody::of(&leave, from)) }.map_err(|_| ())?;
        self.await_gone(who, from);
        Ok(())
    }

    /// Waits, without end, until `who` has taken its last work: what that work points to is on this stack.
    fn await_gone(&self, who: CpuId, from: &'static Location<'static>) {
        let dead = || self.sync_of(who).step == Sync::Dead;
        self.await_handshake(who, "cpu_down: the CPU to leave", from, Deadline::NEVER, dead);
    }

    /// Waits until `who` is dead; then what is left in its queue can be looked at.
    fn await_dead(&self, who: CpuId, from: &'static Location<'static>) -> Result<(), HotplugError> {
        let dead = || self.sync_of(who).step == Sync::Dead;
        let seen = self.await_handshake(who, "cpu_down: the CPU to be dead", from, self.patience(), dead);
        self.set_state(who, StateId::BRINGUP);
        if !seen {
            return Err(HotplugError::NotDead(who));
        }
        self.see_dead(who);
        Ok(())
    }

    /// This CPU has seen that `who` is dead.
    pub(super) fn see_dead(&self, who: CpuId) {
        self.emit(|| What::DeadSeen { who });
        self.audit_dead_queue(who);
    }
}
