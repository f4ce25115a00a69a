//! The run queue of one CPU: which threads are on it, and which of them can run.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use standstill_x86_64::time::now_ns;

use crate::thread::{State, Thread};

pub(crate) struct Queue {
    /// Threads that may run elsewhere may be put here.
    pub(crate) takes: bool,
    /// Every thread that is on this CPU.
    pub(crate) members: Vec<&'static Thread>,
    ready: VecDeque<&'static Thread>,
    /// The earliest end of a sleep, or earlier.
    next_timer: u64,
    pub(crate) hotplug: Option<&'static Thread>,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Queue {
            takes: false,
            members: Vec::new(),
            ready: VecDeque::new(),
            next_timer: u64::MAX,
            hotplug: None,
        }
    }

    /// At the end of the queue, or first if it is bound, as the machine's own threads are.
    pub(crate) fn push(&mut self, thread: &'static Thread) {
        thread.set_state(State::Ready);
        if thread.bound {
            self.ready.push_front(thread);
        } else {
            self.ready.push_back(thread);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<&'static Thread> {
        self.ready.pop_front()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Adds a thread that is on no CPU. There is room for each member among the ready ones, so that waking allocates nothing.
    pub(crate) fn add(&mut self, thread: &'static Thread, state: State) {
        self.members.push(thread);
        self.ready.reserve(self.members.len());
        self.put(thread, state);
    }

    /// Gives a member that does not run the state that it has from now on.
    pub(crate) fn put(&mut self, thread: &'static Thread, state: State) {
        use core::sync::atomic::Ordering::Relaxed;
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
            self.ready.retain(|t| !core::ptr::eq(*t, thread));
        }
        self.members.retain(|t| !core::ptr::eq(*t, thread));
        state
    }

    /// Makes the blocked threads ready whose time has come. Returns when to look again.
    pub(crate) fn timers(&mut self) -> u64 {
        use core::sync::atomic::Ordering::Relaxed;
        if self.next_timer == u64::MAX {
            return u64::MAX;
        }
        let now = now_ns();
        if now >= self.next_timer {
            let mut next = u64::MAX;
            for i in 0..self.members.len() {
                let thread = self.members[i];
                if thread.state() == State::Blocked {
                    let at = thread.wake_at.load(Relaxed);
                    if at <= now {
                        self.push(thread);
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
