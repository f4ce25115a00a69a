//! What is to be checked, and how.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standstill::Protocol;

use crate::base::room::Room;
use crate::config::mutant::{Begins, Mutant, Sites};
use crate::scenario::Scenario;

/// How long an IPI may take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Ipi {
    /// It is taken at the next instruction boundary at which its CPU has its interrupts on.
    Instant,
    /// It is taken at any later time at which its CPU has its interrupts on.
    #[default]
    Delayed,
}

impl Ipi {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Ipi::Instant => "instant",
            Ipi::Delayed => "delayed",
        }
    }

    /// The latency with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Ipi> {
        [Ipi::Instant, Ipi::Delayed].into_iter().find(|ipi| ipi.name() == name)
    }
}

/// How memory behaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MemoryModel {
    /// Sequential consistency: one order of all accesses.
    #[default]
    Sc,
    /// x86-TSO: each CPU has a store buffer. `fenced`: the port drains it before it sends an IPI; otherwise the IPI may overtake it.
    Tso {
        /// IPI sends drain the store buffer.
        fenced: bool,
    },
    /// Release/acquire views: a load may return any value that its orderings allow.
    Ra,
}

impl MemoryModel {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            MemoryModel::Sc => "sc",
            MemoryModel::Tso { fenced: true } => "tso",
            MemoryModel::Tso { fenced: false } => "tso-unfenced",
            MemoryModel::Ra => "ra",
        }
    }

    /// The model with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<MemoryModel> {
        [
            MemoryModel::Sc,
            MemoryModel::Tso { fenced: true },
            MemoryModel::Tso { fenced: false },
            MemoryModel::Ra,
        ]
        .into_iter()
        .find(|memory| memory.name() == name)
    }
}

/// How the interleavings are searched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Engine {
    /// Every state once.
    #[default]
    Stateful,
    /// Every trace once, without remembering states.
    Dpor,
    /// Random schedules.
    Random {
        /// How many.
        runs: u64,
        /// Where the random numbers start.
        seed: u64,
    },
    /// Random priorities with `depth - 1` places where one changes.
    Pct {
        /// How many runs.
        runs: u64,
        /// Where the random numbers start.
        seed: u64,
        /// The depth of the bugs that are looked for.
        depth: u32,
    },
    /// Every schedule with at most so many preemptions.
    Bounded {
        /// A CPU that could go on is left for another one at most this often.
        preemptions: u32,
    },
}

impl Engine {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Stateful => "stateful",
            Engine::Dpor => "dpor",
            Engine::Random { .. } => "random",
            Engine::Pct { .. } => "pct",
            Engine::Bounded { .. } => "bounded",
        }
    }
}

/// When to give up. 0: never.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Limits {
    /// States (or runs) that are remembered.
    pub states: u64,
    /// Seconds.
    pub seconds: u64,
    /// Bytes for what is remembered.
    pub bytes: u64,
}

/// How the checker is checked. All of it costs time, and none of it changes what is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Audit {
    /// So many merges of states are continued from both of the runs that led there, by the engine `stateful`. 0: none.
    pub merges: u64,
    /// Which ones.
    pub seed: u64,
    /// Every step that is undone is compared with what was before.
    pub undone: bool,
}

