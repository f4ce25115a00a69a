//! What the memory of the simulated machine remembers beside its values.

pub(crate) mod buffers;
pub(crate) mod clocks;
pub(crate) mod knowers;
pub(crate) mod messages;

use crate::base::hash::Hash128;
use crate::config::options::MemoryModel;
use buffers::Buffers;
use clocks::Clocks;

/// All of it.
pub(crate) struct MemoryState {
    /// The hash of all memory.
    pub(crate) hash: Hash128,
    pub(crate) buffers: Buffers,
    /// Who knows of what.
    pub(crate) clocks: Clocks,
    /// What clocks are kept for (data races, views) is asked for.
    pub(crate) tracks: bool,
    /// The words that got a message in this step.
    pub(crate) written: Vec<usize>,
}

impl MemoryState {
    #[track_caller]
    pub(crate) fn new(model: MemoryModel, races: bool) -> MemoryState {
        let views = model == MemoryModel::Ra;
        MemoryState {
            hash: Hash128::ZERO,
            buffers: Buffers::new(),
            clocks: Clocks::new(views, matches!(model, MemoryModel::Tso { .. })),
            tracks: races || views,
            written: Vec::new(),
        }
    }
}
