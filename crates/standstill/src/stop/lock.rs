//! The fair lock that puts stops of several CPUs in a line, and hotplug operations too.
//!
//! Every stop of more than one CPU, pairs included, takes its turn here. So two such stops are queued in the same order on every
//! CPU that they share, and can't wait for each other in a circle.

use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::cpu::CpuId;
use crate::machine::Machine;
use crate::platform::{Deadline, Memory, Platform, Site, WaitContext, WaitFor, Word};

/// A ticket lock whose waiters may sleep.
pub(crate) struct TicketLock<P: Memory> {
    next: P::Word,
    serving: P::Word,
    /// The CPU on which the holder took it, for reports.
    holder: P::Word,
}

impl<P: Memory> TicketLock<P> {
    pub(crate) const fn new() -> Self {
        TicketLock { next: P::Word::ZERO, serving: P::Word::ZERO, holder: P::Word::ZERO }
    }
}

impl<P: Platform> TicketLock<P> {
    /// Waits for its turn: `what` for `at`.
    pub(crate) fn lock<const N: usize, const W: usize>(
        &self,
        machine: &Machine<P, N, W>,
        context: WaitContext,
        what: &'static str,
        at: &'static Location<'static>,
    ) {
        let ticket = self.next.fetch_add(1, Relaxed);
        let site = Site { what, at };
        let stalled = |waited_ns| machine.report_stall(site, waited_ns, self.holder());
        let wait = WaitFor { site, context, deadline: Deadline::NEVER, stalled: &stalled };
        // Acquire: pairs with the release of the one before.
        machine
            .platform
            .wait_until(&self.serving, &wait, || (self.serving.load(Acquire) == ticket).then_some(()));
        self.holder.store(machine.platform.this_cpu().index(), Relaxed);
    }

    /// As [`lock`](Self::lock), and gives up when `deadline` is over: then false. Who may give up can't hold a ticket, so it takes the lock
    /// only when nobody waits for it.
    pub(crate) fn lock_until<const N: usize, const W: usize>(
        &self,
        machine: &Machine<P, N, W>,
        deadline: Deadline,
        what: &'static str,
        at: &'static Location<'static>,
    ) -> bool {
        if deadline == Deadline::NEVER {
            self.lock(machine, WaitContext::Task, what, at);
            return true;
        }
        let site = Site { what, at };
        let stalled = |waited_ns| machine.report_stall(site, waited_ns, self.holder());
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        loop {
            // Acquire: pairs with the release of the one before. The exchange only takes the ticket.
            let serving = self.serving.load(Acquire);
            if self.next.compare_exchange(serving, serving.wrapping_add(1), Relaxed, Relaxed).is_ok() {
                self.holder.store(machine.platform.this_cpu().index(), Relaxed);
                return true;
            }
            let free = || (self.serving.load(Relaxed) == self.next.load(Relaxed)).then_some(());
            if machine.platform.wait_until(&self.serving, &wait, free).is_none() {
                return false;
            }
        }
    }

    /// The CPU on which it was taken last.
    pub(crate) fn holder(&self) -> CpuId {
        CpuId::new(self.holder.load(Relaxed))
    }

    /// The caller holds the lock.
    pub(crate) fn unlock(&self, platform: &P) {
        // Only the holder changes `serving`.
        self.serving.store(self.serving.load(Relaxed).wrapping_add(1), Release);
        platform.notify(&raw const self.serving);
    }
}
