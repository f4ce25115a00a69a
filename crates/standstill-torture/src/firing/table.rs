//! The table: for each rule a machine, or a look at one, that breaks it.
//!
//! A case runs twice: as it should be, where nothing may fire and the rule must have been looked at, and broken, where the rule and those
//! that the case names fire, and no other.

use core::cell::{Cell, RefCell};
use std::thread;
use std::vec::Vec;

use standstill::context::Task;

use super::lie::{self, Lie};
use super::operations;
use super::scenes::{self, Small};
use super::world::{self, CPUS, Four};
use crate::pulse::Patience;
use crate::rules::{Rule, Rules};
use crate::settings::Settings;
use crate::torture::Torture;

/// How often a run of the whole torture is looked at before it is over; ten times as often if something is to fire.
const LOOKS: usize = 40;

/// A thread's work on four CPUs, on the account of a torture that does not run; broken, if it is told so.
type Scene = fn(torture: &Small, task: &mut Task, broken: bool);

enum How {
    /// The whole torture runs on a machine that lies.
    Torture(Lie),
    /// As much of it as the rule looks at.
    Scene(Scene),
}

struct Case {
    rule: Rule,
    /// What can't but fire as well.
    with: &'static [Rule],
    what: &'static str,
    how: How,
}

const fn lies(rule: Rule, what: &'static str, lie: Lie) -> Case {
    Case { rule, with: &[], what, how: How::Torture(lie) }
}

const fn scene(rule: Rule, what: &'static str, scene: Scene) -> Case {
    Case { rule, with: &[], what, how: How::Scene(scene) }
}

const fn and(with: &'static [Rule], case: Case) -> Case {
    Case { with, ..case }
}

const CASES: &[Case] = &[
    // A second run of one call has the number of the first, so it is out of order, too.
    and(&[Rule::Order], scene(Rule::ExactlyOnce, "a handler runs twice", scenes::runs_twice)),
    scene(Rule::RightCpu, "a call is delivered to another CPU", scenes::runs_elsewhere),
    lies(Rule::IrqsOff, "a handler runs with interrupts on", Lie::OpenInHandler),
    scene(Rule::Online, "a handler runs before its CPU is online", scenes::runs_too_early),
    scene(Rule::MemoryIn, "what the sender wrote becomes visible in the handler", scenes::visible_late),
    scene(Rule::MemoryOut, "what a handler wrote is not visible to the sender", scenes::never_visible),
    scene(Rule::Order, "two calls change places", scenes::change_places),
    // Nobody who was not asked takes it, whoever comes or goes.
    and(
        &[Rule::Taken],
        scene(Rule::RanSet, "a CPU that was not asked is said to take a call", scenes::takes_unasked),
    ),
    scene(Rule::RanSet, "a CPU that was not asked is said to have run a call", scenes::ran_unasked),
    // Who did not run did not write.
    and(&[Rule::MemoryOut], scene(Rule::RanSet, "a CPU that did not run a call is said to", scenes::ran_not)),
    scene(Rule::RanSet, "a condition is asked twice for one CPU", scenes::asked_twice),
    scene(Rule::RanSet, "a call to many fails", scenes::many_fails),
    // A CPU that is up has no reason to refuse.
    and(&[Rule::Taken], scene(Rule::Refused, "a call that was refused runs", scenes::refused_runs)),
    scene(Rule::Taken, "a CPU that is up refuses a call", scenes::refuses),
    scene(Rule::Grace, "the machine stands still in the middle of a pinned section", scenes::still_pinned),
    scene(Rule::Alone, "a frozen CPU takes an interrupt", operations::taken_frozen),
    scene(Rule::Receipts, "a stop's function runs twice", operations::stop_twice),
    scene(Rule::Receipts, "a stop's function runs on a CPU without receipt", operations::stop_elsewhere),
    scene(Rule::Receipts, "a stop's function returns another value than its receipt", operations::stop_value),
    scene(Rule::Receipts, "a stop's function runs where it was not asked to", operations::stop_unasked),
    scene(Rule::Receipts, "a stop that failed ran", operations::stop_failed),
    and(
        &[Rule::Taken],
        scene(Rule::Receipts, "a stopper's work runs on another CPU", operations::work_elsewhere),
    ),
    scene(Rule::Receipts, "a work that nobody waits for runs on another CPU", operations::work_value),
    scene(Rule::Masks, "a CPU that was taken down is online", operations::comes_back),
    lies(Rule::Callbacks, "a callback of STARTING is called with interrupts on", Lie::OpenInStarting),
    scene(Rule::Callbacks, "callbacks are called twice", operations::called_twice),
    scene(Rule::Callbacks, "callbacks can't be installed", operations::no_room),
    scene(Rule::Callbacks, "callbacks can't be removed", operations::removed_before),
    scene(Rule::Callbacks, "callbacks are never undone", operations::not_undone),
    scene(Rule::Veto, "an operation fails that was not made to", operations::fails_unasked),
    scene(Rule::Veto, "an operation succeeds that was made to fail", operations::injection_forgotten),
    scene(Rule::Moved, "the thread stays on the CPU that it takes down", operations::stays),
    lies(Rule::ReadLock, "a writer and a reader hold the hotplug lock", Lie::LockForgotten),
    lies(Rule::Lines, "a device interrupt is lost", Lie::LineLost),
    lies(Rule::Lines, "a device interrupt is handled twice", Lie::LineTwice),
    scene(Rule::Progress, "a workload shows no sign of life", operations::shows_no_sign),
    lies(Rule::Final, "a CPU that is offline at the end does not start", Lie::NoStart),
    scene(Rule::Books, "a call runs that nobody counted", scenes::not_counted),
];

