//! The scenarios under x86-TSO (with IPI sends that drain the store buffer, and with such that do not), and under release/acquire views.

use std::ops::ControlFlow;

use standstill::{Property, Protocol};
use standstill_model::{
    Coverage, MemoryModel, Options, StepWhat, check, counterexample, load, replay, save, scenarios,
};

const FENCED: MemoryModel = MemoryModel::Tso { fenced: true };
const UNFENCED: MemoryModel = MemoryModel::Tso { fenced: false };

fn options(name: &str, memory: MemoryModel) -> Options {
    let scenario = scenarios().iter().find(|s| s.name == name).expect("a scenario");
    let mut options = Options::default();
    options.scenario = scenario.name;
    options.cpus = scenario.min_cpus;
    options.memory = memory;
    options
}

#[test]
fn two_cpus_are_exhausted_with_store_buffers() {
    for name in ["offline-vs-device-irq", "irqs-off-sender", "late-cpu"] {
        let strong = check(&options(name, MemoryModel::Sc), &mut |_| ControlFlow::Continue(()));
        for memory in [FENCED, UNFENCED] {
            let weak = check(&options(name, memory), &mut |_| ControlFlow::Continue(()));
            assert!(weak.violation.is_none(), "{name}: {:?}", weak.violation.map(|v| v.text));
            assert!(matches!(weak.coverage, Coverage::Exhausted { .. }), "{name}");
            assert!(weak.states > strong.states, "{name}: stores on their way are states of their own");
        }
    }
}

#[test]
fn a_started_cpu_finds_what_was_written_before() {
    // The word of the handshake is stored without a locked instruction: without the port's promise the started CPU reads the old one.
    for memory in [FENCED, UNFENCED] {
        let mut options = options("down-and-up", memory);
        options.irqs = 0;
        let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
        assert!(verdict.violation.is_none(), "{:?}", verdict.violation.map(|v| v.text));
        assert!(matches!(verdict.coverage, Coverage::Exhausted { .. }));
    }
}

#[test]
fn two_cpus_are_exhausted_with_views() {
    for name in [
        "offline-vs-device-irq",
        "two-senders",
        "late-cpu",
        "halt-vs-online",
        "payload-call",
        "payload-board",
        "payload-masks",
        "payload-stop-one",
        "payload-readers",
        "payload-states",
        "payload-state",
        "payload-early",
        "payload-late",
        "payload-bits",
    ] {
        let verdict = check(&options(name, MemoryModel::Ra), &mut |_| ControlFlow::Continue(()));
        assert!(verdict.violation.is_none(), "{name}: {:?}", verdict.violation.map(|v| v.text));
        assert!(matches!(verdict.coverage, Coverage::Exhausted { .. }), "{name}");
    }
}

#[test]
fn a_schedule_with_old_messages_is_replayed() {
    let mut options = options("offline-vs-device-irq", MemoryModel::Ra);
    options.protocol = Protocol::LINUX_3_14;
    options.keep_going = true;
    let found = check(&options, &mut |_| ControlFlow::Continue(()));
    for property in [Property::Late, Property::Lost, Property::Spurious, Property::Outside] {
        let choices = found.of(property).first.as_ref().expect("this preset breaks all four");
        let text =
            save(&options, &property.letter().to_string(), choices).expect("it was found a moment ago");
        assert!(text.contains("\nmemory ra\n"));
        let run = load(&text).expect("it was written a moment ago").replay().expect("the same run");
        assert!(run.properties[property as usize] > 0);
    }
}

#[test]
fn a_schedule_with_store_buffers_is_replayed() {
    let mut options = options("offline-vs-device-irq", FENCED);
    options.protocol = Protocol::LINUX_3_14;
    let lost =
        counterexample(&options, Property::Lost, &mut |_| ControlFlow::Continue(())).expect("a call is lost");
    let text = save(&options, &lost.rule, &lost.choices).expect("it was found a moment ago");
    assert!(text.contains("\nmemory tso\n"));
    let run = load(&text).expect("it was written a moment ago").replay().expect("the same run");
    assert!(run.properties[Property::Lost as usize] > 0);
    // A search does not look for few flushes, so there are some.
    options.keep_going = true;
    let found = check(&options, &mut |_| ControlFlow::Continue(()));
    for property in [Property::Late, Property::Lost, Property::Spurious, Property::Outside] {
        let choices = found.of(property).first.as_ref().expect("this preset breaks all four");
        let run = replay(&options, choices).expect("it was found a moment ago");
        assert!(run.properties[property as usize] > 0);
        assert!(run.steps.iter().any(|step| matches!(step.what, StepWhat::Drain { .. })));
    }
}
