//! The engines against each other.

use std::ops::ControlFlow;

use standstill::{Property, Protocol};
use standstill_model::{Bound, Coverage, Engine, Ipi, Options, Verdict, check, scenarios};

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
    for scenario in scenarios().iter().filter(|s| s.min_cpus == 2) {
        if ["rollback", "deadline-vs-last-ack", "down-and-up", "two-stops"].contains(&scenario.name) {
            continue;
        }
        let options = options(scenario.name, 2);
        let (all, bounded) =
            (run(&options, Engine::Stateful), run(&options, Engine::Bounded { preemptions: UNBOUNDED }));
        assert_eq!(all.states, bounded.states, "{}", scenario.name);
        assert_eq!(all.ends.len(), bounded.ends.len(), "{}", scenario.name);
        assert!(matches!(bounded.coverage, Coverage::Exhausted { states } if states == all.states));
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
            Coverage::Bounded { by: Bound::Preemptions, states } => assert!(states <= all.states),
            Coverage::Exhausted { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((states, ends), (all.states, all.ends.len()));
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
