//! The audit finds fingerprints that leave something out, and has nothing to complain of in the real one.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::config::options::{Audit, Options};
use crate::engine::parallel::search;
use crate::engine::search::until_settled;
use crate::engine::search::{End, Found};
use crate::machine::access::ModelWord;
use crate::machine::blind::Blind;
use crate::machine::session::Ready;
use crate::machine::world::with_ptr;
use crate::result::audit::{Audited, audit};
use crate::scenario::{Scenario, Setup, all_up, branch};
use standstill::platform::Word;

/// How many states a search with such a fingerprint finds, and what the audit says of it.
fn audited(options: &Options, blind: impl Fn() -> Option<Blind>) -> (u64, Result<Audited, String>) {
    let audit_all = Audit { merges: 1_000, seed: 1, undone: false };
    let options = Options { audit: audit_all, keep_going: true, ..options.clone() };
    let ready = Ready::new(&options).expect("the scenario can be set up");
    with_ptr(ready.world, |w| w.blind = blind());
    let mut found = Found::new();
    let end = until_settled(&ready, &mut found, &mut |found| {
        search(&ready, &options, Instant::now(), found, &mut |_| ControlFlow::Continue(()))
    });
    assert!(matches!(end, End::Exhausted));
    let sample = found.sample.take().expect("it was asked for");
    (found.states, audit(&ready, &options, &sample, true, &mut |_| ControlFlow::Continue(())))
}

/// What is left out makes states one that differ, and the audit sees it.
fn is_found(options: &Options, blind: impl Fn() -> Option<Blind>) {
    let (states, fine) = audited(options, || None);
    let fine = fine.unwrap_or_else(|differs| panic!("{}: {differs}", options.scenario));
    assert!(fine.merges > 10 && fine.schedules > fine.merges && fine.steps > fine.schedules, "{fine:?}");
    let (fewer, differs) = audited(options, &blind);
    assert!(fewer < states, "{fewer} of {states} states: nothing is merged that was not");
    let differs = differs.expect_err("what was merged differs");
    let says = ["the fingerprint merged two different states, after ", "the search has missed something"];
    assert!(says.iter().any(|words| differs.contains(words)), "{differs}");
}

/// Where the word of the scenario below is, in the machine that was built last.
static PLACE: AtomicUsize = AtomicUsize::new(0);

/// A handler keeps for a task what it found; nobody else knows it.
fn kept_by_a_handler() -> Scenario {
    Scenario::new("kept-by-a-handler", |s: &mut Setup<'_, 2>| {
        let machine = s.machine();
        let (given, kept) = (s.keep(ModelWord::ZERO), s.keep(ModelWord::ZERO));
        PLACE.store(kept.place(), Ordering::Relaxed);
        s.device(move |_, cpu| {
            if cpu.index() == 0 {
                kept.store(1 + given.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        });
        s.task(move |task| {
            all_up(machine, task);
            branch();
            for round in 0..3 {
                given.store(round, Ordering::Relaxed);
            }
            if kept.load(Ordering::Relaxed) == 2 {
                given.store(7, Ordering::Relaxed);
            }
        });
    })
}

#[test]
fn a_word_that_is_left_out_is_found() {
    is_found(&kept_by_a_handler().options(), || Some(Blind::Word(PLACE.load(Ordering::Relaxed))));
}

#[test]
fn histories_that_are_left_out_are_found() {
    let options = Options { scenario: "callers-own-cpu", ..Options::default() };
    is_found(&options, || Some(Blind::Histories));
}

#[test]
fn cpus_that_are_left_out_are_found() {
    let options = Options { scenario: "halt", ..Options::default() };
    is_found(&options, || Some(Blind::Cpus));
}

#[test]
fn a_sample_is_the_same_whatever_the_order_and_knows_all_merges_into_it() {
    let audit = Audit { merges: 8, seed: 3, undone: false };
    let hashes: Vec<u128> = (0..500_u64).map(|n| crate::base::hash::Hash128::of(&n).to_u128()).collect();
    let fill = |order: &mut dyn Iterator<Item = &u128>| {
        let mut sample = super::Sample::new(&audit).expect("merges are asked for");
        for hash in order {
            sample.visit(*hash, true, &[1]);
            for again in 0..6 {
                sample.visit(*hash, false, &[again]);
            }
        }
        sample
    };
    let (one, other) = (fill(&mut hashes.iter()), fill(&mut hashes.iter().rev()));
    assert_eq!(one.states.len(), 16);
    assert!(one.states.keys().eq(other.states.keys()));
    for state in one.states.values() {
        assert_eq!((state.merges, state.later.len(), &state.first[..]), (6, 4, &[1][..]));
    }
}
