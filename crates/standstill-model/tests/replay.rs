//! Schedules as files: the same run again, and a clear word about each damage.

use std::ops::ControlFlow;

use standstill::event::What;
use standstill::{Property, Protocol};
use standstill_model::{Options, StepWhat, counterexample, load, save};

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
    assert!(why.contains("choice"), "{why}");
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
        let step = race.steps.iter().find(|step| matches!(&step.what, StepWhat::Event(what) if wanted(what)));
        step.expect("it is part of the race").location.clone()
    };
    assert!(place(&|what| matches!(what, What::CallQueued(_))).contains("/call/single.rs:"));
    assert!(place(&|what| matches!(what, What::CallLate(_))).contains("/call/flush.rs:"));
    assert!(place(&|what| matches!(what, What::IrqsClosed { .. })).contains("/stop/machine.rs:"));
}
