//! What the tally counts.

use standstill::event::{Form, Ran, What};
use standstill::invariants::Tally;
use standstill::{Property, Protocol};

use crate::good;
use crate::log::{CPUS, Log, cpu, info};

/// One tally for each CPU, merged.
fn count(log: &Log) -> Tally {
    let mut tallies = vec![Tally::new(); CPUS];
    for event in &log.events {
        tallies[event.cpu.index()].feed(event);
    }
    let mut all = Tally::new();
    tallies.iter().for_each(|tally| all.merge(tally));
    all
}

#[test]
fn calls_balance() {
    let all = count(&good::calls());
    for form in Form::ALL {
        let calls = all.of(form);
        assert!(calls.sent >= 2, "{}", form.name());
        assert_eq!((calls.sent, calls.sent, 0), (calls.ran, calls.ended, calls.lost));
    }
    assert_eq!(all.of(Form::Async).refused, 1);
    assert_eq!(all.of(Form::SingleWait).in_place, 1);
    assert_eq!(all.returned, 6);
    assert!(
        Property::ALL.into_iter().all(|property| all.count(property) == 0 && all.first(property).is_none())
    );
    assert!(all.kept(&Protocol::REFUSE));
}

#[test]
fn a_cycle_is_counted() {
    let all = count(&good::cycle());
    assert_eq!((all.downs, all.ups, all.offlines, all.onlines), ((1, 1), (3, 3), 1, 4));
    assert_eq!((all.stops, all.stops_aborted, all.works), (1, 0, 3));
    assert_eq!((all.drained, all.frozen, all.outside, all.late), (2, 2, 0, 0));
    // What had to run while the machine was frozen is a failure only for the protocol that promises otherwise.
    assert!(all.kept(&Protocol::STANDSTILL));
    assert_eq!(all.broken(&Protocol::REFUSE).collect::<Vec<_>>(), [Property::Frozen]);
    let first = all.first(Property::Frozen).expect("a call was frozen");
    assert_eq!((first.cpu, first.call.map(|call| call.sender)), (cpu(1), Some(cpu(2))));
}

#[test]
fn each_property_is_counted() {
    let call = info(0, 1, Form::Async, 0x700);
    let mut log = good::leave();
    log.on(1, What::IpiSpurious)
        .on(1, What::CallLate(call))
        .on(1, What::CallLate(call))
        .run(call, Ran::Handler);
    log.on(0, What::CallLost(call)).run(info(1, 1, Form::Async, 0x710), Ran::Handler);
    let all = count(&log);
    assert_eq!((all.spurious, all.late, all.outside, all.lost), (1, 2, 1, 1));
    assert_eq!(all.of(Form::Async).lost, 1);
    let broken: Vec<_> = all.broken(&Protocol::STANDSTILL).collect();
    assert_eq!(broken, [Property::Late, Property::Lost, Property::Spurious, Property::Outside]);
    assert_eq!(all.first(Property::Late).and_then(|first| first.call), Some(call));
    assert_eq!(all.first(Property::Spurious).map(|first| (first.cpu, first.call)), Some((cpu(1), None)));
}

#[test]
fn stops_and_injections_are_counted() {
    let all = count(&good::stops());
    assert_eq!((all.stops, all.stops_aborted), (4, 1));
    assert_eq!(count(&good::failed_down()).injected, 1);
    assert_eq!(count(&good::failed_up()).ups, (3, 2));
}
