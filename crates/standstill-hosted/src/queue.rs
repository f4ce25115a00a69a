//! The run queue of one CPU: which threads are on it, which of them can run, and how the CPU sleeps when none can.
//!
//! A queue's lock is only held inside [`Critical`](crate::irq::Critical) sections, so a handler never meets a lock that
//! its own CPU holds. Handlers wake threads; so waking allocates nothing: the queue of the ready runs through the threads.
//!
//! An idle CPU sleeps on `kick`. It reads `kick`, looks at the queue, and sleeps only while `kick` is what it read; who
//! makes a thread ready changes `kick` after that, so the change is either seen in the queue or ends the sleep.

use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

use standstill::CpuId;

use crate::os;
use crate::thread::{State, Thread};

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

/// What the lock of a queue protects, the `state`, `next` and `woken` of its threads included.
pub(crate) struct Inner {
    /// Threads that may run elsewhere may be put here.
    pub(crate) takes: bool,
    /// All threads that are on this CPU.
    pub(crate) members: Vec<&'static Thread>,
    head: *const Thread,
    tail: *const Thread,
    /// The earliest `wake_at` of a member, or earlier.
    next_timer: u64,
    /// The hotplug thread, from the first time that it was unparked.
    pub(crate) hotplug: Option<&'static Thread>,
    pub(crate) hotplug_runs: bool,
    /// It was unparked while it was on its way out: run it again.
    pub(crate) hotplug_again: bool,
}

// SAFETY: the pointers are to leaked threads, which are `Sync`.
unsafe impl Send for Inner {}

