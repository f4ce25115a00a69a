//! The numbers of traces that other tools and arithmetic give, found by the engine that counts them.

use std::ops::ControlFlow;

use standstill_model::{Coverage, Engine, Options, Verdict, check, litmus};

fn count(scenario: &str, cpus: usize) -> Verdict {
    let mut options = Options::default();
    options.scenario = litmus().iter().find(|s| s.name == scenario).expect("a litmus test").name;
    options.cpus = cpus;
    options.irqs = 0;
    options.engine = Engine::Dpor;
    let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
    assert_eq!(verdict.error, None);
    if let Some(violation) = &verdict.violation {
        panic!("{} {}", violation.rule, violation.text);
    }
    println!("proof: {} traces, {scenario} on {cpus} CPUs, {} blocked", verdict.states, verdict.blocked);
    assert!(matches!(verdict.coverage, Coverage::Exhausted { states } if states == verdict.states));
    assert_eq!(verdict.traces.len() as u64, verdict.states);
    assert_eq!(verdict.ends.len(), 1, "the order of counting leaves no trace");
    verdict
}

#[test]
fn four_stages() {
    assert_eq!(count("flat-counter", 2).states, 16);
    assert_eq!(count("flat-counter", 3).states, 1_296);
}

#[test]
fn five_stages() {
    assert_eq!(count("flat-counter-split", 2).states, 32);
    assert_eq!(count("flat-counter-split", 3).states, 7_776);
}

#[test]
#[ignore = "a third of a million traces"]
fn four_stages_of_four() {
    assert_eq!(count("flat-counter", 4).states, 331_776);
}
