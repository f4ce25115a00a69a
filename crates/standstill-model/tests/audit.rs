//! What the search merges goes on alike: under each memory model, with and without what it merges besides.

use std::ops::ControlFlow;

use standstill::Protocol;
use standstill_model::{Audit, Engine, Ipi, MemoryModel, Options, check};

const MERGES: u64 = 40;

fn audited(change: impl FnOnce(&mut Options)) {
    let mut options = Options::default();
    options.audit = Audit { merges: MERGES, seed: 5, undone: true };
    options.keep_going = true;
    change(&mut options);
    let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
    assert_eq!(verdict.error, None, "{} {}", options.scenario, options.memory.name());
    let done = verdict.audited.expect("it was asked for");
    assert!(done.merges > MERGES / 2 && done.steps > done.schedules, "{done:?}");
}

#[test]
fn under_each_memory_model() {
    for memory in [
        MemoryModel::Sc,
        MemoryModel::Tso { fenced: true },
        MemoryModel::Tso { fenced: false },
        MemoryModel::Ra,
    ] {
        for scenario in ["offline-vs-device-irq", "call-to-self"] {
            audited(|options| (options.memory, options.scenario) = (memory, scenario));
        }
    }
}

#[test]
fn without_a_stop_and_with_what_is_broken() {
    audited(|options| (options.protocol, options.ipi) = (Protocol::LINUX_3_14, Ipi::Instant));
    audited(|options| options.protocol = Protocol::REFUSE);
}

#[test]
fn without_the_reduction_and_with_sleepers() {
    audited(|options| options.reduce = false);
    audited(|options| (options.sleepers, options.irqs) = (true, 0));
}

#[test]
fn a_search_that_was_cut_can_be_audited() {
    audited(|options| (options.cpus, options.limits.states) = (3, 2_048));
}

#[test]
fn the_other_engines_are_refused() {
    for engine in [Engine::Dpor, Engine::Bounded { preemptions: 1 }, Engine::Random { runs: 10, seed: 1 }] {
        let mut options = Options::default();
        (options.audit.merges, options.engine) = (MERGES, engine);
        let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
        assert!(verdict.error.is_some_and(|error| error.contains("take `stateful`")), "{}", engine.name());
    }
}
