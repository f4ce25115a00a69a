//! The merges of states that an audit is to look at: chosen while the search runs.
use crate::base::hash::Hash128;
use crate::config::options::Audit;
use crate::engine::random::Rng;
use std::collections::BTreeMap;

/// A state of the sample.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) hash: u128,
    /// The run that led there first.
    pub(crate) first: Vec<u32>,
    /// Some of those that led there later, and how many these were.
    pub(crate) later: Vec<Vec<u32>>,
    pub(crate) merges: u64,
}

/// The states whose merges are looked at.
#[derive(Clone)]
pub(crate) struct Sample {
    seed: u64,
    room: usize,
    /// By what decides who is in it.
    pub(crate) states: BTreeMap<u64, State>,
    /// Larger ones are not in it.
    largest: u64,
}

/// Not every state is one that several runs lead to.
const ROOM: usize = 2;
/// Of the merges into one state, so many are kept.
const KEPT: usize = 4;

impl Sample {
    pub(crate) fn new(audit: &Audit) -> Option<Sample> {
        (audit.merges > 0).then(|| Sample {
            seed: audit.seed,
            room: usize::try_from(audit.merges).unwrap_or(usize::MAX).saturating_mul(ROOM),
            states: BTreeMap::new(),
            largest: u64::MAX,
        })
    }

    fn key(&self, hash: u128) -> u64 {
        let mut key = Hash128(hash as u64, (hash >> 64) as u64);
        key.mix(self.seed);
        key.1
    }

    /// The search comes to a state, by the run `choices`: for the first time, or again.
    #[inline]
    pub(crate) fn visit(&mut self, hash: u128, first: bool, choices: &[u32]) {
        let key = self.key(hash);
        if key > self.largest {
            return;
        }
        if first {
            let state = State { hash, first: choices.to_vec(), later: Vec::new(), merges: 0 };
            self.states.insert(key, state);
            if self.states.len() > self.room {
                self.states.pop_last();
                self.largest = self.states.last_key_value().map_or(0, |(key, _)| *key);
            }
        } else if let Some(state) = self.states.get_mut(&key).filter(|state| state.hash == hash) {
            state.merges += 1;
            let at = (Rng::new(key ^ state.merges).next() % state.merges) as usize;
            if state.later.len() < KEPT {
                state.later.push(choices.to_vec());
            } else if let Some(other) = state.later.get_mut(at) {
                *other = choices.to_vec();
            }
        }
    }
}
