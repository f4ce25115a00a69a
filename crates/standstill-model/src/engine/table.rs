//! The states that were seen, for all threads of a search: the fingerprint of each, and what it was searched with.
//!
//! Shards with a lock each, by the highest bits of the fingerprint; there are many more of them than threads, so two seldom meet. A shard is a
//! table with open addressing: 20 bytes for each place, and no more than three of four places are taken.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::hash::Hash128;
use crate::reduction::explored::{Cover, Covers};

const SHARD_BITS: u32 = 8;
const SMALLEST: usize = 16;

/// What a look into the table found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Visit {
    /// Nobody was here.
    New,
    /// Somebody was, with less: it is to be searched again.
    More,
    /// Nothing is left to do here.
    Done,
}

/// All states.
pub(crate) struct Table(Box<[Mutex<Shard>]>);

#[derive(Default)]
struct Shard {
    keys: Vec<Hash128>,
    covers: Vec<Cover>,
    len: usize,
}

impl Shard {
    /// Where a key is, or would be.
    fn place(&self, key: Hash128) -> usize {
        let mask = self.keys.len() - 1;
        let mut at = key.1 as usize & mask;
        while self.keys[at] != key && self.keys[at] != Hash128::ZERO {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let size = (self.keys.len() * 2).max(SMALLEST);
        let keys = std::mem::replace(&mut self.keys, vec![Hash128::ZERO; size]);
        let covers = std::mem::replace(&mut self.covers, vec![0; size]);
        for (key, cover) in keys.into_iter().zip(covers) {
            if key != Hash128::ZERO {
                let at = self.place(key);
                (self.keys[at], self.covers[at]) = (key, cover);
            }
        }
    }
}

impl Table {
    pub(crate) fn new() -> Table {
        Table((0..1 << SHARD_BITS).map(|_| Mutex::default()).collect())
    }

    fn shard(&self, key: Hash128) -> MutexGuard<'_, Shard> {
        self.0[(key.0 >> (u64::BITS - SHARD_BITS)) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state `key` is reached with `cover`: it counts as searched with that from now on.
    pub(crate) fn visit(&self, key: Hash128, cover: Cover, covers: &mut Covers) -> Visit {
        // Nothing is at zero: that is an empty place.
        let key = if key == Hash128::ZERO { Hash128(0, 1) } else { key };
        let mut shard = self.shard(key);
        if shard.len * 4 >= shard.keys.len() * 3 {
            shard.grow();
        }
        let at = shard.place(key);
        if shard.keys[at] == Hash128::ZERO {
            shard.keys[at] = key;
            shard.covers[at] = cover;
            shard.len += 1;
            return Visit::New;
        }
        let before = shard.covers[at];
        let both = covers.union(before, cover);
        shard.covers[at] = both;
        if both == before { Visit::Done } else { Visit::More }
    }

    /// Calls `f` with each state and what it was searched with.
    pub(crate) fn each(&self, mut f: impl FnMut(Hash128, Cover)) {
        for shard in &self.0 {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, cover) in shard.keys.iter().zip(&shard.covers) {
                if *key != Hash128::ZERO {
                    f(*key, *cover);
                }
            }
        }
    }

    /// How many states there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len).sum()
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        let places =
            self.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).keys.capacity());
        places.sum::<usize>() * (size_of::<Hash128>() + size_of::<Cover>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_new_once_for_all_threads() {
        let (table, covers) = (Table::new(), Covers::new());
        let keys: Vec<Hash128> = (0..20_000_u64).map(|n| Hash128::of(&n)).chain([Hash128::ZERO]).collect();
        let count = |covers: &mut Covers, what| {
            keys.iter().filter(|key| table.visit(**key, 0, covers) == what).count()
        };
        let new: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let mut covers = covers.another();
                    scope.spawn(move || count(&mut covers, Visit::New))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it counts")).sum()
        });
        assert_eq!(new, keys.len());
        assert_eq!(count(&mut covers.another(), Visit::Done), keys.len());
        assert!(table.bytes() >= keys.len() * 20);
    }

    #[test]
    fn what_is_reached_with_more_is_searched_again() {
        let (table, mut covers) = (Table::new(), Covers::new());
        let key = Hash128::of(&1);
        let mut of = |n: i32| covers.of(Hash128::of(&n), std::iter::once(Hash128::of(&n)));
        let (a, b) = (of(1), of(2));
        assert_eq!(table.visit(key, a, &mut covers), Visit::New);
        assert_eq!(table.visit(key, 0, &mut covers), Visit::Done);
        assert_eq!(table.visit(key, b, &mut covers), Visit::More);
        assert_eq!(table.visit(key, a, &mut covers), Visit::Done);
    }
}
