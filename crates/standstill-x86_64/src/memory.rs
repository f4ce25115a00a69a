//! Shared memory: the types of `core::sync::atomic`, and plain cells.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};

use standstill::platform::{DataCell, Datum, Memory, Pointer, Word};

use crate::X86;
use crate::kernel::Kernel;

/// A shared `usize`.
#[repr(transparent)]
pub struct X86Word(AtomicUsize);

/// A shared pointer.
#[repr(transparent)]
pub struct X86Ptr<T>(AtomicPtr<T>);

/// Plain shared memory.
pub struct X86Cell<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: each method is the one of `AtomicUsize` with the ordering given.
unsafe impl Word for X86Word {
    const ZERO: Self = X86Word(AtomicUsize::new(0));
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

// SAFETY: each method is the one of `AtomicPtr` with the ordering given.
unsafe impl<T: 'static> Pointer<T> for X86Ptr<T> {
    const NULL: Self = X86Ptr(AtomicPtr::new(core::ptr::null_mut()));
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

// SAFETY: the cell is plain memory; whoever reads and writes it proves each access, and values that are only moved through
// it need no more.
unsafe impl<T> Send for X86Cell<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for X86Cell<T> {}

// SAFETY: `read` copies what `write` stored.
unsafe impl<T: Datum> DataCell<T> for X86Cell<T> {
    const EMPTY: Self = X86Cell(UnsafeCell::new(MaybeUninit::uninit()));

    #[inline(always)]
    unsafe fn read(&self) -> T {
        // SAFETY: 1. it was written, so it is initialized. 2. No write is concurrent.
        unsafe { (*self.0.get()).assume_init() }
    }

    #[inline(always)]
    unsafe fn write(&self, value: T) {
        // SAFETY: no other access is concurrent.
        unsafe { *self.0.get() = MaybeUninit::new(value) };
    }
}

// SAFETY: the types are those of `core::sync::atomic` and plain memory; the fence is the one of the same module.
unsafe impl<K: Kernel> Memory for X86<K> {
    type Word = X86Word;
    type Ptr<T: 'static> = X86Ptr<T>;
    type Cell<T: Datum> = X86Cell<T>;

    #[inline(always)]
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}
