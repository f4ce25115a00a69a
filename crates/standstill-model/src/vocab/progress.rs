//! How far a search is, how far it came, and why it ended.

/// How far a search has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Different states so far.
    pub states: u64,
    /// Steps so far.
    pub steps: u64,
    /// Runs so far, for the engines that run schedules one by one.
    pub runs: u64,
    /// How deep the search is at the moment.
    pub depth: usize,
    /// Time since it began, in nanoseconds.
    pub time_ns: u64,
}

/// What a search covered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coverage {
    /// Everything, within the stated assumptions.
    Exhausted {
        /// How many states there are (traces, for the engine that counts those).
        states: u64,
    },
    /// It ended before everything was seen: a limit, a violation, or somebody stopped it.
    Bounded {
        /// How many states were seen.
        states: u64,
        /// Why it ended.
        by: Bound,
    },
    /// So many random schedules.
    Random {
        /// How many.
        runs: u64,
    },
}

/// Why a search ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// [`Limits::states`](crate::config::options::Limits::states).
    States,
    /// [`Limits::seconds`](crate::config::options::Limits::seconds).
    Seconds,
    /// [`Limits::bytes`](crate::config::options::Limits::bytes).
    Bytes,
    /// A bound on preemptions.
    Preemptions,
    /// A violation was found.
    Violation,
    /// The caller asked for it.
    Stopped,
}
