//! Each scenario, exhausted for two CPUs (three where it needs them), under the default protocol and the one that does without a stop.

use std::ops::ControlFlow;

use standstill::Protocol;
use standstill_model::{Coverage, Engine, Options, Verdict, check, scenarios};

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

/// Exhausts a scenario. With the checks of the checker on: each step is undone exactly, and no random run ends where the search did not.
fn audited(name: &str) {
    let mut options = options(name);
    options.audit = true;
    let verdict = exhaust(&options);
    options.audit = false;
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
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                audited($name);
            }
        )*

        #[test]
        fn every_scenario_has_its_test() {
            let mut tested = vec![$($name),*];
            tested.push("stop-pairs");
            tested.extend(["rollback", "deadline-vs-last-ack"]);
            for scenario in scenarios() {
                assert!(tested.contains(&scenario.name), "{} has no test", scenario.name);
            }
        }
    };
}

exhausted! {
    offline_vs_device_irq: "offline-vs-device-irq",
    down_and_up: "down-and-up",
    irqs_off_sender: "irqs-off-sender",
    waiting_sender: "waiting-sender",
    call_many_vs_offline: "call-many-vs-offline",
    call_to_self: "call-to-self",
    stop_one_vs_offline: "stop-one-vs-offline",
    two_stops: "two-stops",
    reader_vs_writer: "reader-vs-writer",
    late_cpu: "late-cpu",
}

#[test]
fn rollback() {
    let mut options = options("rollback");
    options.irqs = 0;
    exhaust(&options);
}

#[test]
fn what_has_too_many_states_for_a_test_at_random() {
    for name in ["stop-pairs", "deadline-vs-last-ack"] {
        for engine in [Engine::Random { runs: 500, seed: 3 }, Engine::Pct { runs: 200, seed: 3, depth: 3 }] {
            let mut options = options(name);
            options.engine = engine;
            let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
            assert!(verdict.violation.is_none(), "{name}: {:?}", verdict.violation.map(|v| v.text));
            assert!(verdict.passed() && matches!(verdict.coverage, Coverage::Random { .. }));
        }
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
    let mut options = options("offline-vs-device-irq");
    options.races = true;
    exhaust(&options);
}
