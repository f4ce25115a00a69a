//! What a schedule costs.
use crate::engine::bounded::preempts;
use crate::vocab::choice::is_interrupt;

/// What a schedule costs, in the order of importance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Cost {
    pub(crate) interrupts: u32,
    pub(crate) preemptions: u32,
    pub(crate) steps: u32,
}

impl Cost {
    /// More than any run costs.
    pub(crate) const MOST: Cost = Cost { interrupts: u32::MAX, preemptions: u32::MAX, steps: u32::MAX };

    /// With one choice more. It is a preemption to leave a CPU whose code could have gone on.
    pub(crate) fn after(self, possible: &[u32], choice: u32, last: Option<usize>) -> Cost {
        let left = preempts(possible, choice, last);
        Cost {
            interrupts: self.interrupts + u32::from(is_interrupt(choice)),
            preemptions: self.preemptions + u32::from(left),
            steps: self.steps + 1,
        }
    }

    /// No part of it is more than this part of the other.
    pub(crate) const fn is_within(self, other: Cost) -> bool {
        self.interrupts <= other.interrupts
            && self.preemptions <= other.preemptions
            && self.steps <= other.steps
    }
}
