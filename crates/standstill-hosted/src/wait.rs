//! Waiting: a short spin, then sleep on the word; and who is woken when the word changes.
//!
//! | who waits | sleeps how | woken by |
//! |---|---|---|
//! | a thread ([`WaitContext::Task`]) | switched out; its CPU runs others or sleeps | `notify`, through the bucket's list |
//! | a pinned or frozen context | its OS thread sleeps on the word's futex | `notify`, through the futex; a signal |
//!
//! A waiter counts itself in the word's bucket, then looks at the word, then sleeps. Whoever changes the word looks at the
//! count after that. Both have a sequentially consistent fence between their two accesses, so one of them sees the
//! other: either the waiter sees the change, or the changer sees the waiter. With nobody asleep `notify` is a fence and
//! two loads.
//!
//! Sleeps end by themselves only to report a stall or at a deadline. If one ends to report and finds its wait over although
//! nobody woke it, that is counted in [`Stats::missed_wakes`](crate::Stats::missed_wakes).

use std::hint;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicUsize, fence};
use std::sync::{Mutex, PoisonError};

use standstill::event::Event;
use standstill::platform::{Deadline, Wait, WaitContext, WaitFor};

use crate::Hosted;
use crate::board::{Board, Cpu, try_here};
use crate::irq;
use crate::memory::low_half;
use crate::os;
use crate::thread::{Out, Thread, switch_out};

const BUCKETS: usize = 512;
/// How long a wait sleeps whose condition changes without a wake.
const NAP_NS: u64 = 500_000;

/// Who sleeps on which word, by hash of the word's address.
pub(crate) struct Buckets(Box<[Bucket]>);

#[repr(align(64))]
struct Bucket {
    /// OS threads that sleep on a futex.
    futexes: AtomicU32,
    /// Threads of the machine in `list`.
    threads: AtomicU32,
    list: Mutex<Head>,
}

/// The first of the threads that sleep on a word of this bucket.
struct Head(*const Thread);

// SAFETY: the pointer is null or to a leaked thread, which is `Sync`.
unsafe impl Send for Head {}

impl Buckets {
    pub(crate) fn new() -> Self {
        Buckets(
            (0..BUCKETS)
                .map(|_| Bucket {
                    futexes: AtomicU32::new(0),
                    threads: AtomicU32::new(0),
                    list: Mutex::new(Head(ptr::null())),
                })
                .collect(),
        )
    }

    fn of(&self, word: *const AtomicUsize) -> &Bucket {
        let hash = (word.addr() >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize);
        &self.0[hash >> (usize::BITS - BUCKETS.trailing_zeros())]
    }
}

impl Bucket {
    /// Puts `thread` on the list as one that sleeps on `word`. In a section.
    fn enroll(&self, thread: &'static Thread, word: *const AtomicUsize) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        thread.sleeps_on.store(word.addr(), Relaxed);
        thread.bucket_next.store(list.0.cast_mut(), Relaxed);
        list.0 = ptr::from_ref(thread);
        self.threads.fetch_add(1, SeqCst);
    }

    /// Takes those off the list for which `leaves` says so and hands them to `then`, the lock still held, so that they
    /// can't enroll anew meanwhile. In a section.
    fn remove(&self, leaves: impl Fn(&Thread) -> bool, mut then: impl FnMut(&'static Thread)) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = list.0;
        let mut before: Option<&Thread> = None;
        // SAFETY: null or a thread, and threads are never freed.
        while let Some(thread) = unsafe { at.as_ref() } {
            at = thread.bucket_next.load(Relaxed);
            if leaves(thread) {
                match before {
                    Some(b) => b.bucket_next.store(at.cast_mut(), Relaxed),
                    None => list.0 = at,
                }
                thread.sleeps_on.store(0, Relaxed);
                self.threads.fetch_sub(1, Relaxed);
                then(thread);
            } else {
                before = Some(thread);
            }
        }
    }
}

impl Board {
    /// The word at `on` has changed.
    pub(crate) fn notify(&'static self, on: *const AtomicUsize) {
        fence(SeqCst);
        let bucket = self.buckets.of(on);
        if bucket.futexes.load(Relaxed) != 0 {
            os::futex_wake(on.cast(), i32::MAX);
        }
        if bucket.threads.load(Relaxed) != 0 {
            let _section = irq::enter();
            bucket.remove(|t| t.sleeps_on.load(Relaxed) == on.addr(), |t| self.wake(t));
        }
    }

    /// Switches the calling thread out for `ns` nanoseconds at least.
    pub(crate) fn sleep_thread(&self, thread: &'static Thread, ns: u64) {
        let until = os::now_ns().saturating_add(ns);
        thread.wake_at.store(until, Relaxed);
        while os::now_ns() < until {
            switch_out(Out::Wait);
        }
    }

    /// How many polls before a wait sleeps: none to speak of where spinning keeps the awaited one from running.
    fn spins(&self) -> u32 {
        if self.crowded() { 16 } else { 4096 }
    }
}

/// When to report a wait, and when to give up.
struct Clock {
    start: u64,
    report_at: u64,
    gap: u64,
    deadline: u64,
    /// How long a sleep may take.
    nap: u64,
}

impl Clock {
    fn new(board: &Board, deadline: Deadline, nap: u64) -> Self {
        let start = os::now_ns();
        let gap = u64::try_from(board.config.stall_after.as_nanos()).unwrap_or(u64::MAX).max(1);
        let deadline = if deadline == Deadline::NEVER { u64::MAX } else { deadline.0 as u64 };
        Clock { start, report_at: start.saturating_add(gap), gap, deadline, nap }
    }

