//! The run queue of one CPU behind its lock, and how the CPU sleeps when no thread can run.
//!
//! A queue's lock is only held inside [`Critical`](crate::irq::Critical) sections, so a handler never meets a lock that
//! its own CPU holds. Handlers wake threads; waking allocates nothing.
//!
//! An idle CPU sleeps on `kick`. It reads `kick`, looks at the queue, and sleeps only while `kick` is what it read; who
//! makes a thread ready changes `kick` after that, so the change is either seen in the queue or ends the sleep.

use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

use standstill::CpuId;
use standstill_sched::Queue;

use crate::os;
use crate::thread::Thread;

/// The run queue of one CPU.
pub(crate) struct RunQueue {
    id: CpuId,
    inner: Mutex<Inner>,
    kick: AtomicU32,
    sleeping: AtomicBool,
    /// The thread that asked what still occupies this CPU, to be woken when that changes.
    pub(crate) watcher: AtomicPtr<Thread>,
    /// 1 while the hotplug thread is parked; who waits for that sleeps on it.
    pub(crate) parked: AtomicUsize,
}

/// What the lock of a queue protects, the entries of its threads included.
pub(crate) struct Inner {
    queue: Queue<Thread>,
    pub(crate) hotplug_runs: bool,
    /// It was unparked while it was on its way out: run it again.
    pub(crate) hotplug_again: bool,
}

impl Deref for Inner {
    type Target = Queue<Thread>;

    fn deref(&self) -> &Queue<Thread> {
        &self.queue
    }
}

impl DerefMut for Inner {
    fn deref_mut(&mut self) -> &mut Queue<Thread> {
        &mut self.queue
    }
}

impl RunQueue {
    pub(crate) fn new(id: CpuId) -> Self {
        let mut queue = Queue::new();
        queue.reserve(16);
        RunQueue {
            id,
            inner: Mutex::new(Inner { queue, hotplug_runs: false, hotplug_again: false }),
            kick: AtomicU32::new(0),
            sleeping: AtomicBool::new(false),
            watcher: AtomicPtr::new(ptr::null_mut()),
            parked: standstill::platform::Word::ZERO,
        }
    }

    /// Locks the queue. Inside a `Critical` section.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks this queue and another one, in the order that everybody keeps: this one first in the answer.
    pub(crate) fn lock_both<'a>(
        &'a self,
        other: &'a RunQueue,
    ) -> (MutexGuard<'a, Inner>, MutexGuard<'a, Inner>) {
        if self.id < other.id {
            let mine = self.lock();
            (mine, other.lock())
        } else {
            let theirs = other.lock();
            (self.lock(), theirs)
        }
    }

    /// Makes this CPU look at its queue again before it sleeps. Called on the CPU itself.
    pub(crate) fn bump(&self) {
        self.kick.fetch_add(1, Relaxed);
    }

    /// Makes this CPU look at its queue again, and wakes it if it sleeps.
    pub(crate) fn kick(&self) {
        self.kick.fetch_add(1, SeqCst);
        if self.sleeping.load(SeqCst) {
            os::futex_wake(self.kick.as_ptr(), 1);
        }
    }

    /// What [`sleep`](Self::sleep) compares; to be read before the queue.
    pub(crate) fn kicks(&self) -> u32 {
        self.kick.load(Acquire)
    }

    /// Sleeps until a kick or an interrupt after `seen` was read, for at most `ns`. In the idle context, interrupts on.
    pub(crate) fn sleep(&self, seen: u32, ns: Option<u64>) {
        self.sleeping.store(true, SeqCst);
        // SAFETY: the word is part of a leaked board. A kick after `seen` finds `sleeping` set, or the OS finds the changed
        // word: both are in one order of sequentially consistent accesses.
        unsafe { os::futex_wait(self.kick.as_ptr(), seen, ns) };
        self.sleeping.store(false, Relaxed);
    }
}
