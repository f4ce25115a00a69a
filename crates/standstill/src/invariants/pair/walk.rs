//! One operation on one CPU: the walk through its states, and the way back. Rules 35, 37, 39, 40; the part of 36 that needs to know
//! that an operation is under way.
//!
//! A walk announces every state that has callbacks, also those that have none in its direction. So the way back has to announce
//! exactly the states that succeeded on the way forth, in reverse.

use super::cpus::{Bits, Cpu};
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

    fn remove(&mut self, state: StateId) {
        self.0 &= !(1 << state.index());
    }

    fn lowest(self) -> Option<StateId> {
        StateId::from_index(self.0.trailing_zeros() as usize)
    }

    fn highest(self) -> Option<StateId> {
        StateId::from_index(127 - self.0.leading_zeros().min(127) as usize).filter(|state| self.has(*state))
    }
}

/// An operation that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Operation {
    up: bool,
    pub(super) target: StateId,
    pub(super) began: Bits,
    /// The way back ended before its end, and says so: a callback failed there, or the CPU no longer answers.
    pub(super) stuck: bool,
    /// The last callback, and whether it was on the way back.
    last: Option<(StateId, bool)>,
    /// It has not ended yet.
    inside: bool,
    /// The last callback failed where none may.
    forbidden: bool,
    /// What succeeded on the way forth and was not undone yet.
    done: States,
    /// A callback failed on the way forth.
    failed: bool,
    /// The way back has begun.
    back: bool,
}

/// May a callback in this state report a failure?
fn may_fail(state: StateId, back: bool, up: bool) -> bool {
    match state.section() {
        Some(Section::Online) => true,
        Some(Section::Prepare) => up != back,
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
                began: cpu.bits(),
                stuck: false,
                last: None,
                inside: false,
                forbidden: false,
                done: States::EMPTY,
                failed: false,
                back: false,
            });
            checks.ask(35, before.is_none(), e, "an operation on a CPU begins inside another one on it")
        }
        What::UpEnd { ok, .. } | What::DownEnd { ok, .. } => {
            let Some(op) = cpu.operation.take() else {
                return checks.ask(35, false, e, "an operation ends that did not begin");
            };
            let failed = op.failed || op.back;
            // One that is not seen dead in time may be in its DYING callbacks.
            let over = !op.inside || op.stuck || cpu.leaves;
            checks.ask(35, over, e, "an operation ends and a callback of it has not returned")?;
            checks.ask(37, !(ok && failed), e, "an operation reports success, and a callback of it failed")
        }
        What::StateEnter { who, state, walk, .. } => {
            // Outside of an operation, callbacks are being added or removed.
            let Some(op) = cpu.operation.as_mut() else { return Ok(()) };
            let elsewhere = state.section() != Some(Section::Prepare) || e.cpu != who;
            op.enter(e, state, walk, checks).and(checks.ask(
                36,
                elsewhere,
                e,
                "a PREPARE or DEAD callback runs on the CPU that it is for",
            ))
        }
        What::InjectionArmed { state, .. } => {
            cpu.armed = Some(state);
            Ok(())
        }
        What::InjectionDropped { state, .. } => {
            let was = cpu.armed.take();
            checks.ask(40, was == Some(state), e, "an injected failure is forgotten that was not armed")
        }
        What::StateLeave { state, walk, outcome, .. } => {
            let armed = cpu.armed == Some(state);
            let struck = outcome == Outcome::Injected;
            if struck {
                cpu.armed = None;
            }
            let due = checks.ask(
                40,
                armed || !struck,
                e,
                "an injected failure strikes where none is armed, or twice",
            );
            let Some(op) = cpu.operation.as_mut() else { return due };
            let passed = armed && !struck && !op.is_back(state, walk) && may_fail(state, false, op.up);
            let struck = checks.ask(40, !passed, e, "a walk passes a state whose failure is armed");
            due.and(struck).and(op.leave(e, state, walk, outcome, checks))
        }
        _ => Ok(()),
    }
}

impl Operation {
    /// Is nothing left of what succeeded, above `state`?
    pub(super) fn undone_down_to(&self, state: StateId) -> bool {
        self.done.highest().is_none_or(|left| left <= state)
    }

    /// Is this a step of the way back? A CPU that comes up and has to leave again goes down the states of its own as in any other
    /// leaving.
    fn is_back(&self, state: StateId, walk: Walk) -> bool {
        match walk {
            Walk::RollbackDown | Walk::RollbackUp => true,
            Walk::Down => self.up && state.section() == Some(Section::Starting),
            Walk::Up => false,
        }
    }

    fn enter(&mut self, e: &Event, state: StateId, walk: Walk, checks: &mut Checks) -> Verdict {
        let back = self.is_back(state, walk);
        let last = self.last.replace((state, back));
        let inside = core::mem::replace(&mut self.inside, true);
        let forbidden = core::mem::replace(&mut self.forbidden, false);
        let turned = back && !self.back;
        self.back |= back;
        let ascends = matches!(walk, Walk::Up | Walk::RollbackUp);

        let next = if self.up { self.done.highest() } else { self.done.lowest() };
        if back {
            // Also if it fails here: it is not tried again.
            self.done.remove(state);
        }

        checks.ask(35, !inside, e, "a callback begins inside another one of the same walk")?;
        checks.ask(
            35,
            ascends == (self.up != back),
            e,
            "a callback runs in a direction that the operation does not take",
        )?;
        if back {
            checks.ask(
                39,
                !(turned && forbidden),
                e,
                "the walk turns around after a failure where none is allowed",
            )?;
            checks.ask(37, next == Some(state), e, "the way back does not undo what succeeded last")
        } else {
            checks.ask(37, !self.back, e, "the walk goes on after its rollback began")?;
            let onward = last.is_none_or(|(at, _)| if self.up { state > at } else { state < at });
            checks.ask(35, onward, e, "a state is passed out of order, or twice")
        }
    }

    fn leave(
        &mut self,
        e: &Event,
        state: StateId,
        walk: Walk,
        outcome: Outcome,
        checks: &mut Checks,
    ) -> Verdict {
        let back = self.is_back(state, walk);
        let inside = core::mem::replace(&mut self.inside, false);
        let entered = inside && self.last == Some((state, back));
        let fallible = may_fail(state, back, self.up);
        self.forbidden = outcome != Outcome::Ok && !fallible;
        if back {
            self.stuck |= outcome != Outcome::Ok;
        } else if outcome == Outcome::Ok || !fallible {
            self.done.add(state);
        } else {
            self.failed = true;
        }
        checks.ask(35, entered, e, "a callback returns that was not entered")?;
        if outcome == Outcome::Injected {
            checks.ask(40, !back && fallible, e, "an injected failure strikes where a walk must not fail")?;
        }
        Ok(())
    }
}
