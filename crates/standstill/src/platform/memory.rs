//! Shared memory: words, pointers and plain cells.
//!
//! The library touches shared memory in no other way, so a port decides what an access is: on bare metal
//! and on threads one instruction of `core::sync::atomic`, in a checker a scheduling point.
//!
//! Orderings are relaxed, acquire, release and acquire-release; the only sequentially consistent thing is
//! [`Memory::fence`]. A checker with release/acquire views is exact for these and not for `SeqCst` accesses.

use core::hash::Hash;
use core::sync::atomic::Ordering;

/// How shared memory is accessed.
///
/// # Safety
/// 1. [`Word`], [`Pointer`] and the fence behave as the types of `core::sync::atomic` do with the orderings given.
/// 2. A [`DataCell`] is plain memory: a read returns what was last written, if the caller keeps its contract.
pub unsafe trait Memory: Sized + Send + Sync + 'static {
    /// A shared `usize`.
    type Word: Word;
    /// A shared pointer.
    type Ptr<T: 'static>: Pointer<T>;
    /// Plain shared memory, protected by the protocol around it.
    type Cell<T: Datum>: DataCell<T>;

    /// A sequentially consistent fence.
    #[track_caller]
    fn fence(&self);
}

/// A shared `usize`.
///
/// # Safety
/// Each method is one atomic access with the ordering given, as on `AtomicUsize`. `SeqCst` is never passed.
#[expect(missing_docs, reason = "each method is the one of AtomicUsize")]
pub unsafe trait Word: Send + Sync + 'static {
    /// The word that starts at 0.
    const ZERO: Self;
    #[track_caller]
    fn load(&self, order: Ordering) -> usize;
    /// A relaxed load, as a guess for a compare-and-swap that is tried until it succeeds, and where a try that fails leaves nothing
    /// behind that anybody else can see. A checker takes the two for one step.
    #[inline(always)]
    #[track_caller]
    fn guess(&self) -> usize {
        self.load(Ordering::Relaxed)
    }
    #[track_caller]
    fn store(&self, value: usize, order: Ordering);
    #[track_caller]
    fn swap(&self, value: usize, order: Ordering) -> usize;
    #[track_caller]
    fn compare_exchange(&self, old: usize, new: usize, ok: Ordering, no: Ordering) -> Result<usize, usize>;
    #[track_caller]
    fn fetch_add(&self, value: usize, order: Ordering) -> usize;
    #[track_caller]
    fn fetch_sub(&self, value: usize, order: Ordering) -> usize;
    #[track_caller]
    fn fetch_or(&self, value: usize, order: Ordering) -> usize;
    #[track_caller]
    fn fetch_and(&self, value: usize, order: Ordering) -> usize;
}

/// A shared pointer.
///
/// # Safety
/// Each method is one atomic access with the ordering given, as on `AtomicPtr`. `SeqCst` is never passed.
#[expect(missing_docs, reason = "each method is the one of AtomicPtr")]
pub unsafe trait Pointer<T>: Send + Sync + 'static {
    /// The pointer that starts as null.
    const NULL: Self;
    #[track_caller]
    fn load(&self, order: Ordering) -> *mut T;
    /// As [`Word::guess`].
    #[inline(always)]
    #[track_caller]
    fn guess(&self) -> *mut T {
        self.load(Ordering::Relaxed)
    }
    #[track_caller]
    fn store(&self, value: *mut T, order: Ordering);
    #[track_caller]
    fn swap(&self, value: *mut T, order: Ordering) -> *mut T;
    #[track_caller]
    fn compare_exchange(
        &self,
        old: *mut T,
        new: *mut T,
        ok: Ordering,
        no: Ordering,
    ) -> Result<*mut T, *mut T>;
}

/// What a [`DataCell`] may hold: plain values that a checker can copy and hash.
pub trait Datum: Copy + Hash + 'static {}

impl<T: Copy + Hash + 'static> Datum for T {}

/// Plain shared memory: no ordering of its own, and a data race if two CPUs meet in it.
///
/// # Safety
/// `read` returns the value of the last `write`. The cell may be moved between threads and shared even where
/// `T` may not: that is the point of it, and callers prove each access.
pub unsafe trait DataCell<T: Datum>: Send + Sync + 'static {
    /// The cell that nobody has written yet.
    const EMPTY: Self;

    /// The value.
    ///
    /// # Safety
    /// 1. The cell has been written.
    /// 2. No write is concurrent: the last one happened before this call.
    #[track_caller]
    unsafe fn read(&self) -> T;

    /// Replaces the value.
    ///
    /// # Safety
    /// No other access is concurrent: each happened before, or will happen after this call.
    #[track_caller]
    unsafe fn write(&self, value: T);
}
