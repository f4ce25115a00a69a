//! The stages of a stop, and the word that holds the current one.

use core::fmt;

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

    /// Later stages of one stop, and later stops, have larger words.
    pub(crate) const fn pack(self) -> usize {
        self.epoch << 4 | (self.aborted as usize) << 3 | self.stage as usize
    }

    pub(crate) const fn unpack(word: usize) -> At {
        At { epoch: word >> 4, stage: Stage::ALL[word & 7], aborted: word & 8 != 0 }
    }
}
