//! What an idle CPU does: it polls for a moment, then halts.
//!
//! To wake a halted CPU costs more than to interrupt one that runs, on a virtual machine tens of microseconds of the host. So a CPU whose rests
//! are short waits for the next interrupt by polling, for about as long as a wake-up costs; one whose rests are long halts at once. That is what
//! Linux's `haltpoll` does, and hypervisors do for their guests.
//!
//! It only pays where each CPU has a core. With fewer cores a CPU that polls takes one from the CPU that it waits for. Two things show that: two looks
//! at the clock that are far apart, with no interrupt in between, as the host ran something else meanwhile; and a poll in vain, as its interrupt comes when it
//! has given the core back. Then it takes some short rests in a row until it tries again, twice as many after each failure.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU64};

use standstill_x86_64::irq;
use standstill_x86_64::time::now_ns;

/// How long a CPU polls, if at all: somewhat longer than a wake-up takes.
const POLL_NS: u64 = 80_000;
/// Two looks at the clock are that far apart only if the CPU did not run in between.
const GAP_NS: u64 = 300_000;
/// A rest of that length is none that polling could have made shorter.
const LONG_NS: u64 = 1_000_000;
/// How many looks at the clock before each pause, which an emulator takes for a way through its one big lock.
const LOOKS_PER_PAUSE: u32 = 64;
/// How many short rests in a row it takes to try, at first and at most, and how many successes to forget all failures.
const FIRST_TRIAL: u64 = 16;
const LAST_TRIAL: u64 = 1 << 14;
const FORGIVEN: u64 = 256;

/// What a CPU has learned about its rests. Used by that CPU only.
pub(crate) struct Idle {
    /// Interrupts so far.
    interrupts: AtomicU64,
    /// It polls before it halts.
    polls: AtomicBool,
    /// Short rests in a row while it halts at once, or polls in a row that paid.
    row: AtomicU64,
    /// How long that row has to be before it polls again.
    trial: AtomicU64,
}

/// How a poll ended.
#[derive(PartialEq, Eq)]
enum Poll {
    Paid,
    InVain,
    /// There was no poll.
    None,
}

impl Idle {
    pub(crate) const fn new() -> Self {
        Idle {
            interrupts: AtomicU64::new(0),
            polls: AtomicBool::new(false),
            row: AtomicU64::new(0),
            trial: AtomicU64::new(FIRST_TRIAL),
        }
    }

    /// At the start of each interrupt of this CPU.
    pub(crate) fn interrupted(&self) {
        self.interrupts.store(self.interrupts.load(Relaxed) + 1, Relaxed);
    }

    /// Rests until an interrupt came. Interrupts are off before and on after; one that comes from here on ends it.
    pub(crate) fn rest(&self) {
        let seen = self.interrupts.load(Relaxed);
        let began = now_ns();
        let mut poll = Poll::None;
        if self.polls.load(Relaxed) {
            irq::open_if(true);
            poll = self.poll(seen, began, began + POLL_NS);
            irq::close();
        }
        if self.interrupts.load(Relaxed) == seen {
            // An interrupt from here on ends the `hlt`: the flag takes effect after the instruction that follows it.
            x86_64::instructions::interrupts::enable_and_hlt();
        } else {
            irq::open_if(true);
        }
        self.learn(&poll, now_ns() - began);
    }

    fn poll(&self, seen: u64, began: u64, until: u64) -> Poll {
        let mut last = began;
        let mut turn = 0;
        while last < until {
            turn += 1;
            if turn % LOOKS_PER_PAUSE == 0 {
                core::hint::spin_loop();
            }
            let now = now_ns();
            if self.interrupts.load(Relaxed) != seen {
                return Poll::Paid;
            }
            if now - last > GAP_NS {
                return Poll::InVain;
            }
            last = now;
        }
        Poll::InVain
    }

    fn learn(&self, poll: &Poll, rested: u64) {
        let (row, trial) = (self.row.load(Relaxed) + 1, self.trial.load(Relaxed));
        let (row, trial, polls) = match poll {
            Poll::Paid if row >= FORGIVEN => (row, FIRST_TRIAL, true),
            Poll::Paid => (row, trial, true),
            // It would not have paid anyway, and nobody was kept waiting.
            Poll::InVain if rested > LONG_NS => (0, trial, false),
            Poll::InVain => (0, (trial * 2).min(LAST_TRIAL), false),
            Poll::None if rested > LONG_NS => (0, trial, false),
            Poll::None => (row, trial, row >= trial),
        };
        self.row.store(row, Relaxed);
        self.trial.store(trial, Relaxed);
        self.polls.store(polls, Relaxed);
    }
}
