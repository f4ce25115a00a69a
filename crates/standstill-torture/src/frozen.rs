//! [`Frozen`]: for how long stops keep CPUs from everything else, read from the library's events.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use standstill::CpuId;

use crate::hist::{Dist, Histogram};

/// No stop has closed this CPU's interrupts.
const OPEN: u64 = 0;

/// For how long each CPU had its interrupts closed by a stop: one value for each CPU and stop. The CPU that leaves in a stop has
/// none, as it never opens them again.
pub(crate) struct Frozen {
    /// When each CPU's interrupts were closed; only that CPU touches it.
    since: Vec<AtomicU64>,
    times: Histogram,
}

impl Frozen {
    pub(crate) fn new(cpus: usize) -> Self {
        Frozen { since: (0..cpus).map(|_| AtomicU64::new(OPEN)).collect(), times: Histogram::new() }
    }

    /// `cpu` closed its interrupts because a stop said so.
    pub(crate) fn closed(&self, cpu: CpuId, now_ns: u64) {
        if let Some(since) = self.since.get(cpu.index()) {
            since.store(now_ns.max(OPEN + 1), Relaxed);
        }
    }

    /// `cpu` has its interrupts back as they were. Without a `closed` before it (an abandoned stop) nothing is recorded.
    pub(crate) fn restored(&self, cpu: CpuId, now_ns: u64) {
        let Some(since) = self.since.get(cpu.index()) else { return };
        let began = since.swap(OPEN, Relaxed);
        if began != OPEN {
            self.times.record(now_ns.saturating_sub(began));
        }
    }

    /// `cpu` starts anew: what it closed in its last life does not count.
    pub(crate) fn started(&self, cpu: CpuId) {
        if let Some(since) = self.since.get(cpu.index()) {
            since.store(OPEN, Relaxed);
        }
    }

    pub(crate) fn dist(&self) -> Dist {
        self.times.dist()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_for_each_close_and_restore() {
        let (frozen, cpu) = (Frozen::new(2), CpuId::new(1));
        frozen.restored(cpu, 5);
        assert_eq!(frozen.dist().n, 0, "nothing was closed");
        frozen.closed(cpu, 10);
        frozen.restored(cpu, 25);
        frozen.restored(cpu, 99);
        assert_eq!((frozen.dist().n, frozen.dist().max), (1, 15));
    }

    #[test]
    fn a_cpu_that_left_counts_nothing() {
        let (frozen, cpu) = (Frozen::new(2), CpuId::new(1));
        frozen.closed(cpu, 10);
        frozen.started(cpu);
        frozen.restored(cpu, 1_000_000);
        assert_eq!(frozen.dist().n, 0);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_ignored() {
        let frozen = Frozen::new(1);
        frozen.closed(CpuId::new(7), 1);
        frozen.restored(CpuId::new(7), 2);
        assert_eq!(frozen.dist().n, 0);
    }
}
