//! A spin lock that closes interrupts: handlers may take what threads take.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use standstill_x86_64::{host, irq};

/// A section with interrupts closed.
#[must_use]
pub(crate) struct Closed(bool);

impl Closed {
    pub(crate) fn new() -> Self {
        Closed(irq::close())
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        irq::open_if(self.0);
    }
}

pub(crate) struct SpinLock<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached by who holds the lock.
unsafe impl<T: Send> Sync for SpinLock<T> {}

pub(crate) struct Guard<'a, T> {
    lock: &'a SpinLock<T>,
    _closed: Closed,
}

impl<T> SpinLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        SpinLock { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let closed = Closed::new();
        while self.locked.swap(true, Acquire) {
            while self.locked.load(Relaxed) {
                host::relax();
            }
        }
        Guard { lock: self, _closed: closed }
    }

    /// As `lock`, but gives up soon: for reports of a machine that may be broken.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        let closed = Closed::new();
        for _ in 0..100_000 {
            if !self.locked.swap(true, Acquire) {
                return Some(Guard { lock: self, _closed: closed });
            }
            host::relax();
        }
        None
    }

    /// Opens the lock whoever holds it.
    ///
    /// # Safety
    /// Whoever holds it has halted for good.
    pub(crate) unsafe fn break_open(&self) {
        self.locked.store(false, Release);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.locked.store(false, Release);
    }
}
