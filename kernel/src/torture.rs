//! The torture, with progress and report as lines that the `standstill` command reads.

use alloc::boxed::Box;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use standstill::context::Task;
use standstill::event::Event;
use standstill_torture::{Settings, Torture};
use standstill_x86_64::X86;
use standstill_x86_64::time::now_ns;

use crate::options::Options;
use crate::{Kern, MAX_CPUS, machine, report, slots, watch, watchdog};

type TheTorture = Torture<X86<Kern>, MAX_CPUS, 1>;

/// Between two lines of progress.
const SHOW_NS: u64 = 1_000_000_000;

/// Runs it and says what came of it; true if nothing was wrong.
pub(crate) fn run(task: &mut Task, options: &Options) -> bool {
    // There may have been another one, or calls of the bench.
    watch::restart();
    let settings = Settings { seed: options.seed, rest_ns: options.rest_ns, ..Settings::default() };
    let torture: &'static TheTorture = Box::leak(Box::new(Torture::new(machine(), settings)));
    watch::set_hook(Box::leak(Box::new(|event: &Event| torture.observe(event))));
    watchdog::expect_events(true);
    let began = now_ns();
    let next = AtomicU64::new(began);
    let ejects = options.ejects;
    let length = options.seconds_ms * 1_000_000;
    torture.run(task, || {
        let now = now_ns();
        if now >= next.load(Relaxed) {
            next.store(now + SHOW_NS, Relaxed);
            report::progress(now - began, &torture.progress());
        }
        (now - began >= length && torture.least_cycles() >= options.cycles)
            || ejects.is_some_and(|n| slots::ejected() >= n)
    });
    let took = now_ns() - began;
    watchdog::expect_events(false);
    watch::finish();
    let found = torture.report();
    report::report(took, &found, |cpu| torture.cycles(cpu));
    report::verdict(&found, options.protocol)
}
