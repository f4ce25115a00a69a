//! What an idle CPU does: it polls for a moment, if it has learned that this pays, then halts. That is what Linux's `haltpoll` does, and hypervisors do for
//! their guests. While it polls, others ask it by memory: see [`polls`].

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use standstill_x86_64::irq;
use standstill_x86_64::learned::Learned;
use standstill_x86_64::polls::{self, Asked};

use crate::Kern;

/// The rests of a CPU. Used by that CPU only.
pub(crate) struct Idle {
    /// Interrupts so far.
    interrupts: AtomicU64,
    /// Those of them that were more than calls.
    others: AtomicU64,
    learned: Learned,
}

impl Idle {
    pub(crate) const fn new() -> Self {
        Idle { interrupts: AtomicU64::new(0), others: AtomicU64::new(0), learned: Learned::new() }
    }

    /// At the start of each interrupt of this CPU. A call leaves nothing behind but what it may have put on the queue; after every other interrupt
    /// the idle loop has a look.
    pub(crate) fn interrupted(&self, is_call: bool) {
        self.interrupts.store(self.interrupts.load(Relaxed) + 1, Relaxed);
        if !is_call {
            self.others.store(self.others.load(Relaxed) + 1, Relaxed);
        }
    }

    /// Rests until there is something to look at. Interrupts are off before and on after; one that comes from here on ends the rest, unless it is a call after
    /// which `is_needed` says no.
    pub(crate) fn rest(&self, is_needed: impl Fn() -> bool) {
        let mut seen = self.interrupts.load(Relaxed);
        let others = self.others.load(Relaxed);
        irq::open_if(true);
        let waiting = loop {
            polls::begin();
            match self
                .learned
                .poll(|| (polls::is_asked() || self.interrupts.load(Relaxed) != seen).then_some(()))
            {
                Ok(()) => {
                    // First this: a call that comes after the looks below ends the next poll.
                    seen = self.interrupts.load(Relaxed);
                    irq::close();
                    let asked = polls::end();
                    do_asked(asked);
                    irq::open_if(true);
                    if asked.stops() || self.others.load(Relaxed) != others || is_needed() {
                        return;
                    }
                }
                Err(waiting) => break waiting,
            }
        };
        irq::close();
        let asked = polls::end();
        if asked.is_nothing() && self.interrupts.load(Relaxed) == seen {
            // An interrupt from here on ends the `hlt`: the flag takes effect after the instruction that follows it.
            x86_64::instructions::interrupts::enable_and_hlt();
        } else {
            do_asked(asked);
            irq::open_if(true);
        }
        self.learned.over(waiting);
    }
}

/// In the idle context, interrupts off.
fn do_asked(asked: Asked) {
    if !asked.is_nothing() {
        // SAFETY: this is the idle context, with preempt count 0, and interrupts were on until they were closed for this.
        unsafe {
            irq::handle_asked::<Kern>(asked);
            irq::interrupt_exit::<Kern>();
        }
    }
}
