//! Waiting: a short spin, then sleep where there is a thread to sleep with, and spin on where there is none.

use core::hint;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

use standstill::event::Event;
use standstill::platform::{Deadline, Wait, WaitContext, WaitFor};

use crate::X86;
use crate::cpu;
use crate::doze;
use crate::kernel::Kernel;
use crate::power::may_change_unseen;
use crate::time::now_ns;

/// How many polls before a thread sleeps.
const SPINS: u32 = 512;
/// How many polls, at least and at most, before a CPU dozes.
const PATIENCE: core::ops::RangeInclusive<u32> = 128..=4096;
/// By how much its patience grows when it paid.
const GROWTH: u32 = 128;
/// How many of them before each pause. An emulator takes a pause for a way out to its main loop and through its one big lock, in the way of
/// the very CPU that is waited for; a core that runs two CPUs wants some.
const POLLS_PER_PAUSE: u32 = 64;
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

/// How many polls are worth it before this CPU dozes. On a machine with a core for each CPU the other side answers in less time than it takes to
/// halt and to be woken; with fewer cores the other side can't even run while this CPU polls. Each CPU learns which it is from its last waits. The
/// caller can't be moved.
fn patience() -> u32 {
    cpu::here().patience.load(Relaxed).clamp(*PATIENCE.start(), *PATIENCE.end())
}

fn be_patient(polls: u32) {
    cpu::here().patience.store(polls.min(*PATIENCE.end()), Relaxed);
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
        mut poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let sleeps = wait.context == WaitContext::Task;
        let patience = if sleeps { SPINS } else { patience() };
        for turn in 1..=patience {
            if let Some(result) = poll() {
                if !sleeps {
                    be_patient(patience + GROWTH);
                }
                return Some(result);
            }
            if turn % POLLS_PER_PAUSE == 0 {
                hint::spin_loop();
            }
        }
        if !sleeps {
            be_patient(patience / 2);
        }
        let mut clock = Clock::new(wait.deadline);
        loop {
            if sleeps {
                let unseen = may_change_unseen(on);
                let nap = if unseen { now_ns() + NAP_NS } else { u64::MAX };
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
            let told = wait.deadline == Deadline::NEVER && !may_change_unseen(on);
            let dozes = !sleeps && told && K::may_doze(wait.context);
            for turn in 0..if sleeps || dozes { 1 } else { BETWEEN_LOOKS } {
                if let Some(result) = poll() {
                    return Some(result);
                }
                if turn % POLLS_PER_PAUSE == 0 {
                    hint::spin_loop();
                }
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

    fn notify(&self, on: *const AtomicUsize) {
        // An NMI may have come inside the very lock that a wake takes; it halts its CPU, and nobody sleeps for that.
        if !cpu::here().in_nmi.load(Relaxed) {
            doze::tell(on);
            K::wake(on.addr());
        }
    }

    #[inline(always)]
    fn event(&self, event: impl FnOnce() -> Event) {
        if K::LISTENS && K::listens() {
            K::event(&event());
        }
    }
}
