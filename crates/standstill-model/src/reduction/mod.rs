//! What keeps the state space small: which accesses are points, what is moved left, and what a state was searched with.

pub(crate) mod explored;
pub(crate) mod footprint;
pub(crate) mod guess;
pub(crate) mod movers;
pub(crate) mod visibility;

use crate::config::options::MemoryModel;
use footprint::Touches;
use guess::Guess;
use movers::Movers;
use visibility::Classes;

/// What is known of who uses what, and what was moved.
pub(crate) struct Reduction {
    pub(crate) classes: Classes,
    pub(crate) movers: Movers,
    pub(crate) touches: Touches,
    /// The stores up to the compare-and-swap that this is for belong to it.
    pub(crate) guess: Option<Guess>,
}

impl Reduction {
    pub(crate) fn new(model: MemoryModel, races: bool) -> Reduction {
        Reduction {
            classes: Classes::new(races || model != MemoryModel::Sc),
            movers: Movers::default(),
            touches: Touches::default(),
            guess: None,
        }
    }
}
