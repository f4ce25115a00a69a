//! Shared memory of the hosted port: the types of `core::sync::atomic`, and plain cells.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use standstill::platform::{DataCell, Datum, Pointer, Word};

/// A shared word. Its low half is also what sleepers of the kernel's futex wait on.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct HostedWord(AtomicUsize);

impl HostedWord {
    /// The half of the word that a futex compares.
    ///
    /// Only little-endian machines are supported, so it is the first one.
    pub(crate) fn low(&self) -> *const u32 {
        std::ptr::from_ref(self).cast()
    }
}

#[cfg(target_endian = "big")]
compile_error!("standstill-hosted waits on the first four bytes of a word: only little-endian machines work");

// SAFETY: each method is the one of `AtomicUsize`.
unsafe impl Word for HostedWord {
    const ZERO: Self = HostedWord(AtomicUsize::new(0));

    #[inline(always)]
    fn load(&self, order: Ordering) -> usize {
        self.0.load(order)
    }

    #[inline(always)]
    fn store(&self, value: usize, order: Ordering) {
        self.0.store(value, order);
    }

    #[inline(always)]
    fn swap(&self, value: usize, order: Ordering) -> usize {
        self.0.swap(value, order)
    }

    #[inline(always)]
    fn compare_exchange(&self, old: usize, new: usize, ok: Ordering, no: Ordering) -> Result<usize, usize> {
        self.0.compare_exchange(old, new, ok, no)
    }

    #[inline(always)]
    fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_add(value, order)
    }

    #[inline(always)]
    fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_sub(value, order)
    }

    #[inline(always)]
    fn fetch_or(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_or(value, order)
    }

    #[inline(always)]
    fn fetch_and(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_and(value, order)
    }
}

/// A shared pointer.
#[derive(Debug)]
#[repr(transparent)]
pub struct HostedPtr<T>(AtomicPtr<T>);

// SAFETY: an `AtomicPtr` may be shared and sent whatever it points to; whoever dereferences it proves that.
unsafe impl<T> Send for HostedPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for HostedPtr<T> {}

// SAFETY: each method is the one of `AtomicPtr`.
unsafe impl<T: 'static> Pointer<T> for HostedPtr<T> {
    const NULL: Self = HostedPtr(AtomicPtr::new(std::ptr::null_mut()));

    #[inline(always)]
    fn load(&self, order: Ordering) -> *mut T {
        self.0.load(order)
    }

    #[inline(always)]
    fn store(&self, value: *mut T, order: Ordering) {
        self.0.store(value, order);
    }

    #[inline(always)]
    fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        self.0.swap(value, order)
    }

    #[inline(always)]
    fn compare_exchange(
        &self,
        old: *mut T,
        new: *mut T,
        ok: Ordering,
        no: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.0.compare_exchange(old, new, ok, no)
    }
}

/// Plain shared memory.
#[derive(Debug)]
#[repr(transparent)]
pub struct HostedCell<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: the trait asks for it: each access is proved by its caller.
unsafe impl<T> Send for HostedCell<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for HostedCell<T> {}

// SAFETY: plain memory.
unsafe impl<T: Datum> DataCell<T> for HostedCell<T> {
    const EMPTY: Self = HostedCell(UnsafeCell::new(MaybeUninit::uninit()));

    #[inline(always)]
    unsafe fn read(&self) -> T {
        // SAFETY: the caller says that it was written (1) and that no write is concurrent (2).
        unsafe { (*self.0.get()).assume_init() }
    }

    #[inline(always)]
    unsafe fn write(&self, value: T) {
        // SAFETY: the caller says that no other access is concurrent.
        unsafe { *self.0.get() = MaybeUninit::new(value) }
    }
}
