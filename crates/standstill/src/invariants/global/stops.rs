//! Stops, seen from above: rules 17, 18, 19, 20 and 27 where they need all CPUs at one instant.

use crate::cpu::CpuId;
use crate::event::{Event, What};
use crate::invariants::{Checks, Verdict};
use crate::stop::{Stage, is_later_epoch};

/// One CPU's part in the stop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Member {
    /// It acknowledged a stage of this stop.
    joined: bool,
    active: bool,
    /// It is inside the stop's function.
    running: bool,
}

impl Member {
    const NONE: Member = Member { joined: false, active: false, running: false };
}

/// The stop that was begun last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Now {
    epoch: usize,
    leaving: Option<CpuId>,
    expected: Option<usize>,
    stage: Stage,
    /// Acknowledgements of this stage.
    acks: usize,
    aborted: bool,
    over: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Stops<const N: usize> {
    now: Option<Now>,
    members: [Member; N],
    /// The CPUs that closed their interrupts for a stop and have not restored them. A dead CPU keeps them closed.
    closed: [bool; N],
}

impl<const N: usize> Stops<N> {
    pub(super) const fn new() -> Self {
        Stops { now: None, members: [Member::NONE; N], closed: [false; N] }
    }

    pub(super) fn over(&self) -> bool {
        self.now.is_none_or(|now| now.over)
    }

    /// Is a stop under way that a CPU takes part in which is not `online`?
    pub(super) fn joined_by_one_outside(&self, online: &[bool; N]) -> bool {
        let now = self.now.is_some_and(|now| !now.over && !now.aborted && now.leaving.is_none());
        now && (0..N).any(|cpu| self.members[cpu].joined && !online[cpu])
    }

    /// Is this the RUN of a stop in which CPUs leave, with every online CPU and `who` itself frozen?
    pub(super) fn frozen_for(&self, who: CpuId, online: &[bool; N]) -> bool {
        let run =
            self.now.is_some_and(|now| now.stage == Stage::Run && !now.aborted && now.leaving.is_some());
        run && (0..N).all(|cpu| self.closed[cpu] || !online[cpu] && cpu != who.index())
    }

    pub(super) fn feed(&mut self, e: &Event, checks: &mut Checks) -> Verdict {
        let me = e.cpu.index();
        match e.what {
            What::StopBegin { epoch, leaving } => {
                let before = self.now.replace(Now {
                    epoch,
                    leaving,
                    expected: None,
                    stage: Stage::None,
                    acks: 0,
                    aborted: false,
                    over: false,
                });
                self.members = [Member::NONE; N];
                checks.ask(
                    27,
                    before.is_none_or(|now| now.over),
                    e,
                    "a stop begins before the last one is over",
                )?;
                checks.ask(
                    27,
                    before.is_none_or(|now| is_later_epoch(epoch, now.epoch)),
                    e,
                    "a stop has no new number",
                )
            }
            What::IrqsClosed { epoch, active, split, .. } => {
                if let Some(closed) = self.closed.get_mut(me) {
                    *closed = true;
                }
                // Of a stop that was abandoned meanwhile, others have opened theirs again; this CPU is about to see it.
                let abandoned = self.now.is_some_and(|now| now.aborted);
                if !(active && split && self.is(epoch)) || abandoned {
                    return Ok(());
                }
                let alone = self.all(|member, closed| member.active || closed);
                checks.ask(
                    20,
                    alone,
                    e,
                    "an active CPU closes its interrupts before those that stay have closed theirs",
                )
            }
            What::IrqsRestored { epoch, .. } => {
                if let Some(closed) = self.closed.get_mut(me) {
                    *closed = false;
                }
                let still = self.is(epoch) && self.members.iter().any(|member| member.running);
                checks.ask(17, !still, e, "a CPU of the stop opens its interrupts while the function runs")
            }
            What::CpuStarted { .. } => {
                if let Some(closed) = self.closed.get_mut(me) {
                    *closed = false;
                }
                Ok(())
            }
            What::RunBegin { epoch, .. } => {
                if let Some(member) = self.members.get_mut(me) {
                    member.running = true;
                }
                let run =
                    self.now.is_some_and(|now| now.epoch == epoch && now.stage == Stage::Run && !now.aborted);
                checks.ask(18, run, e, "the stop's function runs outside of RUN")?;
                let frozen = self.all(|_, closed| closed);
                checks.ask(
                    17,
                    frozen,
                    e,
                    "the stop's function runs while a CPU of the stop has its interrupts open",
                )
            }
            What::RunEnd { .. } => {
                if let Some(member) = self.members.get_mut(me) {
                    member.running = false;
                }
                Ok(())
            }
            _ => self.stage(e, checks),
        }
    }

