//! The choice of a CPU.

use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

use standstill::CpuId;

use crate::entry::Entry;

/// Where `thread`, now on `at`, should be: at home, else where it is, else on any of `cpus` CPUs,
/// in turn by `next`. `None`: no CPU takes threads.
///
/// `takes` is a glance at each queue. The caller looks again under the lock when it puts the
/// thread there.
pub fn place<T>(
    thread: &Entry<T>,
    at: CpuId,
    cpus: usize,
    next: &AtomicUsize,
    takes: impl Fn(CpuId) -> bool,
) -> Option<CpuId> {
    if thread.bound {
        return Some(at);
    }
    if takes(thread.home) {
        return Some(thread.home);
    }
    if takes(at) {
        return Some(at);
    }
    // Relaxed: a turn, nothing is read for it.
    let first = next.fetch_add(1, Relaxed);
    (0..cpus).map(|i| CpuId::new((first + i) % cpus)).find(|cpu| takes(*cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(home: usize, bound: bool, at: usize, takes: &[usize], next: &AtomicUsize) -> Option<usize> {
        let entry = Entry::<()>::new(CpuId::new(home), bound);
        place(&entry, CpuId::new(at), 4, next, |cpu| takes.contains(&cpu.index())).map(CpuId::index)
    }

    #[test]
    fn home_comes_first_then_the_place_then_the_others_in_turn() {
        let next = AtomicUsize::new(0);
        assert_eq!(placed(1, false, 2, &[0, 1, 2], &next), Some(1));
        assert_eq!(placed(1, false, 2, &[0, 2], &next), Some(2));
        assert_eq!(placed(1, false, 2, &[0, 3], &next), Some(0));
        assert_eq!(placed(1, false, 2, &[0, 3], &next), Some(3), "the turn went on");
        assert_eq!(placed(1, false, 2, &[], &next), None);
    }

    #[test]
    fn a_bound_thread_stays_on_a_cpu_that_takes_none() {
        assert_eq!(placed(1, true, 1, &[0], &AtomicUsize::new(0)), Some(1));
    }
}
