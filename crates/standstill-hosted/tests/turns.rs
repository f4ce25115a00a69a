//! Deadlines of those who wait for a turn: they queue like everybody else, and leave the line when they give up.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use standstill::context::{Stopped, Task};
use standstill::platform::Wait;
use standstill::stop::StopError;
use standstill::{CpuId, Machine, Protocol};
use standstill_hosted::{Config, Hosted, run};
use standstill_torture::Ground;

type Small = Machine<Hosted, 64, 1>;

const SECOND: u64 = 1_000_000_000;

/// Time enough on any machine: what is asserted is how many others came first.
const AMPLE: u64 = 120 * SECOND;

fn nothing(_: &Stopped<'_>) -> i32 {
    0
}

fn all_up(m: &'static Small, task: &mut Task) {
    for n in 1..m.platform().cpus() {
        m.cpu_up(task, CpuId::new(n)).unwrap_or_else(|e| panic!("CPU {n} does not come up: {e}"));
    }
}

/// Threads that do the same again and again, until the end.
struct Busy {
    end: AtomicBool,
    rounds: AtomicUsize,
    running: AtomicUsize,
}

impl Busy {
    /// `threads` of them, each of which has done it once at least.
    fn start(
        m: &'static Small,
        task: &mut Task,
        threads: usize,
        round: fn(&'static Small, &mut Task),
    ) -> &'static Busy {
        let busy: &'static Busy = Box::leak(Box::new(Busy {
            end: AtomicBool::new(false),
            rounds: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
        }));
        for n in 0..threads {
            m.platform().spawn_once("busy", CpuId::new(n % m.platform().cpus()), move |task| {
                round(m, task);
                busy.running.fetch_add(1, SeqCst);
                while !busy.end.load(SeqCst) {
                    round(m, task);
                    busy.rounds.fetch_add(1, SeqCst);
                }
                busy.running.fetch_sub(1, SeqCst);
            });
        }
        while busy.running.load(SeqCst) < threads {
            m.platform().sleep_ns(task, 100_000);
        }
        busy
    }

    fn end(&self, m: &Small, task: &mut Task) {
        self.end.store(true, SeqCst);
        while self.running.load(SeqCst) > 0 {
            m.platform().sleep_ns(task, 100_000);
        }
    }
}

/// Stops the machine with a deadline beside `threads` that never pause. Each stop has its turn, after few of theirs.
fn has_its_turn_beside(threads: usize, round: fn(&'static Small, &mut Task)) {
    run::<64, 1, _>(Config::new(4), Protocol::STANDSTILL, |m, task| {
        all_up(m, task);
        let busy = Busy::start(m, task, threads, round);
        for _ in 0..20 {
            let before = busy.rounds.load(SeqCst);
            let deadline = m.platform().deadline_in(AMPLE);
            let stopped = m.stop_machine_deadline(task, None, deadline, &nothing);
            let overtaken = busy.rounds.load(SeqCst) - before;
            if let Err(error) = stopped {
                panic!("{error}, after {overtaken} rounds of the others");
            }
            // Each may count a round that ended before this thread asked, have a ticket that is ahead, and go on once the stop has run.
            // This thread may be kept from asking for a moment, and from counting: a machine that is busy gives it little time.
            assert!(overtaken <= 500, "{overtaken} rounds of others first");
        }
        busy.end(m, task);
    });
}

#[test]
fn a_stop_with_a_deadline_has_its_turn_beside_others_that_stop() {
    has_its_turn_beside(3, |m, task| drop(m.stop_machine(task, None, &nothing)));
}

#[test]
fn a_stop_with_a_deadline_has_its_turn_beside_hotplug_operations() {
    has_its_turn_beside(3, |m, task| {
        assert_eq!(m.hotplug_disable(task), Ok(()));
        assert_eq!(m.hotplug_enable(task), Ok(()));
    });
}

/// More threads wait for their turn than tickets can be abandoned. Half of them give up, and leave a mark, or have no ticket yet.
#[test]
fn in_a_long_line_a_deadline_ends_the_wait_and_delays_nobody() {
    const LINE: usize = 60;
    run::<64, 1, _>(Config::new(3), Protocol::STANDSTILL, |m, task| {
        static HELD: AtomicBool = AtomicBool::new(false);
        static LATE: AtomicUsize = AtomicUsize::new(0);
        static STOPPED: AtomicUsize = AtomicUsize::new(0);
        all_up(m, task);
        let p = m.platform();
        p.spawn_once("holder", CpuId::new(1), move |task| {
            let Ok(receipts) = m.stop_machine(task, None, &nothing) else { panic!("it stops") };
            HELD.store(true, SeqCst);
            // The receipts borrow the thread: it can't sleep.
            while LATE.load(SeqCst) < LINE / 2 {
                p.pause();
            }
            drop(receipts);
        });
        while !HELD.load(SeqCst) {
            p.sleep_ns(task, 100_000);
        }
        for n in 0..LINE {
            p.spawn_once("in line", CpuId::new(n % 2 * 2), move |task| {
                if n % 2 == 1 {
                    let late = m.stop_machine_deadline(task, None, p.deadline_in(20_000_000), &nothing);
                    assert!(matches!(late.map(drop), Err(StopError::Deadline { .. })), "its turn is taken");
                    LATE.fetch_add(1, SeqCst);
                }
                assert!(m.stop_machine(task, None, &nothing).is_ok());
                STOPPED.fetch_add(1, SeqCst);
            });
        }
        while STOPPED.load(SeqCst) < LINE {
            p.sleep_ns(task, 1_000_000);
        }
        assert!(m.stop_machine_deadline(task, None, p.deadline_in(AMPLE), &nothing).is_ok());
        assert_eq!(p.stats().missed_wakes, 0);
    });
}
