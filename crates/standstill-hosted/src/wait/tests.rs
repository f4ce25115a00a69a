use std::sync::atomic::Ordering::{AcqRel, Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use standstill::CpuId;
use standstill::platform::{Deadline, Irq, Site, Wait, WaitContext, WaitFor, Word};
use standstill_torture::Ground;

use crate::testing::{plain, with_fake};
use crate::{Config, Hosted};

fn wait_for(context: WaitContext, deadline: Deadline, stalled: &dyn Fn(u64)) -> WaitFor<'_> {
    WaitFor { site: Site::here("test"), context, deadline, stalled }
}

/// A ball between two waiters, each of which sleeps until it is back.
fn ping_pong(h: Hosted, word: &AtomicUsize, mine: usize, rounds: usize, context: WaitContext) {
    for i in 0..rounds {
        let want = 2 * i + mine;
        let wait = wait_for(context, Deadline::NEVER, &|_| {});
        h.wait_until(word, &wait, || (word.load(Acquire) == want).then_some(()));
        word.store(want + 1, Release);
        h.notify(word);
    }
}

#[test]
fn no_wake_is_missed_between_os_threads() {
    let h = Hosted::new(plain(64));
    let word = AtomicUsize::ZERO;
    std::thread::scope(|s| {
        s.spawn(|| ping_pong(h, &word, 0, 3_000, WaitContext::Frozen));
        s.spawn(|| ping_pong(h, &word, 1, 3_000, WaitContext::Spin));
    });
    assert_eq!(word.load(Acquire), 6_000);
    assert_eq!(h.stats().missed_wakes, 0);
}

#[test]
fn no_wake_is_missed_between_threads_of_two_cpus_and_of_one() {
    static WORDS: [AtomicUsize; 2] = [AtomicUsize::ZERO, AtomicUsize::ZERO];
    static DONE: AtomicUsize = AtomicUsize::ZERO;
    with_fake(plain(4), |fake, _| {
        fake.up(1);
        let h = fake.hosted;
        // The first pair plays between CPUs 0 and 1, the second one on CPU 0 alone.
        for (pair, word) in WORDS.iter().enumerate() {
            for mine in 0..2 {
                let home = CpuId::new(if pair == 0 { mine } else { 0 });
                h.spawn_once("player", home, move |_| {
                    ping_pong(h, word, mine, 3_000, WaitContext::Task);
                    DONE.fetch_add(1, AcqRel);
                    h.notify(&DONE);
                });
            }
        }
        let wait = wait_for(WaitContext::Task, Deadline::NEVER, &|_| {});
        h.wait_until(&DONE, &wait, || (DONE.load(Acquire) == 4).then_some(()));
        assert_eq!(h.stats().missed_wakes, 0);
    });
}

#[test]
fn a_deadline_ends_a_wait_in_each_context() {
    with_fake(plain(1), |fake, _| {
        let h = fake.hosted;
        for context in [WaitContext::Task, WaitContext::Spin, WaitContext::Frozen] {
            let word = AtomicUsize::ZERO;
            let begin = h.now_ns();
            let deadline = h.deadline_in(20_000_000);
            assert!(!h.expired(deadline));
            let polls = AtomicUsize::new(0);
            let got: Option<()> = h.wait_until(&word, &wait_for(context, deadline, &|_| {}), || {
                polls.fetch_add(1, SeqCst);
                None
            });
            assert_eq!(got, None);
            assert!(h.expired(deadline) && h.now_ns() - begin >= 20_000_000);
            assert!(polls.load(SeqCst) > 0);
        }
    });
}

#[test]
fn a_long_wait_is_reported_again_and_again_with_its_length() {
    let config = Config { stall_after: Duration::from_millis(5), ..plain(1) };
    with_fake(config, |fake, _| {
        let h = fake.hosted;
        for context in [WaitContext::Task, WaitContext::Frozen] {
            let word = AtomicUsize::ZERO;
            let reports = std::sync::Mutex::new(Vec::new());
            let stalled = |ns| reports.lock().unwrap().push(ns);
            let deadline = h.deadline_in(60_000_000);
            h.wait_until::<()>(&word, &wait_for(context, deadline, &stalled), || None);
            let reports = reports.into_inner().unwrap();
            assert!(
                reports.len() >= 2,
                "at 5, 10, 20 and 40 ms unless the computer is very busy: {reports:?}"
            );
            assert!(reports[0] >= 5_000_000 && reports.windows(2).all(|w| w[0] < w[1]), "{reports:?}");
        }
    });
}

#[test]
fn a_waiting_thread_lets_others_run_and_interrupts_in() {
    static SEEN: AtomicBool = AtomicBool::new(false);
    with_fake(plain(1), |fake, task| {
        let h = fake.hosted;
        h.spawn_once("other", CpuId::BOOT, move |_| {
            h.send_ipi(CpuId::BOOT, standstill::platform::Ipi::Call);
            SEEN.store(true, SeqCst);
        });
        h.sleep_ns(task, 1_000_000);
        assert!(SEEN.load(SeqCst));
        assert_eq!(fake.calls[0].load(SeqCst), 1);
    });
}
