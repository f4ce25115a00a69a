//! The rules' state, each value of it kept once.
//!
//! A monitor of all rules is some kilobytes, and few of its values occur in an exploration: thousands, in millions of states. So the state of the
//! rules is the number of such a value, and what an event does to it is looked up. Two monitors with the same hash are taken to be one, as
//! two states of the world are.

use std::collections::HashMap;

use standstill::Protocol;
use standstill::event::{Event, What};
use standstill::invariants::{Monitor, Violation};

use crate::arena::steady;
use crate::hash::{BuildHashed, Hash128};
use crate::state::MAX_CPUS;

/// All rules, for the largest machine.
pub(crate) type Rules = Monitor<MAX_CPUS, 8>;

/// The event as it is for all threads: calls and works are told by their addresses, and these decide where the rules keep them.
pub(crate) fn steadied(mut event: Event) -> Event {
    match &mut event.what {
        What::CallQueued(info) | What::CallBegin(info, _) | What::CallLate(info) | What::CallLost(info) => {
            info.key.slot = steady(info.key.slot);
        }
        What::CallPushed { key, .. }
        | What::CallReleased(key)
        | What::CallEnd(key)
        | What::CallReturned { key, .. } => key.slot = steady(key.slot),
        What::WorkQueued(key)
        | What::WorkTurnedAway(key)
        | What::WorkClaimed(key)
        | What::WorkBegin(key)
        | What::WorkEnd(key)
        | What::WorkRefused(key) => key.work = steady(key.work),
        _ => {}
    }
    event
}

/// All values of the rules' state that have occurred.
pub(crate) struct Values {
    all: Vec<(Box<Rules>, Hash128)>,
    by_hash: HashMap<u128, u32, BuildHashed>,
    /// What an event makes of a value, if it breaks no rule.
    next: HashMap<u128, u32, BuildHashed>,
    now: u32,
}

impl Values {
    pub(crate) fn new(protocol: Protocol) -> Values {
        let rules = Box::new(Rules::new(protocol));
        let hash = Hash128::of(&*rules);
        Values { all: vec![(rules, hash)], by_hash: HashMap::default(), next: HashMap::default(), now: 0 }
    }

    /// The number of the value that is the state now.
    pub(crate) const fn now(&self) -> u32 {
        self.now
    }

    /// Back to a value that was the state before.
    pub(crate) const fn set(&mut self, now: u32) {
        self.now = now;
    }

    pub(crate) fn hash(&self) -> Hash128 {
        self.all[self.now as usize].1
    }

    pub(crate) fn get(&self) -> &Rules {
        &self.all[self.now as usize].0
    }

    /// How many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.all.len() * size_of::<Rules>() + self.next.capacity() * 24
    }

    /// Nobody will go back before this point: only the state that is now is kept.
    pub(crate) fn forget(&mut self) {
        let now = self.all.swap_remove(self.now as usize);
        self.all.clear();
        self.all.push(now);
        self.by_hash.clear();
        self.next.clear();
        self.now = 0;
    }

    /// Feeds an event that can't be undone.
    pub(crate) fn feed_for_good(&mut self, event: &Event) -> Result<(), Violation> {
        if self.all.len() > 1 {
            self.forget();
        }
        let (rules, hash) = &mut self.all[0];
        let verdict = rules.feed(event);
        *hash = Hash128::of(&**rules);
        verdict
    }

    /// Feeds an event.
    pub(crate) fn feed(&mut self, event: &Event) -> Result<(), Violation> {
        let mut key = Hash128::of(event);
        key.mix(u64::from(self.now));
        if let Some(next) = self.next.get(&key.to_u128()) {
            self.now = *next;
            return Ok(());
        }
        let mut rules = self.all[self.now as usize].0.clone();
        let verdict = rules.feed(event);
        let hash = Hash128::of(&*rules);
        let fresh = self.all.len() as u32;
        let next = *self.by_hash.entry(hash.to_u128()).or_insert(fresh);
        if next == fresh {
            self.all.push((rules, hash));
        }
        if verdict.is_ok() {
            self.next.insert(key.to_u128(), next);
        }
        self.now = next;
        verdict
    }
}
