//! Stops over a tree of words: the same scenarios as with one word, on machines that are larger than the port wants to meet in one.

use std::ops::ControlFlow;

use standstill_model::{Coverage, Engine, Options, Verdict, check, scenarios};

fn options(name: &str, cpus: usize, irqs: usize) -> Options {
    let mut options = Options::default();
    options.scenario = scenarios().iter().find(|s| s.name == name).expect("a scenario").name;
    options.cpus = cpus;
    options.irqs = irqs;
    options.fan_in = 2;
    options
}

fn holds(options: &Options) -> Verdict {
    let verdict = check(options, &mut |_| ControlFlow::Continue(()));
    if let Some(violation) = &verdict.violation {
        for step in &violation.steps {
            eprintln!("CPU {} {:?} {:?} {}", step.cpu, step.context, step.what, step.location);
        }
        panic!("{}: {}: {}", options.scenario, violation.rule, violation.text);
    }
    assert_eq!(verdict.error, None);
    verdict
}

fn states(options: &Options) -> u64 {
    match holds(options).coverage {
        Coverage::Exhausted { states } => {
            println!("proof: {states} states, {}", options.scenario);
            states
        }
        other => panic!("{}: {other:?}", options.scenario),
    }
}

/// Two levels: CPUs 0 and 1 have a copy of the stage word, CPU 2 is alone.
#[test]
fn three_cpus() {
    let mut small = options("offline-vs-device-irq", 3, 0);
    let tree = states(&small);
    small.fan_in = 8;
    let flat = states(&small);
    assert!(tree > flat, "the tree has no step of its own: {tree} and {flat} states");
}

#[test]
#[ignore = "a long proof"]
fn a_work_that_is_queued_meanwhile() {
    states(&options("stop-one-vs-offline", 3, 0));
}

/// CPUs that are late for a stop that was abandoned, in groups whose words the next stop uses again.
#[test]
fn late_for_a_stop_that_was_abandoned() {
    let mut options = options("deadline-vs-last-ack", 4, 0);
    options.engine = Engine::Random { runs: 400, seed: 5 };
    holds(&options);
}

/// Pairs of a group, and pairs across groups.
#[test]
#[ignore = "a long proof: 546,589 states"]
fn pairs_in_a_circle() {
    states(&options("stop-pairs", 3, 0));
}

/// Three levels are not needed for four CPUs, but two full groups are.
#[test]
#[ignore = "a long proof"]
fn four_cpus() {
    states(&options("offline-vs-device-irq", 4, 0));
}

/// The proof of the abort against the last acknowledgement, on a tree.
#[test]
#[ignore = "a long proof"]
fn abandoned_or_run_never_both() {
    states(&options("deadline-vs-last-ack", 3, 0));
}
