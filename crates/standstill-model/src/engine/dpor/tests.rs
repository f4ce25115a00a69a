//! The reduction against searches that leave less out, and against the stateful search.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Instant;

use std::sync::atomic::Ordering::Relaxed;

use standstill::Protocol;
use standstill::platform::{Deadline, Site, Wait, WaitContext, WaitFor, Word};

use crate::config::options::{Ipi, Options};
use crate::engine::dpor::{Explorer, Mode, Part};
use crate::engine::parallel;
use crate::engine::search::{End, Found};
use crate::machine::access::ModelWord;
use crate::machine::session::Ready;
use crate::machine::world::with_ptr;
use crate::scenario::{Scenario, Setup, all_up, branch};

/// What a search of one kind found.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    traces: BTreeSet<u128>,
    ends: BTreeSet<u128>,
    broken: [bool; 5],
}

fn options(scenario: &'static str, cpus: usize, irqs: usize, protocol: Protocol, ipi: Ipi) -> Options {
    Options { scenario, cpus, irqs, protocol, ipi, keep_going: true, shrink: false, ..Options::default() }
}

/// One world for all searches: addresses are the same, so the ends can be compared.
struct Bench {
    ready: Ready,
    options: Options,
}

impl Bench {
    fn new(options: Options) -> Bench {
        let ready = Ready::new(&options).expect("the scenario is one");
        Bench { ready, options }
    }

    /// Gives up at `most` runs.
    fn search(&self, mode: Mode, part: Part, most: u64) -> Option<(Seen, u64, u64)> {
        loop {
            let mut found = Found::new();
            let mut explorer = Explorer::new(&self.ready, &self.options, mode, part);
            let mut progress = |now: &crate::Progress| {
                if now.runs > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            match explorer.explore(&self.options, Instant::now(), &mut found, &mut progress) {
                End::Exhausted => {
                    assert!(found.fault.is_none(), "{:?}", found.fault);
                    let seen = Seen {
                        traces: explorer.traces.iter().copied().collect(),
                        ends: found.ends.iter().copied().collect(),
                        broken: found.counts.map(|count| count > 0),
                    };
                    return Some((seen, explorer.again, explorer.blocked));
                }
                End::Again => self.reset(),
                End::Bounded(_) => {
                    self.reset();
                    return None;
                }
            }
        }
    }

    fn reset(&self) {
        with_ptr(self.ready.world, |w| {
            w.undo_to(0);
            w.reduction.classes.changed = false;
            w.reduction.movers.changed = false;
        });
    }

    fn stateful(&self) -> Seen {
        loop {
            self.reset();
            with_ptr(self.ready.world, |w| {
                for cpu in &mut w.cpus {
                    cpu.devices = w.options.irqs as u8;
                }
            });
            let mut found = Found::new();
            let end = parallel::search(&self.ready, &self.options, Instant::now(), &mut found, &mut |_| {
                ControlFlow::Continue(())
            });
            match end {
                End::Again => {}
                End::Exhausted => {
                    return Seen {
                        traces: BTreeSet::new(),
                        ends: found.ends.into_iter().collect(),
                        broken: found.counts.map(|count| count > 0),
                    };
                }
                End::Bounded(_) => panic!("nothing bounds it"),
            }
        }
    }
}

const PATIENCE: u64 = 3_000_000;

fn agree(options: Options, with_all: bool) {
    let name = format!("{} {} {:?}", options.scenario, options.protocol, options.ipi);
    let bench = Bench::new(options);
    let stateful = bench.stateful();
    let (source, again, blocked) = bench.search(Mode::Source, Part::WHOLE, PATIENCE).expect("it is small");
    println!("proof: {} traces, {name}, {blocked} blocked, {} ends", source.traces.len(), source.ends.len());
    assert_eq!(again, 0, "{name}: sleep sets let no trace come twice");
    assert_eq!(source.ends, stateful.ends, "{name}");
    assert_eq!(source.broken, stateful.broken, "{name}");
    let (sleep, again, blocked) = bench.search(Mode::Sleep, Part::WHOLE, PATIENCE).expect("it is small");
    println!("{name}: sleep sets alone: {} blocked", blocked);
    assert_eq!(again, 0, "{name}: sleep sets let no trace come twice");
    assert_eq!(source.traces.len(), sleep.traces.len(), "{name}");
    assert_eq!(source, sleep, "{name}");
    if with_all {
        let (all, again, _) = bench.search(Mode::All, Part::WHOLE, 10 * PATIENCE).expect("it is small");
        println!("{name}: {} orders of all steps", all.traces.len() as u64 + again);
        assert_eq!(source, all, "{name}");
    }
}

#[test]
fn the_counter_has_the_same_traces_in_all_orders() {
    agree(options("flat-counter", 2, 0, Protocol::STANDSTILL, Ipi::Delayed), true);
}

#[test]
fn device_interrupts_may_come_anywhere_and_may_never_come() {
    agree(options("flat-counter", 2, 1, Protocol::STANDSTILL, Ipi::Delayed), false);
}

#[test]
fn a_deadline_may_be_over_at_any_moment() {
    agree(options("late-cpu", 2, 0, Protocol::STANDSTILL, Ipi::Delayed), false);
}

/// What is waited for was there before somebody else took it away, and is there again.
#[test]
fn a_word_may_have_another_value_in_between() {
    for values in [[0, 1].as_slice(), &[0, 1, 0, 1]] {
        let scenario = Scenario::new("in-between", move |s: &mut Setup<'_, 2>| {
            let (machine, last) = (s.machine(), s.last());
            let word = s.keep(ModelWord::ZERO);
            s.task(move |task| {
                all_up(machine, task);
                word.store(1, Relaxed);
                branch();
                for value in values {
                    word.store(*value, Relaxed);
                    machine.platform().notify(word);
                }
            });
            s.task_on(last, move |_| {
                let site = Site::here("the word to be 1");
                let context = WaitContext::Task;
                let wait = WaitFor { site, context, deadline: Deadline::NEVER, stalled: &|_| () };
                machine.platform().wait_until(word, &wait, || (word.load(Relaxed) == 1).then_some(()));
            });
        });
        let options = Options { keep_going: true, shrink: false, irqs: 0, ..scenario.options() };
        let bench = Bench::new(options);
        let (source, ..) = bench.search(Mode::Source, Part::WHOLE, PATIENCE).expect("it is small");
        let (sleep, ..) = bench.search(Mode::Sleep, Part::WHOLE, PATIENCE).expect("it is small");
        assert!(sleep.traces.len() > values.len() / 2, "it is seen before each 0, and at the end");
        assert_eq!(source, sleep, "{values:?}");
    }
}

