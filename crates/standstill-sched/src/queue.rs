//! The run queue of one CPU: which threads are on it, and which of them can run.
//!
//! The ready ones are linked through the threads, so waking allocates nothing and handlers may do it.

use alloc::vec::Vec;
use core::ops::Deref;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

use crate::entry::{Entry, State};

/// The run queue of one CPU; under the port's lock, as is what its threads' entries hold.
pub struct Queue<T: 'static> {
    /// Threads that may run elsewhere may be put here.
    pub takes: bool,
    /// The CPU's own bound thread, from the first time that it was started.
    pub hotplug: Option<&'static T>,
    members: Vec<&'static T>,
    /// Null, or from a `&'static T`.
    head: *const T,
    /// The same, and null exactly if `head` is: no pointer outlives what it was for.
    tail: *const T,
    /// The earliest `wake_at` of a blocked member, or earlier.
    next_timer: u64,
}

// SAFETY: the pointers stand for `&'static T`, and those may be sent.
unsafe impl<T: Sync> Send for Queue<T> {}

impl<T: Deref<Target = Entry<T>>> Queue<T> {
    /// Empty, and it takes no threads.
    #[must_use]
    pub const fn new() -> Self {
        Queue {
            takes: false,
            hotplug: None,
            members: Vec::new(),
            head: ptr::null(),
            tail: ptr::null(),
            next_timer: u64::MAX,
        }
    }

    /// Makes room for `members` more.
    pub fn reserve(&mut self, members: usize) {
        self.members.reserve(members);
    }

    /// All threads that are on this CPU, running or not.
    pub fn members(&self) -> &[&'static T] {
        &self.members
    }

    /// Can a thread run?
    pub fn has_ready(&self) -> bool {
        !self.head.is_null()
    }

    /// Makes a thread ready: at the end of the queue, or first if it is bound, as the machine's own threads are.
    pub fn push(&mut self, thread: &'static T) {
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
            unsafe { &*self.tail }.next.store(link, Relaxed);
            self.tail = link;
        }
    }

    /// Takes the first ready thread.
    pub fn pop(&mut self) -> Option<&'static T> {
        // SAFETY: null or a thread, and threads are never freed.
        let first = unsafe { self.head.as_ref() }?;
        self.head = first.next.load(Relaxed);
        if self.head.is_null() {
            self.tail = ptr::null();
        }
        Some(first)
    }

    /// Takes `thread` out of the queue of the ready.
    fn unlink(&mut self, thread: &'static T) {
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
    pub fn add(&mut self, thread: &'static T, state: State) {
        self.members.push(thread);
        self.put(thread, state);
    }

    /// Gives a member that does not run the state that it has from now on.
    pub fn put(&mut self, thread: &'static T, state: State) {
        if state == State::Ready || thread.woken.swap(false, Relaxed) {
            self.push(thread);
        } else {
            thread.set_state(State::Blocked);
            self.next_timer = self.next_timer.min(thread.wake_at.load(Relaxed));
        }
    }

    /// Removes a thread that leaves this CPU; returns the state it had.
    pub fn remove(&mut self, thread: &'static T) -> State {
        let state = thread.state();
        if state == State::Ready {
            self.unlink(thread);
        }
        self.members.retain(|t| !ptr::eq(*t, thread));
        state
    }

    /// Makes the blocked threads ready whose time has come. Returns when to look again.
    ///
    /// `now` is asked only if a timer is set.
    pub fn timers(&mut self, now: impl FnOnce() -> u64) -> u64 {
        if self.next_timer == u64::MAX {
            return u64::MAX;
        }
        let now = now();
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

impl<T: Deref<Target = Entry<T>>> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
