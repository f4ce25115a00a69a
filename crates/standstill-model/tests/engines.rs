//! The engines against each other.

use std::ops::ControlFlow;

use standstill::{Property, Protocol};
use standstill_model::{Bound, Coverage, Engine, Ipi, Options, Verdict, check, replay};

fn options(scenario: &'static str, cpus: usize) -> Options {
    let mut options = Options::default();
    options.scenario = scenario;
    options.cpus = cpus;
    options
}

fn run(options: &Options, engine: Engine) -> Verdict {
    let mut options = options.clone();
    options.engine = engine;
    // Their states are the same ones only if none are merged; what merging changes is in `reduction.rs`.
    options.reduce = false;
    let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
    assert_eq!(verdict.error, None);
    verdict
}

/// More preemptions than any run of these scenarios has.
const UNBOUNDED: u32 = 1000;

#[test]
fn a_bound_that_cuts_nothing_off_is_no_bound() {
    for scenario in ["offline-vs-device-irq", "call-to-self", "late-cpu"] {
        let options = options(scenario, 2);
        let (all, bounded) =
            (run(&options, Engine::Stateful), run(&options, Engine::Bounded { preemptions: UNBOUNDED }));
        // The bounded search tells states apart by who knows of what, too.
        assert!(all.states <= bounded.states, "{scenario}");
        assert_eq!(all.ends, bounded.ends, "{scenario}");
        assert!(matches!(bounded.coverage, Coverage::Exhausted { states } if states == bounded.states));
    }
}

#[test]
fn each_preemption_more_shows_more_until_there_is_no_more() {
    let options = options("offline-vs-device-irq", 2);
    let all = run(&options, Engine::Stateful);
    let (mut states, mut ends) = (0, 0);
    for preemptions in 0..UNBOUNDED {
        let verdict = run(&options, Engine::Bounded { preemptions });
        assert!(verdict.passed());
        assert!(verdict.states >= states && verdict.ends.len() >= ends, "{preemptions}");
        (states, ends) = (verdict.states, verdict.ends.len());
        match verdict.coverage {
            Coverage::Bounded { by: Bound::Preemptions, .. } => {}
            Coverage::Exhausted { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(states >= all.states);
    assert_eq!(ends, all.ends.len());
}

#[test]
fn the_mails_race_is_inside_the_bound_of_no_preemption() {
    let mut options = options("offline-vs-device-irq", 2);
    options.protocol = Protocol::LINUX_3_14;
    options.ipi = Ipi::Instant;
    options.keep_going = true;
    options.shrink = false;
    let verdict = run(&options, Engine::Bounded { preemptions: 0 });
    assert!(verdict.of(Property::Late).count > 0);
    assert!(matches!(verdict.coverage, Coverage::Bounded { by: Bound::Preemptions, .. }));
}

#[test]
fn traces_states_and_bounds_come_to_the_same_ends() {
    // Worlds differ in their addresses, so only the numbers can be compared here; the sets are, inside of the crate.
    for (scenario, protocol) in [
        ("late-cpu", Protocol::STANDSTILL),
        ("offline-vs-device-irq", Protocol::SINGLE_DEAF),
        ("dying-order", Protocol::REFUSE),
    ] {
        let mut options = options(scenario, 2);
        options.protocol = protocol;
        options.ipi = Ipi::Instant;
        options.irqs = 0;
        let engines = [Engine::Stateful, Engine::Bounded { preemptions: UNBOUNDED }, Engine::Dpor];
        let [states, bounded, traces] = engines.map(|engine| run(&options, engine));
        for verdict in [&states, &bounded, &traces] {
            assert!(verdict.passed() && matches!(verdict.coverage, Coverage::Exhausted { .. }));
            assert_eq!(verdict.ends.len(), states.ends.len(), "{scenario}");
        }
        assert!(states.traces.is_empty() && traces.traces.len() as u64 == traces.states);
    }
}

#[test]
fn traces_show_a_race() {
    let mut options = options("offline-vs-device-irq", 2);
    options.protocol = Protocol::LINUX_3_14;
    options.ipi = Ipi::Instant;
    options.keep_going = true;
    options.shrink = false;
    options.limits.states = 4000;
    options.engine = Engine::Dpor;
    let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
    assert_eq!(verdict.error, None);
    assert!(verdict.of(Property::Late).count > 0);
    let choices = verdict.of(Property::Late).first.as_ref().expect("it was found");
    let again = replay(&options, choices).expect("it was found a moment ago");
    assert!(again.properties[Property::Late as usize] > 0);
}

#[test]
fn traces_are_refused_where_they_are_not_known_to_be_all() {
    let mut options = options("offline-vs-device-irq", 2);
    options.engine = Engine::Dpor;
    options.sleepers = true;
    let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
    assert!(!verdict.passed() && verdict.error.is_some_and(|error| error.contains("dpor")));
}
