//! The traits: what shared memory is made of.

use core::hash::Hash;
use core::sync::atomic::Ordering;

/// How shared memory is accessed.
///
/// [`native_memory!`](crate::native_memory) implements it with real atomics.
///
/// # Safety
/// 1. [`Word`], [`Pointer`] and the fence behave as the types of `core::sync::atomic` do with the
///    orderings given.
/// 2. A [`DataCell`] is plain memory: a read returns what was last written, if the caller keeps its
///    contract.
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

    /// A loop begins. Each of its turns starts with a [`loop_head`](Self::loop_head), and
    /// [`leave_loop`](Self::leave_loop) follows. [`run_loop`](crate::run_loop) makes all three calls.
    ///
    /// These three are for checkers, and do nothing elsewhere. At a loop head a checker forgets what
    /// the caller read since here, and keeps what it read before.
    #[inline(always)]
    fn enter_loop(&self) {}

    /// A turn of the loop begins. `state` is everything that the loop remembers.
    #[inline(always)]
    #[track_caller]
    fn loop_head<S: Hash>(&self, state: &S) {
        let _ = state;
    }

    /// The loop that began last has ended.
    #[inline(always)]
    fn leave_loop(&self) {}
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
    /// A relaxed load that seeds the retry loop of a compare-and-swap. A failed attempt has no effect
    /// that anybody else can see, so a checker may treat load and compare-and-swap as one step.
    #[inline(always)]
    #[track_caller]
    fn load_for_cas(&self) -> usize {
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
    /// As [`Word::load_for_cas`].
    #[inline(always)]
    #[track_caller]
    fn load_for_cas(&self) -> *mut T {
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

/// Plain shared memory. It has no ordering of its own: two CPUs that meet in it race.
///
/// # Safety
/// `read` returns the value of the last `write`. The cell may be moved between threads and shared
/// even where `T` may not. That is its purpose, and callers prove each access.
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
