//! Counting acknowledgements: who came last?
//!
//! A combining tree (`tree.rs`). The CPU that comes last in its group goes on to the next level; the one that comes last at the root is last of all. So no word
//! is written by more CPUs than the port wants to meet in one cache line, and the longest way to the last acknowledgement grows with the number of levels. A group
//! with a single member in the stop has nobody to count: its member goes on at once.
//!
//! Each word is (tag, count). The tag is the stop's number and stage, so that a CPU that is late for an abandoned stop can't be
//! counted for the next one. It may find the `expected` of that next one, and take itself for the last of its group and even of all; but then it
//! tries to move the stage word away from a stage that is over, and fails.
//!
//! # Ordering
//! Each count is acquire-release: who comes last in a group has seen what its other members did before, takes that along to its own next count, and so up
//! to the root. `expected` is relaxed: it is written before the first stage is published, and acknowledgements come after that was seen.

use core::sync::atomic::Ordering::{AcqRel, Relaxed};

use super::stage::{At, is_later};
use super::tree::Shape;
use super::work::Part;
use crate::cpu::CpuId;
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{Memory, Platform, Word};

pub(super) const COUNT_BITS: u32 = 16;
const COUNT: usize = (1 << COUNT_BITS) - 1;

/// The most CPUs that can be counted.
pub(crate) const MAX: usize = COUNT;

/// The acknowledgements of one group.
pub(crate) struct Acks<P: Memory> {
    word: P::Word,
    /// How many members (children, above level 0) take part in the stop. Not counted down: it is the same in each stage.
    expected: P::Word,
}

impl<P: Memory> Acks<P> {
    pub(crate) const fn new() -> Self {
        Acks { word: P::Word::ZERO, expected: P::Word::ZERO }
    }

    /// One member acknowledges what `tag` names; true for the one that completes the group.
    fn ack(&self, tag: usize) -> bool {
        // Before the exchange: after it, the stop may be over, and the next one may change this.
        let expected = self.expected.load(Relaxed);
        if expected == 1 {
            return true;
        }
        let mut seen = self.word.load_for_cas();
        loop {
            let count = match seen >> COUNT_BITS {
                later if is_later(later, tag) => return false,
                same if same == tag => (seen & COUNT) + 1,
                _ => 1,
            };
            // AcqRel: see the module.
            match self.word.compare_exchange(seen, tag << COUNT_BITS | count, AcqRel, Relaxed) {
                Ok(_) => return count == expected,
                Err(now) => seen = now,
            }
        }
    }

    /// As if it had counted up to `at` so far.
    #[cfg(feature = "study")]
    pub(super) fn spend(&self, at: At) {
        self.word.store(at.pack() << COUNT_BITS, Relaxed);
    }

    /// Has the group so few members in the stop that they need not meet? Only a hint while the stop is filled in.
    pub(super) fn is_lonely(&self) -> bool {
        self.expected.load(Relaxed) <= 1
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    #[inline(always)]
    pub(super) fn shape(&self) -> Shape {
        Shape::new(self.platform.fan_in(), N)
    }

    /// `me` acknowledges `at`; true if it is the last of all.
    pub(super) fn count_in(&self, me: CpuId, part: Part, at: At) -> bool {
        let shape = self.shape();
        (0..=part.top.min(shape.top())).all(|level| match shape.host(level, me.index()) {
            Some(host) => self.cpu[host].acks.ack(at.pack()),
            None => true,
        })
    }

    /// Before a stop: how many acknowledge in each group, up to the level `top`.
    pub(super) fn expect(&self, members: &CpuMask<W>, top: usize) {
        let shape = self.shape();
        if shape.top() == 0 {
            self.cpu[0].acks.expected.store(members.len(), Relaxed);
            return;
        }
        for level in 0..=top {
            let mut group = None;
            let mut child = None;
            let mut count = 0;
            for cpu in members {
                // A group without a node has one child, and its node is not asked.
                let Some(host) = shape.host(level, cpu.index()) else { continue };
                if group != Some(host) {
                    self.set_expected(group, count);
                    (group, child, count) = (Some(host), None, 0);
                }
                let part = cpu.index() / shape.child(level);
                if child != Some(part) {
                    (child, count) = (Some(part), count + 1);
                }
            }
            self.set_expected(group, count);
        }
    }

    fn set_expected(&self, host: Option<usize>, count: usize) {
        if let Some(host) = host {
            self.cpu[host].acks.expected.store(count, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::Stage;
    use crate::stop::stage::{LAST_EPOCH, next_epoch};

    struct Ram;

    smpmem::native_memory!(Ram);

    /// Numbers are used again: the first stops after the last number are later than those before it.
    #[test]
    fn acknowledgements_are_counted_across_the_last_epoch() {
        let acks = Acks::<Ram>::new();
        acks.expected.store(2, Relaxed);
        let mut epoch = LAST_EPOCH - 1;
        acks.word.store(At::new(epoch, Stage::None).pack() << COUNT_BITS, Relaxed);
        let mut before = None;
        for _ in 0..4 {
            for stage in [Stage::Prepare, Stage::DisableIrqActive, Stage::Run, Stage::Exit] {
                let tag = At::new(epoch, stage).pack();
                assert!(!acks.ack(tag), "one of two");
                assert!(before.is_none_or(|old| !acks.ack(old)), "too late");
                assert!(acks.ack(tag), "the last of {epoch}");
                before = Some(tag);
            }
            epoch = next_epoch(epoch);
        }
    }

    #[test]
    fn who_is_late_for_an_abandoned_stop_changes_nothing_in_the_next() {
        let acks = Acks::<Ram>::new();
        acks.expected.store(2, Relaxed);
        let tag = |epoch, stage| At::new(epoch, stage).pack();
        let (old, new) = (tag(1, Stage::DisableIrqActive), tag(2, Stage::Prepare));
        assert!(!acks.ack(old), "one of two: and then it is abandoned");
        assert!(!acks.ack(new), "one of two");
        assert!(!acks.ack(old), "too late");
        assert!(acks.ack(new), "the last of the new one");
        assert!(!acks.ack(tag(2, Stage::Run)), "each stage is counted anew");
    }
}
