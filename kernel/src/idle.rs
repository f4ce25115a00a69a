//! What an idle CPU does: it polls for a moment, if it has learned that this pays, then halts. That is what Linux's `haltpoll` does, and hypervisors do for
//! their guests.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use standstill_x86_64::irq;
use standstill_x86_64::learned::Learned;

/// The rests of a CPU. Used by that CPU only.
pub(crate) struct Idle {
    /// Interrupts so far.
    interrupts: AtomicU64,
    learned: Learned,
}

impl Idle {
    pub(crate) const fn new() -> Self {
        Idle { interrupts: AtomicU64::new(0), learned: Learned::new() }
    }

    /// At the start of each interrupt of this CPU.
    pub(crate) fn interrupted(&self) {
        self.interrupts.store(self.interrupts.load(Relaxed) + 1, Relaxed);
    }

    /// Rests until an interrupt came. Interrupts are off before and on after; one that comes from here on ends it.
    pub(crate) fn rest(&self) {
        let seen = self.interrupts.load(Relaxed);
        irq::open_if(true);
        let Err(waiting) = self.learned.poll(|| (self.interrupts.load(Relaxed) != seen).then_some(())) else {
            return;
        };
        irq::close();
        if self.interrupts.load(Relaxed) == seen {
            // An interrupt from here on ends the `hlt`: the flag takes effect after the instruction that follows it.
            x86_64::instructions::interrupts::enable_and_hlt();
        } else {
            irq::open_if(true);
        }
        self.learned.over(waiting);
    }
}
