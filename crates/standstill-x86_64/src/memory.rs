//! Shared memory: what `core::sync::atomic` has, and plain cells.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};

use standstill::platform::{Datum, Memory, PlainCell};

use crate::X86;
use crate::kernel::Kernel;

// SAFETY: the types are those of `core::sync::atomic` and plain memory; the fence is the one of the same module.
unsafe impl<K: Kernel> Memory for X86<K> {
    type Word = AtomicUsize;
    type Ptr<T: 'static> = AtomicPtr<T>;
    type Cell<T: Datum> = PlainCell<T>;

    #[inline(always)]
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}
