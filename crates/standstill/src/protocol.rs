//! How a CPU leaves: the protocols, as values with names, and what each promises.
//!
//! The race that they differ in, from a kernel mail of 2014: CPU 2 is about to leave and has closed its interrupts
//! inside stop-machine; CPU 1 has not yet, takes a device interrupt, and its handler legally sends a call to CPU 2, which is
//! still in the online mask. CPU 2 notices when it is gone.
//!
//! | preset | disable stages | drain | stays deaf | promises |
//! |---|---|---|---|---|
//! | `linux-3.14` (study) | single | none | no | nothing |
//! | `seed-v6` (study) | split | none | no | nothing, unless IPIs are instant |
//! | `linux-6.12` (study) | single | at the dying step | no | W, L |
//! | `single-deaf` | single | at the start of RUN | yes | W, L, S, O |
//! | [`standstill`](Protocol::STANDSTILL) | split | at the start of RUN | yes | W, L, S, O (and F, if IPIs are instant) |
//! | `no-stop` (study) | none | after a pass of every stopper | yes | L |
//! | `refuse` | none | after a pass of every stopper | yes | W, L, S, O, F |
//!
//! Those without a stop have a price that no letter shows: a pinned section may not rely on `online`, and
//! [`on_each_cpu`](crate::Machine::on_each_cpu) leaves out a CPU that is leaving and runs still. See
//! [`pins_online`](Protocol::pins_online).

use core::fmt;

/// What may go wrong for a call to a CPU that leaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Property {
    /// W: a handler finds a queued call while its CPU is offline.
    Late,
    /// L: a queued call never runs.
    Lost,
    /// S: an IPI is taken on an offline CPU at all.
    Spurious,
    /// O: a call from another CPU runs while its CPU is outside the online mask.
    Outside,
    /// F: a call from another CPU runs while the machine is frozen.
    Frozen,
}

impl Property {
    /// All of them, in the order W, L, S, O, F.
    pub const ALL: [Property; 5] =
        [Property::Late, Property::Lost, Property::Spurious, Property::Outside, Property::Frozen];

    /// The letter.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Property::Late => 'W',
            Property::Lost => 'L',
            Property::Spurious => 'S',
            Property::Outside => 'O',
            Property::Frozen => 'F',
        }
    }
}

/// Which CPUs close their interrupts when, in the stop that takes a CPU out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stages {
    /// All in one stage.
    Single,
    /// Those that stay first, the one that goes last.
    Split,
    /// No stop at all.
    None,
}

/// When the CPU that leaves runs what is queued for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Drain {
    /// Never.
    None,
    /// After it left the online mask, as one of the DYING steps.
    Dying,
    /// In RUN, before it leaves the online mask; the DYING step asserts that the queue is still empty.
    RunStart,
    /// Without a stop: after a pass of every other CPU's stopper.
    Pass,
}

/// How a CPU leaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Protocol {
    pub(crate) name: &'static str,
    pub(crate) stages: Stages,
    pub(crate) drain: Drain,
    pub(crate) deaf: bool,
    /// Without a stop: senders are refused before the pass, while the CPU is still online.
    pub(crate) refuse_first: bool,
    pub(crate) promises: &'static [Property],
}

impl Protocol {
    /// The default: split stages, drain at the start of RUN, deaf to the end.
    pub const STANDSTILL: Protocol = Protocol {
        name: "standstill",
        stages: Stages::Split,
        drain: Drain::RunStart,
        deaf: true,
        refuse_first: false,
        promises: &[Property::Late, Property::Lost, Property::Spurious, Property::Outside],
    };

    /// As [`STANDSTILL`](Self::STANDSTILL) with one disable stage: as safe, and more calls have to run while the
    /// machine is frozen.
    pub const SINGLE_DEAF: Protocol =
        Protocol { name: "single-deaf", stages: Stages::Single, ..Self::STANDSTILL };

    /// No stop: senders are refused, every stopper passes, the CPU drains and leaves. Nobody is frozen, so the DYING callbacks
    /// run beside everybody else, and pinned sections have [less to rely on](Self::pins_online).
    pub const REFUSE: Protocol = Protocol {
        name: "refuse",
        stages: Stages::None,
        drain: Drain::Pass,
        deaf: true,
        refuse_first: true,
        promises: &Property::ALL,
    };

    /// Linux 3.14, with the mail's race.
    #[cfg(feature = "study")]
    pub const LINUX_3_14: Protocol = Protocol {
        name: "linux-3.14",
        stages: Stages::Single,
        drain: Drain::None,
        deaf: false,
        refuse_first: false,
        promises: &[],
    };

    /// The mail's patch alone.
    #[cfg(feature = "study")]
    pub const SEED_V6: Protocol = Protocol { name: "seed-v6", stages: Stages::Split, ..Self::LINUX_3_14 };

    /// What Linux does since 3.15: the dying CPU flushes its queue after it left the online mask.
    #[cfg(feature = "study")]
    pub const LINUX_6_12: Protocol = Protocol {
        name: "linux-6.12",
        drain: Drain::Dying,
        promises: &[Property::Late, Property::Lost],
        ..Self::LINUX_3_14
    };

    /// As [`REFUSE`](Self::REFUSE), but the online bit is all that refuses.
    #[cfg(feature = "study")]
    pub const NO_STOP: Protocol =
        Protocol { name: "no-stop", refuse_first: false, promises: &[Property::Lost], ..Self::REFUSE };

    /// All presets that this build knows.
    pub const ALL: &'static [Protocol] = &[
        Self::STANDSTILL,
        Self::SINGLE_DEAF,
        Self::REFUSE,
        #[cfg(feature = "study")]
        Self::LINUX_3_14,
        #[cfg(feature = "study")]
        Self::SEED_V6,
        #[cfg(feature = "study")]
        Self::LINUX_6_12,
        #[cfg(feature = "study")]
        Self::NO_STOP,
    ];

    /// The preset with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Protocol> {
        Self::ALL.iter().copied().find(|p| p.name == name)
    }

    /// The preset's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its disable stages.
    #[must_use]
    pub const fn stages(&self) -> Stages {
        self.stages
    }

    /// Its drain.
    #[must_use]
    pub const fn drain(&self) -> Drain {
        self.drain
    }

    /// Does a CPU that leaves never open its interrupts again?
    #[must_use]
    pub const fn deaf(&self) -> bool {
        self.deaf
    }

    /// Is a CPU that a pinned section found in the online mask there, and does it take calls, until that
    /// section ends? If not, that is so for the active mask only; and
    /// [`on_each_cpu`](crate::Machine::on_each_cpu) leaves out a CPU from the moment that it takes no
    /// calls, while it is online and runs.
    #[must_use]
    pub const fn pins_online(&self) -> bool {
        !matches!(self.stages, Stages::None)
    }

    /// What it promises, whatever the latency of IPIs. Only a broken promise is a failure.
    #[must_use]
    pub const fn promises(&self) -> &'static [Property] {
        self.promises
    }
}

impl Default for Protocol {
    fn default() -> Self {
        Self::STANDSTILL
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
