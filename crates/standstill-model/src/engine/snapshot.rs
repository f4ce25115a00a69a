//! Where a search is, to be kept, and where it was; and who keeps it.
use crate::base::hash::Hash128;
use crate::config::options::Options;
use crate::engine::learned::Learned;
use crate::engine::search::Found;
use crate::engine::search::Job;
use crate::engine::table::Table;
use crate::reduction::explored::Cover;
use crate::reduction::explored::Covers;

/// Where a search is, as it is written.
pub(crate) struct Snapshot<'a> {
    /// The fingerprint of the machine before anything was searched.
    pub(crate) birth: Hash128,
    /// How long the search has taken so far.
    pub(crate) time_ns: u64,
    pub(crate) learned: &'a Learned,
    /// The sets and the states that were seen. Without them the search begins again, with what was learnt.
    pub(crate) seen: Option<(&'a Covers, &'a Table)>,
    pub(crate) jobs: Vec<&'a Job>,
    /// What each thread has found.
    pub(crate) found: Vec<&'a Found>,
}

/// Where a search was, as it is read.
pub(crate) struct Checkpoint {
    /// The fingerprint of the machine before anything was searched: a process in which it is another one can't go on.
    pub(crate) birth: Hash128,
    /// How long the search has taken so far.
    pub(crate) time_ns: u64,
    pub(crate) learned: Learned,
    pub(crate) entries: Vec<(u128, u32)>,
    pub(crate) sets: Vec<Box<[u32]>>,
    pub(crate) states: Vec<(Hash128, Cover)>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) found: Found,
}

/// Keeps a search while it runs, and in the end.
pub(crate) trait Keep {
    /// What the machine looked like before anything was searched.
    fn birth(&self) -> Hash128;
    /// Is it time to write? Asked before each step.
    fn is_due(&mut self) -> bool;
    /// Is it time to write? Asked now and then.
    fn is_time(&self) -> bool;
    /// How long the search has taken so far, all its parts together.
    fn time_ns(&self) -> u64;
    /// Writes where the search is. The next time is so far away that this one costs little.
    fn write(&mut self, options: &Options, snapshot: &Snapshot<'_>) -> Result<(), String>;
}
