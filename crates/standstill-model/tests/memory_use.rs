//! Explorations give back what they took: many of them, one after the other, take no more memory than one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use standstill::{Property, Protocol};
use standstill_model::{Engine, Ipi, Options, check, counterexample, replay, scenarios};

/// Counts the bytes that are in use.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is the system's allocator's; the count touches no memory of its callers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        USED.fetch_add(layout.size(), Relaxed);
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
fn nothing_is_left_behind() {
    let all = left_by(|| {
        for scenario in scenarios().iter().step_by(4) {
            let mut options = Options::default();
            (options.scenario, options.cpus) = (scenario.name, scenario.min_cpus);
            options.limits.states = 1;
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