/// What is to be checked, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How CPUs leave.
    pub protocol: Protocol,
    /// How many CPUs there are; 1 to [`MAX_CPUS`](crate::MAX_CPUS).
    pub cpus: usize,
    /// How many device interrupts each CPU may get.
    pub irqs: usize,
    /// How long IPIs may take.
    pub ipi: Ipi,
    /// How memory behaves.
    pub memory: MemoryModel,
    /// What happens: one of [`scenarios`](crate::scenarios).
    pub scenario: &'static str,
    /// How many CPUs meet in one word of a stop: with fewer than there are CPUs, stops use a tree.
    pub fan_in: usize,
    /// What happens instead: a scenario of one's own; `scenario` is its name.
    pub own: Option<Scenario>,
    /// How the interleavings are searched.
    pub engine: Engine,
    /// How many threads search: of the engine `stateful`. 0: as many as there are cores.
    pub threads: usize,
    /// The other threads begin when the first one has seen so many states: most searches end before.
    pub spread: u64,
    /// When to give up.
    pub limits: Limits,
    /// The memory that there is: a search that comes to its end ends with what it has.
    pub room: Option<Arc<Room>>,
    /// Where a search is kept, and goes on from: of the engine `stateful`. It is written when the search ends early, and now and then before. A
    /// search that has come to its end takes the file away. The limits are those of one part of the way.
    pub checkpoint: Option<PathBuf>,
    /// The time between two checkpoints; more, where writing one takes more than one percent of that. Zero: as often as can be, for tests.
    pub checkpoint_every: Duration,
    /// Look for data races: two CPUs that use a plain cell, with nothing in between that says which came first.
    pub races: bool,
    /// Check the checker.
    pub audit: Audit,
    /// Merge what nobody can tell apart: without it, each access that others can notice is a step of its own.
    pub reduce: bool,
    /// Go on after a broken promise, to find what else there is: for the matrix.
    pub keep_going: bool,
    /// Shrink a violation to the fewest interrupts, preemptions and steps.
    pub shrink: bool,
    /// Whoever waits sleeps until the word that it waits on is notified, and looks again only then. It sleeps if that word is what it was
    /// before the last look, whatever else has changed since, as on a futex. Without this a wait ends as soon as its condition holds,
    /// as on a port that polls.
    pub sleepers: bool,
    /// The library with one thing left out or made weaker: something has to be found.
    pub mutant: Option<Mutant>,
    /// From when on it is left out, or weaker.
    pub mutant_begins: Begins,
    /// Where to note the mutants that the check could have been.
    pub sites: Option<Sites>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            protocol: Protocol::STANDSTILL,
            cpus: 2,
            irqs: 1,
            ipi: Ipi::Delayed,
            memory: MemoryModel::Sc,
            scenario: "offline-vs-device-irq",
            fan_in: 8,
            own: None,
            engine: Engine::Stateful,
            threads: 1,
            spread: 1 << 11,
            limits: Limits::default(),
            room: None,
            checkpoint: None,
            checkpoint_every: Duration::from_secs(10),
            races: true,
            audit: Audit::default(),
            reduce: true,
            keep_going: false,
            shrink: true,
            sleepers: false,
            mutant: None,
            mutant_begins: Begins::AtOnce,
            sites: None,
        }
    }
}

impl Options {
    /// What is searched and how, in words, as the engine sees it: what it does not look at is not
    /// said. Two options with the same words make the same search.
    #[must_use]
    pub fn effective(&self) -> String {
        let Limits { states, seconds, bytes } = self.limits;
        let random = matches!(self.engine, Engine::Random { .. } | Engine::Pct { .. });
        let states = if random { String::new() } else { format!(" states {states}") };
        let mut words =
            format!("{} {:?} limits{states} seconds {seconds} bytes {bytes}", self.searched(), self.engine);
        words += &format!(" room {:?}", self.room.as_ref().and_then(|room| room.most()));
        if self.engine == Engine::Stateful {
            let Audit { merges, seed, .. } = self.audit;
            let seed = if merges > 0 { seed } else { 0 };
            words += &format!(" threads {} audit {merges} {seed}", self.cores());
            let every = self.checkpoint.as_ref().map(|_| self.checkpoint_every);
            words += &format!(" checkpoint {:?} {every:?}", self.checkpoint);
        }
        words
    }

    /// What decides what is searched, in words.
    pub(crate) fn searched(&self) -> String {
        format!(
            "{} {} cpus {} irqs {} ipi {} memory {} fan_in {} races {} reduce {} keep_going {} sleepers {} mutant {:?} {:?}",
            self.protocol.name(),
            self.scenario,
            self.cpus,
            self.irqs,
            self.ipi.name(),
            self.memory.name(),
            self.fan_in,
            self.races,
            self.reduce,
            self.keep_going,
            self.sleepers,
            self.mutant,
            self.mutant_begins,
        )
    }

    /// Between two looks at the limits: so many states, or fewer, if the limit is not far.
    pub(crate) fn look_every(&self, most: u64) -> u64 {
        if self.limits.states == 0 { most } else { (self.limits.states / 8).clamp(1, most) }
    }

    /// Is it time to look at the limits, after so many states? One thread ends at the very state.
    pub(crate) fn is_time_to_look(&self, states: u64, most: u64) -> bool {
        states.is_multiple_of(self.look_every(most)) || states == self.limits.states
    }

    /// How many threads search.
    pub(crate) fn cores(&self) -> usize {
        match self.threads {
            // Which of two runs is the first to come to a state is told by one thread alone.
            _ if self.audit.merges > 0 => 1,
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// The options can't be checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadOptions(pub String);

impl fmt::Display for BadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadOptions {}