/// The settings of a small torture.
fn settings() -> Settings {
    Settings { seed: 1, burst: 8, onoff_pause_ns: 50_000, stop_pause_ns: 200_000, ..Settings::default() }
}

type Counts = Vec<(Rule, u64, u64)>;

fn counts(rules: &Rules) -> Counts {
    let of = |rule: Rule| {
        let (checked, broken) = rules.counts(rule);
        (rule, checked, broken)
    };
    Rule::ALL.into_iter().map(of).collect()
}

/// Runs the whole torture until `rule` is broken, or for a fixed number of steps.
fn torture(lie: Lie, rule: Option<Rule>) -> Counts {
    let run = move || {
        world::run(1, move |machine: &'static Four, task: &mut Task| {
            let torture = Torture::new(machine, settings());
            lie::tell(lie);
            let looks = Cell::new(0);
            let patience = RefCell::new(Patience::new(10_000_000_000));
            torture.run(task, || {
                looks.set(looks.get() + 1);
                assert_eq!(torture.look(&mut patience.borrow_mut()), None);
                // What can be told only at the end ends soon.
                let enough = match lie {
                    Lie::LineLost | Lie::LineTwice => lie::was_told(),
                    Lie::NoStart => torture.progress().online < CPUS,
                    _ if rule.is_some() => looks.get() > 10 * LOOKS,
                    _ => looks.get() > LOOKS,
                };
                enough || rule.is_some_and(|rule| torture.core.rules.counts(rule).1 > 0)
            });
            counts(&torture.core.rules)
        })
    };
    // A thread for each machine; a panic in it is the test's.
    thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn in_scene(scene: Scene, broken: bool) -> Counts {
    let run = move || {
        world::run(1, move |machine: &'static Four, task: &mut Task| {
            let torture = Torture::new(machine, settings());
            scene(&torture, task, broken);
            counts(&torture.core.rules)
        })
    };
    thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn broken(counts: &Counts) -> Vec<Rule> {
    counts.iter().filter(|(_, _, broken)| *broken > 0).map(|(rule, ..)| *rule).collect()
}

#[test]
fn every_rule_has_a_case() {
    for rule in Rule::ALL {
        assert!(CASES.iter().any(|case| case.rule == rule), "nobody ever saw {} fail", rule.id());
    }
}

#[test]
fn every_rule_is_checked_and_holds_on_a_machine_that_does_not_lie() {
    let seen = torture(Lie::None, None);
    for (rule, checked, broken) in seen {
        assert!(checked > 0, "{} was never checked", rule.id());
        assert_eq!(broken, 0, "{}", rule.id());
    }
}

#[test]
fn every_case_fires_its_rule_and_no_other() {
    for case in CASES {
        let seen = match case.how {
            How::Torture(lie) => torture(lie, Some(case.rule)),
            How::Scene(scene) => {
                let good = in_scene(scene, false);
                assert_eq!(broken(&good), [], "not broken: {}", case.what);
                assert!(good[case.rule as usize].1 > 0, "{} is not checked: {}", case.rule.id(), case.what);
                in_scene(scene, true)
            }
        };
        let expected: Vec<Rule> =
            Rule::ALL.into_iter().filter(|rule| *rule == case.rule || case.with.contains(rule)).collect();
        assert_eq!(broken(&seen), expected, "{}", case.what);
    }
}
