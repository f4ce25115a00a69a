//! Mutants: the library with one thing left out or made weaker, chosen by where its code does it.
//!
//! The library has no switches for this. Every access, wait, IPI and interrupt section of it comes through the model's platform, which
//! knows the caller (`#[track_caller]`): so a mutant is a [`Change`] and a place in the source, and it is never out of date. A good set of
//! scenarios and rules catches every mutant that matters; one that survives shows a rule, a scenario or a reason that is missing.
//!
//! Where a public function passes its own caller on (`#[track_caller]`), what it does itself has the place of *its* caller. All places outside of
//! the library are one: [`CALLER`].

use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// The file of everything that is done in the name of the library's caller.
pub const CALLER: &str = "(caller)";

/// What is done to a place in the library.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Change {
    /// A store or a read-modify-write returns as if it had written, and nothing is written.
    DropWrite,
    /// A load of a word reads 0.
    ReadZero,
    /// A wait looks once and goes on, whether what it waits for is there or not.
    SkipWait,
    /// An IPI is not sent.
    DropIpi,
    /// Those that sleep on a word are not woken: see [`Options::sleepers`](crate::Options::sleepers).
    DropNotify,
    /// Interrupts are not closed.
    KeepIrqsOn,
    /// Interrupts are not opened again.
    KeepIrqsOff,
    /// A pinned section does not keep the stopper off.
    SkipPin,
    /// A fence is left out.
    SkipFence,
    /// A sequentially consistent fence is an acquire and release fence.
    WeakerFence,
    /// An access with an ordering is relaxed.
    ToRelaxed,
    /// A read-modify-write that acquires and releases only acquires.
    ToAcquire,
    /// A read-modify-write that acquires and releases only releases.
    ToRelease,
}

impl Change {
    /// All of them.
    pub const ALL: [Change; 13] = [
        Change::DropWrite,
        Change::ReadZero,
        Change::SkipWait,
        Change::DropIpi,
        Change::DropNotify,
        Change::KeepIrqsOn,
        Change::KeepIrqsOff,
        Change::SkipPin,
        Change::SkipFence,
        Change::WeakerFence,
        Change::ToRelaxed,
        Change::ToAcquire,
        Change::ToRelease,
    ];

    /// The name in lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Change::DropWrite => "drop-write",
            Change::ReadZero => "read-zero",
            Change::SkipWait => "skip-wait",
            Change::DropIpi => "drop-ipi",
            Change::DropNotify => "drop-notify",
            Change::KeepIrqsOn => "keep-irqs-on",
            Change::KeepIrqsOff => "keep-irqs-off",
            Change::SkipPin => "skip-pin",
            Change::SkipFence => "skip-fence",
            Change::WeakerFence => "weaker-fence",
            Change::ToRelaxed => "to-relaxed",
            Change::ToAcquire => "to-acquire",
            Change::ToRelease => "to-release",
        }
    }

    /// The change with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Change> {
        Change::ALL.into_iter().find(|change| change.name() == name)
    }

    /// Does it make an ordering weaker? Only a memory model that has orderings can notice that.
    #[must_use]
    pub const fn weakens(self) -> bool {
        matches!(self, Change::WeakerFence | Change::ToRelaxed | Change::ToAcquire | Change::ToRelease)
    }
}

/// One mutant: what is changed, and where.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mutant {
    /// What is changed.
    pub change: Change,
    /// The file, as the compiler names it, or [`CALLER`].
    pub file: String,
    /// The line, from 1; 0 for [`CALLER`].
    pub line: u32,
    /// The column, from 1; 0 for [`CALLER`].
    pub column: u32,
}

impl Mutant {
    pub(crate) fn of(change: Change, at: &Location<'_>) -> Mutant {
        if is_library(at.file()) {
            Mutant { change, file: at.file().to_string(), line: at.line(), column: at.column() }
        } else {
            Mutant { change, file: CALLER.to_string(), line: 0, column: 0 }
        }
    }

    pub(crate) fn is_at(&self, at: &Location<'_>) -> bool {
        if self.line == 0 {
            return !is_library(at.file());
        }
        self.line == at.line() && self.column == at.column() && self.file == at.file()
    }
}

fn is_library(file: &str) -> bool {
    file.contains("standstill/src/")
}

/// `drop-write crates/standstill/src/call/queue.rs:98:25`.
impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}:{}", self.change.name(), self.file, self.line, self.column)
    }
}

/// A text that names no mutant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoMutant(pub String);

impl fmt::Display for NoMutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` names no mutant: it should look like `drop-write FILE:LINE:COLUMN`", self.0)
    }
}

impl std::error::Error for NoMutant {}

impl FromStr for Mutant {
    type Err = NoMutant;

    fn from_str(text: &str) -> Result<Mutant, NoMutant> {
        let parse = || {
            let (change, place) = text.split_once(' ')?;
            let (rest, column) = place.rsplit_once(':')?;
            let (file, line) = rest.rsplit_once(':')?;
            let (line, column) = (line.parse().ok()?, column.parse().ok()?);
            Some(Mutant { change: Change::by_name(change)?, file: file.to_string(), line, column })
        };
        parse().ok_or_else(|| NoMutant(text.to_string()))
    }
}

/// From when on a mutant is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Begins {
    /// From the beginning: the set-up of the scenario has it, too, and may fail of it.
    #[default]
    AtOnce,
    /// When the set-up is over: what is found then is found in the interleavings.
    AfterSetup,
}

/// The mutants that the runs of a check could have been: each change at each place that they came to. Give it to a check in
/// [`Options::sites`](crate::Options::sites).
#[derive(Clone, Default, Debug)]
pub struct Sites(Arc<Mutex<BTreeSet<(Mutant, Begins)>>>);

impl Sites {
    /// None yet.
    #[must_use]
    pub fn new() -> Sites {
        Sites::default()
    }

    /// Those that were noted so far.
    #[must_use]
    pub fn list(&self) -> Vec<Mutant> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Mutant> = noted.iter().map(|(mutant, _)| mutant.clone()).collect();
        all.dedup();
        all
    }

    /// Was this one come to in this part of a check: in the set-up, or behind it?
    #[must_use]
    pub fn has(&self, mutant: &Mutant, part: Begins) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&(mutant.clone(), part))
    }

    pub(crate) fn add(&self, mutant: Mutant, part: Begins) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((mutant, part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_read_as_it_is_written() {
        for change in Change::ALL {
            let mutant = Mutant {
                change,
                file: "crates/standstill/src/call/queue.rs".to_string(),
                line: 98,
                column: 25,
            };
            assert_eq!(mutant.to_string().parse(), Ok(mutant));
        }
        for wrong in
            ["", "drop-write", "drop-write a.rs:1", "drop-everything a.rs:1:2", "drop-write a.rs:x:2"]
        {
            let error = wrong.parse::<Mutant>().expect_err("it names no mutant");
            assert!(error.to_string().contains(wrong));
        }
    }
}
