//! Each scenario, exhausted for two CPUs (three where it needs them), under the default protocol and the one that does without a stop.

use std::ops::ControlFlow;

use standstill::Protocol;
use standstill_model::{Audit, Coverage, Engine, Options, Verdict, check, scenarios};

fn options(name: &str) -> Options {
    let scenario = scenarios().iter().find(|s| s.name == name).expect("a scenario");
    let mut options = Options::default();
    options.scenario = scenario.name;
    options.cpus = scenario.min_cpus;
    options
}

fn exhaust(options: &Options) -> Verdict {
    let verdict = check(options, &mut |_| ControlFlow::Continue(()));
    if let Some(violation) = &verdict.violation {
        for step in &violation.steps {
            eprintln!("CPU {} {:?} {:?} {}", step.cpu, step.context, step.what, step.location);
        }
        panic!("{}: {}: {}", options.scenario, violation.rule, violation.text);
    }
    assert_eq!(verdict.error, None);
    assert!(matches!(verdict.coverage, Coverage::Exhausted { .. }));
    assert!(!verdict.ends.is_empty());
    verdict
}

/// Exhausts a scenario. With the checks of the checker on: each step is undone exactly, what was merged goes on alike, and no random run ends
/// where the search did not.
fn audited(name: &str) {
    let mut options = options(name);
    options.audit = Audit { merges: 20, seed: 1, undone: true };
    let verdict = exhaust(&options);
    assert!(verdict.audited.is_some_and(|done| done.merges > 0), "{name}: nothing was continued");
    options.audit = Audit::default();
    options.engine = Engine::Random { runs: 300, seed: 7 };
    let random = check(&options, &mut |_| ControlFlow::Continue(()));
    assert!(random.violation.is_none(), "{name}");
    assert_eq!(random.ends.len().min(1), 1);
    // Two worlds have different addresses, so only the numbers can be compared.
    assert!(
        random.ends.len() <= verdict.ends.len(),
        "{name}: {} > {}",
        random.ends.len(),
        verdict.ends.len()
    );
}

macro_rules! exhausted {
    (
        audited { $($audited:ident: $audited_name:literal,)* }
        quick { $($quick:ident: $quick_name:literal,)* }
        elsewhere { $($elsewhere:literal,)* }
    ) => {
        $(
            #[test]
            fn $audited() {
                audited($audited_name);
            }
        )*
        $(
            #[test]
            fn $quick() {
                quick($quick_name);
            }
        )*

        #[test]
        fn every_scenario_has_its_test() {
            let tested = [$($audited_name,)* $($quick_name,)* $($elsewhere,)*];
            for scenario in scenarios() {
                let tests = tested.iter().filter(|name| **name == scenario.name).count();
                assert_eq!(tests, 1, "{} has no test, or several", scenario.name);
            }
            assert_eq!(tested.len(), scenarios().len());
        }
    };
}

/// Without device interrupts, which keeps it short; everybody who waits sleeps until notified. Here are also those in which no two
/// runs meet, so that there is nothing to continue.
fn quick(name: &str) {
    let mut options = options(name);
    options.irqs = 0;
    exhaust(&options);
    options.sleepers = true;
    exhaust(&options);
}

