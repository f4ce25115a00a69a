//! The matrix for two CPUs is the design's, each broken cell can be replayed, and the mail's race is the mail's picture.

use std::ops::ControlFlow;

use standstill::{Property, Protocol};
use standstill_model::{Coverage, Ipi, Options, StepWhat, Verdict, check, counterexample, replay};

fn two() -> Options {
    Options::default()
}

/// Everything that two CPUs can do under a preset.
fn all_of(protocol: Protocol, ipi: Ipi) -> (Options, Verdict) {
    let mut options = two();
    (options.protocol, options.ipi, options.keep_going, options.shrink) = (protocol, ipi, true, false);
    let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
    assert_eq!(verdict.error, None);
    assert!(matches!(verdict.coverage, Coverage::Exhausted { .. }), "{protocol} {ipi:?}");
    // No rule is broken, nor a promise.
    assert!(verdict.violation.is_none(), "{protocol} {ipi:?}: {:?}", verdict.violation.map(|v| v.text));
    (options, verdict)
}

/// The letters of what breaks.
fn letters(verdict: &Verdict) -> String {
    let found = verdict.properties.iter().filter(|result| result.count > 0);
    found.map(|result| result.property.letter()).collect()
}

#[test]
fn two_cpus_give_the_table_of_the_design() {
    let table = [
        (Protocol::LINUX_3_14, "WSO", "WLSO"),
        (Protocol::SEED_V6, "", "WLSO"),
        (Protocol::LINUX_6_12, "SOF", "SOF"),
        (Protocol::SINGLE_DEAF, "F", "F"),
        (Protocol::STANDSTILL, "", "F"),
        // Where nobody stops the machine, the latency of IPIs makes no difference.
        (Protocol::NO_STOP, "WSO", "WSO"),
        (Protocol::REFUSE, "", ""),
    ];
    assert!(Protocol::ALL.iter().all(|protocol| table.iter().any(|row| row.0 == *protocol)));
    for (protocol, instant, delayed) in table {
        for (ipi, expected) in [(Ipi::Instant, instant), (Ipi::Delayed, delayed)] {
            let (options, verdict) = all_of(protocol, ipi);
            assert_eq!(letters(&verdict), expected, "{protocol} {ipi:?}");
            for result in &verdict.properties {
                assert!(result.count == 0 || !protocol.promises().contains(&result.property));
                assert_eq!(result.first.is_some(), result.count > 0);
                if let Some(choices) = &result.first {
                    let run = replay(&options, choices).expect("it was found a moment ago");
                    assert!(
                        run.properties[result.property as usize] > 0,
                        "the schedule shows what it was kept for"
                    );
                }
            }
        }
    }
}

#[test]
fn the_mails_race_needs_one_device_interrupt_and_no_preemption() {
    let options = {
        let mut options = two();
        options.protocol = Protocol::LINUX_3_14;
        options.ipi = Ipi::Instant;
        options
    };
    let race = counterexample(&options, Property::Late, &mut |_| ControlFlow::Continue(()))
        .expect("the mail's race");
    assert_eq!((race.interrupts, race.preemptions), (2, 0), "the device's, and the IPI");
    let devices = race
        .steps
        .iter()
        .filter(|step| matches!(step.what, StepWhat::TakeInterrupt(standstill_model::Interrupt::Device)))
        .count();
    assert_eq!(devices, 1);
    assert!(race.critical_pair.is_some());
    let again = replay(&options, &race.choices).expect("it was found a moment ago");
    assert!(again.properties[Property::Late as usize] > 0);
}

#[test]
fn the_patch_alone_cures_instant_ipis_only() {
    for (ipi, broken) in [(Ipi::Instant, false), (Ipi::Delayed, true)] {
        let mut options = two();
        options.protocol = Protocol::SEED_V6;
        options.ipi = ipi;
        assert_eq!(
            counterexample(&options, Property::Late, &mut |_| ControlFlow::Continue(())).is_some(),
            broken
        );
    }
}

#[test]
fn a_search_says_what_it_covered() {
    let verdict = check(&two(), &mut |_| ControlFlow::Continue(()));
    assert!(verdict.passed());
    assert!(
        matches!(verdict.coverage, Coverage::Exhausted { states } if states == verdict.states && states > 200)
    );
    let mut bounded = two();
    bounded.limits.states = 1;
    bounded.cpus = 3;
    let verdict = check(&bounded, &mut |_| ControlFlow::Continue(()));
    assert!(!verdict.passed() && matches!(verdict.coverage, Coverage::Bounded { .. }));
    let mut wrong = two();
    wrong.cpus = 99;
    let verdict = check(&wrong, &mut |_| ControlFlow::Continue(()));
    assert!(verdict.error.is_some_and(|error| error.contains("not on 99")));
}
