//! Which windows each state was searched with.
//!
//! What can happen after a state does not depend on the windows of [`crate::movers`]; they are only looked at, to notice what must not be
//! moved, each entry for itself. So a state that was searched with the entries `A` and is reached again with the entries `B` is searched again only if something
//! in `B` is not in `A`, and counts as searched with both from then on. That is far less than a state for each combination of
//! windows: those are the product of what each CPU has just done, and this is the sum.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::hash::{BuildHashed, Hash128};

/// A set of entries, by its number. 0 is the empty one.
pub(crate) type Cover = u32;

/// All sets of entries that have occurred, in any thread.
struct Sets {
    /// The bit of each entry.
    bits: HashMap<u128, u32, BuildHashed>,
    sets: Vec<Box<[u64]>>,
    by_bits: HashMap<Box<[u64]>, Cover>,
}

impl Sets {
    fn number(&mut self, set: Vec<u64>) -> Cover {
        let fresh = self.sets.len() as Cover;
        let set = set.into_boxed_slice();
        let number = *self.by_bits.entry(set.clone()).or_insert(fresh);
        if number == fresh {
            self.sets.push(set);
        }
        number
    }
}

/// The sets of entries, as one thread sees them: it remembers what it has asked for.
pub(crate) struct Covers {
    all: Arc<Mutex<Sets>>,
    windows: HashMap<u128, Cover, BuildHashed>,
    unions: HashMap<u64, Cover, BuildHashed>,
}

impl Covers {
    pub(crate) fn new() -> Covers {
        let none: Box<[u64]> = Box::new([]);
        let all =
            Sets { bits: HashMap::default(), sets: vec![none.clone()], by_bits: HashMap::from([(none, 0)]) };
        Covers { all: Arc::new(Mutex::new(all)), windows: HashMap::default(), unions: HashMap::default() }
    }

    /// The same sets, for another thread.
    pub(crate) fn another(&self) -> Covers {
        Covers { all: Arc::clone(&self.all), windows: HashMap::default(), unions: HashMap::default() }
    }

    /// The set of these entries; `all` is the sum of their hashes.
    pub(crate) fn of(&mut self, all: Hash128, entries: impl Iterator<Item = Hash128>) -> Cover {
        if let Some(known) = self.windows.get(&all.to_u128()) {
            return *known;
        }
        let mut sets = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut set = Vec::new();
        for entry in entries {
            let fresh = sets.bits.len() as u32;
            let bit = *sets.bits.entry(entry.to_u128()).or_insert(fresh) as usize;
            if set.len() <= bit / 64 {
                set.resize(bit / 64 + 1, 0);
            }
            set[bit / 64] |= 1 << (bit % 64);
        }
        let number = sets.number(set);
        self.windows.insert(all.to_u128(), number);
        number
    }

    /// What is in one of the two.
    pub(crate) fn union(&mut self, a: Cover, b: Cover) -> Cover {
        if a == b || b == 0 {
            return a;
        }
        let pair = u64::from(a) << 32 | u64::from(b);
        if let Some(known) = self.unions.get(&pair) {
            return *known;
        }
        let mut sets = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut set = sets.sets[a as usize].to_vec();
        let other = &sets.sets[b as usize];
        if set.len() < other.len() {
            set.resize(other.len(), 0);
        }
        for (word, more) in set.iter_mut().zip(other) {
            *word |= more;
        }
        let number = sets.number(set);
        self.unions.insert(pair, number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_union_covers_both_and_nothing_is_added_twice() {
        let mut covers = Covers::new();
        let entries: Vec<Hash128> = (0..200).map(|n| Hash128::of(&n)).collect();
        let of = |covers: &mut Covers, which: &[usize]| {
            let mut all = Hash128::ZERO;
            for n in which {
                all.add(entries[*n]);
            }
            covers.of(all, which.iter().map(|n| entries[*n]))
        };
        let (a, b) = (of(&mut covers, &[1, 2]), of(&mut covers, &[2, 190]));
        let both = covers.union(a, b);
        assert_ne!(both, a);
        assert_eq!(covers.union(both, a), both);
        assert_eq!(covers.union(both, b), both);
        assert_eq!(of(&mut covers, &[190, 1, 2]), both);
        let none = of(&mut covers, &[]);
        assert_eq!((none, covers.union(a, none)), (0, a));
        // Another thread means the same by a number.
        let mut other = covers.another();
        assert_eq!(of(&mut other, &[190, 1, 2]), both);
        assert_eq!(other.union(a, b), both);
    }
}
