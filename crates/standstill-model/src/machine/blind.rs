//! For the tests of the audit: a fingerprint that leaves something out.

use crate::base::arena::steady;
use crate::base::hash::Hash128;
use crate::machine::state::Cpu;
use crate::machine::world::World;
use crate::vocab::limits::MAX_CPUS;

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blind {
    /// The value of the word at this place.
    Word(usize),
    /// What the contexts have read.
    Histories,
    /// The state of the CPUs.
    Cpus,
}

impl World {
    /// The fingerprint of what is left, if something is left out.
    pub(crate) fn blind_fingerprint(&mut self) -> Option<Hash128> {
        let blind = self.blind.take()?;
        let (memory, cpus, threads) = (self.memory.hash, self.cpus, self.threads);
        match blind {
            Blind::Word(place) => {
                self.memory.hash.sub(Hash128::of_cell(steady(place), steady(self.value_of(place)) as u64))
            }
            Blind::Histories => {
                for thread in self.threads.iter_mut().flatten() {
                    let depth = thread.depth;
                    for level in 0..=depth {
                        thread.depth = level;
                        thread.level_mut().history = Hash128::ZERO;
                    }
                }
            }
            Blind::Cpus => self.cpus = [Cpu::OFF; MAX_CPUS],
        }
        let hash = self.fingerprint();
        (self.memory.hash, self.cpus, self.threads) = (memory, cpus, threads);
        self.blind = Some(blind);
        Some(hash)
    }
}
