//! The monitors as state machines: order, memory, overflow.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use standstill::Protocol;
use standstill::event::{Event, Form, Ran, What};
use standstill::invariants::{Local, Monitor, Pair, RuleId};

use crate::good;
use crate::log::{self, CPUS, Log, cpu, info};

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Two events whose order a live machine need not know: of different CPUs, and about different things.
fn commute(a: &Event, b: &Event) -> bool {
    let of_one_call = |e: &Event| match e.what {
        What::CallQueued(info) | What::CallBegin(info, _) => Some(info.key),
        What::CallPushed { key, .. } | What::CallReleased(key) | What::CallEnd(key) => Some(key),
        What::CallReturned { key, .. } => Some(key),
        _ => None,
    };
    let calls = matches!((of_one_call(a), of_one_call(b)), (Some(x), Some(y)) if x != y);
    let acks = |e: &Event| matches!(e.what, What::StageAck { .. } | What::IrqsRestored { .. });
    a.cpu != b.cpu && (calls || acks(a) && acks(b))
}

#[test]
fn pairs_need_no_order_between_what_is_independent() {
    let mut seed = 7_u64;
    let mut swaps = 0;
    for (name, log) in [("calls", good::calls()), ("stops", good::stops()), ("cycle", good::cycle())] {
        let mut events = log.events.clone();
        for _ in 0..4 * events.len() {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (seed >> 33) as usize % (events.len() - 1);
            if commute(&events[at], &events[at + 1]) {
                events.swap(at, at + 1);
                swaps += 1;
            }
        }
        let mut pair = Pair::<32>::new(log.protocol);
        for event in &events {
            assert_eq!(pair.feed(event), Ok(()), "{name}");
        }
        assert_eq!(pair.finish(), Ok(()), "{name}");
    }
    assert!(swaps > 20, "the test moved something: {swaps}");
}

#[test]
fn an_overflow_is_counted_and_accuses_nobody() {
    let mut log = good::three();
    let many: Vec<_> = (0..9).map(|n| info(0, 1, Form::Async, 0x700 + n)).collect();
    for &call in &many {
        log.send(call, false);
    }
    for &call in &many {
        log.run(call, Ran::Handler);
    }
    let mut pair = Pair::<4>::new(log.protocol);
    for event in &log.events {
        assert_eq!(pair.feed(event), Ok(()));
    }
    assert_eq!(pair.finish(), Ok(()));
    assert_eq!(pair.overflowed(), 5);
    assert_eq!(pair.pending(), 0);
}

#[test]
fn pending_calls_are_counted() {
    let mut log = good::three();
    log.send(info(0, 1, Form::Async, 0x700), true);
    let mut pair = Pair::<8>::new(log.protocol);
    for event in &log.events {
        let _ = pair.feed(event);
    }
    assert_eq!(pair.pending(), 1);
    let violation = pair.finish().unwrap_err();
    assert_eq!(violation.rule, RuleId(1));
    assert_eq!(violation.call().map(|call| (call.func, call.sender)), Some(("test::func", cpu(0))));
    let line = violation.to_string();
    assert!(line.contains("`test::func` to CPU 1, sent by CPU 0 as async at "), "{line}");
}

/// What is pending decides the hash, not how it came to be.
#[test]
fn a_monitor_hashes_by_what_it_remembers() {
    let feed = |log: &Log| {
        let mut monitor = Monitor::<CPUS>::new(log.protocol);
        for event in &log.events {
            monitor.feed(event).unwrap();
        }
        monitor
    };
    let calls: Vec<_> = (0..6).map(|n| info(n % 2 * 2, 1, Form::Async, 0x700 + 0x40 * n)).collect();
    let orders = [[0, 1, 2, 3, 4, 5], [1, 0, 3, 2, 5, 4], [0, 2, 4, 1, 3, 5], [1, 3, 5, 0, 2, 4]];
    let hashes: HashSet<_> = orders
        .iter()
        .map(|order| {
            let mut log = good::three();
            order.iter().for_each(|&n| {
                log.send(calls[n], false);
            });
            let monitor = feed(&log);
            assert_eq!(monitor, monitor.clone());
            hash(&monitor)
        })
        .collect();
    assert_eq!(hashes.len(), 1, "the order between senders is forgotten");

    let before = feed(&good::three());
    let mut log = good::three();
    log.call(calls[0]);
    let after = feed(&log);
    assert_eq!(hash(&before), hash(&after), "a call that is over leaves nothing");
    assert_eq!(before, after);
    log.send(calls[0], true);
    assert_ne!(hash(&before), hash(&feed(&log)));
}

#[test]
fn a_local_monitor_ignores_other_cpus() {
    let mut local = Local::new(cpu(2), Protocol::STANDSTILL);
    let unchanged = local.clone();
    for event in &good::boot().events {
        assert_eq!(local.feed(event), Ok(()));
    }
    assert_eq!(local, unchanged);
    assert_eq!(local.cpu(), cpu(2));
}

/// A machine that merges its two disable stages breaks the rule of the split on every CPU that stays.
#[test]
fn a_single_stage_is_seen_where_two_are_due() {
    let mut log = good::leave_with(Protocol::SINGLE_DEAF);
    log.protocol = Protocol::STANDSTILL;
    let checks = log.judge().1;
    assert_eq!(checks.broken(RuleId(20)), 2);
    assert!(log::broken(&checks).contains(&RuleId(20)));
}

#[test]
fn what_is_not_promised_is_not_broken() {
    let call = info(0, 1, Form::Async, 0x700);
    let mut log = good::three();
    log.send(call, true).down(1, &[0, 1, 2], &[call]);
    log.moved(|e| e.what == What::OnlineCleared { who: cpu(1) }, |e| e.what == What::CallReleased(call.key));
    assert_eq!(log::broken(&log.judge().1), [RuleId(9)]);
    // The one that drains after it left the mask promises no more than that nothing is late or lost.
    if let Some(linux) = Protocol::by_name("linux-6.12") {
        let mut single = good::three_with(linux);
        single.send(call, true).down(1, &[0, 1, 2], &[call]);
        single.moved(
            |e| e.what == What::OnlineCleared { who: cpu(1) },
            |e| e.what == What::CallReleased(call.key),
        );
        let (violations, _) = single.judge();
        assert!(violations.is_empty(), "{}", violations[0]);
    }
}
