//! A CPU that polls before it halts is asked by memory: an interrupt would tell it nothing that it does not see by itself, and costs both sides far more.
//!
//! One word for each CPU says whether it polls, and what it was asked for since it began. A sender adds its wish only while the CPU polls, in one
//! step with the look whether it does; else it sends the interrupt. The CPU takes the whole word as it ends, so no wish is left behind. It ends before it
//! does anything else: at the start of every interrupt, and before it does what it was asked for. So a wish never waits for more than the poll.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use standstill::platform::Ipi;

use crate::cpu::{self, Cpu};

const POLLS: u32 = 1;
const CALL: u32 = 2;
const STOP: u32 = 4;

/// The word, on cache lines of its own: it is read in every turn of the poll.
#[repr(align(128))]
pub(crate) struct Word(AtomicU32);

impl Word {
    pub(crate) const fn new() -> Self {
        Word(AtomicU32::new(0))
    }

    /// A CPU starts: it does not poll.
    pub(crate) fn reset(&self) {
        // Relaxed: nobody asks a CPU that is not online.
        self.0.store(0, Relaxed);
    }

    fn begin(&self) {
        // Relaxed: there is nothing that a sender would have to see with it. This CPU alone sets the bit, and it ended before.
        self.0.store(POLLS, Relaxed);
    }

    fn is_asked(&self) -> bool {
        // Relaxed: `end` acquires.
        self.0.load(Relaxed) & !POLLS != 0
    }

    fn end(&self) -> Asked {
        // Relaxed: only this CPU makes it other than 0.
        if self.0.load(Relaxed) == 0 {
            return Asked(0);
        }
        // Acquire: pairs with the release of each that asked.
        Asked(self.0.swap(0, Acquire) & !POLLS)
    }

    fn ask(&self, wish: u32) -> bool {
        let mut now = self.0.load(Relaxed);
        while now & POLLS != 0 {
            // Release: pairs with the acquire in `end`. What was written before is visible to the one
            // who does what it was asked for.
            match self.0.compare_exchange_weak(now, now | wish, Release, Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }
}

/// What a CPU was asked for while it polled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Asked(u32);

impl Asked {
    /// Nothing?
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn calls(self) -> bool {
        self.0 & CALL != 0
    }

    /// To run its stopper?
    #[must_use]
    pub fn stops(self) -> bool {
        self.0 & STOP != 0
    }
}

/// This CPU polls from here on: for [`is_asked`], among other things. In its idle context, interrupts on.
pub fn begin() {
    cpu::here().polls.begin();
}

/// Was this CPU asked for something since it began? Then it [ends](end).
#[inline]
#[must_use]
pub fn is_asked() -> bool {
    cpu::here().polls.is_asked()
}

/// This CPU does not poll any more. The caller does what it was [asked for](crate::irq::handle_asked). Interrupts off.
#[inline]
pub fn end() -> Asked {
    cpu::here().polls.end()
}

/// Asks `to` for what an interrupt would ask it for, if it polls. False if it does not: then the interrupt has to be sent.
pub(crate) fn ask(to: &Cpu, why: Ipi) -> bool {
    match why {
        Ipi::Call => to.polls.ask(CALL),
        Ipi::Stop => to.polls.ask(STOP),
        // It halts at once, whatever it does.
        Ipi::Halt => false,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn only_who_polls_can_be_asked_and_nothing_is_left_behind() {
        let word = Word::new();
        assert!(!word.ask(CALL));
        word.begin();
        assert!(!word.is_asked());
        assert!(word.ask(CALL) && word.ask(STOP) && word.ask(CALL));
        assert!(word.is_asked());
        let asked = word.end();
        assert!(asked.calls() && asked.stops());
        assert!(!word.ask(STOP) && word.end().is_nothing());
        word.begin();
        assert!(word.end().is_nothing());
    }

    #[test]
    fn every_wish_that_was_taken_is_seen() {
        const WISHES: usize = 5_000;
        let (word, seen) = (&Word::new(), &AtomicUsize::new(0));
        std::thread::scope(|threads| {
            threads.spawn(move || {
                for sent in 1..=WISHES {
                    while !word.ask(CALL) {
                        std::thread::yield_now();
                    }
                    // One at a time, as a queue has one interrupt on its way. A wish that got lost would be waited for here for ever.
                    while seen.load(Acquire) != sent {
                        std::thread::yield_now();
                    }
                }
            });
            while seen.load(Relaxed) < WISHES {
                word.begin();
                std::thread::yield_now();
                if word.end().calls() {
                    seen.fetch_add(1, Release);
                }
            }
        });
        assert!(word.end().is_nothing());
    }
}
