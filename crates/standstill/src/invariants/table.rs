//! A map of fixed size, without allocation, whose layout depends only on what is in it.
//!
//! Linear probing, ordered: on the way from a key's home place to its place there are only smaller keys. So the
//! same entries lie in the same places whatever their history was, and a checker can hash a monitor without hashing the way it got
//! there (the unique representation of ordered hash tables).

use core::hash::{Hash, Hasher};

/// A key: ordered, and with a number that spreads well enough.
pub(super) trait Key: Copy + Ord {
    fn spread(self) -> usize;
}

/// Mixes a word so that addresses, which differ in their middle bits, differ in the low ones.
pub(super) const fn mix(word: usize) -> usize {
    let word = (word ^ (word >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word ^ (word >> 29)
}

/// The map. What does not fit is counted and left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Table<K, V, const SLOTS: usize> {
    slots: [Option<(K, V)>; SLOTS],
    len: usize,
    overflowed: u64,
}

impl<K: Key, V: Copy, const SLOTS: usize> Table<K, V, SLOTS> {
    pub(super) const fn new() -> Self {
        Table { slots: [const { None }; SLOTS], len: 0, overflowed: 0 }
    }

    /// How many entries did not fit. Once it is not 0, a key that is not here may have been left out.
    pub(super) const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn home(key: K) -> usize {
        key.spread() % SLOTS
    }

    fn find(&self, key: K) -> Option<usize> {
        if SLOTS == 0 {
            return None;
        }
        let mut place = Self::home(key);
        for _ in 0..SLOTS {
            match &self.slots[place] {
                Some((here, _)) if *here < key => place = (place + 1) % SLOTS,
                Some((here, _)) if *here == key => return Some(place),
                // A greater key or nothing: a smaller distance would have been taken by ours.
                _ => return None,
            }
        }
        None
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.find(key).and_then(|place| self.slots[place].as_ref()).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let place = self.find(key)?;
        self.slots[place].as_mut().map(|(_, value)| value)
    }

    /// Sets the value of a key. False if there is no room.
    pub(super) fn set(&mut self, key: K, value: V) -> bool {
        if let Some(old) = self.get_mut(key) {
            *old = value;
            return true;
        }
        if self.len == SLOTS {
            self.overflowed += 1;
            return false;
        }
        let mut carried = (key, value);
        let mut place = Self::home(key);
        // There is a free place, so this ends.
        loop {
            match &mut self.slots[place] {
                None => {
                    self.slots[place] = Some(carried);
                    self.len += 1;
                    return true;
                }
                Some(here) if here.0 > carried.0 => core::mem::swap(here, &mut carried),
                Some(_) => {}
            }
            place = (place + 1) % SLOTS;
        }
    }

    /// Removes a key and returns its value.
    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let mut hole = self.find(key)?;
        let (_, value) = self.slots[hole].take()?;
        self.len -= 1;
        // Fill the hole with the next entry that may lie there, then the hole that this one left.
        let mut steps = 1;
        while steps < SLOTS {
            let place = (hole + steps) % SLOTS;
            let Some((candidate, _)) = &self.slots[place] else { break };
            let from_home = (place + SLOTS - Self::home(*candidate)) % SLOTS;
            if from_home >= steps {
                self.slots[hole] = self.slots[place].take();
                hole = place;
                steps = 1;
            } else {
                steps += 1;
            }
        }
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().flatten().map(|(key, value)| (key, value))
    }
}

/// Only what is in it.
impl<K: Hash, V: Hash, const SLOTS: usize> Hash for Table<K, V, SLOTS> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        (self.overflowed > 0).hash(state);
        for (key, value) in self.slots.iter().flatten() {
            key.hash(state);
            value.hash(state);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeMap;
    use std::vec::Vec;

    use super::*;

    impl Key for u8 {
        /// Few homes, so that keys get in each other's way, and the last home wraps.
        fn spread(self) -> usize {
            usize::from(self) % 5 + 5
        }
    }

    const SLOTS: usize = 8;

    /// The same entries, put in afresh in ascending order.
    fn afresh(model: &BTreeMap<u8, u32>) -> Table<u8, u32, SLOTS> {
        let mut table = Table::new();
        for (key, value) in model {
            assert!(table.set(*key, *value));
        }
        table
    }

    #[test]
    fn it_is_a_map_whose_layout_has_no_history() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let (mut table, mut model) = (Table::<u8, u32, SLOTS>::new(), BTreeMap::new());
        let (mut overflowed, mut full) = (0, 0);
        for turn in 0..if cfg!(miri) { 300 } else { 20_000 } {
            let key = random(14) as u8;
            if random(2) == 0 {
                let fits = model.contains_key(&key) || model.len() < SLOTS;
                assert_eq!(table.set(key, turn), fits);
                if fits {
                    model.insert(key, turn);
                } else {
                    overflowed += 1;
                }
            } else {
                assert_eq!(table.remove(key), model.remove(&key));
            }
            full += usize::from(table.len() == SLOTS);
            assert_eq!(table.len(), model.len());
            for key in 0..14 {
                assert_eq!(table.get(key), model.get(&key));
            }
            let mut entries: Vec<_> = table.iter().map(|(key, value)| (*key, *value)).collect();
            assert_eq!(table.slots, afresh(&model).slots);
            entries.sort_unstable();
            assert!(entries.iter().copied().eq(model.iter().map(|(key, value)| (*key, *value))));
        }
        assert!(overflowed > 0 && full > 0);
        assert_eq!(table.overflowed(), overflowed);
    }

    #[test]
    fn a_table_without_slots_holds_nothing() {
        let mut table = Table::<u8, u32, 0>::new();
        assert!(!table.set(1, 1));
        assert_eq!(table.get(1), None);
        assert_eq!((table.remove(1), table.overflowed()), (None, 1));
    }
}