impl RunQueue {
    pub(crate) fn new(id: CpuId) -> Self {
        RunQueue {
            id,
            inner: Mutex::new(Inner {
                takes: false,
                members: Vec::with_capacity(16),
                head: ptr::null(),
                tail: ptr::null(),
                next_timer: u64::MAX,
                hotplug: None,
                hotplug_runs: false,
                hotplug_again: false,
            }),
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

impl Inner {
    /// Makes a thread ready: at the end of the queue, or first if it is bound, as the machine's own threads are.
    pub(crate) fn push(&mut self, thread: &'static Thread) {
        thread.set_state(State::Ready);
        let link = ptr::from_ref(thread).cast_mut();
        if self.head.is_null() {
            thread.next.store(ptr::null_mut(), Relaxed);
            self.head = link;
            self.tail = link;
        } else if thread.bound {
            thread.next.store(self.head.cast_mut(), Relaxed);
            self.head = link;
        } else {
            thread.next.store(ptr::null_mut(), Relaxed);
            // SAFETY: not null, as the queue is not empty; threads are never freed.
            unsafe { (*self.tail).next.store(link, Relaxed) };
            self.tail = link;
        }
    }

    /// Takes the first ready thread.
    pub(crate) fn pop(&mut self) -> Option<&'static Thread> {
        // SAFETY: null or a thread, and threads are never freed.
        let first = unsafe { self.head.as_ref() }?;
        self.head = first.next.load(Relaxed);
        if self.head.is_null() {
            self.tail = ptr::null();
        }
        Some(first)
    }

    /// Takes `thread` out of the queue of the ready.
    fn unlink(&mut self, thread: &'static Thread) {
        let target = ptr::from_ref(thread);
        if self.head == target {
            self.pop();
            return;
        }
        let mut at = self.head;
        // SAFETY: null or a thread, and threads are never freed.
        while let Some(t) = unsafe { at.as_ref() } {
            let next = t.next.load(Relaxed).cast_const();
            if next == target {
                t.next.store(thread.next.load(Relaxed), Relaxed);
                if self.tail == target {
                    self.tail = at;
                }
                return;
            }
            at = next;
        }
    }

    /// Adds a thread that is in no queue: ready, or blocked until its `wake_at`.
    pub(crate) fn add(&mut self, thread: &'static Thread, state: State) {
        self.members.push(thread);
        self.put(thread, state);
    }

    /// Gives a member that does not run the state that it has from now on.
    pub(crate) fn put(&mut self, thread: &'static Thread, state: State) {
        if state == State::Ready || thread.woken.swap(false, Relaxed) {
            self.push(thread);
        } else {
            thread.set_state(State::Blocked);
            self.next_timer = self.next_timer.min(thread.wake_at.load(Relaxed));
        }
    }

    /// Removes a thread that leaves this CPU; returns the state it had.
    pub(crate) fn remove(&mut self, thread: &'static Thread) -> State {
        let state = thread.state();
        if state == State::Ready {
            self.unlink(thread);
        }
        self.members.retain(|t| !ptr::eq(*t, thread));
        state
    }

    /// Makes the blocked threads ready whose time has come. Returns when to look again.
    pub(crate) fn timers(&mut self) -> u64 {
        if self.next_timer == u64::MAX {
            return u64::MAX;
        }
        let now = os::now_ns();
        if now >= self.next_timer {
            let mut next = u64::MAX;
            for i in 0..self.members.len() {
                let t = self.members[i];
                if t.state() == State::Blocked {
                    let at = t.wake_at.load(Relaxed);
                    if at <= now {
                        self.push(t);
                    } else {
                        next = next.min(at);
                    }
                }
            }
            self.next_timer = next;
        }
        self.next_timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(q: &mut Inner) -> Vec<&'static str> {
        std::iter::from_fn(|| q.pop()).map(|t| t.name).collect()
    }

    fn thread(name: &'static str, bound: bool) -> &'static Thread {
        Thread::leak(name, CpuId::BOOT, bound)
    }

    #[test]
    fn ready_threads_come_in_order_and_bound_ones_first() {
        let queue = RunQueue::new(CpuId::BOOT);
        let mut q = queue.lock();
        let (a, b, c, m) = (thread("a", false), thread("b", false), thread("c", false), thread("m", true));
        for t in [a, b, c, m] {
            q.add(t, State::Ready);
        }
        assert_eq!(names(&mut q), ["m", "a", "b", "c"]);
    }

    #[test]
    fn a_thread_can_be_taken_out_anywhere() {
        for victim in 0..3 {
            let queue = RunQueue::new(CpuId::BOOT);
            let mut q = queue.lock();
            let all = [thread("a", false), thread("b", false), thread("c", false)];
            for t in all {
                q.add(t, State::Ready);
            }
            assert_eq!(q.remove(all[victim]), State::Ready);
            let last = thread("z", false);
            q.add(last, State::Ready);
            let mut want = vec!["a", "b", "c"];
            want.remove(victim);
            want.push("z");
            assert_eq!(names(&mut q), want);
            assert_eq!(q.members.len(), 3);
        }
    }

    #[test]
    fn a_timer_makes_ready_once_and_says_when_to_look_again() {
        let queue = RunQueue::new(CpuId::BOOT);
        let mut q = queue.lock();
        let (soon, late, never) = (thread("soon", false), thread("late", false), thread("never", false));
        let far = os::now_ns() + 3_600_000_000_000;
        soon.wake_at.store(1, Relaxed);
        late.wake_at.store(far, Relaxed);
        for t in [soon, late, never] {
            q.add(t, State::Blocked);
        }
        assert_eq!(q.timers(), far);
        assert_eq!(names(&mut q), ["soon"]);
    }

    #[test]
    fn a_wake_before_the_switch_is_kept() {
        let queue = RunQueue::new(CpuId::BOOT);
        let mut q = queue.lock();
        let t = thread("t", false);
        t.woken.store(true, Relaxed);
        q.add(t, State::Blocked);
        assert_eq!(names(&mut q), ["t"]);
        q.put(t, State::Blocked);
        assert!(names(&mut q).is_empty(), "one wake ends one wait");
    }
}