exhausted! {
    audited {
        offline_vs_device_irq: "offline-vs-device-irq",
        irqs_off_sender: "irqs-off-sender",
        waiting_sender: "waiting-sender",
        two_senders: "two-senders",
        call_many_vs_offline: "call-many-vs-offline",
        boards_vs_offline: "boards-vs-offline",
        board_is_busy: "board-is-busy",
        call_to_self: "call-to-self",
        stop_one_vs_offline: "stop-one-vs-offline",
        works_behind_stop: "works-behind-stop",
        stop_one_vs_online: "stop-one-vs-online",
        stop_from_inactive: "stop-from-inactive",
        stop_vs_work: "stop-vs-work",
        deadline_frees: "deadline-frees",
        readers_and_writers: "readers-and-writers",
        callers_own_cpu: "callers-own-cpu",
        lazy_mask: "lazy-mask",
        free_while_it_runs: "free-while-it-runs",
        removed_where_it_rests: "removed-where-it-rests",
        dying_order: "dying-order",
        late_cpu: "late-cpu",
        halt: "halt",
        bring_up_many: "bring-up-many",
        bring_up_one_fails: "bring-up-one-fails",
        bring_up_late: "bring-up-late",
        bring_up_stops: "bring-up-stops",
        payload_call_until: "payload-call-until",
        call_until_vs_offline: "call-until-vs-offline",
        payload_async: "payload-async",
        payload_many: "payload-many",
        payload_board: "payload-board",
        payload_masks: "payload-masks",
        payload_halt: "payload-halt",
        payload_stop: "payload-stop",
        payload_stop_one: "payload-stop-one",
        payload_quiesce: "payload-quiesce",
        payload_online: "payload-online",
        payload_stop_threads: "payload-stop-threads",
        payload_stop_end: "payload-stop-end",
        payload_pair: "payload-pair",
        payload_work_again: "payload-work-again",
        payload_work_refused: "payload-work-refused",
        half_a_pair: "half-a-pair",
        payload_readers: "payload-readers",
        payload_state: "payload-state",
        payload_early: "payload-early",
        payload_late: "payload-late",
        payload_bits: "payload-bits",
        halt_vs_online: "halt-vs-online",
        halt_vs_starting: "halt-vs-starting",
        halt_vs_dying: "halt-vs-dying",
    }
    quick {
        payload_states: "payload-states",
        payload_call: "payload-call",
        down_and_up: "down-and-up",
        async_sender: "async-sender",
        pinned_sender: "pinned-sender",
        pair_vs_offline: "pair-vs-offline",
        call_forms: "call-forms",
        two_stops: "two-stops",
        two_active: "two-active",
        payload_boards: "payload-boards",
        reader_vs_writer: "reader-vs-writer",
        two_operations: "two-operations",
        rollback: "rollback",
        half_way: "half-way",
        old_handle: "old-handle",
        refused_in_run: "refused-in-run",
        reader_keeps_out: "reader-keeps-out",
        down_ends_early: "down-ends-early",
        up_ends_early: "up-ends-early",
        stop_ends_early: "stop-ends-early",
        payload_inactive: "payload-inactive",
        payload_offline: "payload-offline",
        payload_lock: "payload-lock",
        stop_pairs: "stop-pairs",
        payload_stop_handlers: "payload-stop-handlers",
        payload_turns: "payload-turns",
        payload_late_part: "payload-late-part",
        turn_given_up: "turn-given-up",
        turn_in_order: "turn-in-order",
        reader_gives_up: "reader-gives-up",
    }
    elsewhere {
        "payload-turn-until",
        "payload-late-link",
        "deadline-vs-last-ack",
        "turn-until",
        "tries-that-fail",
    }
}

/// With a stop, a CPU that is about to die may be halted instead. Without one it dies beside others that
/// run. Those that wait sleep until they are notified.
#[test]
fn who_stopped_all_others_is_alone_with_a_stop_and_without() {
    for name in ["halt-vs-dying", "halt-vs-starting"] {
        for protocol in [Protocol::STANDSTILL, Protocol::REFUSE] {
            for sleepers in [false, true] {
                let mut options = options(name);
                (options.protocol, options.irqs, options.sleepers) = (protocol, 1, sleepers);
                exhaust(&options);
            }
        }
    }
}

/// What is too long for every day: `cargo test --release -p standstill-model --test scenarios -- --ignored`.
#[test]
#[ignore = "seven seconds in release"]
fn every_scenario_with_device_interrupts_and_sleepers() {
    for scenario in scenarios() {
        for sleepers in [false, true] {
            let mut options = options(scenario.name);
            options.sleepers = sleepers;
            let verdict = exhaust(&options);
            println!("proof: {} states, {} on {} CPUs", verdict.states, scenario.name, options.cpus);
        }
    }
}

