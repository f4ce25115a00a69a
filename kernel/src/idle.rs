//! What an idle CPU does: it polls for a moment, then halts.
//!
//! To wake a halted CPU costs more than to interrupt one that runs, on a virtual machine tens of microseconds of the host. So a CPU whose rests
//! are short waits for the next interrupt by polling, for about as long as a wake-up costs; one whose rests are long halts at once. That is what
//! Linux's `haltpoll` does, and hypervisors do for their guests.
//!
//! It only pays where each CPU has a core. With fewer cores a CPU that polls takes one from the CPU that it waits for. The clock shows that: two looks
//! at it that are far apart, with no interrupt in between, mean that the host ran something else meanwhile. Then this CPU polls no more, for a time
//! that doubles each time.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use standstill_x86_64::irq;
use standstill_x86_64::time::now_ns;

/// How long a CPU polls, at least if at all, and at most: about what a wake-up costs.
const SHORTEST_NS: u64 = 10_000;
const LONGEST_NS: u64 = 80_000;
/// Two looks at the clock are that far apart only if the CPU did not run in between.
const GAP_NS: u64 = 300_000;
/// How many looks at the clock before each pause, which an emulator takes for a way through its one big lock.
const LOOKS_PER_PAUSE: u32 = 64;
/// For how long it polls no more then, at first and at most.
const FIRST_BAN_NS: u64 = 50_000_000;
const LAST_BAN_NS: u64 = 60_000_000_000;

/// What a CPU has learned about its rests. Used by that CPU only.
pub(crate) struct Idle {
    /// Interrupts so far.
    interrupts: AtomicU64,
    polls_for_ns: AtomicU64,
    banned_until: AtomicU64,
    ban_ns: AtomicU64,
}

impl Idle {
    pub(crate) const fn new() -> Self {
        Idle {
            interrupts: AtomicU64::new(0),
            polls_for_ns: AtomicU64::new(0),
            banned_until: AtomicU64::new(0),
            ban_ns: AtomicU64::new(FIRST_BAN_NS),
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
        let polls_for = self.polls_for_ns.load(Relaxed);
        if polls_for > 0 && began >= self.banned_until.load(Relaxed) {
            irq::open_if(true);
            self.poll(seen, began, began + polls_for);
            irq::close();
        }
        if self.interrupts.load(Relaxed) == seen {
            // An interrupt from here on ends the `hlt`: the flag takes effect after the instruction that follows it.
            x86_64::instructions::interrupts::enable_and_hlt();
        } else {
            irq::open_if(true);
        }
        // Would polling have been enough?
        let next = if now_ns() - began < LONGEST_NS {
            (polls_for * 2).clamp(SHORTEST_NS, LONGEST_NS)
        } else if polls_for > SHORTEST_NS {
            polls_for / 2
        } else {
            0
        };
        self.polls_for_ns.store(next, Relaxed);
    }

    fn poll(&self, seen: u64, began: u64, until: u64) {
        let mut last = began;
        let mut turn = 0;
        while self.interrupts.load(Relaxed) == seen && last < until {
            turn += 1;
            if turn % LOOKS_PER_PAUSE == 0 {
                core::hint::spin_loop();
            }
            let now = now_ns();
            if now - last > GAP_NS && self.interrupts.load(Relaxed) == seen {
                let ban = self.ban_ns.load(Relaxed);
                self.banned_until.store(now + ban, Relaxed);
                self.ban_ns.store((ban * 2).min(LAST_BAN_NS), Relaxed);
            }
            last = now;
        }
    }
}
