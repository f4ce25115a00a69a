//! What the machine of these tests can do that no machine may.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::world::{World, take_interrupt, world};

/// What the machine does against the contracts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// Says once, in the handler of a call, that interrupts are on.
    OpenInHandler,
    /// Says once, in a callback of STARTING, that interrupts are on.
    OpenInStarting,
    /// Takes a call's interrupt on a CPU that is frozen, while a stop's function runs.
    OpenWhileFrozen,
    /// Leaves the thread where it is when it should leave a CPU.
    Stays,
    /// Its memory does not show those who wait for the hotplug lock that others hold it.
    LockForgotten,
    /// Says once, in a stopper's work, that it is another CPU.
    WorkElsewhere,
    /// A device interrupt is lost.
    LineLost,
    /// A device interrupt comes twice.
    LineTwice,
    /// No CPU starts any more once the devices are off.
    NoStart,
}

/// What the machine is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    /// The time.
    Now,
    /// Whether interrupts are on.
    IrqsOn,
}

/// What else happens when the machine has been asked something, and how often it is asked before.
pub(super) type Hook = (At, usize, Box<dyn FnOnce()>);

/// Lies from now on.
pub(crate) fn tell(lie: Lie) {
    world().lie.set(lie);
    world().told.set(false);
}

/// Has the lie been told, if it is one that is told once?
pub(crate) fn was_told() -> bool {
    world().told.get()
}

/// Does something else when the machine has been asked `at` for the `nth` time from now, counted from 0.
pub(crate) fn hook(at: At, nth: usize, what: impl FnOnce() + 'static) {
    *world().hook.borrow_mut() = Some((at, nth, Box::new(what)));
}

impl World {
    /// May the lie be told? Once.
    pub(super) fn tell(&self) -> bool {
        !self.told.replace(true)
    }

    pub(super) fn pass_hook(&self, at: At) {
        let mut hook = self.hook.borrow_mut();
        match &mut *hook {
            Some((wanted, 0, _)) if *wanted == at => {
                let what = hook.take();
                drop(hook);
                if let Some((_, _, what)) = what {
                    what();
                }
            }
            Some((wanted, n, _)) if *wanted == at => *n -= 1,
            _ => {}
        }
    }

    /// The condition of a wait is about to be looked at.
    pub(super) fn go_blind(&self, what: &str) {
        let lock = ["hotplug: the readers to go", "cpus_read_lock: the hotplug operation to end"];
        self.blind.set(self.lie.get() == Lie::LockForgotten && lock.contains(&what));
    }

    /// A CPU is frozen.
    pub(super) fn interrupt_frozen(&self) {
        if self.lie.get() == Lie::OpenWhileFrozen && self.functions.get() > 0 {
            take_interrupt();
        }
    }
}

/// A word of shared memory, which lies when the machine does.
pub(crate) struct Word(AtomicUsize);

// SAFETY: each method is the one of `AtomicUsize`; what a lie breaks, tests look at.
unsafe impl standstill::platform::Word for Word {
    const ZERO: Self = Word(AtomicUsize::new(0));
    fn load(&self, order: Ordering) -> usize {
        if world().blind.get() { 0 } else { self.0.load(order) }
    }
    fn store(&self, value: usize, order: Ordering) {
        self.0.store(value, order);
    }
    fn swap(&self, value: usize, order: Ordering) -> usize {
        self.0.swap(value, order)
    }
    fn compare_exchange(&self, old: usize, new: usize, ok: Ordering, no: Ordering) -> Result<usize, usize> {
        self.0.compare_exchange(old, new, ok, no)
    }
    fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_add(value, order)
    }
    fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_sub(value, order)
    }
    fn fetch_or(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_or(value, order)
    }
    fn fetch_and(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_and(value, order)
    }
}
