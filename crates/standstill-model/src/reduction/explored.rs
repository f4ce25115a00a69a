//! What each state was searched with: windows, and who knows of what.
//!
//! What can happen after a state does not depend on the windows of [`crate::reduction::movers`]; they are only looked at, to notice what must not be
//! moved, each entry for itself. Nor does it on who knows of which access to plain memory ([`crate::memory::clocks`]), which is looked at to notice data races. So a state that was searched with the entries `A` and is reached again with the entries `B` is searched again only if something
//! in `B` is not in `A`, and counts as searched with both from then on. That is far less than a state for each combination of
//! windows: those are the product of what each CPU has just done, and this is the sum.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::hash::{BuildHashed, Hash128};

/// A set of entries, by its number. 0 is the empty one.
pub(crate) type Cover = u32;

/// All sets of entries that have occurred, in any thread.
struct Sets {
    /// The number of each entry.
    entries: HashMap<u128, u32, BuildHashed>,
    /// Each with its entries in ascending order, and its name.
    sets: Vec<(Box<[u32]>, Hash128)>,
    /// By name.
    numbers: HashMap<u128, Cover, BuildHashed>,
    bytes: usize,
}

/// What an entry adds to the name of a set: names are sums, so a larger set has its name from a smaller one.
fn name_of(entry: u32) -> Hash128 {
    Hash128::of_cell(entry as usize, 1)
}

impl Sets {
    fn number(&mut self, set: &[u32], name: Hash128) -> Cover {
        let fresh = self.sets.len() as Cover;
        let number = *self.numbers.entry(name.to_u128()).or_insert(fresh);
        if number == fresh {
            self.sets.push((set.into(), name));
            self.bytes += size_of_val(set) + 64;
        }
        number
    }

    /// What is in one of the two; `both` is room for that.
    fn union(&mut self, a: Cover, b: Cover, both: &mut Vec<u32>) -> Cover {
        let ((old, name), (more, _)) = (&self.sets[a as usize], &self.sets[b as usize]);
        let (mut name, mut from) = (*name, 0);
        both.clear();
        for entry in more {
            while from < old.len() && old[from] < *entry {
                both.push(old[from]);
                from += 1;
            }
            if old.get(from) != Some(entry) {
                both.push(*entry);
                name.add(name_of(*entry));
            }
        }
        if both.len() == from {
            return a;
        }
        both.extend_from_slice(&old[from..]);
        self.number(both, name)
    }
}

/// The sets of entries, as one thread sees them: it remembers what it has asked for.
pub(crate) struct Covers {
    all: Arc<Mutex<Sets>>,
    windows: HashMap<u128, Cover, BuildHashed>,
    unions: HashMap<u64, Cover, BuildHashed>,
    /// Room for one set.
    room: Vec<u32>,
}

impl Covers {
    pub(crate) fn new() -> Covers {
        let all = Sets {
            entries: HashMap::default(),
            sets: vec![(Box::new([]), Hash128::ZERO)],
            numbers: HashMap::from_iter([(Hash128::ZERO.to_u128(), 0)]),
            bytes: 0,
        };
        Covers {
            all: Arc::new(Mutex::new(all)),
            windows: HashMap::default(),
            unions: HashMap::default(),
            room: Vec::new(),
        }
    }

    /// All entries with their numbers, and all sets in the order of theirs. Nobody may ask for any
    /// set meanwhile.
    pub(crate) fn with_parts<R>(
        &self,
        f: impl FnOnce(&HashMap<u128, u32, BuildHashed>, &[(Box<[u32]>, Hash128)]) -> R,
    ) -> R {
        let sets = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        f(&sets.entries, &sets.sets)
    }

    /// What the next growth of the largest table takes, in bytes.
    pub(crate) fn growth(&self) -> usize {
        let sets = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all = (sets.entries.capacity().max(sets.numbers.capacity())).max(sets.sets.capacity());
        let own = self.windows.capacity().max(self.unions.capacity());
        2 * 33 * of_all.max(own)
    }

    /// The sets with these parts.
    pub(crate) fn of_parts(entries: &[(u128, u32)], sets: &[Box<[u32]>]) -> Covers {
        let covers = Covers::new();
        let mut all = covers.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entries = entries.iter().copied().collect();
        for set in sets {
            let mut name = Hash128::ZERO;
            for entry in set {
                name.add(name_of(*entry));
            }
            // In the order of their numbers: each gets its own again.
            all.number(set, name);
        }
        drop(all);
        covers
    }

    /// The same sets, for another thread.
    pub(crate) fn another(&self) -> Covers {
        Covers {
            all: Arc::clone(&self.all),
            windows: HashMap::default(),
            unions: HashMap::default(),
            room: Vec::new(),
        }
    }

    /// How many bytes the sets take, and what this thread remembers of them.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let own = self.windows.capacity() * 33 + self.unions.capacity() * 17;
        (self.all.lock().unwrap_or_else(PoisonError::into_inner).bytes, own)
    }

    /// The set of these entries; `all` is the sum of their hashes.
    pub(crate) fn of(&mut self, all: Hash128, entries: impl Iterator<Item = Hash128>) -> Cover {
        if let Some(known) = self.windows.get(&all.to_u128()) {
            return *known;
        }
        let mut sets = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let set = &mut self.room;
        set.clear();
        for entry in entries {
            let fresh = sets.entries.len() as u32;
            set.push(*sets.entries.entry(entry.to_u128()).or_insert(fresh));
        }
        set.sort_unstable();
        set.dedup();
        let mut name = Hash128::ZERO;
        for entry in &*set {
            name.add(name_of(*entry));
        }
        let number = sets.number(set, name);
        self.windows.insert(all.to_u128(), number);
        number
    }

    /// What is in one of the two.
    pub(crate) fn union(&mut self, a: Cover, b: Cover) -> Cover {
        if a == b || b == 0 {
            return a;
        }
        // Spread over all bits, and still one for each pair.
        let pair = (u64::from(a) << 32 | u64::from(b)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let pair = pair ^ pair >> 32;
        if let Some(known) = self.unions.get(&pair) {
            return *known;
        }
        let mut sets = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let number = sets.union(a, b, &mut self.room);
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
