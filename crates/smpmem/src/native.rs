//! The memory of real machines: `core::sync::atomic`, and plain cells.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};

use crate::traits::{DataCell, Datum, Pointer, Word};

/// The [`Word`] of a real machine.
pub type NativeWord = AtomicUsize;

/// The [`Pointer`] of a real machine.
pub type NativePointer<T> = AtomicPtr<T>;

/// The [fence](crate::Memory::fence) of a real machine.
#[inline(always)]
pub fn native_fence() {
    fence(Ordering::SeqCst);
}

/// Makes a type a [`Memory`](crate::Memory) of real atomics, for hardware and for threads.
///
/// Parameters of the type follow it: `native_memory!(Port<K>, K: Kernel)`.
///
/// ```
/// struct Port;
/// smpmem::native_memory!(Port);
///
/// struct Of<K>(K);
/// smpmem::native_memory!(Of<K>, K: Send + Sync + 'static);
/// ```
#[macro_export]
macro_rules! native_memory {
    ($port:ty $(, $($parameters:tt)+)?) => {
        // SAFETY: 1. the types and the fence are those of `core::sync::atomic`. 2. The cell is plain
        // memory.
        unsafe impl $(<$($parameters)+>)? $crate::Memory for $port {
            type Word = $crate::NativeWord;
            type Ptr<T: 'static> = $crate::NativePointer<T>;
            type Cell<T: $crate::Datum> = $crate::PlainCell<T>;

            #[inline(always)]
            fn fence(&self) {
                $crate::native_fence();
            }
        }
    };
}

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
