//! Keeps a search in its file: now and then while it runs, and in the end.
//!
//! What is written has to fit together: each state that counts as seen was searched from, or is in a
//! job. So all threads stand by while the first one writes; each says first what it has found, what
//! it has learnt, and what it has left to do.

use crate::engine::snapshot::Keep;
use crate::result::checkpoint;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::base::hash::Hash128;
use crate::config::options::Options;
use crate::engine::snapshot::Snapshot;

/// Between two looks at the clock, in steps.
const STEPS: u32 = 1 << 8;
/// Writing takes at most one part in so many of the time.
const SHARE: u32 = 100;

/// When and where a search is kept.
pub(crate) struct Keeper {
    path: PathBuf,
    every: Duration,
    next: Instant,
    steps: u32,
    /// What the machine looked like before anything was searched.
    birth: Hash128,
    began: Instant,
    /// The time of the parts before this one.
    before: Duration,
}

impl Keeper {
    /// Of a search that began at `began`, after others that took `before`. `None`: nobody wants it to be kept.
    pub(crate) fn new(options: &Options, birth: Hash128, began: Instant, before: Duration) -> Option<Keeper> {
        let path = options.checkpoint.clone()?;
        let every = options.checkpoint_every;
        Some(Keeper { path, every, next: Instant::now() + every, steps: 0, birth, began, before })
    }
}

impl Keep for Keeper {
    fn birth(&self) -> Hash128 {
        self.birth
    }

    #[inline]
    fn is_due(&mut self) -> bool {
        self.steps += 1;
        self.steps.is_multiple_of(STEPS) && self.is_time()
    }

    fn is_time(&self) -> bool {
        Instant::now() >= self.next
    }

    fn write(&mut self, options: &Options, snapshot: &Snapshot<'_>) -> Result<(), String> {
        let begun = Instant::now();
        let result = checkpoint::write(snapshot, &self.path, options);
        let now = Instant::now();
        let least = if self.every.is_zero() { self.every } else { (now - begun) * SHARE };
        self.next = now + self.every.max(least);
        result
    }

    fn time_ns(&self) -> u64 {
        (self.before + self.began.elapsed()).as_nanos() as u64
    }
}
