//! The stages of a stop, and the word that holds the current one.

use core::fmt;

use super::acks::COUNT_BITS;

/// A stage of stop-machine: the mail's six, and the library's inner step between the last disable and RUN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[doc(alias = "multi_stop_state")]
#[repr(u8)]
pub enum Stage {
    /// Works are being queued; a stopper that is early waits here.
    None = 0,
    /// Every stopper is in the loop; interrupts are still open.
    Prepare = 1,
    /// The CPUs that stay close their interrupts.
    DisableIrqInactive = 2,
    /// The active CPUs (or, in a protocol with one stage, all) close theirs.
    DisableIrqActive = 3,
    /// Nobody can send any more: the CPU that came last shuts the queues of those that leave. Not a stage that CPUs
    /// acknowledge.
    Seal = 4,
    /// The active CPUs run the function, the others spin.
    Run = 5,
    /// Interrupts are restored.
    Exit = 6,
}

impl Stage {
    const ALL: [Stage; 7] = [
        Stage::None,
        Stage::Prepare,
        Stage::DisableIrqInactive,
        Stage::DisableIrqActive,
        Stage::Seal,
        Stage::Run,
        Stage::Exit,
    ];

    /// The name in reports, as the mail writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Stage::None => "NONE",
            Stage::Prepare => "PREPARE",
            Stage::DisableIrqInactive => "DISABLE_IRQ_INACTIVE",
            Stage::DisableIrqActive => "DISABLE_IRQ_ACTIVE",
            Stage::Seal => "SEAL",
            Stage::Run => "RUN",
            Stage::Exit => "EXIT",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many bits a packed [`At`] has at most: below it, `acks.rs` keeps a count in the same word.
const AT_BITS: u32 = usize::BITS - COUNT_BITS;
/// Epochs are counted up to here, and then from 0 again. All words that hold one have room for it.
pub(crate) const LAST_EPOCH: usize = usize::MAX >> (COUNT_BITS + STAGE_BITS);
const STAGE_BITS: u32 = 4;

/// The number of the stop after `epoch`.
pub(crate) const fn next_epoch(epoch: usize) -> usize {
    if epoch == LAST_EPOCH { 0 } else { epoch + 1 }
}

/// Is the packed [`At`] `a` later than `b`? As on a circle, since numbers are used again: right as long as
/// they are less than half of all epochs apart. So a CPU would have to be late for more than 2^43 stops
/// (with 64 bits) to take an old one for a new one.
#[inline(always)]
pub(crate) const fn is_later(a: usize, b: usize) -> bool {
    (a.wrapping_sub(b) << (usize::BITS - AT_BITS)).cast_signed() > 0
}

/// As [`is_later`], for epochs.
#[inline(always)]
pub(crate) const fn is_later_epoch(a: usize, b: usize) -> bool {
    is_later(a << STAGE_BITS, b << STAGE_BITS)
}

/// Where a stop is, in one word, so that one compare-and-swap moves it, and nobody can move another stop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct At {
    pub(crate) epoch: usize,
    pub(crate) stage: Stage,
    /// The deadline was over in this stage: interrupts are restored, nothing runs.
    pub(crate) aborted: bool,
}

impl At {
    pub(crate) const fn new(epoch: usize, stage: Stage) -> At {
        At { epoch, stage, aborted: false }
    }

    /// Later stages of one stop, and later stops, have later words; see [`is_later`].
    pub(crate) const fn pack(self) -> usize {
        self.epoch << STAGE_BITS | (self.aborted as usize) << 3 | self.stage as usize
    }

    pub(crate) const fn unpack(word: usize) -> At {
        At { epoch: word >> STAGE_BITS, stage: Stage::ALL[word & 7], aborted: word & 8 != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_later_in_a_circle() {
        let at = |epoch, stage| At::new(epoch, stage).pack();
        let mut epoch = LAST_EPOCH - 2;
        for _ in 0..5 {
            let next = next_epoch(epoch);
            assert!(is_later_epoch(next, epoch) && !is_later_epoch(epoch, next));
            assert!(!is_later_epoch(epoch, epoch));
            assert!(is_later(at(next, Stage::None), at(epoch, Stage::Exit)));
            assert!(is_later(at(epoch, Stage::Exit), at(epoch, Stage::Run)));
            let aborted = At { aborted: true, ..At::new(epoch, Stage::Prepare) };
            assert!(is_later(aborted.pack(), at(epoch, Stage::Prepare)));
            assert!(is_later(at(next, Stage::None), aborted.pack()));
            assert_eq!(At::unpack(aborted.pack()), aborted);
            epoch = next;
        }
        assert_eq!(epoch, 2, "it went round");
    }

    /// What holds an epoch has room for it: the word of an acknowledgement, and that of a CPU's part.
    #[test]
    fn each_word_has_room_for_the_last_epoch() {
        let last = At { aborted: true, ..At::new(LAST_EPOCH, Stage::Exit) }.pack();
        assert_eq!(last << COUNT_BITS >> COUNT_BITS, last);
        let part = super::super::work::Part {
            epoch: LAST_EPOCH,
            active: true,
            leaves: true,
            split: true,
            pass: true,
            watches: true,
            top: 31,
        };
        assert_eq!(super::super::work::Part::unpack(part.pack()), part);
    }
}
