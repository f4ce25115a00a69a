//! Schedules as files: the same run again, and a clear word about each damage.

use std::ops::ControlFlow;

use standstill::event::What;
use standstill::{Property, Protocol};
use standstill_model::{Interrupt, Ipi, Options, StepWhat, counterexample, critical_pair, load, save};

fn saved() -> String {
    let mut options = Options::default();
    options.protocol = Protocol::LINUX_3_14;
    let lost =
        counterexample(&options, Property::Lost, &mut |_| ControlFlow::Continue(())).expect("a call is lost");
    save(&options, &lost.rule, &lost.choices).expect("it was found a moment ago")
}

#[test]
fn a_saved_schedule_gives_the_same_run_again() {
    let text = saved();
    let loaded = load(&text).expect("it was written a moment ago");
    assert_eq!(loaded.rule, "L");
    let run = loaded.replay().expect("the same run");
    assert!(run.properties[Property::Lost as usize] > 0);
}

#[test]
fn a_damaged_file_is_named_by_its_line() {
    let text = saved();
    let error = |text: &str| {
        let error = load(text).expect_err("it is damaged");
        (error.line, error.text)
    };
    assert_eq!(error("").0, 1);
    assert_eq!(error("hello").0, 1);
    let (line, why) = error(&text.replace("standstill-replay 1", "standstill-replay 7"));
    assert!(line == 1 && why.contains("version 7"), "{why}");
    let (line, why) = error(&text.replace("protocol linux-3.14", "protocol linux-9"));
    assert!(line == 2 && why.contains("linux-9"), "{why}");
    assert_eq!(error(&text.replace("cpus 2", "cpus two")).0, 4);
    let (line, why) = error(&text.replace("\n00003 ", "\n00007 "));
    assert!(line == 13 && why.contains("choice 3"), "{line} {why}");
    let cut: String = text.lines().take(20).map(|line| format!("{line}\n")).collect();
    let (line, why) = error(&cut);
    assert!(line == 21 && why.contains("ends"), "{line} {why}");
    assert!(error(&text.replace("\nend\n", "\n99999 zz\nend\n")).1.contains("no line of a schedule"));
}

#[test]
fn a_schedule_of_another_machine_is_refused_where_it_differs() {
    let text = saved().replace("protocol linux-3.14", "protocol standstill");
    let why = load(&text).expect("it is well formed").replay().expect_err("it is another machine");
    assert!(why.to_string().contains("choice"), "{why}");
}

#[test]
fn a_run_says_what_each_word_is_and_where_each_event_comes_from() {
    let mut options = Options::default();
    options.protocol = Protocol::LINUX_3_14;
    let race =
        counterexample(&options, Property::Late, &mut |_| ControlFlow::Continue(())).expect("the race");
    let mut cells: Vec<&str> = race
        .steps
        .iter()
        .filter_map(|step| match &step.what {
            StepWhat::Access { cell, .. } if !cell.is_empty() => Some(cell.as_str()),
            _ => None,
        })
        .collect();
    cells.sort_unstable();
    cells.dedup();
    for name in ["stop word", "online mask", "call queue of CPU 1", "a Csd of the scenario"] {
        assert!(cells.contains(&name), "{name}: {cells:?}");
    }
    assert!(
        !cells.contains(&"a word") && cells.iter().all(|cell| cell.parse::<usize>().is_err()),
        "{cells:?}"
    );
    let place = |wanted: &dyn Fn(&What) -> bool| {
        let step = race.steps.iter().find(|step| step.what.event::<What>().is_some_and(wanted));
        step.expect("it is part of the race").location.clone()
    };
    assert!(place(&|what| matches!(what, What::CallQueued(_))).contains("/call/single.rs:"));
    assert!(place(&|what| matches!(what, What::CallLate(_))).contains("/call/flush.rs:"));
    assert!(place(&|what| matches!(what, What::IrqsClosed { .. })).contains("/stop/machine.rs:"));
}

#[test]
fn a_search_for_the_cheapest_run_can_be_stopped() {
    let mut options = Options::default();
    options.cpus = 4;
    let mut asked = 0;
    let found = counterexample(&options, Property::Frozen, &mut |_| {
        asked += 1;
        ControlFlow::Break(())
    });
    assert!(found.is_none());
    assert_eq!(asked, 1, "whoever said that it is over is not asked again");
}

#[test]
fn no_damage_makes_a_replay_panic() {
    let text = saved();
    let began = text.find("choices ").expect("it has a schedule");
    let (mut refused, mut seed) = (0, 7_u64);
    for _ in 0..400 {
        // One digit or letter of the schedule becomes another one.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = began + (seed >> 33) as usize % (text.len() - began);
        let digit = b"0123456789abcdef"[(seed >> 20) as usize % 16];
        let mut bytes = text.clone().into_bytes();
        if bytes[at] == b'\n' || bytes[at] == digit {
            continue;
        }
        bytes[at] = digit;
        let damaged = String::from_utf8(bytes).expect("it stays ASCII");
        match load(&damaged) {
            Err(error) => {
                assert!(error.line > 1 && !error.text.is_empty());
                refused += 1;
            }
            // What a choice did is in the file, too: so hardly any damage goes unnoticed.
            Ok(saved) => refused += usize::from(saved.replay().is_err()),
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn what_a_file_cannot_say_is_not_saved() {
    let mut options = Options::default();
    options.protocol = Protocol::LINUX_3_14;
    let lost =
        counterexample(&options, Property::Lost, &mut |_| ControlFlow::Continue(())).expect("a call is lost");
    options.sleepers = true;
    let why = save(&options, &lost.rule, &lost.choices).expect_err("a file does not say it");
    assert!(why.to_string().contains("can't be saved"), "{why}");
}

#[test]
fn the_pair_decides() {
    let mut options = Options::default();
    options.protocol = Protocol::LINUX_3_14;
    options.ipi = Ipi::Instant;
    let race =
        counterexample(&options, Property::Late, &mut |_| ControlFlow::Continue(())).expect("the race");
    let (first, second) = race.critical_pair.expect("the mail names it");
    // Who leaves closes its interrupts; then the device of the other one sends.
    assert_eq!((race.steps[first].cpu, race.steps[second].cpu), (1, 0));
    assert!(race.steps[..=first].iter().any(|s| s.cpu == 1 && matches!(s.what, StepWhat::CloseIrqs)));
    assert!(matches!(race.steps[second].what, StepWhat::TakeInterrupt(Interrupt::Device)));
    let again = critical_pair(&options, "W", &race.choices, &race.steps, &mut |_| ControlFlow::Continue(()));
    assert_eq!(again, race.critical_pair, "a replay finds the same pair");
    // An IPI that may come late can be sent before anything of that: no single order decides.
    options.ipi = Ipi::Delayed;
    let race =
        counterexample(&options, Property::Late, &mut |_| ControlFlow::Continue(())).expect("the race");
    if let Some((first, second)) = race.critical_pair {
        assert_ne!(race.steps[first].cpu, race.steps[second].cpu);
    }
}
