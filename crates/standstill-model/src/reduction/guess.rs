//! A guess whose compare-and-swap is due: see [`crate::machine::guess`].

use std::panic::Location;

/// What is reported of a guess that is used for anything else.
pub(crate) const RULE: &str = "guess";

/// A guess whose compare-and-swap is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guess {
    pub(crate) place: usize,
    pub(crate) value: usize,
    pub(crate) at: &'static Location<'static>,
    /// What was stored since, and where.
    pub(crate) stored: Option<&'static Location<'static>>,
}

/// What an access is to the guess before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// There is none, or it is given up.
    None,
    /// A store that is part of its step.
    Stored,
    /// The compare-and-swap that it was for.
    Swapped,
    /// What must not be.
    Broken,
}
