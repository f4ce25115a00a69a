//! The fair lock that puts stops of several CPUs in a line, and hotplug operations too.
//!
//! Every stop of more than one CPU, pairs included, takes its turn here. So two such stops are queued in the same order on every
//! CPU that they share, and can't wait for each other in a circle.

use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::platform::{Deadline, Memory, Platform, Site, WaitContext, WaitFor, Word};

/// A ticket lock whose waiters may sleep.
pub(crate) struct TicketLock<P: Memory> {
    next: P::Word,
    serving: P::Word,
}

impl<P: Memory> TicketLock<P> {
    pub(crate) const fn new() -> Self {
        TicketLock { next: P::Word::ZERO, serving: P::Word::ZERO }
    }
}

impl<P: Platform> TicketLock<P> {
    pub(crate) fn lock(&self, platform: &P, context: WaitContext, site: Site) {
        let ticket = self.next.fetch_add(1, Relaxed);
        let wait = WaitFor { site, context, deadline: Deadline::NEVER, stalled: &|_| () };
        // Acquire: pairs with the release of the one before.
        platform.wait_until(&self.serving, &wait, || (self.serving.load(Acquire) == ticket).then_some(()));
    }

    /// The caller holds the lock.
    pub(crate) fn unlock(&self, platform: &P) {
        // Only the holder changes `serving`.
        self.serving.store(self.serving.load(Relaxed).wrapping_add(1), Release);
        platform.notify(&raw const self.serving);
    }
}

pub(crate) fn site(what: &'static str, at: &'static Location<'static>) -> Site {
    Site { what, at }
}
