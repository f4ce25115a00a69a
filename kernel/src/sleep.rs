//! Who sleeps on which word.
//!
//! A waiter enrolls itself, then looks at the word, then sleeps. Whoever changes the word looks for waiters after that. Both have a
//! sequentially consistent fence between their two accesses, so one of them sees the other.

use core::ptr;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicU32, fence};

use crate::lock::{Closed, SpinLock};
use crate::sched;
use crate::thread::{Out, Thread};

const BUCKETS: usize = 64;

struct Head(*const Thread);

// SAFETY: null or a leaked thread, which is `Sync`.
unsafe impl Send for Head {}

#[repr(align(64))]
struct Bucket {
    sleepers: AtomicU32,
    list: SpinLock<Head>,
}

static ALL: [Bucket; BUCKETS] =
    [const { Bucket { sleepers: AtomicU32::new(0), list: SpinLock::new(Head(ptr::null())) } }; BUCKETS];

fn bucket(word: usize) -> &'static Bucket {
    let hash = (word >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &ALL[hash >> (usize::BITS - BUCKETS.trailing_zeros())]
}

impl Bucket {
    fn enroll(&self, thread: &'static Thread, word: usize) {
        let mut list = self.list.lock();
        thread.sleeps_on.store(word, Relaxed);
        thread.bucket_next.store(list.0.cast_mut(), Relaxed);
        list.0 = thread;
        self.sleepers.fetch_add(1, SeqCst);
    }

    /// Takes those off the list for which `leaves` says so and hands them to `then`, the lock still held, so that they can't enroll anew.
    fn remove(&self, leaves: impl Fn(&Thread) -> bool, mut then: impl FnMut(&'static Thread)) {
        let mut list = self.list.lock();
        let mut at = list.0;
        let mut before: Option<&Thread> = None;
        // SAFETY: null or a thread, and threads are never freed.
        while let Some(thread) = unsafe { at.as_ref() } {
            at = thread.bucket_next.load(Relaxed);
            if leaves(thread) {
                match before {
                    Some(before) => before.bucket_next.store(at.cast_mut(), Relaxed),
                    None => list.0 = at,
                }
                thread.sleeps_on.store(0, Relaxed);
                self.sleepers.fetch_sub(1, Relaxed);
                then(thread);
            } else {
                before = Some(thread);
            }
        }
    }
}

/// As in [`Kernel`](standstill_x86_64::Kernel).
pub(crate) fn on(word: usize, until_ns: u64, over: &mut dyn FnMut() -> bool) {
    let Some(thread) = sched::current() else { return };
    let bucket = bucket(word);
    thread.woken.store(false, Relaxed);
    bucket.enroll(thread, word);
    fence(SeqCst);
    if !over() {
        let _closed = Closed::new();
        thread.wake_at.store(until_ns, Relaxed);
        sched::switch_out(Out::Wait);
    }
    bucket.remove(|sleeper| ptr::eq(sleeper, thread), |_| ());
}

/// Wakes those that sleep on `word`, which has changed.
pub(crate) fn wake(word: usize) {
    fence(SeqCst);
    wake_after_fence(word);
}

/// As in [`Kernel`](standstill_x86_64::Kernel).
pub(crate) fn wake_after_fence(word: usize) {
    let bucket = bucket(word);
    if bucket.sleepers.load(Relaxed) != 0 {
        bucket.remove(|sleeper| sleeper.sleeps_on.load(Relaxed) == word, sched::wake);
    }
}
