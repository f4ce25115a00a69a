//! Many jobs, some at a time.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::progress::Progress;

/// Calls `f` with each job, so many at a time (0: one for each core); the results in the order of the jobs.
pub(crate) fn in_parallel<J: Sync, R: Send>(
    jobs: &[J],
    threads: usize,
    bar: &Progress,
    f: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<HashMap<usize, R>> = Mutex::new(HashMap::new());
    let cores =
        if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((index, job)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(index).map(|job| (index, job))
                } {
                    let result = f(job);
                    bar.step();
                    if let Ok(mut results) = results.lock() {
                        results.insert(index, result);
                    }
                }
            });
        }
    });
    bar.clear();
    let mut results = results.into_inner().unwrap_or_default();
    (0..jobs.len()).filter_map(|index| results.remove(&index)).collect()
}
