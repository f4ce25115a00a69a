//! A search that is stopped and goes on comes to what it comes to at once.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use standstill::Protocol;
use standstill_model::{Bound, Coverage, Engine, MemoryModel, Options, Room, Verdict, check};

fn options(cpus: usize, memory: MemoryModel, threads: usize) -> Options {
    let mut options = Options::default();
    (options.cpus, options.memory, options.threads) = (cpus, memory, threads);
    options.spread = 64;
    options.keep_going = true;
    options
}

fn run(options: &Options) -> Verdict {
    check(options, &mut |_| ControlFlow::Continue(()))
}

/// A file of this test's own, that is not there.
fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("standstill-checkpoint-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Everything that does not depend on when it was seen.
fn said(verdict: &Verdict) -> String {
    let counts = verdict.properties.clone().map(|property| property.count);
    let rule = verdict.violation.as_ref().map(|violation| violation.rule.clone());
    format!("{:?} {} {:?} {:x?} {rule:?}", verdict.coverage, verdict.states, counts, verdict.ends)
}

/// Searches in parts of so many states, and says in how many.
fn in_parts(options: &Options, path: &Path, states: u64) -> (Verdict, usize) {
    let mut options = options.clone();
    (options.checkpoint, options.limits.states) = (Some(path.to_path_buf()), states);
    for part in 1.. {
        let verdict = run(&options);
        assert_eq!(verdict.error, None, "part {part}");
        match verdict.coverage {
            Coverage::Bounded { by: Bound::States, .. } => assert!(path.exists()),
            _ => return (verdict, part),
        }
    }
    unreachable!("a search ends")
}

fn compare(name: &str, options: &Options, states: u64) {
    let whole = run(options);
    assert!(matches!(whole.coverage, Coverage::Exhausted { .. }));
    let path = file(name);
    let (last, made) = in_parts(options, &path, states);
    assert!(made > 1, "the search was not cut");
    assert_eq!(said(&last), said(&whole), "{name}");
    assert!(!path.exists(), "the search is over");
}

#[test]
fn cut_at_several_places_it_is_the_same() {
    compare("one-thread", &options(3, MemoryModel::Sc, 1), 1_000);
    compare("two-threads", &options(3, MemoryModel::Sc, 2), 1_000);
    let mut late = options(2, MemoryModel::Tso { fenced: true }, 1);
    late.scenario = "late-cpu";
    compare("tso", &late, 3_000);
}

#[test]
fn what_was_broken_before_the_cut_is_told_in_the_end() {
    let mut options = options(3, MemoryModel::Sc, 1);
    options.protocol = Protocol::LINUX_3_14;
    options.shrink = false;
    compare("broken", &options, 1_000);
}

/// What is kept while a search runs is whole at each moment, whatever all threads do then.
#[test]
fn what_is_kept_on_the_way_is_where_a_killed_search_goes_on() {
    for threads in [1, 3] {
        let mut options = options(3, MemoryModel::Sc, threads);
        let whole = run(&options);
        // A limit that it does not come to: so it is asked more often.
        options.limits.states = whole.states + 1;
        let (path, copies) = (file(&format!("on-the-way-{threads}")), file(&format!("copies-{threads}")));
        std::fs::create_dir_all(&copies).expect("it is this test's own");
        options.checkpoint = Some(path.clone());
        options.checkpoint_every = Duration::ZERO;
        let (mut made, mut known) = (0, None);
        let verdict = check(&options, &mut |_| {
            // As if the process had been killed now: nothing but the file is left.
            let now =
                std::fs::metadata(&path).ok().and_then(|data| Some((data.modified().ok()?, data.len())));
            if now.is_some() && now != known && made < 4 {
                std::fs::copy(&path, copies.join(made.to_string())).expect("it is there");
                (made, known) = (made + 1, now);
            }
            ControlFlow::Continue(())
        });
        assert_eq!(said(&verdict), said(&whole), "{threads} threads: keeping it changes nothing");
        assert!(made > 1 && !path.exists(), "{made} were kept");
        for copy in 0..made {
            options.checkpoint = Some(copies.join(copy.to_string()));
            let rest = run(&options);
            assert_eq!(rest.error, None);
            assert_eq!(said(&rest), said(&whole), "{threads} threads, number {copy}");
        }
        std::fs::remove_dir_all(&copies).expect("it is this test's own");
    }
}

/// A search that has too little memory ends with what it has, and goes on from there.
#[test]
fn a_search_without_memory_is_kept_and_goes_on() {
    let mut options = options(3, MemoryModel::Sc, 1);
    let whole = run(&options);
    let path = file("memory");
    options.checkpoint = Some(path.clone());
    options.room = Some(Arc::new(Room::of_process(Some(1 << 20))));
    let cut = run(&options);
    assert!(matches!(cut.coverage, Coverage::Bounded { by: Bound::Bytes, .. }), "{:?}", cut.coverage);
    assert_eq!(cut.out_of_memory.as_deref(), Some("the limit of 1.0 MiB"));
    assert!(!cut.passed() && path.exists());
    options.room = Some(Arc::new(Room::of_process(None)));
    assert_eq!(said(&run(&options)), said(&whole));
}

#[test]
fn what_cannot_be_gone_on_from_is_refused_in_one_line() {
    let path = file("refused");
    let mut cut = options(3, MemoryModel::Sc, 1);
    (cut.checkpoint, cut.limits.states) = (Some(path.clone()), 1_000);
    assert!(matches!(run(&cut).coverage, Coverage::Bounded { by: Bound::States, .. }));
    let whole = std::fs::read(&path).expect("it was written");
    let refused = |bytes: &[u8], options: &Options, why: &str| {
        std::fs::write(&path, bytes).expect("it is this test's own");
        let verdict = run(options);
        let error = verdict.error.expect("it can't go on");
        assert!(error.contains(why) && error.lines().count() == 1, "{why}: {error}");
        assert!(!matches!(verdict.coverage, Coverage::Exhausted { .. }));
        assert_eq!(std::fs::read(&path).expect("it is left alone"), bytes);
    };
    let mut other = cut.clone();
    other.irqs = 0;
    refused(&whole, &other, "it is of another search: irqs is `1`, and this one has `0`");
    let edit = |from: &str, to: &str| {
        let at = whole.windows(from.len()).position(|bytes| bytes == from.as_bytes()).expect("it is there");
        [&whole[..at], to.as_bytes(), &whole[at + from.len()..]].concat()
    };
    refused(b"hello", &cut, "does not begin with `standstill-checkpoint`");
    refused(b"", &cut, "does not begin with `standstill-checkpoint`");
    refused(&edit("standstill-checkpoint 2", "standstill-checkpoint 9"), &cut, "it has version 9");
    refused(&edit("program ", "program 0"), &cut, "another build of this program wrote it");
    refused(&whole[..whole.len() - 8], &cut, "it is damaged");
    let mut flipped = whole.clone();
    *flipped.last_mut().expect("it is not empty") ^= 1;
    refused(&flipped, &cut, "it is damaged");
    refused(&edit("\nsum ", "\nsun "), &cut, "it is damaged");
    let mut dpor = cut.clone();
    dpor.engine = Engine::Dpor;
    refused(&whole, &dpor, "can't go on from a checkpoint");
    std::fs::remove_file(&path).expect("it is this test's own");
}
