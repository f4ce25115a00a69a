//! The memory of real machines: what a port for hardware or threads fills [`Memory`](super::Memory) with.
//!
//! ```
//! use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
//! use standstill::platform::{Datum, Memory, PlainCell};
//!
//! struct MyPort;
//!
//! // SAFETY: the CPU's own atomics and plain memory.
//! unsafe impl Memory for MyPort {
//!     type Word = AtomicUsize;
//!     type Ptr<T: 'static> = AtomicPtr<T>;
//!     type Cell<T: Datum> = PlainCell<T>;
//!     fn fence(&self) {
//!         fence(Ordering::SeqCst);
//!     }
//! }
//! ```
//!
//! This is the one file of the library that names `core::sync::atomic`; the library itself uses it through the traits only.
#![expect(clippy::disallowed_types, reason = "the ports' side: here the traits meet the real types")]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::memory::{DataCell, Datum, Pointer, Word};

// SAFETY: each method is the type's own.
unsafe impl Word for AtomicUsize {
    const ZERO: Self = AtomicUsize::new(0);

    #[inline(always)]
    fn load(&self, order: Ordering) -> usize {
        AtomicUsize::load(self, order)
    }

    #[inline(always)]
    fn store(&self, value: usize, order: Ordering) {
        AtomicUsize::store(self, value, order);
    }

    #[inline(always)]
    fn swap(&self, value: usize, order: Ordering) -> usize {
        AtomicUsize::swap(self, value, order)
    }

    #[inline(always)]
    fn compare_exchange(&self, old: usize, new: usize, ok: Ordering, no: Ordering) -> Result<usize, usize> {
        AtomicUsize::compare_exchange(self, old, new, ok, no)
    }

    #[inline(always)]
    fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        AtomicUsize::fetch_add(self, value, order)
    }

    #[inline(always)]
    fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        AtomicUsize::fetch_sub(self, value, order)
    }

    #[inline(always)]
    fn fetch_or(&self, value: usize, order: Ordering) -> usize {
        AtomicUsize::fetch_or(self, value, order)
    }

    #[inline(always)]
    fn fetch_and(&self, value: usize, order: Ordering) -> usize {
        AtomicUsize::fetch_and(self, value, order)
    }
}

// SAFETY: each method is the type's own.
unsafe impl<T: 'static> Pointer<T> for AtomicPtr<T> {
    const NULL: Self = AtomicPtr::new(ptr::null_mut());

    #[inline(always)]
    fn load(&self, order: Ordering) -> *mut T {
        AtomicPtr::load(self, order)
    }

    #[inline(always)]
    fn store(&self, value: *mut T, order: Ordering) {
        AtomicPtr::store(self, value, order);
    }

    #[inline(always)]
    fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        AtomicPtr::swap(self, value, order)
    }

    #[inline(always)]
    fn compare_exchange(
        &self,
        old: *mut T,
        new: *mut T,
        ok: Ordering,
        no: Ordering,
    ) -> Result<*mut T, *mut T> {
        AtomicPtr::compare_exchange(self, old, new, ok, no)
    }
}

/// Plain memory that CPUs share by a protocol around it.
///
/// # Invariants
/// None: each access is proved where it is made, by the contract of [`DataCell`].
#[repr(transparent)]
pub struct PlainCell<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: [`DataCell`] asks for it; the library proves that each value may be where it is used.
unsafe impl<T> Send for PlainCell<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for PlainCell<T> {}

// SAFETY: `read` returns what `write` stored.
unsafe impl<T: Datum> DataCell<T> for PlainCell<T> {
    const EMPTY: Self = PlainCell(UnsafeCell::new(MaybeUninit::uninit()));

    #[inline(always)]
    unsafe fn read(&self) -> T {
        // SAFETY: 1. written, so initialized. 2. no write is concurrent.
        unsafe { (*self.0.get()).assume_init() }
    }

    #[inline(always)]
    unsafe fn write(&self, value: T) {
        // SAFETY: no other access is concurrent.
        unsafe { *self.0.get() = MaybeUninit::new(value) }
    }
}
