//! For shuttle: threads play the interrupts, and a lock for each CPU stands for "one of them at a time". A handler that waits for
//! that lock is not the one that the hardware would take at the next instruction, so this is the mail's race with delayed IPIs only.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use shuttle::scheduler::RandomScheduler;
use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use shuttle::sync::{Arc, Mutex};
use shuttle::{Config, FailurePersistence, Runner, thread};

use crate::{Found, Protocol};

static RUNS: AtomicU64 = AtomicU64::new(0);

struct Machine {
    /// For each CPU: who has it runs on it; true: its interrupts are off.
    closed: Vec<Mutex<bool>>,
    stage: AtomicUsize,
    missing: AtomicUsize,
    online: AtomicUsize,
    pending: AtomicUsize,
    calls: AtomicUsize,
    dead: AtomicUsize,
}

impl Machine {
    /// One step of the code of `cpu`: no handler runs there meanwhile.
    fn step<R>(&self, cpu: usize, f: impl FnOnce(&mut bool) -> R) -> R {
        f(&mut self.closed[cpu].lock().expect("a thread panicked"))
    }

    fn stopper(&self, protocol: Protocol, me: usize) {
        let (cpus, leaver) = (self.closed.len(), me + 1 == self.closed.len());
        let (closes, run, exit) = protocol.stages(leaver);
        let mut seen = 0;
        while seen != exit {
            let stage = self.step(me, |_| self.stage.load(SeqCst));
            if stage == seen {
                thread::yield_now();
                continue;
            }
            seen = stage;
            if seen == closes {
                self.step(me, |closed| *closed = true);
            }
            if seen == run && leaver {
                if protocol.cured() {
                    self.step(me, |_| self.calls.store(0, SeqCst));
                }
                self.step(me, |_| self.online.store(0, SeqCst));
            }
            if self.step(me, |_| self.missing.fetch_sub(1, SeqCst)) == 1 {
                self.missing.store(cpus, SeqCst);
                self.stage.store(seen + 1, SeqCst);
            }
        }
        if !(leaver && protocol.cured()) {
            self.step(me, |closed| *closed = false);
        }
        if leaver {
            self.step(me, |closed| *closed = true);
            self.dead.store(1, SeqCst);
        }
    }

    /// The device of one CPU that stays: one interrupt, whose handler calls the leaver.
    fn device(&self, me: usize) {
        // It may be late, so it gives up once the stop is over.
        while self.dead.load(SeqCst) == 0 {
            let taken = self.step(me, |closed| {
                if *closed {
                    return false;
                }
                if self.online.load(SeqCst) == 1 && self.calls.fetch_add(1, SeqCst) == 0 {
                    self.pending.store(1, SeqCst);
                }
                true
            });
            if taken {
                return;
            }
            thread::yield_now();
        }
    }

    /// The leaver's call vector.
    fn vector(&self) {
        let leaver = self.closed.len() - 1;
        while self.dead.load(SeqCst) == 0 {
            self.step(leaver, |closed| {
                if !*closed && self.pending.swap(0, SeqCst) == 1 {
                    let calls = self.calls.swap(0, SeqCst);
                    assert!(calls == 0 || self.online.load(SeqCst) == 1, "a call on an offline CPU");
                }
            });
            thread::yield_now();
        }
    }
}

pub(crate) fn run(protocol: Protocol, cpus: usize, limit: Duration) -> Found {
    let mut config = Config::new();
    config.silence_warnings = true;
    config.failure_persistence = FailurePersistence::None;
    config.max_time = Some(limit);
    let began = Instant::now();
    let body = move || {
        RUNS.fetch_add(1, Relaxed);
        let machine = Arc::new(Machine {
            closed: (0..cpus).map(|_| Mutex::new(false)).collect(),
            stage: AtomicUsize::new(1),
            missing: AtomicUsize::new(cpus),
            online: AtomicUsize::new(1),
            pending: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            dead: AtomicUsize::new(0),
        });
        let mut threads = Vec::new();
        for cpu in 0..cpus {
            let of = Arc::clone(&machine);
            threads.push(thread::spawn(move || of.stopper(protocol, cpu)));
            let of = Arc::clone(&machine);
            threads.push(thread::spawn(move || if cpu + 1 == cpus { of.vector() } else { of.device(cpu) }));
        }
        for thread in threads {
            thread.join().expect("a thread panicked");
        }
        let calls = machine.calls.load(SeqCst);
        assert!(calls == 0, "a call was lost");
    };
    // What it panics with is an answer here, not news for standard error.
    std::panic::set_hook(Box::new(|_| {}));
    let runner = Runner::new(RandomScheduler::new(usize::MAX), config);
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runner.run(body)));
    Found { runs: Some(RUNS.load(Relaxed)), violation: checked.is_err(), ..Found::new(began.elapsed()) }
}
