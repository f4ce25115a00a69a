//! The side that starts a stop and waits for its end.

use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::machine::Body;
use super::receipts::{Receipt, StopError};
use super::stage::{At, Stage, next_epoch};
use super::work::Part;
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
    /// No stage but EXIT: each stopper passes once, and nobody is frozen.
    pub(crate) pass: bool,
    /// When to abandon it.
    pub(crate) deadline: Deadline,
    /// This CPU takes part in person and not by its stopper: it is coming up.
    pub(crate) inline: Option<CpuId>,
}

impl<const W: usize> Plan<W> {
    /// A stop of `members` in which `active` run the function.
    pub(crate) fn new(members: CpuMask<W>, active: CpuMask<W>, split: bool) -> Self {
        Plan {
            members,
            active,
            asked: active,
            leaving: CpuMask::EMPTY,
            split,
            pass: false,
            deadline: Deadline::NEVER,
            inline: None,
        }
    }

    fn part_of(&self, cpu: CpuId, epoch: usize, top: usize) -> Part {
        Part {
            epoch,
            top,
            split: self.split,
            active: self.active.contains(cpu),
            leaves: self.leaving.contains(cpu),
        }
    }
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
        from: &'static Location<'static>,
    ) -> Result<(), StopError<W>> {
        let epoch = next_epoch(At::unpack(self.stop.at.load(Relaxed)).epoch);
        self.emit(|| What::StopBegin { epoch, leaving: plan.leaving.first() });
        // Relaxed: a CPU that is late for an abandoned stop goes its way when it sees this, and has nothing to read for that.
        self.stop.at.store(At::new(epoch, Stage::None).pack(), Relaxed);
        self.fill_in(plan, body, from);
        let result = self.queue_works(plan, epoch).and_then(|()| {
            if let Some(me) = plan.inline {
                self.run_stop(me, plan.part_of(me, epoch, self.shape().meet(&plan.members)));
            }
            self.await_end(plan, epoch, context, from)
        });
        self.emit(|| What::StopEnd { epoch });
        result
    }

    fn fill_in(&self, plan: &Plan<W>, body: Body, from: &'static Location<'static>) {
        let stop = &self.stop;
        stop.members.assign(&plan.members);
        self.expect(&plan.members, self.shape().meet(&plan.members));
        stop.leaving.assign(&plan.leaving);
        stop.split.store(plan.split.into(), Relaxed);
        self.brief(&plan.members, plan.deadline, from);
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
    fn queue_works(&self, plan: &Plan<W>, epoch: usize) -> Result<(), StopError<W>> {
        let pin = self.pinned();
        let top = self.shape().meet(&plan.members);
        for cpu in &plan.members {
            if plan.inline == Some(cpu) {
                continue;
            }
            let multi = &self.cpu[cpu.index()].stop.multi;
            self.emit(|| What::WorkQueued(WorkKey { work: ptr::from_ref(multi).addr(), to: cpu }));
            // If it need not be pushed, it is in the list still, and its IPI is on the way.
            if multi.arm(plan.part_of(cpu, epoch, top))
                // SAFETY: 1. one that was idle is in no list, and it is part of the machine. 2. `fill_in`.
                && !unsafe { self.push_work(&pin, cpu, ptr::from_ref(multi).cast()) }
            {
                multi.disarm();
                // Also in this section: this CPU's own stopper may be among those that were queued.
                self.abandon(At::new(epoch, Stage::None));
                self.claim_back(plan, epoch);
                return Err(self.turned_away(cpu));
            }
        }
        let expected = plan.members.len();
        self.emit(|| What::StopPublished { epoch, expected });
        self.publish(plan, epoch, expected);
        Ok(())
    }

    fn publish(&self, plan: &Plan<W>, epoch: usize, expected: usize) {
        if expected == 0 {
            // Before the boot nobody is online. Relaxed: only this CPU waits for it.
            self.stop.done.store(At::new(epoch, Stage::Exit).pack(), Relaxed);
            return;
        }
        let first = At::new(epoch, if plan.pass { Stage::Exit } else { Stage::Prepare });
        self.emit(|| What::StageEntered { epoch, stage: first.stage });
        // Release: pairs with the acquire in `step`: publishes the plan. Nobody else moves a stop away from NONE.
        self.stop.at.store(first.pack(), Release);
        self.platform.notify(&raw const *self.stop.at);
    }

    fn await_end(
        &self,
        plan: &Plan<W>,
        epoch: usize,
        context: WaitContext,
        from: &'static Location<'static>,
    ) -> Result<(), StopError<W>> {
        loop {
            let site = Site { what: "stop_machine: the other CPUs", at: from };
            // The CPUs in the loop speak for themselves; this one only speaks if none has got there.
            let stalled = |waited_ns| {
                let at = At::unpack(self.stop.at.load(Relaxed));
                if plan.members.iter().all(|cpu| !self.has_acknowledged(cpu, at)) {
                    self.report_missing(site, waited_ns, at);
                }
            };
            let wait = WaitFor { site, context, deadline: plan.deadline, stalled: &stalled };
            match self.platform.wait_until(&self.stop.done, &wait, || self.end_of(epoch)) {
                Some(at) if !at.aborted => return Ok(()),
                Some(at) => {
                    let missing = self.missing(plan, at);
                    self.claim_back(plan, epoch);
                    return Err(StopError::Deadline { stage: at.stage, missing });
                }
                None => self.abandon_if_early(epoch, context, from),
            }
        }
    }

    /// Where the stop has ended, if it has.
    fn end_of(&self, epoch: usize) -> Option<At> {
        // Acquire: pairs with the release of the last acknowledgement: what the function did is visible.
        let at = At::unpack(self.stop.done.load(Acquire));
        (at.epoch == epoch).then_some(at)
    }

    /// The deadline is over, and this CPU is not in the loop itself.
    fn abandon_if_early(&self, epoch: usize, context: WaitContext, from: &'static Location<'static>) {
        // Relaxed: if it is old, it moves nothing.
        let at = At::unpack(self.stop.at.load(Relaxed));
        if !at.aborted && at.stage < Stage::Seal {
            self.abandon(at);
            return;
        }
        // Somebody else does so, or it is too late: it runs, and ends soon.
        let site = Site { what: "stop_machine: the function to return", at: from };
        let wait = WaitFor { site, context, deadline: Deadline::NEVER, stalled: &|_| () };
        self.platform.wait_until(&self.stop.done, &wait, || self.end_of(epoch));
    }

    fn missing(&self, plan: &Plan<W>, at: At) -> CpuMask<W> {
        plan.members.iter().filter(|cpu| !self.has_acknowledged(*cpu, at)).collect()
    }

    /// Takes back the works that no stopper has started. The others leave their loop by themselves when they see the stage word.
    fn claim_back(&self, plan: &Plan<W>, epoch: usize) {
        let top = self.shape().meet(&plan.members);
        for cpu in &plan.members {
            let multi = &self.cpu[cpu.index()].stop.multi;
            if multi.claim_back(plan.part_of(cpu, epoch, top)) {
                self.emit(|| What::WorkClaimed(WorkKey { work: ptr::from_ref(multi).addr(), to: cpu }));
            }
        }
    }
}
