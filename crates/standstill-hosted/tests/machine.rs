//! A whole machine on the hosted port: bring-up, calls, stops, and a CPU that does not answer.

use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use standstill::context::{IrqOff, Stopped, Task};
use standstill::event::{Event, What};
use standstill::platform::{Deadline, Irq, Wait};
use standstill::stop::StopError;
use standstill::{CpuId, Machine, Protocol};
use standstill_hosted::{Config, Hosted, Observer, run};
use standstill_torture::Ground;

type Small = Machine<Hosted, 64, 1>;

fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

fn all_up(m: &'static Small, task: &mut Task) {
    for n in 1..m.platform().cpus() {
        m.cpu_up(task, cpu(n)).unwrap_or_else(|e| panic!("CPU {n} does not come up: {e}"));
    }
}

fn boot<R: Send>(cpus: usize, main: impl FnOnce(&'static Small, &mut Task) -> R + Send) -> R {
    run::<64, 1, R>(Config::new(cpus), Protocol::STANDSTILL, main)
}

#[test]
fn a_machine_of_one_cpu_boots_and_ends() {
    assert_eq!(boot(1, |m, _| m.online().snapshot().len()), 1);
}

#[test]
fn four_cpus_come_up_and_go_down_again_and_again() {
    boot(4, |m, task| {
        for _ in 0..50 {
            all_up(m, task);
            assert_eq!(m.online().snapshot().len(), 4);
            for n in (0..3).rev() {
                m.cpu_down(task, cpu(n)).unwrap_or_else(|e| panic!("CPU {n} does not go down: {e}"));
                assert!(!m.online().contains(cpu(n)));
            }
            assert_eq!(m.platform().this_cpu(), cpu(3), "the boot CPU went, too, and this thread moved");
            m.cpu_up(task, cpu(0)).unwrap();
            m.cpu_down(task, cpu(3)).unwrap();
        }
        assert_eq!(m.platform().stats().missed_wakes, 0);
    });
}

#[test]
fn calls_run_where_they_are_sent() {
    boot(4, |m, task| {
        all_up(m, task);
        for round in 0..1_000 {
            let to = cpu(round % 4);
            let ran_on = AtomicUsize::new(usize::MAX);
            m.call_single(task, to, &|_: &IrqOff<'_>| ran_on.store(m.platform().this_cpu().index(), SeqCst))
                .unwrap();
            assert_eq!(ran_on.load(SeqCst), to.index());
        }
        m.cpu_down(task, cpu(2)).unwrap();
        assert!(m.call_single(task, cpu(2), &|_: &IrqOff<'_>| {}).is_err());
        let count = AtomicUsize::new(0);
        m.on_each_cpu(task, &|_: &IrqOff<'_>| {
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
        assert_eq!(count.load(SeqCst), 3);
    });
}

#[test]
fn a_stop_holds_everybody_else() {
    boot(4, |m, task| {
        static MOVING: AtomicUsize = AtomicUsize::new(0);
        static END: AtomicBool = AtomicBool::new(false);
        all_up(m, task);
        for n in 0..4 {
            m.platform().spawn_once("mover", cpu(n), move |task| {
                while !END.load(SeqCst) {
                    MOVING.fetch_add(1, SeqCst);
                    if MOVING.load(SeqCst).is_multiple_of(64) {
                        m.platform().yield_now(task);
                    }
                }
            });
        }
        for _ in 0..100 {
            let seen = AtomicUsize::new(0);
            let receipts = m.stop_machine(task, None, &|_: &Stopped<'_>| {
                let before = MOVING.load(SeqCst);
                std::thread::sleep(Duration::from_micros(200));
                seen.store(MOVING.load(SeqCst) - before, SeqCst);
                0
            });
            assert!(receipts.is_ok());
            assert_eq!(seen.load(SeqCst), 0, "somebody moved while the machine was stopped");
        }
        END.store(true, SeqCst);
    });
}

#[test]
fn a_stop_of_two_that_one_refuses_ends_although_the_caller_is_the_other() {
    boot(2, |m, task| {
        let refused = m.stop_two_cpus(task, cpu(0), cpu(1), &|_: &Stopped<'_>| 0).is_err();
        assert!(refused, "CPU 1 is not up");
        assert!(m.stop_machine(task, None, &|_: &Stopped<'_>| 0).is_ok());
    });
}

/// Four levels of groups of two; the CPU that leaves is the relay of its groups now and then, and so is the one that is late.
#[test]
fn stops_work_on_a_deep_tree() {
    let config = Config { fan_in: 2, ..Config::new(12) };
    run::<64, 1, ()>(config, Protocol::STANDSTILL, |m, task| {
        all_up(m, task);
        let everyone = m.online().snapshot();
        let (mut ran, mut abandoned) = (0, 0);
        for round in 0..300 {
            let inside = AtomicUsize::new(0);
            let f = |_: &Stopped<'_>| {
                inside.fetch_add(1, SeqCst);
                while inside.load(SeqCst) < 12 {
                    std::hint::spin_loop();
                    std::thread::yield_now();
                }
                7
            };
            let deadline = match round % 3 {
                0 => Deadline::NEVER,
                // Over at the first look, or in the middle of the acknowledgements.
                kind => m.platform().deadline_in(if kind == 1 { 1 } else { 300_000 }),
            };
            match m.stop_machine_deadline(task, Some(&everyone), deadline, &f) {
                Ok(receipts) => {
                    assert_eq!(receipts.ran(), 12);
                    ran += 1;
                }
                Err(StopError::Deadline { .. }) => {
                    assert_eq!(inside.load(SeqCst), 0, "it was abandoned, and ran");
                    abandoned += 1;
                }
                Err(error) => panic!("{error}"),
            }
            if round % 10 == 0 {
                let leaves = cpu(1 + round / 10 % 11);
                m.cpu_down(task, leaves).unwrap_or_else(|e| panic!("{leaves} does not go down: {e}"));
                m.stop_machine(task, None, &|_| 0).unwrap().first_failure().unwrap();
                m.cpu_up(task, leaves).unwrap_or_else(|e| panic!("{leaves} does not come up: {e}"));
            }
        }
        assert!(ran >= 100 && abandoned > 0, "{ran} ran, {abandoned} were abandoned");
        assert_eq!(m.platform().stats().missed_wakes, 0);
    });
}

#[test]
fn every_other_cpu_can_be_halted_and_the_machine_still_ends() {
    boot(3, |m, task| {
        static DEAF: AtomicBool = AtomicBool::new(false);
        all_up(m, task);
        m.platform().spawn_once("deaf", cpu(2), move |task| {
            m.irq_off(task, |_| {
                m.platform().hard_irq_disable();
                DEAF.store(true, SeqCst);
                loop {
                    m.platform().pause();
                }
            });
        });
        while !DEAF.load(SeqCst) {
            m.platform().sleep_ns(task, 100_000);
        }
        let left = m.stop_others(task, 20_000_000);
        assert!(left.is_empty(), "they did not stop: {left:?}");
    });
}

/// Keeps the stall reports.
struct Stalls(Mutex<Vec<Event>>);

impl Observer for Stalls {
    fn event(&self, event: &Event) {
        // Never waits for the lock: a stopper may have interrupted the one that holds it.
        if matches!(event.what, What::Stalled(_))
            && let Ok(mut all) = self.0.try_lock()
        {
            all.push(*event);
        }
    }
}

#[test]
fn a_cpu_that_is_held_is_named_and_the_next_stop_works() {
    static STALLS: Stalls = Stalls(Mutex::new(Vec::new()));
    static HELD: AtomicBool = AtomicBool::new(false);
    const HOLD_NS: u64 = 2_000_000_000;
    let config =
        Config { stall_after: Duration::from_millis(200), observer: Some(&STALLS), ..Config::new(4) };
    let line = run::<64, 1, _>(config, Protocol::STANDSTILL, |m, task| {
        all_up(m, task);
        let line = line!() + 3;
        m.platform().spawn_once("holder", cpu(2), move |task| {
            let h = m.platform();
            m.irq_off(task, |_| {
                HELD.store(true, SeqCst);
                let begin = h.now_ns();
                while h.now_ns() - begin < HOLD_NS {
                    h.pause();
                }
                HELD.store(false, SeqCst);
            });
        });
        while !HELD.load(SeqCst) {
            m.platform().sleep_ns(task, 100_000);
        }
        let deadline: Deadline = m.platform().deadline_in(HOLD_NS / 2);
        let error = m
            .stop_machine_deadline(task, None, deadline, &|_: &Stopped<'_>| 0)
            .err()
            .expect("CPU 2 does not take part");
        assert!(HELD.load(SeqCst), "the deadline was over before CPU 2 came back");
        assert!(error.to_string().contains("CPU 2"), "{error}");
        assert!(m.stop_machine(task, None, &|_: &Stopped<'_>| 0).is_ok());
        assert!(!HELD.load(SeqCst));
        line
    });
    let stalls = STALLS.0.lock().unwrap();
    let report = stalls.iter().find_map(|e| match e.what {
        What::Stalled(stall) if stall.missing == cpu(2) => Some((stall.runs, stall.waited_ns)),
        _ => None,
    });
    let (runs, waited_ns) = report.expect("a report names CPU 2");
    assert!(waited_ns >= 200_000_000);
    assert_eq!(runs.what, "holder");
    let at = runs.irqs_off_at.expect("it says where the interrupts were closed");
    assert!(at.file().ends_with("tests/machine.rs"), "{at}");
    assert_eq!(at.line(), line);
}

#[test]
fn a_large_machine_is_built_on_the_heap() {
    run::<1024, 16, _>(Config::new(96), Protocol::STANDSTILL, |m, task| {
        for n in 1..96 {
            m.cpu_up(task, cpu(n)).unwrap();
        }
        let ran = m.call_all(task, &|_: &IrqOff<'_>| {});
        assert!(ran.is_ok());
        m.cpu_down(task, cpu(95)).unwrap();
    });
}

#[test]
fn several_machines_one_after_another() {
    for n in 1..6 {
        boot(n, all_up);
    }
}

#[test]
fn two_machines_at_once() {
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                boot(3, |m, task| {
                    for _ in 0..20 {
                        all_up(m, task);
                        m.cpu_down(task, cpu(1)).unwrap();
                    }
                });
            });
        }
    });
}
