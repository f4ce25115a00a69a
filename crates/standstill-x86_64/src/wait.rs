//! Waiting: a short spin, then sleep where there is a thread to sleep with, and spin on where there is none.

use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicUsize, fence};

use standstill::event::Event;
use standstill::platform::{Deadline, Irq, Wait, WaitContext, WaitFor};

use crate::X86;
use crate::cpu;
use crate::doze;
use crate::host;
use crate::kernel::Kernel;
use crate::power::may_change_unseen;
use crate::time::now_ns;

/// How many polls before anything else: what most waits on a machine with a core for each CPU take.
const SPINS: u32 = 128;
/// How many polls between two looks at the clock.
const BETWEEN_LOOKS: u32 = 256;
/// How long a thread sleeps on a word that changes without a wake.
const NAP_NS: u64 = 50_000;
/// When a wait is first reported; the gap doubles from there.
const STALL_NS: u64 = 5_000_000_000;

/// When to report a wait, and when to give up.
struct Clock {
    start: u64,
    report_at: u64,
    gap: u64,
    deadline: u64,
}

impl Clock {
    fn new(deadline: Deadline) -> Self {
        let start = now_ns();
        let deadline = if deadline == Deadline::NEVER { u64::MAX } else { deadline.0 as u64 };
        Clock { start, report_at: start + STALL_NS, gap: STALL_NS, deadline }
    }

    /// True if the deadline is over.
    fn look<K: Kernel>(&mut self, wait: &WaitFor<'_>, spins: bool) -> bool {
        let now = now_ns();
        if now >= self.report_at {
            (wait.stalled)(now - self.start);
            self.gap *= 2;
            self.report_at = self.start + self.gap;
        }
        if spins {
            K::spinning(now.saturating_sub(self.start));
        }
        now >= self.deadline
    }
}

// SAFETY: `wait_until` returns only what `poll` said, or `None` after the deadline; NEVER does not expire.
unsafe impl<K: Kernel> Wait for X86<K> {
    fn deadline_in(&self, ns: u64) -> Deadline {
        Deadline((now_ns().saturating_add(ns) as usize).max(1))
    }

    fn expired(&self, deadline: Deadline) -> bool {
        deadline != Deadline::NEVER && now_ns() >= deadline.0 as u64
    }

    fn wait_until<R>(
        &self,
        on: &AtomicUsize,
        wait: &WaitFor<'_>,
        poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        wait_for::<K, R>(on, wait, true, poll)
    }

    fn watch_until<R>(
        &self,
        on: &AtomicUsize,
        wait: &WaitFor<'_>,
        poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        wait_for::<K, R>(on, wait, false, poll)
    }

    fn notify(&self, on: *const AtomicUsize) {
        // An NMI may have come inside the very lock that a wake takes; it halts its CPU, and nobody sleeps for that.
        if !cpu::here().in_nmi.load(Relaxed) {
            // One for both: see doze.rs, and `Kernel::wake`.
            fence(SeqCst);
            doze::tell(on);
            K::wake(on.addr());
        }
    }

    #[inline(always)]
    fn event(&self, event: impl FnOnce() -> Event) {
        if K::LISTENS && K::listens() {
            self.preempt_disable();
            K::event(&event());
            // SAFETY: it was disabled above.
            unsafe { self.preempt_enable() };
        }
    }
}

/// A wait; `told`: whatever ends it is announced.
fn wait_for<K: Kernel, R>(
    on: &AtomicUsize,
    wait: &WaitFor<'_>,
    told: bool,
    mut poll: impl FnMut() -> Option<R>,
) -> Option<R> {
    for _ in 0..SPINS {
        if let Some(result) = poll() {
            return Some(result);
        }
        host::relax();
    }
    let sleeps = wait.context == WaitContext::Task;
    let me = cpu::here();
    let learned = if sleeps { &me.sleeps } else { &me.spins };
    match learned.poll(&mut poll) {
        Ok(result) => Some(result),
        Err(waiting) => {
            let result = halt_or_sleep::<K, R>(on, wait, sleeps, told, poll);
            learned.over(waiting);
            result
        }
    }
}

/// The rest of a wait that polling did not end.
fn halt_or_sleep<K: Kernel, R>(
    on: &AtomicUsize,
    wait: &WaitFor<'_>,
    sleeps: bool,
    told: bool,
    mut poll: impl FnMut() -> Option<R>,
) -> Option<R> {
    let mut clock = Clock::new(wait.deadline);
    loop {
        if sleeps {
            let unseen = may_change_unseen(on);
            let nap = if unseen || !told { now_ns() + NAP_NS } else { u64::MAX };
            let until = nap.min(clock.report_at).min(clock.deadline);
            let mut result = None;
            K::sleep_on((&raw const *on).addr(), until, &mut || {
                result = poll();
                // Announced since the line above, and the wake came before this thread could be woken?
                result.is_some() || unseen != may_change_unseen(on)
            });
            if result.is_some() {
                return result;
            }
        }
        // A deadline, or what nobody tells, needs a look now and then.
        let nothing_else = told && wait.deadline == Deadline::NEVER && !may_change_unseen(on);
        let dozes = !sleeps && nothing_else && K::may_doze(wait.context);
        for _ in 0..if sleeps || dozes { 1 } else { BETWEEN_LOOKS } {
            if let Some(result) = poll() {
                return Some(result);
            }
            host::relax();
        }
        if dozes {
            let mut result = None;
            doze::until_told(on, || {
                result = poll();
                result.is_some()
            });
            if result.is_some() {
                return result;
            }
        }
        if clock.look::<K>(wait, !sleeps) {
            return poll();
        }
    }
}