    /// Does `holds` for each CPU that takes part, and whether it has closed its interrupts?
    fn all(&self, holds: impl Fn(Member, bool) -> bool) -> bool {
        self.members
            .iter()
            .zip(&self.closed)
            .all(|(member, closed)| !member.joined || holds(*member, *closed))
    }

    fn is(&self, epoch: usize) -> bool {
        self.now.is_some_and(|now| now.epoch == epoch)
    }

    /// How the stop moves. What concerns an older stop is said by CPUs that are late for it, and moves nothing.
    fn stage(&mut self, e: &Event, checks: &mut Checks) -> Verdict {
        let epoch = match e.what {
            What::StopPublished { epoch, .. }
            | What::StageEntered { epoch, .. }
            | What::StageAck { epoch, .. }
            | What::StopAborted { epoch, .. }
            | What::StopEnd { epoch } => epoch,
            _ => return Ok(()),
        };
        // Nobody is active in it: each CPU acknowledges PREPARE and goes its way, and the last one ends it.
        let passes = self.members.iter().all(|member| !member.active);
        let Some(now) = self.now.as_mut().filter(|now| now.epoch == epoch) else { return Ok(()) };
        match e.what {
            What::StopPublished { expected, .. } => {
                now.expected = Some(expected);
                Ok(())
            }
            What::StopAborted { stage, .. } => {
                now.aborted = true;
                checks.ask(18, stage < Stage::Seal, e, "a stop is abandoned that has gone too far")
            }
            What::StopEnd { .. } => {
                now.over = true;
                let done = match now.expected {
                    _ if now.aborted => true,
                    None | Some(0) => true,
                    Some(expected) => now.stage == Stage::Exit && (passes || now.acks >= expected),
                };
                checks.ask(18, done, e, "a stop is over before every CPU acknowledged its end")
            }
            // Whoever moves a stop announces it first, and may find that it was abandoned meanwhile.
            What::StageEntered { stage, .. } if now.aborted => {
                let ends = passes && stage == Stage::Exit;
                checks.ask(18, ends || stage <= Stage::Seal, e, "a stop that was abandoned goes on")
            }
            What::StageEntered { stage, .. } => {
                let from = core::mem::replace(&mut now.stage, stage);
                let acks = core::mem::replace(&mut now.acks, 0);
                checks.ask(18, next(from, stage, passes), e, "a stage is skipped, or entered again")?;
                let all = matches!(from, Stage::None | Stage::Seal)
                    || now.expected.is_some_and(|expected| acks >= expected);
                checks.ask(18, all, e, "a stage is entered before every CPU acknowledged the one before")
            }
            What::StageAck { stage, active, .. } => {
                if now.aborted {
                    return Ok(());
                }
                now.acks += usize::from(stage == now.stage);
                let enough = now.expected.is_none_or(|expected| now.acks <= expected);
                if let Some(member) = self.members.get_mut(e.cpu.index()) {
                    (member.joined, member.active) = (true, active);
                }
                checks.ask(18, stage == now.stage, e, "a stage is acknowledged that the stop is not in")?;
                checks.ask(19, enough, e, "more CPUs take part than the stop waits for")
            }
            _ => Ok(()),
        }
    }
}

/// Does a stop go from `from` to `to`, or a pass?
fn next(from: Stage, to: Stage, passes: bool) -> bool {
    match to {
        Stage::Prepare => from == Stage::None,
        Stage::DisableIrqInactive => from == Stage::Prepare,
        Stage::DisableIrqActive => matches!(from, Stage::Prepare | Stage::DisableIrqInactive),
        Stage::Seal => from == Stage::DisableIrqActive,
        Stage::Run => matches!(from, Stage::DisableIrqActive | Stage::Seal),
        Stage::Exit => from == if passes { Stage::Prepare } else { Stage::Run },
        Stage::None => false,
    }
}
