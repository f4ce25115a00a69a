//! [`Latest`]: a value that many write and many read, from any context, without waiting.

use core::cell::UnsafeCell;
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

/// The last value that was written while nobody else was there.
///
/// # Invariants
/// Only the one that moved `busy` from false to true touches `value`, until it moves it back.
pub(crate) struct Latest<T> {
    busy: AtomicBool,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: by the invariant one at a time touches the value, and `busy` orders them: so sharing it only moves a T between
// threads.
unsafe impl<T: Send> Sync for Latest<T> {}

impl<T: Copy> Latest<T> {
    pub(crate) const fn new() -> Self {
        Latest { busy: AtomicBool::new(false), value: UnsafeCell::new(None) }
    }

    /// Writes `value`. If somebody else is there at this moment, nothing happens.
    pub(crate) fn set(&self, value: T) {
        self.with(|place| *place = Some(value));
    }

    /// The value; `None` if there is none, or somebody writes at this moment.
    pub(crate) fn get(&self) -> Option<T> {
        self.with(|place| *place).flatten()
    }

    fn with<R>(&self, f: impl FnOnce(&mut Option<T>) -> R) -> Option<R> {
        // Acquire: pairs with the release below, of the one that was here before.
        if self.busy.swap(true, Acquire) {
            return None;
        }
        // SAFETY: this thread moved `busy` from false to true.
        let result = f(unsafe { &mut *self.value.get() });
        // Release: as above.
        self.busy.store(false, Release);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_kept_and_who_is_in_the_way_is_not_waited_for() {
        let latest = Latest::new();
        assert_eq!(latest.get(), None);
        latest.set(1);
        latest.set(2);
        assert_eq!(latest.get(), Some(2));
        latest.with(|_| {
            latest.set(3);
            assert_eq!(latest.get(), None);
        });
        assert_eq!(latest.get(), Some(2));
    }
}
