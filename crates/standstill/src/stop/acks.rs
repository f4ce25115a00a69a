//! Counting acknowledgements: who came last?
//!
//! One word, (tag, count). The tag is the stop's number and stage, so that a CPU that is late for an abandoned stop can't be
//! counted for the next one. Kept apart so that machines with many CPUs can have a tree here instead.

use core::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::platform::{Memory, Word};

const COUNT_BITS: u32 = 16;
const COUNT: usize = (1 << COUNT_BITS) - 1;

/// The most CPUs that can be counted.
pub(crate) const MAX: usize = COUNT;

pub(crate) struct Acks<P: Memory> {
    word: P::Word,
}

impl<P: Memory> Acks<P> {
    pub(crate) const fn new() -> Self {
        Acks { word: P::Word::ZERO }
    }

    /// One CPU acknowledges what `tag` names; true for the one that completes `expected`.
    ///
    /// AcqRel: the last one has seen all that the others did before they acknowledged, and its next step publishes it.
    pub(crate) fn ack(&self, tag: usize, expected: usize) -> bool {
        let mut seen = self.word.guess();
        loop {
            let count = match seen >> COUNT_BITS {
                newer if newer > tag => return false,
                same if same == tag => (seen & COUNT) + 1,
                _ => 1,
            };
            match self.word.compare_exchange(seen, tag << COUNT_BITS | count, AcqRel, Relaxed) {
                Ok(_) => return count == expected,
                Err(now) => seen = now,
            }
        }
    }
}