    /// When a sleep must end.
    fn next(&self) -> u64 {
        let nap = if self.nap == u64::MAX { u64::MAX } else { os::now_ns().saturating_add(self.nap) };
        self.report_at.min(self.deadline).min(nap)
    }

    /// Would the condition have been announced, if it holds without a wake?
    fn is_told(&self) -> bool {
        self.nap == u64::MAX && os::now_ns() < self.deadline
    }

    /// Reports a wait that has become long. True if the deadline is over.
    fn look(&mut self, wait: &WaitFor<'_>) -> bool {
        let now = os::now_ns();
        if now >= self.report_at {
            (wait.stalled)(now - self.start);
            self.gap = self.gap.saturating_mul(2);
            self.report_at = self.start.saturating_add(self.gap);
        }
        now >= self.deadline
    }
}

impl Hosted {
    /// Waits, and sleeps for `nap` nanoseconds at a time at most.
    fn wait<R>(
        &self,
        on: &AtomicUsize,
        wait: &WaitFor<'_>,
        nap: u64,
        mut poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        for _ in 0..self.board.spins() {
            if let Some(r) = poll() {
                return Some(r);
            }
            hint::spin_loop();
        }
        match (wait.context, try_here().and_then(Cpu::thread)) {
            (WaitContext::Task, Some(thread)) => self.wait_switched_out(thread, on, wait, nap, &mut poll),
            _ => self.wait_on_futex(on, wait, nap, &mut poll),
        }
    }

    /// Waits with the OS thread.
    fn wait_on_futex<R>(
        &self,
        on: &AtomicUsize,
        wait: &WaitFor<'_>,
        nap: u64,
        poll: &mut dyn FnMut() -> Option<R>,
    ) -> Option<R> {
        let bucket = self.board.buckets.of(on);
        let mut clock = Clock::new(self.board, wait.deadline, nap);
        bucket.futexes.fetch_add(1, SeqCst);
        let result = loop {
            fence(SeqCst);
            // Before the poll: a change after this load ends the sleep.
            let seen = on.load(Acquire) as u32;
            if let Some(r) = poll() {
                break Some(r);
            }
            let ns = match clock.next() {
                u64::MAX => None,
                at => Some(at.saturating_sub(os::now_ns()).max(1)),
            };
            // SAFETY: `on` is borrowed for the call.
            if unsafe { os::futex_wait(low_half(on), seen, ns) } == os::Woken::Timeout {
                if let Some(r) = poll() {
                    if clock.is_told() {
                        self.board.missed_wakes.fetch_add(1, Relaxed);
                    }
                    break Some(r);
                }
                if clock.look(wait) {
                    break poll();
                }
            }
        };
        bucket.futexes.fetch_sub(1, Relaxed);
        result
    }

    /// Waits with the thread, and lets others run.
    fn wait_switched_out<R>(
        &self,
        thread: &'static Thread,
        on: &AtomicUsize,
        wait: &WaitFor<'_>,
        nap: u64,
        poll: &mut dyn FnMut() -> Option<R>,
    ) -> Option<R> {
        let bucket = self.board.buckets.of(on);
        let mut clock = Clock::new(self.board, wait.deadline, nap);
        loop {
            thread.woken.store(false, Relaxed);
            {
                let _section = irq::enter();
                bucket.enroll(thread, on);
            }
            fence(SeqCst);
            let mut result = poll();
            let mut unwoken = false;
            if result.is_none() {
                thread.wake_at.store(clock.next(), Relaxed);
                switch_out(Out::Wait);
                result = poll();
                unwoken = os::now_ns() >= clock.report_at && clock.is_told();
            }
            let mut enrolled = false;
            {
                let _section = irq::enter();
                bucket.remove(|t| ptr::eq(t, thread), |_| enrolled = true);
            }
            if result.is_some() {
                if enrolled && unwoken {
                    self.board.missed_wakes.fetch_add(1, Relaxed);
                }
                return result;
            }
            if clock.look(wait) {
                return poll();
            }
        }
    }
}

standstill::platform::native_memory!(Hosted);

// SAFETY: `wait_until` returns only what `poll` said, or `None` after the deadline; NEVER does not expire.
unsafe impl Wait for Hosted {
    fn deadline_in(&self, ns: u64) -> Deadline {
        Deadline((os::now_ns().saturating_add(ns) as usize).max(1))
    }

    fn expired(&self, deadline: Deadline) -> bool {
        deadline != Deadline::NEVER && os::now_ns() >= deadline.0 as u64
    }

    fn wait_until<R>(
        &self,
        on: &AtomicUsize,
        wait: &WaitFor<'_>,
        poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        self.wait(on, wait, u64::MAX, poll)
    }

    fn watch_until<R>(
        &self,
        on: &AtomicUsize,
        wait: &WaitFor<'_>,
        poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        self.wait(on, wait, NAP_NS, poll)
    }

    fn notify(&self, on: *const AtomicUsize) {
        self.board.notify(on);
    }

    #[inline(always)]
    fn event(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = self.board.config.observer {
            observer.event(&event());
        }
    }
}

#[cfg(test)]
mod tests;
