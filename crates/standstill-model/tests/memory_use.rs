//! Explorations give back what they took: many of them, one after the other, take no more memory than one. And one that is cut takes no more for having been deep.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};

use standstill::context::Task;
use standstill::platform::Word;
use standstill::{CpuId, Property, Protocol};
use standstill_model::{
    Engine, Ipi, ModelWord, Options, Scenario, Setup, all_up, branch, check, counterexample, replay,
    scenarios,
};

/// Counts the bytes that are in use.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
/// The most that was in use at a time.
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is the system's allocator's; the count touches no memory of its callers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(used, Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(at, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes of all mappings of this process; 0 where nobody tells.
fn mapped() -> usize {
    let told = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    told.split(' ').next().and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * 4096)
}

/// What `run` leaves behind on the heap when it is done for the second time, and in mappings: what is kept once, for all, is there by then.
fn left_by(mut run: impl FnMut()) -> (usize, usize) {
    run();
    let (used, before) = (USED.load(Relaxed), mapped());
    run();
    (USED.load(Relaxed).saturating_sub(used), mapped().saturating_sub(before))
}

/// One test: others beside it would be counted, too.
#[test]
fn memory_is_given_back_and_bounded() {
    nothing_is_left_behind();
    a_deep_search_that_is_cut_takes_little();
}

/// Two CPUs that count without end: each state is deeper than the one before, and at each of them a choice is left.
fn a_deep_search_that_is_cut_takes_little() {
    let scenario = Scenario::new("counts", |s: &mut Setup<'_, 2>| {
        let (machine, count) = (s.machine(), s.keep(ModelWord::ZERO));
        let counts = move |task: &mut Task| {
            loop {
                // A pinned section is a step of its own.
                machine.pin(task, |_| count.fetch_add(1, AcqRel));
            }
        };
        s.task(move |task| {
            all_up(machine, task);
            branch();
            counts(task);
        });
        s.task_on(CpuId::new(1), counts);
    });
    let path = std::env::temp_dir().join(format!("standstill-deep-{}", std::process::id()));
    for threads in [1, 2] {
        let mut options = scenario.options();
        // Each of its states has something left, and still its file is not large.
        options.checkpoint = Some(path.clone());
        options.checkpoint_every = std::time::Duration::ZERO;
        (options.irqs, options.threads, options.spread) = (0, threads, 64);
        options.limits.states = 20_000;
        PEAK.store(USED.load(Relaxed), Relaxed);
        let before = USED.load(Relaxed);
        let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
        assert!(verdict.violation.is_none() && verdict.states >= 20_000, "{:?}", verdict.coverage);
        let took = PEAK.load(Relaxed) - before;
        assert!(took < 400 << 20, "{took} bytes with {threads} threads");
        let kept = std::fs::metadata(&path).expect("it was kept").len();
        assert!(kept < 8 << 20, "a file of {kept} bytes");
        // With one thread: another one begins elsewhere, may learn there who shares what, and then
        // the search begins again.
        (options.limits.states, options.threads) = (1, 1);
        let verdict = check(&options, &mut |_| ControlFlow::Continue(()));
        assert!(verdict.error.is_none() && verdict.states > 20_000, "it goes on: {:?}", verdict.error);
        std::fs::remove_file(&path).expect("it is this test's own");
    }
}

fn nothing_is_left_behind() {
    let all = left_by(|| {
        for scenario in scenarios().iter().step_by(4) {
            let mut options = Options::default();
            (options.scenario, options.cpus) = (scenario.name, scenario.min_cpus);
            options.limits.states = 1_000;
            check(&options, &mut |_| ControlFlow::Continue(()));
            options.engine = Engine::Random { runs: 1, seed: 1 };
            check(&options, &mut |_| ControlFlow::Continue(()));
        }
    });
    let shrunk = left_by(|| {
        let mut options = Options::default();
        (options.protocol, options.ipi) = (Protocol::LINUX_3_14, Ipi::Instant);
        let race = counterexample(&options, Property::Late, &mut |_| ControlFlow::Continue(()));
        replay(&options, &race.expect("the mail's race").choices).expect("it was found a moment ago");
    });
    // The test's own thread notes something now and then; the memory of one exploration alone is a mapping of 6 MiB.
    for (heap, mappings) in [all, shrunk] {
        assert!(
            heap < 4096 && mappings < 4 << 20,
            "{heap} bytes of the heap are left, and {mappings} of mappings"
        );
    }
}