#[test]
fn interrupts_that_may_be_late_and_those_that_may_not() {
    agree(options("offline-vs-device-irq", 2, 0, Protocol::NO_STOP, Ipi::Instant), false);
    agree(options("offline-vs-device-irq", 2, 0, Protocol::REFUSE, Ipi::Delayed), false);
}

#[test]
fn three_cpus() {
    agree(options("flat-counter", 3, 0, Protocol::STANDSTILL, Ipi::Delayed), false);
}

/// The library itself with three CPUs, as far as all its traces can be seen in a moment.
#[test]
fn three_cpus_of_the_library() {
    for scenario in [
        "board-is-busy",
        "halt",
        "late-cpu",
        "payload-async",
        "payload-call",
        "payload-many",
        "payload-online",
        "payload-quiesce",
        "payload-stop-one",
        "stop-one-vs-online",
    ] {
        agree(options(scenario, 3, 0, Protocol::STANDSTILL, Ipi::Delayed), false);
    }
    for scenario in ["deadline-frees", "payload-stop-one"] {
        agree(options(scenario, 3, 0, Protocol::STANDSTILL, Ipi::Instant), false);
    }
}

#[test]
#[ignore = "some ten thousand runs"]
fn three_cpus_of_the_library_that_take_longer() {
    for scenario in ["deadline-frees", "readers-and-writers"] {
        agree(options(scenario, 3, 0, Protocol::STANDSTILL, Ipi::Delayed), false);
    }
}

#[test]
#[ignore = "half a million runs"]
fn the_mails_race_with_its_interrupts() {
    for protocol in [Protocol::LINUX_3_14, Protocol::SINGLE_DEAF] {
        agree(options("offline-vs-device-irq", 2, 1, protocol, Ipi::Instant), false);
    }
    agree(options("late-cpu", 2, 1, Protocol::STANDSTILL, Ipi::Delayed), false);
    agree(options("irqs-off-sender", 2, 0, Protocol::STANDSTILL, Ipi::Delayed), false);
    agree(options("stop-one-vs-offline", 2, 0, Protocol::STANDSTILL, Ipi::Instant), false);
}

#[test]
fn parts_have_all_traces_and_none_twice() {
    let bench = Bench::new(options("flat-counter", 3, 0, Protocol::STANDSTILL, Ipi::Delayed));
    let (whole, ..) = bench.search(Mode::Source, Part::WHOLE, PATIENCE).expect("it is small");
    for (of, depth) in [(2, 4), (5, 12)] {
        let mut traces = BTreeSet::new();
        let mut ends = BTreeSet::new();
        let mut busy = 0;
        for index in 0..of {
            let part = Part { index, of, depth };
            let (seen, ..) = bench.search(Mode::Source, part, PATIENCE).expect("it is small");
            busy += u32::from(!seen.traces.is_empty());
            for trace in seen.traces {
                assert!(traces.insert(trace), "a trace is in two parts");
            }
            ends.extend(seen.ends);
        }
        assert!(busy > 1 || depth < 10, "the work is shared");
        assert_eq!((traces, ends), (whole.traces.clone(), whole.ends.clone()), "{of} parts at depth {depth}");
    }
}
