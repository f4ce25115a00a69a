//! Does it pay to poll before one halts or sleeps? What a CPU has learned about that from its own waits.
//!
//! To wake a halted CPU costs more than to interrupt one that runs, on a virtual machine tens of microseconds of the host. So a CPU whose waits
//! are short polls for about as long as a wake-up costs. That only pays where each CPU has a core: with fewer cores a CPU that polls takes one from the
//! very CPU that it waits for. Two things show it: a poll in vain, and two looks at the clock that are far apart, as the host ran something else meanwhile. Then
//! the CPU halts at once, for some short waits in a row, until it tries again: one wait after the first failure, as the host may only have had something
//! else to do, and twice as many after each further one.
//!
//! One who polls too little makes the others wait longer, who then poll in vain as well and poll less in their turn. So the longest poll is longer than a wake-up, and
//! it is either the whole poll or none.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU64};

use crate::host;
use crate::time::now_ns;

/// How long a CPU polls, if at all: longer than a wake-up takes.
const POLL_NS: u64 = 80_000;
/// Two looks at the clock are that far apart only if the CPU did not run in between.
const GAP_NS: u64 = 300_000;
/// A wait of that length is none that polling could have made shorter.
const LONG_NS: u64 = 1_000_000;
/// How many polls between two looks at the clock.
const POLLS_PER_LOOK: u32 = 64;
/// How many short waits in a row it takes to try again, at first and at most, and how many successes to forget all failures.
const FIRST_TRIAL: u64 = 1;
const LAST_TRIAL: u64 = 1 << 14;
const FORGIVEN: u64 = 64;

/// What a CPU has learned about one kind of waits. Used by that CPU; a thread that is moved meanwhile tells the old one, which does no harm.
#[derive(Debug)]
pub struct Learned {
    /// It polls before it halts.
    polls: AtomicBool,
    /// Short waits in a row while it halts at once, or polls in a row that paid.
    row: AtomicU64,
    /// How long that row has to be before it polls again.
    trial: AtomicU64,
}

/// How a poll ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Poll {
    Paid,
    InVain,
    /// The host ran something else meanwhile.
    Preempted,
    /// There was none.
    None,
}

/// A wait that goes on after the poll, or without one.
#[derive(Debug)]
#[must_use]
pub struct Waiting {
    began: u64,
    poll: Poll,
}

impl Default for Learned {
    fn default() -> Self {
        Self::new()
    }
}

impl Learned {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Learned { polls: AtomicBool::new(false), row: AtomicU64::new(0), trial: AtomicU64::new(FIRST_TRIAL) }
    }

    /// Polls, if that pays, until `done` says something.
    ///
    /// # Errors
    /// The wait goes on: the caller halts or sleeps, and says when it is [over](Self::over).
    pub fn poll<R>(&self, mut done: impl FnMut() -> Option<R>) -> Result<R, Waiting> {
        let began = now_ns();
        if !self.polls.load(Relaxed) {
            return Err(Waiting { began, poll: Poll::None });
        }
        let mut last = began;
        while last < began + POLL_NS {
            for _ in 0..POLLS_PER_LOOK {
                if let Some(result) = done() {
                    self.learn(Poll::Paid, 0);
                    return Ok(result);
                }
                host::relax();
            }
            let now = now_ns();
            if now - last > GAP_NS {
                return Err(Waiting { began, poll: Poll::Preempted });
            }
            last = now;
        }
        Err(Waiting { began, poll: Poll::InVain })
    }

    /// That wait is over.
    #[expect(clippy::needless_pass_by_value, reason = "it is over")]
    pub fn over(&self, waiting: Waiting) {
        self.learn(waiting.poll, now_ns() - waiting.began);
    }

    fn learn(&self, poll: Poll, waited: u64) {
        let (row, trial) = (self.row.load(Relaxed) + 1, self.trial.load(Relaxed));
        let (row, trial, polls) = match poll {
            Poll::Paid if row >= FORGIVEN => (row, FIRST_TRIAL, true),
            Poll::Paid => (row, trial, true),
            // It would not have paid anyway, and nobody was kept waiting.
            Poll::InVain if waited > LONG_NS => (0, trial, false),
            Poll::InVain | Poll::Preempted => (0, (trial * 2).min(LAST_TRIAL), false),
            Poll::None if waited > LONG_NS => (0, trial, false),
            Poll::None => (row, trial, row >= trial),
        };
        self.row.store(row, Relaxed);
        self.trial.store(trial, Relaxed);
        self.polls.store(polls, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: u64 = LONG_NS / 10;

    /// How many short waits without a poll it takes until it polls.
    fn waits_until_it_polls(learned: &Learned) -> u64 {
        let mut waits = 0;
        while !learned.polls.load(Relaxed) {
            learned.learn(Poll::None, SHORT);
            waits += 1;
        }
        waits
    }

    #[test]
    fn after_each_failure_it_takes_twice_as_long_until_the_next_try() {
        let learned = Learned::new();
        assert_eq!(waits_until_it_polls(&learned), 1);
        for failures in 1..=20 {
            learned.learn(if failures % 2 == 0 { Poll::InVain } else { Poll::Preempted }, SHORT);
            assert_eq!(waits_until_it_polls(&learned), (1 << failures).min(LAST_TRIAL));
        }
    }

    #[test]
    fn successes_in_a_row_make_it_forget_all_failures() {
        let learned = Learned::new();
        waits_until_it_polls(&learned);
        for paid in [FORGIVEN - 2, FORGIVEN] {
            for _ in 0..5 {
                learned.learn(Poll::InVain, SHORT);
            }
            waits_until_it_polls(&learned);
            // The wait that made it poll was the first of the row.
            learned.row.store(0, Relaxed);
            (0..paid).for_each(|_| learned.learn(Poll::Paid, 0));
            learned.learn(Poll::InVain, SHORT);
            assert_eq!(waits_until_it_polls(&learned) == 2 * FIRST_TRIAL, paid == FORGIVEN, "{paid}");
        }
    }

    #[test]
    fn a_long_wait_is_no_failure_and_no_reason_to_poll() {
        let learned = Learned::new();
        waits_until_it_polls(&learned);
        learned.learn(Poll::InVain, LONG_NS + 1);
        learned.learn(Poll::None, LONG_NS + 1);
        assert!(!learned.polls.load(Relaxed));
        assert_eq!(waits_until_it_polls(&learned), FIRST_TRIAL);
        // But to lose the core is, however long it took.
        learned.learn(Poll::Preempted, LONG_NS + 1);
        assert_eq!(waits_until_it_polls(&learned), 2 * FIRST_TRIAL);
    }

    #[test]
    fn what_is_done_at_once_is_found_and_what_never_is_ends() {
        let learned = Learned::new();
        let Err(waiting) = learned.poll(|| Some(())) else { panic!("it knows nothing yet") };
        assert_eq!(waiting.poll, Poll::None);
        waits_until_it_polls(&learned);
        assert!(matches!(learned.poll(|| Some(7)), Ok(7)));
        let Err(waiting) = learned.poll(|| None::<()>) else { panic!("nobody was done") };
        assert_ne!(waiting.poll, Poll::None);
    }
}
