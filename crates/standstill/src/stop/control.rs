//! The side that starts a stop and waits for its end.

use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::machine::Body;
use super::receipts::{Receipt, StopError};
use super::stage::{At, Stage, next_epoch};
use super::work::Part;
use crate::bound::By;
use crate::cpu::CpuId;
use crate::event::{What, WorkKey};
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{DataCell, Deadline, Platform, Site, WaitContext, WaitFor, Word};

/// What a stop is to do.
pub(crate) struct Plan<const W: usize> {
    /// The CPUs whose stoppers take part.
    pub(crate) members: CpuMask<W>,
    /// Those of them that run the function.
    pub(crate) active: CpuMask<W>,
    /// Those that were to run it, online or not.
    pub(crate) asked: CpuMask<W>,
    /// Those that will be gone after it.
    pub(crate) leaving: CpuMask<W>,
    /// Two disable stages.
    pub(crate) split: bool,
    /// Each stopper passes once, and nobody is frozen: who has acknowledged the first stage goes its way.
    pub(crate) pass: bool,
    /// This CPU takes part in person and not by its stopper: it is coming up.
    pub(crate) inline: Option<CpuId>,
}

impl<const W: usize> Plan<W> {
    /// A stop of `members` in which `active` run the function.
    pub(crate) fn new(members: CpuMask<W>, active: CpuMask<W>, split: bool) -> Self {
        Plan { members, active, asked: active, leaving: CpuMask::EMPTY, split, pass: false, inline: None }
    }

    fn part_of(&self, cpu: CpuId, begun: Begun) -> Part {
        Part {
            epoch: begun.epoch,
            top: begun.top,
            watches: begun.watcher == Some(cpu),
            split: self.split,
            pass: self.pass,
            active: self.active.contains(cpu),
            leaves: self.leaving.contains(cpu),
        }
    }
}

/// A stop that has begun.
#[derive(Clone, Copy)]
struct Begun {
    epoch: usize,
    /// The level at which all its CPUs meet.
    top: usize,
    /// The CPU that gives up for the caller.
    watcher: Option<CpuId>,
    deadline: Deadline,
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Carries out `plan`, from the first work to the last acknowledgement. The caller holds `turn`.
    ///
    /// # Safety
    /// `body` can be run from any CPU until this returns.
    pub(crate) unsafe fn carry_out(
        &self,
        plan: &Plan<W>,
        body: Body,
        context: WaitContext,
        by: By<'_, P>,
    ) -> Result<(), StopError<W>> {
        let epoch = next_epoch(At::unpack(self.stop.at.load(Relaxed)).epoch);
        self.emit(|| What::StopBegin { epoch, leaving: plan.leaving.first() });
        // Relaxed: a CPU that is late for an abandoned stop goes its way when it sees this, and has nothing to read for that.
        self.stop.at.store(At::new(epoch, Stage::None).pack(), Relaxed);
        let begun = Begun {
            epoch,
            top: self.shape().meet(&plan.members),
            watcher: by.bound.is_patience().then(|| self.platform.this_cpu()),
            deadline: self.limit(by.bound),
        };
        self.fill_in(plan, body, begun, by.from);
        // From here on whoever cancels finds the stop.
        let result = if by.bound.cancel().is_none_or(|token| token.enter(epoch)) {
            self.move_through(plan, begun, context, by)
        } else {
            self.abandon(At::new(epoch, Stage::None));
            Err(StopError::Cancelled)
        };
        if let Some(token) = by.bound.cancel() {
            token.leave(epoch);
        }
        self.emit(|| What::StopEnd { epoch });
        result
    }

    fn move_through(
        &self,
        plan: &Plan<W>,
        begun: Begun,
        context: WaitContext,
        by: By<'_, P>,
    ) -> Result<(), StopError<W>> {
        self.queue_works(plan, begun)?;
        if let Some(me) = plan.inline {
            self.run_stop(me, plan.part_of(me, begun));
        }
        self.await_end(plan, begun, context, by)
    }

    fn fill_in(&self, plan: &Plan<W>, body: Body, begun: Begun, from: &'static Location<'static>) {
        let stop = &self.stop;
        stop.members.assign(&plan.members);
        self.expect(&plan.members, begun.top);
        stop.leaving.assign(&plan.leaving);
        stop.split.store(plan.split.into(), Relaxed);
        // Where nobody asked for a deadline, one CPU keeps the time: CPUs that only wait for a word may rest more deeply.
        stop.patience.store(begun.deadline.0, Relaxed);
        let deadline = if begun.watcher.is_some() { Deadline::NEVER } else { begun.deadline };
        self.brief(&plan.members, deadline, from);
        // SAFETY: only an active CPU reads it, in RUN, of a stop that was not abandoned; the last such stop is over, as its one that
        // started it held `turn` until every CPU had acknowledged EXIT.
        unsafe { stop.body.write(body) };
        // The others' never change: they say "not a member" since the machine was built. Relaxed: nor does the mask, after the boot.
        for cpu in &self.possible.now() {
            let receipt = if plan.asked.contains(cpu) { Receipt::Refused } else { Receipt::NotAMember };
            self.cpu[cpu.index()].stop.receipt.store(receipt.pack(), Relaxed);
        }
    }

