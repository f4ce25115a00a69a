//! One operation on one CPU: the walk through its states, and the way back. Rules 35, 37, 39, 40; the part of 36 that needs to know
//! that an operation is under way.

use super::cpus::Cpu;
use crate::event::{Event, Outcome, Walk, What};
use crate::hotplug::{Section, StateId};
use crate::invariants::{Checks, Verdict};

/// A set of states.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct States(u128);

const _: () = assert!(StateId::COUNT <= 128, "a set of states has 128 bits");

impl States {
    const EMPTY: States = States(0);

    const fn has(self, state: StateId) -> bool {
        self.0 & (1 << state.index()) != 0
    }

    fn add(&mut self, state: StateId) {
        self.0 |= 1 << state.index();
    }
}

/// An operation that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Operation {
    up: bool,
    pub(super) target: StateId,
    /// The last callback and its direction.
    last: Option<(StateId, Walk)>,
    /// It has not ended yet.
    inside: bool,
    /// How the last one ended.
    outcome: Outcome,
    /// What the forward walk did.
    done: States,
    /// Where the forward walk failed.
    failed: States,
    injected: States,
    back: bool,
}

/// Is this the direction in which states are left, the higher ones first?
fn descends(walk: Walk) -> bool {
    matches!(walk, Walk::Down | Walk::RollbackDown)
}

fn rolls_back(walk: Walk) -> bool {
    matches!(walk, Walk::RollbackDown | Walk::RollbackUp)
}

/// May a callback in this state, in this direction, report a failure?
fn may_fail(state: StateId, walk: Walk) -> bool {
    match state.section() {
        Some(Section::Online) => true,
        Some(Section::Prepare) => !descends(walk),
        Some(Section::Starting) | None => false,
    }
}

pub(super) fn feed(cpu: &mut Cpu, e: &Event, checks: &mut Checks) -> Verdict {
    match e.what {
        What::UpBegin { target, .. } | What::DownBegin { target, .. } => {
            let up = matches!(e.what, What::UpBegin { .. });
            let before = cpu.operation.replace(Operation {
                up,
                target,
                last: None,
                inside: false,
                outcome: Outcome::Ok,
                done: States::EMPTY,
                failed: States::EMPTY,
                injected: States::EMPTY,
                back: false,
            });
            checks.ask(35, before.is_none(), e, "an operation on a CPU begins inside another one on it")
        }
        What::UpEnd { ok, .. } | What::DownEnd { ok, .. } => {
            let Some(op) = cpu.operation.take() else {
                return checks.ask(35, false, e, "an operation ends that did not begin");
            };
            checks.ask(35, !op.inside, e, "an operation ends and a callback of it has not returned")?;
            let failed = op.failed != States::EMPTY || op.back;
            checks.ask(37, !(ok && failed), e, "an operation reports success, and a callback of it failed")
        }
        What::StateEnter { who, state, walk, .. } => {
            // Outside of an operation, callbacks are being added or removed.
            let Some(op) = cpu.operation.as_mut() else { return Ok(()) };
            if state.section() == Some(Section::Prepare) {
                checks.ask(
                    36,
                    e.cpu != who,
                    e,
                    "a PREPARE or DEAD callback runs on the CPU that it is for",
                )?;
            }
            op.enter(e, state, walk, checks)
        }
        What::StateLeave { state, walk, outcome, .. } => {
            let Some(op) = cpu.operation.as_mut() else { return Ok(()) };
            op.leave(e, state, walk, outcome, checks)
        }
        _ => Ok(()),
    }
}

impl Operation {
    fn enter(&mut self, e: &Event, state: StateId, walk: Walk, checks: &mut Checks) -> Verdict {
        let last = self.last.replace((state, walk));
        let inside = core::mem::replace(&mut self.inside, true);
        let outcome = core::mem::replace(&mut self.outcome, Outcome::Ok);
        let turned = rolls_back(walk) && !self.back;
        self.back |= rolls_back(walk);

        checks.ask(35, !inside, e, "a callback begins inside another one of the same walk")?;
        let own = match walk {
            Walk::Up | Walk::RollbackDown => self.up,
            Walk::Down | Walk::RollbackUp => !self.up,
        };
        checks.ask(35, own, e, "a callback runs in a direction that the operation does not take")?;
        if rolls_back(walk) {
            if let (true, Some((at, forward))) = (turned, last) {
                let allowed = outcome == Outcome::Ok || may_fail(at, forward);
                checks.ask(
                    39,
                    allowed,
                    e,
                    "the walk turns around after a failure in a section that can't fail",
                )?;
            }
            checks.ask(37, !self.failed.has(state), e, "the rollback undoes the state that failed")?;
            if let (false, Some((at, _))) = (turned, last) {
                let onward = if descends(walk) { state < at } else { state > at };
                checks.ask(37, onward, e, "the rollback does not undo in reverse order, or undoes twice")?;
            }
            checks.ask(37, self.passed(state), e, "the rollback undoes a state that the walk did not pass")
        } else {
            checks.ask(37, !self.back, e, "the walk goes on after its rollback began")?;
            let onward = last.is_none_or(|(at, _)| if descends(walk) { state < at } else { state > at });
            checks.ask(35, onward, e, "a state is passed out of order, or twice")
        }
    }

    /// Did the forward walk get past `state`? It need not have run a callback there: a state may have one side only. If no callback
    /// failed, something else did, and how far the walk got is not in the log.
    fn passed(&self, state: StateId) -> bool {
        let States(failed) = self.failed;
        failed == 0
            || if self.up { failed >> state.index() != 0 } else { failed << (127 - state.index()) != 0 }
    }

    fn leave(
        &mut self,
        e: &Event,
        state: StateId,
        walk: Walk,
        outcome: Outcome,
        checks: &mut Checks,
    ) -> Verdict {
        let inside = core::mem::replace(&mut self.inside, false);
        let entered = inside && self.last == Some((state, walk));
        self.outcome = outcome;
        if !rolls_back(walk) {
            if outcome == Outcome::Ok || !may_fail(state, walk) {
                self.done.add(state);
            } else {
                self.failed.add(state);
            }
        }
        checks.ask(35, entered, e, "a callback returns that was not entered")?;
        if outcome == Outcome::Injected {
            let again = self.injected.has(state);
            self.injected.add(state);
            checks.ask(40, !again, e, "an injected failure strikes twice in one operation")?;
            let may = !rolls_back(walk) && may_fail(state, walk);
            checks.ask(40, may, e, "an injected failure strikes where a walk must not fail")?;
        }
        Ok(())
    }
}
