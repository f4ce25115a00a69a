//! Conditions that are waited for: what the checker takes their word for is checked while it looks at them.
//!
//! A wait is looked at more often than a port would, and a look that finds nothing leaves no trace in a state. That is sound only if a condition
//!
//! 1. changes nothing while it does not hold: no memory, no interrupt, no IPI, no event;
//! 2. remembers nothing: it answers by what it reads.
//!
//! The first is looked at in every look. For the second the first 64 looks of a search, and each 64th after them, are made twice, and have to answer
//! alike. What breaks one of them is reported as the rule [`RULE`].

use crate::machine::state::Watch;
use std::panic::Location;

use crate::machine::world::{World, with};

/// What is reported of a condition that does more than look.
pub(crate) const RULE: &str = "condition";

/// So many looks are made twice, and then one of so many.
const FIRST: u32 = 64;
const EVERY: u32 = 64;

/// A condition that is only looked at does something: the check ends here.
#[cold]
pub(crate) fn does_more(does: &str, at: &'static Location<'static>) -> ! {
    with(|w| {
        w.wrong_condition(&format!("{does} at {}:{}, while it is only looked at", at.file(), at.line()), at)
    });
    crate::machine::announce::rest_for_ever()
}

/// As [`does_more`], if a condition is looked at.
#[inline]
pub(crate) fn only_looks(does: &str, at: &'static Location<'static>) {
    if with(|w| w.look.peeking.is_some()) {
        does_more(does, at);
    }
}

/// Looks once more, now and then: does the condition answer alike?
pub(crate) fn look_again<R>(
    poll: &mut impl FnMut() -> Option<R>,
    held: bool,
    at: &'static Location<'static>,
) {
    let again = with(|w| {
        w.look.looks = w.look.looks.saturating_add(u32::from(w.phase.branching));
        // Who replays a run has not counted the looks of others.
        w.phase.branching
            && (w.look.looks < FIRST || w.look.looks.is_multiple_of(EVERY) || w.step.budget.is_some())
    });
    if !again {
        return;
    }
    let before = with(|w| w.thread_ref().watch);
    let (holds, watch) = look(poll, 0);
    if holds != held || !watch.iter().eq(before.iter()) {
        with(|w| {
            w.wrong_condition("answers differently when it is looked at twice: it remembers something", at)
        });
        crate::machine::announce::rest_for_ever();
    }
}

/// The condition was looked at, for real or not. `swapped`: a compare-and-swap in it succeeded, or would have.
pub(crate) fn left_no_trace(holds: bool, changed: bool, at: &'static Location<'static>) {
    if changed && !holds {
        with(|w| w.wrong_condition("does not hold, and has changed something", at));
        crate::machine::announce::rest_for_ever();
    }
}

impl World {
    fn wrong_condition(&mut self, does: &str, at: &'static Location<'static>) {
        self.look.peeking = None;
        let (cpu, file, line) = (self.cpu, at.file(), at.line());
        let text = format!(
            "on CPU {cpu} a condition that is waited for {does}: a condition may be looked at any number of times, so it reads memory, answers, and changes nothing until it holds"
        );
        self.fail(RULE, text, format!("{file}:{line}"));
    }
}

/// Looks at the messages that are `age` older than the newest.
pub(crate) fn look<R>(poll: &mut impl FnMut() -> Option<R>, age: u32) -> (bool, Watch) {
    with(|w| {
        w.look.peeking = Some(Watch::NONE);
        (w.look.age, w.look.vain) = (age, false);
    });
    let holds = poll().is_some();
    with(|w| {
        w.look.age = 0;
        (holds && !w.look.vain, w.look.peeking.take().unwrap_or(Watch::NONE))
    })
}
