//! What is counted while the torture runs.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::hist::{Dist, Histogram};

/// The calls of one form. All counts are relaxed: they publish nothing.
pub(crate) struct FormCounts {
    sent: AtomicU64,
    ran: AtomicU64,
    refused: AtomicU64,
    busy: AtomicU64,
    lost: AtomicU64,
}

/// The calls of one form, as a value. A call is one (send, target).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Calls {
    /// Asked for: accepted or refused.
    pub sent: u64,
    /// Handlers that ran.
    pub ran: u64,
    /// Refused, as the target was not online: nothing was queued.
    pub refused: u64,
    /// Refused, as the slot was still in use: nothing was queued. Not in `sent`.
    pub busy: u64,
    /// Accepted, and known to never have run.
    pub lost: u64,
}

impl Calls {
    /// sent = ran + refused + lost.
    #[must_use]
    pub const fn balanced(&self) -> bool {
        self.sent == self.ran + self.refused + self.lost
    }
}

impl FormCounts {
    pub(crate) const fn new() -> Self {
        FormCounts {
            sent: AtomicU64::new(0),
            ran: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    pub(crate) fn sent(&self, n: u64) {
        self.sent.fetch_add(n, Relaxed);
    }

    pub(crate) fn ran(&self) {
        self.ran.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self, n: u64) {
        self.refused.fetch_add(n, Relaxed);
    }

    pub(crate) fn busy(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    pub(crate) fn lost(&self, n: u64) {
        self.lost.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> Calls {
        Calls {
            sent: self.sent.load(Relaxed),
            ran: self.ran.load(Relaxed),
            refused: self.refused.load(Relaxed),
            busy: self.busy.load(Relaxed),
            lost: self.lost.load(Relaxed),
        }
    }
}

/// One direction of hotplug.
pub(crate) struct OpCounts {
    tried: AtomicU64,
    ok: AtomicU64,
    vetoed: AtomicU64,
    latency: Histogram,
}

/// One direction of hotplug, as a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ops {
    /// Operations begun.
    pub tried: u64,
    /// Operations that reached their target.
    pub ok: u64,
    /// Operations that were made to fail, and were undone.
    pub vetoed: u64,
    /// How long those that reached it took.
    pub latency: Dist,
}

impl OpCounts {
    pub(crate) const fn new() -> Self {
        OpCounts {
            tried: AtomicU64::new(0),
            ok: AtomicU64::new(0),
            vetoed: AtomicU64::new(0),
            latency: Histogram::new(),
        }
    }

    pub(crate) fn record(&self, ok: bool, vetoed: bool, ns: u64) {
        self.tried.fetch_add(1, Relaxed);
        self.vetoed.fetch_add(vetoed.into(), Relaxed);
        if ok {
            self.ok.fetch_add(1, Relaxed);
            self.latency.record(ns);
        }
    }

    pub(crate) fn ok(&self) -> u64 {
        self.ok.load(Relaxed)
    }

    pub(crate) fn get(&self) -> Ops {
        Ops {
            tried: self.tried.load(Relaxed),
            ok: self.ok.load(Relaxed),
            vetoed: self.vetoed.load(Relaxed),
            latency: self.latency.dist(),
        }
    }
}

/// How often one CPU was offline and online again.
pub(crate) struct Cycles {
    /// Even: it is up, or was not taken down yet. One step for each way.
    steps: AtomicU64,
}

impl Cycles {
    pub(crate) const fn new() -> Self {
        Cycles { steps: AtomicU64::new(0) }
    }

    /// It went up, or down. Called by one thread at a time. The first way up of a CPU that was offline from the start is no part of a cycle.
    pub(crate) fn went(&self, up: bool) {
        let steps = self.steps.load(Relaxed);
        if (steps % 2 == 1) == up {
            self.steps.store(steps + 1, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.steps.load(Relaxed) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_down_and_up_again() {
        let cycles = Cycles::new();
        cycles.went(true);
        assert_eq!(cycles.get(), 0, "up from the start");
        cycles.went(false);
        assert_eq!(cycles.get(), 0, "half of one");
        cycles.went(true);
        assert_eq!(cycles.get(), 1);
        cycles.went(true);
        cycles.went(false);
        cycles.went(false);
        assert_eq!(cycles.get(), 1);
        cycles.went(true);
        assert_eq!(cycles.get(), 2);
    }

    #[test]
    fn books_balance_only_if_every_call_has_a_fate() {
        let counts = FormCounts::new();
        counts.sent(3);
        counts.ran();
        counts.refused(1);
        assert!(!counts.get().balanced());
        counts.lost(1);
        assert!(counts.get().balanced());
        counts.busy();
        assert!(counts.get().balanced());
        counts.ran();
        assert!(!counts.get().balanced(), "a call that ran twice must show");
    }

    #[test]
    fn a_failed_operation_has_no_latency() {
        let ops = OpCounts::new();
        ops.record(true, false, 10);
        ops.record(false, true, 1_000);
        let ops = ops.get();
        assert_eq!((ops.tried, ops.ok, ops.vetoed, ops.latency.n, ops.latency.max), (2, 1, 1, 1, 10));
    }
}