    /// Queues a work on each member and publishes the first stage, all in one section that this CPU's stopper can't interrupt:
    /// else it would wait in the loop for works that nobody queues. A member that is turned away ends the stop: nobody runs anything. That is
    /// for pairs, which do not ask who is online; who does, and keeps CPUs from going, finds every stopper open.
    fn queue_works(&self, plan: &Plan<W>, begun: Begun) -> Result<(), StopError<W>> {
        let pin = self.pinned();
        let epoch = begun.epoch;
        for cpu in &plan.members {
            if plan.inline == Some(cpu) {
                continue;
            }
            let multi = &self.cpu[cpu.index()].stop.multi;
            self.emit(|| What::WorkQueued(WorkKey { work: ptr::from_ref(multi).addr(), to: cpu }));
            // If it need not be pushed, it is in the list still, and its IPI is on the way.
            if multi.arm(plan.part_of(cpu, begun))
                // SAFETY: 1. one that was idle is in no list, and it is part of the machine. 2. `fill_in`.
                && !unsafe { self.push_work(&pin, cpu, ptr::from_ref(multi).cast()) }
            {
                multi.disarm();
                // Also in this section: this CPU's own stopper may be among those that were queued.
                self.abandon(At::new(epoch, Stage::None));
                self.claim_back(plan, begun);
                return Err(self.turned_away(cpu));
            }
        }
        let expected = plan.members.len();
        self.emit(|| What::StopPublished { epoch, expected });
        self.publish(epoch, expected);
        Ok(())
    }

    fn publish(&self, epoch: usize, expected: usize) {
        if expected == 0 {
            // Before the boot nobody is online. Relaxed: only this CPU waits for it.
            self.stop.done.store(At::new(epoch, Stage::Exit).pack(), Relaxed);
            return;
        }
        let (none, first) = (At::new(epoch, Stage::None), At::new(epoch, Stage::Prepare));
        self.emit(|| What::StageEntered { epoch, stage: first.stage });
        // Release: pairs with the acquire in `step`: publishes the plan. Fails only if it was cancelled, or a member has left.
        if self.stop.at.compare_exchange(none.pack(), first.pack(), Release, Relaxed).is_ok() {
            self.platform.notify(&raw const *self.stop.at);
        }
    }

    fn await_end(
        &self,
        plan: &Plan<W>,
        begun: Begun,
        context: WaitContext,
        by: By<'_, P>,
    ) -> Result<(), StopError<W>> {
        let Begun { epoch, deadline, .. } = begun;
        let site = Site { what: "stop_machine: the other CPUs", at: by.from };
        // The CPUs in the loop speak for themselves. This one speaks if none has got there, or if they do not stay: in a pass, and from
        // EXIT on, each goes its way at once.
        let stalled = |waited_ns| {
            let at = At::unpack(self.stop.at.load(Relaxed));
            let alone = || plan.members.iter().all(|cpu| !self.has_acknowledged(cpu, at));
            if plan.pass || at.stage == Stage::Exit || alone() {
                self.report_missing(site, waited_ns, at);
            }
        };
        let wait = WaitFor { site, context, deadline, stalled: &stalled };
        loop {
            match self.platform.wait_until(&self.stop.done, &wait, || self.end_of(epoch)) {
                Some(at) if !at.aborted => return Ok(()),
                Some(at) => {
                    let missing = self.missing(plan, at);
                    self.claim_back(plan, begun);
                    return Err(self.why_abandoned(at.stage, missing, by));
                }
                None => self.abandon_if_early(epoch, &wait),
            }
        }
    }

    fn why_abandoned(&self, stage: Stage, missing: CpuMask<W>, by: By<'_, P>) -> StopError<W> {
        // One that had its part queued and left without playing it has closed its stopper. Relaxed: it was abandoned after that.
        let left = missing.iter().find(|cpu| !self.cpu[cpu.index()].stop.works.is_open());
        match left {
            Some(cpu) => StopError::Offline(cpu),
            None if by.bound.is_cancelled() => StopError::Cancelled,
            None => StopError::Deadline { stage, missing },
        }
    }

    /// Where the stop has ended, if it has.
    fn end_of(&self, epoch: usize) -> Option<At> {
        // Acquire: pairs with the release of the last acknowledgement: what the function did is visible.
        let at = At::unpack(self.stop.done.load(Acquire));
        (at.epoch == epoch).then_some(at)
    }

    /// The deadline is over, and this CPU is not in the loop itself.
    fn abandon_if_early(&self, epoch: usize, wait: &WaitFor<'_>) {
        // Relaxed: if it is old, it moves nothing.
        let at = At::unpack(self.stop.at.load(Relaxed));
        if !at.aborted && at.stage < Stage::Seal {
            self.abandon(at);
            return;
        }
        // Somebody else does so, or it is too late: it runs, and ends soon.
        let site = Site { what: "stop_machine: the function to return", ..wait.site };
        let wait = WaitFor { site, deadline: Deadline::NEVER, ..*wait };
        self.platform.wait_until(&self.stop.done, &wait, || self.end_of(epoch));
    }

    fn missing(&self, plan: &Plan<W>, at: At) -> CpuMask<W> {
        plan.members.iter().filter(|cpu| !self.has_acknowledged(*cpu, at)).collect()
    }

    /// Takes back the works that no stopper has started. The others leave their loop by themselves when they see the stage word.
    fn claim_back(&self, plan: &Plan<W>, begun: Begun) {
        for cpu in &plan.members {
            let multi = &self.cpu[cpu.index()].stop.multi;
            if multi.claim_back(plan.part_of(cpu, begun)) {
                self.emit(|| What::WorkClaimed(WorkKey { work: ptr::from_ref(multi).addr(), to: cpu }));
            }
        }
    }
}
