//! Parts of a search, their files, and what they are together.

use std::ops::ControlFlow;

use standstill::Protocol;
use standstill_model::{Engine, Options, PartResult, check_part, litmus, merge, scenarios};

fn counter() -> Options {
    let mut options = Options::default();
    options.scenario = litmus().iter().find(|s| s.name == "flat-counter").expect("a litmus test").name;
    options.cpus = 3;
    options.irqs = 0;
    options.engine = Engine::Dpor;
    options
}

fn part(options: &Options, index: u32, of: u32) -> PartResult {
    check_part(options, (index, of), &mut |_| ControlFlow::Continue(())).expect("it can be cut")
}

#[test]
fn three_parts_are_the_whole() {
    let whole = part(&counter(), 1, 1);
    assert_eq!(whole.traces.len(), 1296);
    assert!(whole.is_complete() && !whole.is_broken());
    let parts: Vec<_> = (1..=3).map(|index| part(&counter(), index, 3)).collect();
    assert!(
        parts.iter().all(|part| !part.traces.is_empty() && part.traces.len() < 1296),
        "each has its share"
    );
    let merged = merge(&parts).expect("all parts are there");
    assert_eq!((merged.parts, merged.overlap), (3, 0));
    assert_eq!(merged.whole.traces, whole.traces);
    assert_eq!(merged.whole.ends, whole.ends);
}

#[test]
fn final_states_do_not_depend_on_where_memory_is() {
    let mut options = Options::default();
    options.scenario = scenarios().iter().find(|s| s.name == "late-cpu").expect("a scenario").name;
    options.irqs = 0;
    options.engine = Engine::Dpor;
    let first = part(&options, 1, 1);
    // What is leaked before moves what comes after.
    let _ = Box::leak(vec![0_u8; 123_456].into_boxed_slice());
    let parts: Vec<_> = (1..=2).map(|index| part(&options, index, 2)).collect();
    let merged = merge(&parts).expect("all parts are there");
    assert!(first.ends.len() > 1);
    assert_eq!((merged.whole.ends, merged.whole.traces), (first.ends, first.traces));
}

#[test]
fn what_is_no_whole_is_refused() {
    let parts: Vec<_> = (1..=3).map(|index| part(&counter(), index, 3)).collect();
    let why = |parts: &[PartResult]| merge(parts).expect_err("they are not all parts").1;
    assert!(why(&parts[..2]).contains("part 3 of 3 is missing"));
    assert!(why(&[&parts[..], &parts[..1]].concat()).contains("part 1 is there twice"));
    let mut other = counter();
    other.protocol = Protocol::LINUX_3_14;
    let stranger = part(&other, 3, 3);
    assert!(why(&[parts[0].clone(), parts[1].clone(), stranger]).contains("protocol is `linux-3.14`"));
    let half = part(&counter(), 2, 2);
    let text = why(&[parts[0].clone(), half]);
    assert!(text.contains("one of 2 parts") || text.contains("depth"), "{text}");
    assert!(why(&[]).contains("no parts"));
    let stateful = Options::default();
    let error =
        check_part(&stateful, (1, 2), &mut |_| ControlFlow::Continue(())).expect_err("it can't be cut");
    assert!(error.contains("dpor"));
    assert!(check_part(&counter(), (3, 2), &mut |_| ControlFlow::Continue(())).is_err());
}

#[test]
fn a_damaged_file_is_named_by_its_line() {
    let text = part(&counter(), 2, 3).save();
    assert_eq!(PartResult::load(&text).expect("it was written a moment ago").save(), text);
    let error = |text: &str| {
        let error = PartResult::load(text).expect_err("it is damaged");
        (error.line, error.text)
    };
    assert_eq!(error("").0, 1);
    assert!(error("hello world\n").1.contains("no part of a search"));
    assert!(error(&text.replace("standstill-part 1", "standstill-part 9")).1.contains("version 9"));
    let (line, why) = error(&text.replace("scenario flat-counter", "scenario x"));
    assert!(line == 4 && why.contains("no scenario `x`"), "{line} {why}");
    assert!(error(&text.replace("part 2 of 3", "part 4 of 3")).1.contains("no part"));
    assert!(error(&text.replace("runs ", "runs x")).1.contains("no number"));
    let cut: String = text.lines().take(25).map(|line| format!("{line}\n")).collect();
    assert!(error(&cut).1.contains("the file ends"));
    assert!(error(&text.replace("blocked ", "blocked 1")).1.contains("damaged"));
}
