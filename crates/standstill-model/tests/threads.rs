//! However many threads search, the same comes out.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use standstill::Protocol;
use standstill::platform::Word;
use standstill_model::{
    Coverage, Ipi, MemoryModel, ModelWord, Options, Scenario, Setup, Verdict, all_up, branch, check, require,
    scenarios,
};

fn options(scenario: &str, cpus: usize, memory: MemoryModel) -> Options {
    let mut options = Options::default();
    options.scenario = scenarios().iter().find(|s| s.name == scenario).expect("a scenario").name;
    (options.cpus, options.memory) = (cpus, memory);
    // All threads take part from early on.
    options.spread = 64;
    options
}

fn run(options: &Options, threads: usize) -> Verdict {
    let mut options = options.clone();
    options.threads = threads;
    let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
    assert_eq!(verdict.error, None);
    verdict
}

/// Compares a search by one thread with one by several, and returns it.
fn compare(options: &Options, threads: usize) -> Verdict {
    let (one, several) = (run(options, 1), run(options, threads));
    let what = format!("{} {} {}", options.protocol, options.scenario, options.memory.name());
    assert!(matches!(one.coverage, Coverage::Exhausted { .. }), "{what}");
    assert_eq!(one.coverage, several.coverage, "{what}");
    assert_eq!(one.ends, several.ends, "{what}");
    for (a, b) in one.properties.iter().zip(&several.properties) {
        assert_eq!((a.property, a.count), (b.property, b.count), "{what}");
    }
    let told = |verdict: &Verdict| {
        let violation = verdict.violation.as_ref()?;
        Some((violation.rule.clone(), violation.text.clone(), violation.choices.clone()))
    };
    assert_eq!(told(&one), told(&several), "{what}");
    one
}

#[test]
fn one_thread_and_two_agree() {
    compare(&options("offline-vs-device-irq", 3, MemoryModel::Sc), 2);
    compare(&options("late-cpu", 2, MemoryModel::Sc), 2);
    compare(&options("payload-call", 2, MemoryModel::Sc), 3);
    compare(&options("offline-vs-device-irq", 2, MemoryModel::Tso { fenced: true }), 2);
    // Threads meet words in different orders, and views are of words.
    compare(&options("offline-vs-device-irq", 2, MemoryModel::Ra), 2);
    compare(&options("payload-call", 2, MemoryModel::Ra), 3);
}

#[test]
fn what_is_broken_does_not_depend_on_who_finds_it() {
    let mut options = options("offline-vs-device-irq", 2, MemoryModel::Tso { fenced: true });
    options.protocol = Protocol::LINUX_3_14;
    options.ipi = Ipi::Instant;
    options.keep_going = true;
    let verdict = compare(&options, 2);
    assert!(verdict.properties.iter().filter(|property| property.count > 0).count() >= 3);
}

#[test]
fn the_first_violation_ends_the_search_of_all() {
    // A promise that the scenario makes itself, and does not keep: its last device interrupt comes after the others.
    let scenario = Scenario::new("three-interrupts", |s: &mut Setup<'_, 3>| {
        let machine = s.machine();
        let count = s.keep(ModelWord::ZERO);
        s.device(move |_, _| require(count.fetch_add(1, Ordering::AcqRel) < 5, "five are enough"));
        s.task(move |task| {
            all_up(machine, task);
            branch();
        });
    });
    let mut options = scenario.options();
    (options.irqs, options.spread) = (2, 0);
    let told = [1, 3].map(|threads| run(&options, threads).violation.expect("six interrupts"));
    assert_eq!(told[0].rule, "require");
    assert_eq!((&told[0].text, &told[0].choices), (&told[1].text, &told[1].choices));
}

/// Not every time: `cargo test --release -p standstill-model --test threads -- --ignored`.
#[test]
#[ignore = "a minute in release"]
fn larger_ones_agree_too() {
    for (scenario, cpus, memory) in [
        ("offline-vs-device-irq", 4, MemoryModel::Sc),
        ("offline-vs-device-irq", 3, MemoryModel::Tso { fenced: true }),
        ("offline-vs-device-irq", 3, MemoryModel::Tso { fenced: false }),
        ("offline-vs-device-irq", 3, MemoryModel::Ra),
        ("down-and-up", 3, MemoryModel::Sc),
        ("two-senders", 3, MemoryModel::Sc),
    ] {
        let mut options = options(scenario, cpus, memory);
        options.spread = Options::default().spread;
        let verdict = compare(&options, 2);
        println!("proof: {} states, {scenario} on {cpus} CPUs, {}", verdict.states, memory.name());
    }
}
