//! The rules' state, each value of it kept once.
//!
//! A monitor of all rules is some kilobytes, and few of its values occur in an exploration: thousands, in millions of states. So the state of the
//! rules is the number of such a value, and what an event does to it is looked up. Two monitors with the same hash are taken to be one, as
//! two states of the world are.

use std::collections::HashMap;

use standstill::event::{Event, What};
use standstill::invariants::{Monitor, RULES, Violation};
use standstill::{Property, Protocol};

use crate::base::arena::steady;
use crate::base::hash::{BuildHashed, Hash128};
use crate::monitor::footprint::independent;
use crate::vocab::limits::MAX_CPUS;

/// Two events depend on each other that were taken to be independent.
pub(crate) const FOOTPRINT: &str = "footprint";

/// Is this a property's letter, a rule's number, or one of the checker's own words?
pub(crate) fn is_rule(text: &str) -> bool {
    text == FOOTPRINT
        || crate::vocab::fault::RULES.contains(&text)
        || Property::ALL.iter().any(|property| property.letter().to_string() == text)
        || RULES.iter().any(|rule| rule.id.to_string() == text)
}

/// All rules, for the largest machine.
pub(crate) type Rules = Monitor<MAX_CPUS, 8>;

/// The event as it is for all threads: calls and works are told by their addresses, and these decide where the rules keep them.
pub(crate) fn steadied(mut event: Event) -> Event {
    match &mut event.what {
        What::CallQueued(info)
        | What::CallBegin(info, _)
        | What::CallLate(info)
        | What::CallLost(info)
        | What::CallDiscarded(info) => {
            info.key.slot = steady(info.key.slot);
        }
        What::CallPushed { key, .. }
        | What::CallReleased(key)
        | What::CallEnd(key)
        | What::CallExpired(key)
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
    /// The event that was fed last, and the values before and after it: if it is one of the sample.
    last: Option<(Event, u32, u32)>,
    /// So many events were fed.
    pairs: u32,
    /// For the test of the sample: all events are taken to be independent.
    #[cfg(test)]
    pub(crate) blind: bool,
}

/// So many events, and then one of so many, are fed the other way round with the next, too, if that is of another CPU.
const FIRST: u32 = 1 << 12;
const EVERY: u32 = 64;

impl Values {
    pub(crate) fn new(protocol: Protocol) -> Values {
        let rules = Box::new(Rules::new(protocol));
        let hash = Hash128::of(&*rules);
        Values {
            all: vec![(rules, hash)],
            by_hash: HashMap::default(),
            next: HashMap::default(),
            now: 0,
            last: None,
            pairs: 0,
            #[cfg(test)]
            blind: false,
        }
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
        self.last = None;
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
        let before = self.now;
        let (next, broken) = self.after(before, event);
        self.now = next;
        self.pairs = self.pairs.saturating_add(1);
        let sampled = (self.pairs < FIRST || self.pairs.is_multiple_of(EVERY)) && broken.is_none();
        self.last = sampled.then_some((*event, before, next));
        broken.map_or(Ok(()), |violation| Err(*violation))
    }

    /// Of two neighbours that are said to be independent ([`crate::monitor::footprint`]), now and then: does their order make a difference? Then the one before
    /// `event`, which comes next.
    pub(crate) fn depends(&mut self, event: &Event) -> Option<Event> {
        let (last, before, after) = self.last?;
        if last.cpu == event.cpu || after != self.now {
            return None;
        }
        if !self.are_independent(&last, event) {
            return None;
        }
        let (there, None) = self.after(after, event) else {
            // A rule that breaks is told, whatever the order.
            return None;
        };
        let (first, broken) = self.after(before, event);
        let alike = broken.is_none() && matches!(self.after(first, &last), (here, None) if here == there);
        (!alike).then_some(last)
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "the tests make it blind"))]
    fn are_independent(&self, one: &Event, other: &Event) -> bool {
        #[cfg(test)]
        if self.blind {
            return true;
        }
        independent(one, other)
    }

    /// What an event makes of a value, and the rule that it breaks.
    fn after(&mut self, value: u32, event: &Event) -> (u32, Option<Box<Violation>>) {
        let mut key = Hash128::of(event);
        key.mix(u64::from(value));
        if let Some(next) = self.next.get(&key.to_u128()) {
            return (*next, None);
        }
        let mut rules = self.all[value as usize].0.clone();
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
        (next, verdict.err().map(Box::new))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::time::Instant;

    use crate::config::options::Options;
    use crate::engine::parallel::search;
    use crate::engine::search::Found;
    use crate::machine::session::Ready;
    use crate::machine::world::with_ptr;

    /// The rule that a search finds broken, if its checker takes all events for independent (`blind`), or not.
    fn found(blind: bool) -> Option<(String, String)> {
        let options = Options::default();
        let ready = Ready::new(&options).expect("the scenario can be set up");
        with_ptr(ready.world, |w| crate::monitor::library::of(w).rules.blind = blind);
        let mut found = Found::new();
        crate::engine::search::until_settled(&ready, &mut found, &mut |found| {
            search(&ready, &options, Instant::now(), found, &mut |_| ControlFlow::Continue(()))
        });
        found.fault.map(|(fault, _)| (fault.rule, fault.text))
    }

    #[test]
    fn events_that_are_not_independent_are_found_to_be_taken_for_it() {
        assert_eq!(found(false), None);
        let (rule, text) = found(true).expect("there are events whose order makes a difference");
        assert_eq!(rule, "footprint");
        assert!(text.contains("the checker is wrong, not the code"), "{text}");
    }
}