/// With more CPUs than a scenario needs, as far as so many states go: nothing is broken, and most are seen to the end.
/// `cargo test --release -p standstill-model --test scenarios -- --ignored more_cpus --nocapture`.
#[test]
#[ignore = "a minute and a half in release"]
fn every_scenario_with_more_cpus() {
    for (cpus, irqs, most, least) in [(3, 0, 400_000, 62), (3, 1, 100_000, 51), (4, 0, 100_000, 48)] {
        let mut seen = 0;
        for scenario in scenarios() {
            let mut options = options(scenario.name);
            (options.cpus, options.irqs, options.limits.states) = (cpus, irqs, most);
            let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
            assert_eq!(verdict.error, None, "{}", scenario.name);
            if let Some(violation) = &verdict.violation {
                panic!("{} on {cpus} CPUs: {}: {}", scenario.name, violation.rule, violation.text);
            }
            if matches!(verdict.coverage, Coverage::Exhausted { .. }) {
                seen += 1;
                println!(
                    "proof: {} states, {} on {cpus} CPUs with {irqs} device interrupts each",
                    verdict.states, scenario.name
                );
            }
        }
        println!("{cpus} CPUs, {irqs} device interrupts: {seen} of {} to the end", scenarios().len());
        assert!(seen >= least, "{seen} of {}", scenarios().len());
    }
}

#[test]
fn what_has_too_many_states_for_a_test_at_random() {
    for name in
        ["payload-turn-until", "payload-late-link", "deadline-vs-last-ack", "turn-until", "tries-that-fail"]
    {
        for engine in [Engine::Random { runs: 500, seed: 3 }, Engine::Pct { runs: 200, seed: 3, depth: 3 }] {
            let mut options = options(name);
            options.engine = engine;
            let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
            assert!(verdict.violation.is_none(), "{name}: {:?}", verdict.violation.map(|v| v.text));
            assert!(verdict.passed() && matches!(verdict.coverage, Coverage::Random { .. }));
        }
    }
}

/// Two CPUs that come up at the same time.
#[test]
fn three_cpus_of_which_two_come_up_together() {
    for (name, exhausts) in [
        ("bring-up-one-fails", true),
        ("bring-up-many", false),
        ("bring-up-late", false),
        ("bring-up-stops", false),
    ] {
        let mut options = options(name);
        (options.cpus, options.irqs) = (3, 0);
        if exhausts {
            exhaust(&options);
        } else {
            options.engine = Engine::Random { runs: 200, seed: 5 };
            let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
            assert!(verdict.passed(), "{name}: {:?}", verdict.violation.map(|v| v.text));
        }
    }
}

/// `cargo test --release -p standstill-model --test scenarios -- --ignored together --nocapture`.
#[test]
#[ignore = "twenty seconds in release"]
fn three_cpus_of_which_two_come_up_together_exhausted() {
    for name in ["bring-up-many", "bring-up-one-fails", "bring-up-late", "bring-up-stops"] {
        for sleepers in [false, true] {
            let mut options = options(name);
            (options.cpus, options.irqs, options.sleepers) = (3, 0, sleepers);
            let verdict = exhaust(&options);
            println!("proof: {} states, {name} on 3 CPUs", verdict.states);
        }
    }
}

/// A handler on a third CPU may have taken its work a moment before it is told that the last CPU is gone: that work is not left behind.
#[test]
fn a_third_cpu_may_be_about_to_be_refused() {
    for protocol in [Protocol::STANDSTILL, Protocol::REFUSE] {
        let mut options = options("works-behind-stop");
        (options.cpus, options.protocol) = (3, protocol);
        // Without a stop there are too many states.
        if protocol == Protocol::REFUSE {
            options.engine = Engine::Random { runs: 5000, seed: 1 };
        }
        let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
        assert!(verdict.passed(), "{protocol}: {:?}", verdict.violation.map(|v| v.text));
    }
}

#[test]
fn without_a_stop_the_refusing_variant_keeps_every_promise() {
    let mut options = options("waiting-sender");
    options.protocol = Protocol::REFUSE;
    options.irqs = 0;
    exhaust(&options);
}

#[test]
fn no_two_cpus_meet_in_a_plain_cell() {
    for name in ["offline-vs-device-irq", "payload-call", "payload-async", "payload-many", "payload-online"] {
        let mut options = options(name);
        options.races = true;
        exhaust(&options);
    }
}

/// In its idle loop, where it opened its interrupts again, and without a stop; the scenarios of the default protocol see the stop.
#[test]
fn a_cpu_dies_with_the_hardware_mask_closed_under_each_protocol() {
    for protocol in Protocol::ALL {
        let mut options = options("payload-offline");
        (options.protocol, options.irqs, options.keep_going) = (*protocol, 0, true);
        let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
        // What a study protocol breaks besides is not the matter here.
        let text = verdict.violation.map(|v| v.text).filter(|text| text.contains("mask"));
        assert_eq!(text, None, "{protocol}");
    }
}
