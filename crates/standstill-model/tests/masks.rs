//! What a pinned reader of the masks may rely on, and who `on_each_cpu` reaches: with a stop, and without
//! one (`docs/protocol.md`, "What a pinned section may rely on").

use std::ops::ControlFlow;

use standstill::context::{IrqOff, Pinned};
use standstill::{CpuId, Machine, Protocol};
use standstill_model::{MemoryModel, Model, Scenario, Setup, all_up, branch, branch_at_stop, check, require};

type Two = &'static Machine<Model, 2, 1>;

const LAST: CpuId = CpuId::new(1);
const STOPS: [Protocol; 2] = [Protocol::STANDSTILL, Protocol::SINGLE_DEAF];
const ALL: [Protocol; 3] = [Protocol::STANDSTILL, Protocol::SINGLE_DEAF, Protocol::REFUSE];

fn nothing(_: &IrqOff<'_>) {}

/// The last CPU leaves, and a pinned section on the other one looks.
fn beside_down(early: bool, looks: fn(Two, &mut Pinned<'_>)) -> Scenario {
    Scenario::new("pinned-reader", move |s: &mut Setup<'_, 2>| {
        let machine = s.machine();
        s.task(move |task| {
            all_up(machine, task);
            if early {
                branch()
            } else {
                branch_at_stop()
            }
            machine.cpu_down(task, LAST).unwrap();
        });
        s.task(move |task| machine.pin(task, |pinned| looks(machine, pinned)));
    })
}

/// Over all interleavings; what was wrong.
fn outcome(scenario: &Scenario, protocol: Protocol, memory: MemoryModel) -> Result<(), String> {
    let mut options = scenario.options();
    (options.protocol, options.memory, options.irqs) = (protocol, memory, 0);
    check(&options, &mut |_| ControlFlow::Continue(())).story()
}

fn holds(scenario: &Scenario, protocols: &[Protocol]) {
    for protocol in protocols {
        for memory in [MemoryModel::Sc, MemoryModel::Tso { fenced: true }] {
            assert_eq!(outcome(scenario, *protocol, memory), Ok(()), "{protocol}");
        }
    }
}

/// Without a stop it does not hold: as the docs say, so that whoever mends it is told to change them.
fn fails_without_a_stop(scenario: &Scenario, words: &str) {
    let story = outcome(scenario, Protocol::REFUSE, MemoryModel::Sc).expect_err("it is promised now");
    assert!(story.contains(words), "{story}");
}

#[test]
fn who_was_seen_online_is_online_to_the_end_of_the_section() {
    let scenario = beside_down(false, |machine, pinned| {
        if machine.online().contains(LAST) {
            let sent = machine.call_single(pinned, LAST, &nothing);
            require(sent.is_ok(), "a CPU that was seen online refuses a call");
            require(machine.online().contains(LAST), "a CPU left the online mask under a pinned reader");
        }
    });
    holds(&scenario, &STOPS);
    fails_without_a_stop(&scenario, "a CPU");
}

#[test]
fn who_was_seen_to_take_calls_is_online_to_the_end_of_the_section() {
    let scenario = beside_down(false, |machine, _| {
        if machine.accepting().contains(LAST) {
            require(machine.online().contains(LAST), "a CPU that took calls left under a pinned reader");
        }
    });
    holds(&scenario, &ALL);
}

#[test]
fn who_was_seen_to_take_calls_takes_them_to_the_end_of_the_section() {
    let scenario = beside_down(false, |machine, pinned| {
        if machine.accepting().contains(LAST) {
            let sent = machine.call_single(pinned, LAST, &nothing);
            require(sent.is_ok(), "a CPU that took calls refuses one");
        }
    });
    holds(&scenario, &STOPS);
    fails_without_a_stop(&scenario, "a CPU that took calls refuses one");
}

#[test]
fn who_was_seen_active_is_online_and_takes_calls_to_the_end_of_the_section() {
    let scenario = beside_down(true, |machine, pinned| {
        if machine.active().contains(LAST) {
            let sent = machine.call_single(pinned, LAST, &nothing);
            require(sent.is_ok(), "a CPU that was seen active refuses a call");
            let ran = machine.call_all(pinned, &nothing);
            require(ran.is_ok_and(|ran| ran.contains(LAST)), "a CPU that was seen active is left out");
            require(machine.online().contains(LAST), "an active CPU left under a pinned reader");
        }
    });
    holds(&scenario, &ALL);
}

#[test]
fn each_cpu_that_is_online_is_reached() {
    let scenario = beside_down(false, |machine, pinned| {
        let ran = machine.on_each_cpu(pinned, &nothing);
        let reached = ran.is_ok_and(|ran| ran.contains(LAST));
        require(reached || !machine.online().contains(LAST), "a CPU that is online is left out");
    });
    holds(&scenario, &STOPS);
    fails_without_a_stop(&scenario, "a CPU that is online is left out");
}
