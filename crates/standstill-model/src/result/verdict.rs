//! What a search found, and what it covered.

use crate::engine::search::Found;
use crate::vocab::progress::Bound;
use crate::vocab::progress::Coverage;
use crate::vocab::step::Step;
use standstill::Property;
use std::time::Instant;

use crate::result::audit::Audited;

/// What became of one property.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PropertyResult {
    /// Which one.
    pub property: Property,
    /// How often it did not hold, in all steps that were seen.
    pub count: u64,
    /// The schedule of the first time.
    pub first: Option<Vec<u32>>,
}

/// The verdict of a search.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// What was covered.
    pub coverage: Coverage,
    /// W, L, S, O, F.
    pub properties: [PropertyResult; 5],
    /// The first promise or rule that was broken.
    pub violation: Option<Violation>,
    /// Under which assumptions the verdict holds.
    pub assumptions: Vec<String>,
    /// Different states.
    pub states: u64,
    /// Steps.
    pub steps: u64,
    /// Runs, for the engines that run schedules one by one.
    pub runs: u64,
    /// The deepest that the search got, in steps.
    pub depth: usize,
    /// In nanoseconds.
    pub time_ns: u64,
    /// What the search remembered, at most, in bytes.
    pub peak_bytes: u64,
    /// The states in which nothing more can happen, as hashes, sorted.
    pub ends: Vec<u128>,
    /// The traces, as hashes, sorted: of the engine that counts those.
    pub traces: Vec<u128>,
    /// The runs of that engine that turned out to be no new trace.
    pub blocked: u64,
    /// Which limit of the memory ended the search, if one did.
    pub out_of_memory: Option<String>,
    /// What was done to check the checker, if that was asked for.
    pub audited: Option<Audited>,
    /// The options can't be checked, and nothing was done; or the checker was seen to be wrong. This says why.
    pub error: Option<String>,
    /// The `error` is that of the code: it fails before any order of its steps was tried.
    pub fails_in_setup: bool,
    /// The search ended, and what is left of it could not be kept for the next time. This says why.
    pub not_kept: Option<String>,
}

impl Verdict {
    /// Nothing was found, and everything was covered that should be.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violation.is_none()
            && self.error.is_none()
            && !matches!(
                self.coverage,
                Coverage::Bounded { by: Bound::States | Bound::Seconds | Bound::Bytes | Bound::Stopped, .. }
            )
    }

    /// The property's result.
    #[must_use]
    pub const fn of(&self, property: Property) -> &PropertyResult {
        &self.properties[property as usize]
    }
}

/// Something that must not happen, and how it happens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Violation {
    /// A property's letter (`W`), a rule's number (`20`), or `deadlock`, `panic`, `race`.
    pub rule: String,
    /// The CPU that did it.
    pub cpu: usize,
    /// One sentence.
    pub text: String,
    /// `file:line`.
    pub location: String,
    /// The run, step by step.
    pub steps: Vec<Step>,
    /// How many interrupts are taken in it.
    pub interrupts: u32,
    /// How often a CPU that could go on is left for another one.
    pub preemptions: u32,
    /// Two steps whose reversal makes it pass.
    pub critical_pair: Option<(usize, usize)>,
    /// The schedule, for [`replay`](crate::replay).
    pub choices: Vec<u32>,
}

/// One run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// What happened.
    pub steps: Vec<Step>,
    /// What was broken in it.
    pub violation: Option<Violation>,
    /// How often each of W, L, S, O, F did not hold.
    pub properties: [u64; 5],
    /// Nothing more could happen at its end.
    pub complete: bool,
    /// How many interrupts were taken in it.
    pub interrupts: u32,
    /// How often a CPU that could go on was left for another one.
    pub preemptions: u32,
}

/// Why a schedule can't be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The options can't be checked.
    BadOptions(String),
    /// A choice is not possible where the schedule makes it.
    Diverged {
        /// Which choice, from 0.
        at: usize,
        /// The choice.
        choice: u32,
        /// What was possible.
        possible: Vec<u32>,
    },
    /// A choice does something else than it did when it was saved.
    Differs {
        /// Which choice, from 0.
        at: usize,
        /// What it did.
        then: String,
        /// What it does.
        now: String,
    },
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayError::BadOptions(why) => f.write_str(why),
            ReplayError::Diverged { at, choice, .. } => write!(
                f,
                "choice {at} of the schedule ({choice:#x}) is not possible there: the schedule was made by another version of the code or for other options"
            ),
            ReplayError::Differs { at, then, now } => {
                let [then, now] = [then, now].map(|what| standstill_io::words::quote(what));
                write!(f, "choice {at} did `{then}` when it was saved, and does `{now}` now")
            }
        }
    }
}

impl std::error::Error for ReplayError {}

/// What a search found, as its verdict.
pub(crate) fn verdict_of(found: Found, coverage: Coverage, began: Instant) -> Verdict {
    let mut ends: Vec<_> = found.ends.into_iter().collect();
    ends.sort_unstable();
    let mut traces: Vec<_> = found.traces.into_iter().collect();
    traces.sort_unstable();
    let mut firsts = found.firsts.into_iter();
    let counts = found.counts;
    Verdict {
        coverage,
        properties: Property::ALL.map(|property| PropertyResult {
            property,
            count: counts[property as usize],
            first: firsts.next().flatten(),
        }),
        violation: None,
        assumptions: Vec::new(),
        states: found.states,
        steps: found.steps,
        runs: found.runs,
        depth: found.depth,
        time_ns: began.elapsed().as_nanos() as u64,
        peak_bytes: found.bytes,
        ends,
        traces,
        blocked: found.blocked,
        out_of_memory: None,
        audited: None,
        error: None,
        fails_in_setup: false,
        not_kept: None,
    }
}
