//! The way down, on the control CPU.

use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

use super::HotplugError;
use super::leave::{LEFT, NOT_IDLE};
use super::state::{Reason, StateId};
use super::walk::Dir;
use crate::bound::By;
use crate::context::{Pinned, Stopped, Task};
use crate::cpu::CpuId;
use crate::event::{Sync, What};
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{DataCell, Deadline, Platform, Site, Vacate, WaitContext, WaitFor, Word};
use crate::protocol::Stages;
use crate::stall::Part;
use crate::stop::{Plan, Receipt, SlotUse, StopBody, StopError, WorkBody};

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Takes `cpu` offline. Nothing to do if it is already.
    ///
    /// Context: thread, and not inside a hotplug callback; it is moved off `cpu` if it is there. Each wait ends by the port's patience, or by
    /// the bound of [`within`](Self::within).
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
        self.with_write_lock(task, Location::caller(), |machine, task, by| {
            machine.knows(cpu)?;
            machine.allowed(&CpuMask::of(cpu))?;
            if !machine.has_to_move(cpu, target, Dir::Down)? {
                return Ok(());
            }
            machine.emit(|| What::DownBegin { who: cpu, target });
            let result = machine.down(task, cpu, target, by);
            machine.emit(|| What::DownEnd { who: cpu, ok: result.is_ok() });
            result
        })
    }

    fn down(&self, task: &mut Task, who: CpuId, target: StateId, by: By<'_, P>) -> Result<(), HotplugError> {
        let began = self.state(who);
        self.note_beginning(who, began);
        if began < StateId::AP_ONLINE {
            return self.walk_dead(task, who, target);
        }
        // Relaxed here and below: CPUs come and go only under the lock that this thread holds for writing.
        if target < StateId::AP_ONLINE && self.online.now() == CpuMask::of(who) {
            return Err(HotplugError::LastOnline(who));
        }
        self.leave_active(who, by)?;
        let result = self.down_online(task, who, target, by);
        // The thread of a CPU whose callback hangs does this itself, at the end.
        let hangs = matches!(result, Err(HotplugError::Hung { .. }));
        if result.is_err() && !hangs && began == StateId::ACTIVE && self.state(who).next() == StateId::ACTIVE
        {
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
        by: By<'_, P>,
    ) -> Result<(), HotplugError> {
        let began = self.state(who);
        self.ask_for_walk(who, began, target.max(StateId::AP_ONLINE), by)?;
        if target >= StateId::AP_ONLINE {
            return Ok(());
        }
        if let Err(error) = self.take_down(who, by) {
            if !matches!(error, HotplugError::NotDead(_)) {
                // It refused at the last moment, or did not answer, and runs on: its ONLINE callbacks come back.
                self.ask_for_rollback(who, StateId::AP_ONLINE, began, error.why(), by)?;
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
    fn leave_active(&self, who: CpuId, by: By<'_, P>) -> Result<(), HotplugError> {
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
        let noticed = self.in_turn(by, |machine| machine.pass(by).map_err(|why| machine.not_passed(why, by)));
        if noticed.is_err() {
            self.become_active(who);
        }
        noticed
    }

    /// Runs `f` with the turn of the stops taken.
    fn in_turn<R>(
        &self,
        by: By<'_, P>,
        f: impl FnOnce(&Self) -> Result<R, HotplugError>,
    ) -> Result<R, HotplugError> {
        const WHAT: &str = "cpu_down: its turn";
        if self.take_turn(WHAT, by).is_err() {
            return Err(self.ended_early(by, self.stop.turn.holder(), WHAT));
        }
        let result = f(self);
        self.stop.turn.unlock(&self.platform);
        result
    }

    /// A stop or a pass of this operation was abandoned.
    fn not_passed(&self, why: StopError<W>, by: By<'_, P>) -> HotplugError {
        let missing = match why {
            StopError::Deadline { missing, .. } => missing.first(),
            StopError::Offline(cpu) => Some(cpu),
            _ => None,
        };
        // If all had answered by then, it was the last one that did not in time.
        let last = || self.online.now().iter().last().unwrap_or(CpuId::BOOT);
        self.ended_early(by, missing.unwrap_or_else(last), "cpu_down: the stoppers of the other CPUs")
    }

    pub(super) fn become_active(&self, who: CpuId) {
        self.platform.readmit(who);
        self.emit(|| What::ActiveSet { who });
        self.active.insert(who);
        self.set_state(who, StateId::ACTIVE);
    }

    /// From AP_ONLINE to dead: parks its threads, empties it, stops the machine. Whatever refuses is undone here.
    pub(super) fn take_down(&self, who: CpuId, by: By<'_, P>) -> Result<(), HotplugError> {
        let aimed = self.platform.aim_lines_away(who);
        let asked = aimed.map_err(|reason| HotplugError::Lines { cpu: who, reason });
        if let Err(error) = asked.and_then(|()| self.ask_to_park(who, by)) {
            self.platform.lines_back(who);
            return Err(error);
        }
        self.platform.park_threads(who);
        self.emit(|| What::ThreadsParked { who });
        let result = self.await_empty(who, by).and_then(|()| self.stop_and_leave(who, by));
        if matches!(result, Ok(()) | Err(HotplugError::NotDead(_))) {
            return result;
        }
        self.emit(|| What::ThreadsUnparked { who });
        self.platform.unpark_threads(who);
        self.platform.lines_back(who);
        result
    }

    /// Waits until only the idle context is left on `who`.
    fn await_empty(&self, who: CpuId, by: By<'_, P>) -> Result<(), HotplugError> {
        const WHAT: &str = "cpu_down: the threads to leave";
        let site = Site { what: WHAT, at: by.from };
        let stalled = |waited_ns| self.report_thread(site, waited_ns, who);
        let deadline = self.limit(by.bound);
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        // Almost always empty at the first look, as the pass made every CPU switch. No word of the library changes when a thread goes.
        let sync = &self.cpu[who.index()].hotplug.sync;
        let empty = || (by.bound.is_cancelled() || self.platform.occupied(who).is_none()).then_some(());
        self.awaiting(who, Part::Threads, || self.platform.watch_until(sync, &wait, empty));
        match self.platform.occupied(who) {
            None => Ok(()),
            Some(_) if by.bound.is_cancelled() => Err(HotplugError::Cancelled { what: WHAT }),
            Some(by) => Err(HotplugError::Occupied { cpu: who, by }),
        }
    }

    /// The last part: when it returns `Ok`, `who` is dead.
    fn stop_and_leave(&self, who: CpuId, by: By<'_, P>) -> Result<(), HotplugError> {
        let left = self.in_turn(by, |machine| {
            if machine.protocol.stages == Stages::None {
                machine.leave_without_stop(who, by)
            } else {
                machine.leave_in_stop(who, by)
            }
        });
        let dead = match left? {
            Left::Seen => true,
            Left::Late => false,
            Left::Committed => {
                self.await_handshake(who, "cpu_down: the CPU to be dead", by.to_the_end(), || {
                    self.sync_of(who).step == Sync::Dead
                })
            }
        };
        self.set_state(who, StateId::BRINGUP);
        if !dead {
            return Err(HotplugError::NotDead(who));
        }
        self.see_dead(who);
        Ok(())
    }

    /// Why `who` refused, in its own words.
    fn refusal(&self, who: CpuId) -> HotplugError {
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
    }

    fn leave_in_stop(&self, who: CpuId, by: By<'_, P>) -> Result<Left, HotplugError> {
        let alone = CpuMask::of(who);
        let plan = Plan { leaving: alone, ..Plan::new(self.online.now(), alone, self.splits()) };
        let run = |stopped: &Stopped<'_>| self.leave_in_run(stopped);
        // SAFETY: `run` is alive until this returns.
        let stop = unsafe { self.carry_out(&plan, StopBody::of(&run), WaitContext::Task, by) };
        stop.map_err(|why| self.not_passed(why, by))?;
        let receipt = Receipt::unpack(self.cpu[who.index()].stop.receipt.load(Relaxed));
        if receipt == Receipt::Ran(LEFT) { Ok(Left::Committed) } else { Err(self.refusal(who)) }
    }

    fn leave_without_stop(&self, who: CpuId, by: By<'_, P>) -> Result<Left, HotplugError> {
        let turn_away = |pinned: &mut Pinned<'_>| self.turn_away(pinned);
        match self.run_on_stopper(who, &turn_away, by) {
            Ok(LEFT) => {}
            Ok(_) => return Err(self.refusal(who)),
            Err(why) => return Err(self.not_passed(why, by)),
        }
        let left = self.pass_and_die(who, by);
        if left.is_err() && self.protocol.refuse_first {
            // It is still online, and nobody waits for it to leave: it takes calls again. As after a start, who sees that finds its
            // stopper open.
            self.start_accepting(who);
        }
        left
    }

    /// Senders are refused; those that were not have pushed when every stopper has passed.
    fn pass_and_die(&self, who: CpuId, by: By<'_, P>) -> Result<Left, HotplugError> {
        // One that refuses by its online bit alone can't take that back: it is no protocol for kernels.
        let by = if self.protocol.refuse_first { by } else { By { bound: Deadline::NEVER.into(), ..by } };
        self.pass(by).map_err(|why| self.not_passed(why, by))?;
        let leave =
            WorkBody { run: leave_by_work::<P, N, W>, arg: ptr::from_ref(self).cast(), from: by.from };
        // SAFETY: it points to the machine, which does not move once it is booted.
        let using = unsafe { self.begin_use(who, leave, by) }.map_err(|_| self.ended_early(by, who, LAST))?;
        let dead = || (self.sync_of(who).step == Sync::Dead).then_some(Left::Seen);
        if let Some(end) = self.await_last_work(who, using, by, dead) {
            return end;
        }
        if self.take_back(who, using) {
            return Err(self.ended_early(by, who, LAST));
        }
        // It has begun, so the CPU refuses, or leaves for good. Who cancelled is too late.
        if let Some(end) = self.await_last_work(who, using, by.to_the_end(), dead) {
            return end;
        }
        // As long as it is online, a stop would include it, and its stopper would drop that part: so the turn is kept until then.
        let forever = By { bound: Deadline::NEVER.into(), ..by };
        let gone = || dead().or_else(|| (!self.online.has(who)).then_some(Left::Late));
        self.await_last_work(who, using, forever, gone).unwrap_or(Ok(Left::Late))
    }

    /// Waits until `who` has refused in its last work, or `left` is true.
    fn await_last_work(
        &self,
        who: CpuId,
        using: SlotUse,
        by: By<'_, P>,
        left: impl Fn() -> Option<Left>,
    ) -> Option<Result<Left, HotplugError>> {
        let site = Site { what: LAST, at: by.from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, who);
        let deadline = self.limit(by.bound);
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        let sync = &self.cpu[who.index()].hotplug.sync;
        // Nobody announces a refusal, nor the online bit, at the word of the handshake.
        let ended = || {
            let refused = || self.outcome(who, using).map(|_| Err(()));
            let cancelled = || by.bound.is_cancelled().then_some(None);
            left().map(Ok).or_else(refused).map(Some).or_else(cancelled)
        };
        let end = self.awaiting(who, Part::Cpu, || self.platform.watch_until(sync, &wait, ended));
        match end.flatten()? {
            Ok(left) => Some(Ok(left)),
            Err(()) => {
                self.free_slot(who, using);
                Some(Err(self.refusal(who)))
            }
        }
    }

    /// This CPU has seen that `who` is dead.
    pub(super) fn see_dead(&self, who: CpuId) {
        self.emit(|| What::DeadSeen { who });
        self.audit_dead_queue(who);
    }
}

const LAST: &str = "cpu_down: the CPU to leave";

/// How far a CPU is that leaves.
enum Left {
    /// It does not refuse any more, and is out of the online mask.
    Committed,
    /// The same, and it is not dead within the bound.
    Late,
    /// It is dead.
    Seen,
}

/// The last work of a CPU.
///
/// # Safety
/// `arg` is the machine.
unsafe fn leave_by_work<P: Platform, const N: usize, const W: usize>(
    arg: *const (),
    pinned: &mut Pinned<'_>,
) -> i32 {
    // SAFETY: the contract of this function.
    unsafe { &*arg.cast::<Machine<P, N, W>>() }.leave_alone(pinned)
}
