use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};

use standstill::CpuId;
use standstill::platform::{Cpus, Ipi, Irq, Sched, Vacate};
use standstill_torture::Ground;

use crate::testing::{plain, until, with_fake};

const ZERO: CpuId = CpuId::BOOT;

#[test]
fn a_thread_moves_and_finds_itself_on_the_other_cpu() {
    with_fake(plain(2), |fake, task| {
        let h = fake.hosted;
        let one = CpuId::new(1);
        assert_eq!(h.vacate(ZERO), Err(Vacate::Nowhere));
        fake.up(1);
        for round in 0..500 {
            assert_eq!(h.this_cpu(), ZERO);
            h.evict(ZERO);
            h.vacate(ZERO).unwrap();
            assert_eq!(h.this_cpu(), one, "round {round}");
            // An interrupt for this CPU comes here: the pending word and the signal mask are the new CPU's.
            let before = fake.calls[1].load(SeqCst);
            h.send_ipi(one, Ipi::Call);
            until(|| fake.calls[1].load(SeqCst) == before + 1);
            h.readmit(ZERO);
            // Home again.
            h.yield_now(task);
        }
    });
}

#[test]
fn an_evicted_cpu_is_left_and_given_nothing() {
    with_fake(plain(2), |fake, task| {
        static STOP: AtomicBool = AtomicBool::new(false);
        static RUNS: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let h = fake.hosted;
        let one = CpuId::new(1);
        fake.up(1);
        for _ in 0..6 {
            h.spawn(
                "worker",
                one,
                Box::leak(Box::new(move |task: &mut _| {
                    while !STOP.load(SeqCst) {
                        RUNS[h.this_cpu().index()].fetch_add(1, SeqCst);
                        h.sleep_ns(task, 20_000);
                        h.yield_now(task);
                    }
                })),
            );
        }
        for _ in 0..50 {
            until(|| RUNS[1].load(SeqCst) > 20);
            h.evict(one);
            while h.occupied(one).is_some() {
                h.sleep_ns(task, 10_000);
            }
            RUNS[1].store(0, SeqCst);
            let elsewhere = RUNS[0].load(SeqCst);
            while RUNS[0].load(SeqCst) < elsewhere + 10 {
                h.sleep_ns(task, 10_000);
            }
            assert_eq!(RUNS[1].load(SeqCst), 0);
            assert_eq!(h.occupied(one), None);
            h.readmit(one);
            while RUNS[1].load(SeqCst) == 0 {
                h.sleep_ns(task, 10_000);
            }
        }
        STOP.store(true, SeqCst);
    });
}

#[test]
fn a_cpu_dies_on_its_idle_context_and_starts_again() {
    with_fake(plain(2), |fake, _| {
        let h = fake.hosted;
        let one = CpuId::new(1);
        *fake.on_stop.lock().unwrap() = |fake| {
            let h = fake.hosted;
            assert!(h.only_idle_left());
            h.irq_save();
            h.hard_irq_disable();
            fake.online[1].store(false, SeqCst);
            h.die(&fake.dead[1], 7);
        };
        for round in 1..=300 {
            fake.up(1);
            h.send_ipi(one, Ipi::Call);
            until(|| fake.calls[1].load(SeqCst) >= round);
            h.send_ipi(one, Ipi::Stop);
            until(|| fake.dead[1].load(Acquire) == 7);
            // To a dead CPU: dropped at the next start.
            h.send_ipi(one, Ipi::Stop);
            h.evict(one);
        }
        assert_eq!(h.stats().deaths, 300);
        assert_eq!(fake.stopper_runs[1].load(SeqCst), 300);
    });
}

#[test]
fn a_cpu_that_is_too_late_can_be_started_again() {
    with_fake(plain(2), |fake, _| {
        let h = fake.hosted;
        let one = CpuId::new(1);
        h.start(one, usize::MAX).unwrap();
        until(|| h.board.cpu(one).start.load(SeqCst) == 0);
        until(|| h.runs(one).what == "nothing: it is not running");
        assert!(!fake.online[1].load(SeqCst));
        fake.up(1);
        assert!(h.start(CpuId::new(2), 1).is_err());
    });
}

#[test]
fn only_idle_left_is_false_on_top_of_a_thread() {
    static ANSWER: AtomicUsize = AtomicUsize::new(0);
    with_fake(plain(1), |fake, _| {
        *fake.on_stop.lock().unwrap() =
            |fake| ANSWER.store(1 + usize::from(fake.hosted.only_idle_left()), SeqCst);
        fake.hosted.send_ipi(ZERO, Ipi::Stop);
        assert_eq!(ANSWER.load(SeqCst), 1);
    });
}

#[test]
fn the_hotplug_thread_parks_and_comes_back() {
    with_fake(plain(1), |fake, _| {
        let h = fake.hosted;
        h.park_threads(ZERO);
        assert_eq!(*fake.log.lock().unwrap(), ["hotplug"]);
        h.unpark_threads(ZERO);
        h.park_threads(ZERO);
        assert_eq!(*fake.log.lock().unwrap(), ["hotplug", "hotplug"]);
        h.park_threads(ZERO);
    });
}

#[test]
fn switching_off_ends_threads_that_never_would() {
    with_fake(plain(2), |fake, _| {
        fake.up(1);
        for (cpu, name) in [(0, "spins"), (1, "deaf")] {
            fake.hosted.spawn_once(name, CpuId::new(cpu), move |_| {
                if name == "deaf" {
                    let _ = fake.hosted.irq_save();
                }
                loop {
                    std::hint::spin_loop();
                }
            });
        }
        until(|| fake.hosted.runs(CpuId::new(1)).what == "deaf");
    });
}
