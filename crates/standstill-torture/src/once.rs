//! [`Once`]: a value that the first of many writers sets, from any context, without waiting.

use core::cell::UnsafeCell;
use core::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};

const EMPTY: u8 = 0;
const BUSY: u8 = 1;
const FULL: u8 = 2;

/// A value that is set at most once.
///
/// # Invariants
/// `value` is written only by the one that moved `state` from `EMPTY` to `BUSY`, before it moves it to `FULL`, and is
/// never written again.
pub(crate) struct Once<T> {
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: by the invariant, `value` is written by one thread and read by others only after `FULL`, which that
// thread stored (release) and they loaded (acquire). So sharing it moves a T between threads (Send) and hands out
// shared references to it (Sync).
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// Empty.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Once { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(None) }
    }

    /// Sets the value if nobody did before.
    pub(crate) fn set(&self, value: T) {
        // Relaxed: the winner observes nothing of others, and the losers leave.
        if self.state.compare_exchange(EMPTY, BUSY, Relaxed, Relaxed).is_err() {
            return;
        }
        // SAFETY: this thread moved the state to BUSY, so it is the only writer, and nobody reads before FULL.
        unsafe { *self.value.get() = Some(value) };
        // Release: publishes the value to those that load FULL in `get`.
        self.state.store(FULL, Release);
    }

    /// The value, if it is set.
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the release in `set`.
        if self.state.load(Acquire) != FULL {
            return None;
        }
        // SAFETY: FULL was loaded, so the write happened before, and by the invariant there is no other.
        unsafe { (*self.value.get()).as_ref() }
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wins() {
        let once = Once::new();
        assert_eq!(once.get(), None);
        once.set(1);
        once.set(2);
        assert_eq!(once.get(), Some(&1));
    }

    #[test]
    fn of_many_threads_one_wins() {
        extern crate std;
        let once = Once::new();
        std::thread::scope(|s| {
            for i in 0..4 {
                let once = &once;
                s.spawn(move || once.set(i));
            }
        });
        assert!(once.get().is_some_and(|v| (0..4).contains(v)));
    }
}
