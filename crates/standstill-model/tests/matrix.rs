//! The matrix for two CPUs is the design's, each broken cell can be replayed, and the mail's race is the mail's picture.

use std::ops::ControlFlow;

use standstill::{Property, Protocol};
use standstill_model::{
    CellResult, Coverage, Ipi, Options, StepWhat, check, counterexample, expected, matrix, replay,
};

fn two() -> Options {
    Options::default()
}

#[test]
fn two_cpus_give_the_table_of_the_design() {
    let cells = matrix(&two(), Protocol::ALL, &[2], &mut |_, _| ControlFlow::Continue(()));
    assert_eq!(cells.len(), Protocol::ALL.len() * 2 * 5);
    for cell in &cells {
        assert_eq!(cell.fault, None, "{} {}", cell.protocol, cell.ipi.name());
        assert_ne!(cell.result, CellResult::Unknown);
        let found = cell.result == CellResult::Found;
        if let Some(letters) = expected(&cell.protocol, cell.ipi) {
            assert_eq!(
                found,
                letters.contains(cell.property.letter()),
                "{} with {} IPIs: {:?}",
                cell.protocol,
                cell.ipi.name(),
                cell.property
            );
        }
        // What a preset promises holds, whatever the latency.
        assert!(!(found && cell.protocol.promises().contains(&cell.property)));
        if let Some(choices) = &cell.choices {
            let run = replay(&cell.options(&two()), choices).expect("it was found a moment ago");
            assert!(run.properties[cell.property as usize] > 0, "the schedule shows what it was kept for");
        }
    }
}

#[test]
fn the_answers_to_the_question_of_november() {
    let cells =
        matrix(&two(), &[Protocol::NO_STOP, Protocol::REFUSE], &[2], &mut |_, _| ControlFlow::Continue(()));
    for cell in cells {
        let breaks = cell.protocol == Protocol::NO_STOP
            && matches!(cell.property, Property::Late | Property::Spurious | Property::Outside);
        assert_eq!(cell.result == CellResult::Found, breaks, "{} {:?}", cell.protocol, cell.property);
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
        matches!(verdict.coverage, Coverage::Exhausted { states } if states == verdict.states && states > 300)
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
