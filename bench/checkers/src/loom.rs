//! For loom: the meeting of the stoppers alone. It has no interrupts, and no way to say that a loop waits, so each failed look at
//! the stage word is an execution of its own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::{Found, Protocol};

/// Executions, counted outside of the model.
static RUNS: AtomicU64 = AtomicU64::new(0);

struct Meeting {
    stage: AtomicUsize,
    missing: AtomicUsize,
    online: AtomicUsize,
}

fn stopper(meeting: &Meeting, protocol: Protocol, cpus: usize, leaver: bool) {
    let (_, run, exit) = protocol.stages(leaver);
    let mut seen = 0;
    while seen != exit {
        let stage = meeting.stage.load(Ordering::Acquire);
        if stage == seen {
            thread::yield_now();
            continue;
        }
        seen = stage;
        if seen == run && leaver {
            meeting.online.store(0, Ordering::Relaxed);
        }
        if meeting.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            meeting.missing.store(cpus, Ordering::Relaxed);
            meeting.stage.store(seen + 1, Ordering::Release);
        }
    }
    assert_eq!(meeting.online.load(Ordering::Relaxed), 0, "EXIT was reached without RUN");
}

pub(crate) fn run(protocol: Protocol, cpus: usize, limit: Duration) -> Found {
    let mut builder = Builder::new();
    builder.max_threads = cpus;
    builder.max_duration = Some(limit);
    builder.max_branches = 100_000;
    let began = Instant::now();
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        builder.check(move || {
            RUNS.fetch_add(1, Relaxed);
            let meeting = Arc::new(Meeting {
                stage: AtomicUsize::new(1),
                missing: AtomicUsize::new(cpus),
                online: AtomicUsize::new(1),
            });
            let others: Vec<_> = (1..cpus)
                .map(|_| {
                    let meeting = Arc::clone(&meeting);
                    thread::spawn(move || stopper(&meeting, protocol, cpus, false))
                })
                .collect();
            stopper(&meeting, protocol, cpus, true);
            for other in others {
                other.join().expect("a stopper panicked");
            }
        });
    }));
    let time = began.elapsed();
    Found {
        runs: Some(RUNS.load(Relaxed)),
        exhausted: checked.is_ok() && time < limit,
        violation: checked.is_err(),
        ..Found::new(time)
    }
}
