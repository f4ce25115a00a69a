//! What the search merges makes no difference: with it and without it the same verdicts come out, and as many end states.

use std::ops::ControlFlow;

use standstill::Protocol;
use standstill_model::{Coverage, Ipi, Options, Verdict, check, scenarios};

fn run(options: &Options) -> Verdict {
    let verdict = check(options, &mut |_| ControlFlow::Continue(()));
    assert_eq!(verdict.error, None);
    verdict
}

/// Compares the two, and says how many states each has.
fn compare(options: &Options) -> (u64, u64) {
    compare_small(options).expect("it ends")
}

/// As [`compare`]; nothing if `options` bound the search and it has not ended by then.
fn compare_small(options: &Options) -> Option<(u64, u64)> {
    let [plain, reduced] = [false, true].map(|reduce| {
        let mut options = options.clone();
        options.reduce = reduce;
        run(&options)
    });
    if !matches!(plain.coverage, Coverage::Exhausted { .. }) {
        return None;
    }
    assert!(matches!(reduced.coverage, Coverage::Exhausted { .. }));
    let what =
        format!("{} {} {} CPUs {}", options.protocol, options.scenario, options.cpus, options.ipi.name());
    for (a, b) in plain.properties.iter().zip(&reduced.properties) {
        assert_eq!(a.count > 0, b.count > 0, "{what}: {:?}", a.property);
    }
    let rule = |verdict: &Verdict| verdict.violation.as_ref().map(|violation| violation.rule.clone());
    assert_eq!(rule(&plain), rule(&reduced), "{what}");
    assert_eq!(plain.ends.len(), reduced.ends.len(), "{what}");
    assert!(reduced.states <= plain.states, "{what}");
    println!("proof: {} states, {what}, {} of them with merging", plain.states, reduced.states);
    Some((plain.states, reduced.states))
}

fn options(protocol: Protocol, cpus: usize, ipi: Ipi) -> Options {
    let mut options = Options::default();
    (options.protocol, options.cpus, options.ipi, options.keep_going) = (protocol, cpus, ipi, true);
    options
}

#[test]
fn every_preset_for_two_cpus() {
    for protocol in Protocol::ALL {
        for ipi in [Ipi::Instant, Ipi::Delayed] {
            compare(&options(*protocol, 2, ipi));
        }
    }
}

#[test]
fn three_cpus() {
    let (plain, reduced) = compare(&options(Protocol::LINUX_3_14, 3, Ipi::Delayed));
    assert!(reduced * 4 < plain, "{reduced} of {plain} states are left");
}

/// `most`: of larger ones only the beginning is looked at, and nothing can be compared.
fn scenarios_up_to(most: u64) -> usize {
    let compared = scenarios().iter().filter(|scenario| {
        let mut options = options(Protocol::STANDSTILL, scenario.min_cpus, Ipi::Delayed);
        options.scenario = scenario.name;
        options.limits.states = most;
        compare_small(&options).is_some()
    });
    compared.count()
}

#[test]
fn every_scenario_that_is_small() {
    assert!(scenarios_up_to(4_096) >= 5);
}

#[test]
#[ignore = "minutes in release"]
fn every_scenario_that_is_not_huge() {
    assert!(scenarios_up_to(2_000_000) * 4 > scenarios().len() * 3);
}

/// Not every time: `cargo test --release -p standstill-model --test reduction -- --ignored`.
#[test]
#[ignore = "two minutes in release"]
fn every_preset_for_three_cpus() {
    for protocol in Protocol::ALL {
        for ipi in [Ipi::Instant, Ipi::Delayed] {
            // Without a stop there are ten million states and more.
            if *protocol != Protocol::NO_STOP && *protocol != Protocol::REFUSE {
                compare(&options(*protocol, 3, ipi));
            }
        }
    }
}
