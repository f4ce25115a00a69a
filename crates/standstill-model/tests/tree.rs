//! Stops over a tree of words: the same scenarios as with one word, on machines that are larger than the port wants to meet in one.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use standstill::CpuMask;
use standstill::context::Stopped;
use standstill::platform::{Wait, Word};
use standstill::stop::StopError;
use standstill_model::{
    Coverage, Engine, ModelWord, Options, Scenario, Setup, Verdict, all_up, branch, check, require, scenarios,
};

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
fn pairs_in_a_circle() {
    states(&options("stop-pairs", 3, 0));
}

/// Three levels are not needed for four CPUs, but two full groups are.
#[test]
#[ignore = "a long proof"]
fn four_cpus() {
    states(&options("offline-vs-device-irq", 4, 0));
}

/// One stop of three CPUs in groups, which any of them may abandon up to the last acknowledgement: its caller is told that it was abandoned, and nothing
/// ran, or it ran once. (The scenario `deadline-vs-last-ack` has a second stop behind it, which is too much for three CPUs.)
fn one_stop_with_a_deadline() -> Scenario {
    Scenario::new("abandoned-or-run", |s: &mut Setup<'_, 3>| {
        let (machine, last) = (s.machine(), s.last());
        let runs = s.keep(ModelWord::ZERO);
        s.deadlines_may_be_over(1);
        s.task(move |task| {
            all_up(machine, task);
            branch();
            let mut read = machine.cpus_read_lock(task);
            let deadline = machine.platform().deadline_in(1);
            let f = |_: &Stopped<'_>| {
                runs.fetch_add(1, Relaxed);
                3
            };
            let ended = machine
                .stop_machine_deadline(read.task(), Some(&CpuMask::of(last)), deadline, &f)
                .map(|_| ());
            match ended {
                Ok(()) => require(runs.load(Relaxed) == 1, "it ran, and its caller is told so"),
                Err(StopError::Deadline { .. }) => {
                    require(runs.load(Relaxed) == 0, "it ran, and was abandoned")
                }
                Err(error) => panic!("a stop with a deadline: {error}"),
            }
        });
    })
}

#[test]
#[ignore = "a long proof"]
fn abandoned_or_run_never_both() {
    let mut options = one_stop_with_a_deadline().options();
    options.fan_in = 2;
    options.irqs = 0;
    println!("{} states", states(&options));
}
