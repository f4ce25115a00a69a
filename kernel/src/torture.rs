//! The torture, with progress and report as lines that the `standstill` command reads.

use alloc::boxed::Box;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU64};

use standstill::CpuId;
use standstill::context::Task;
use standstill::event::Event;
use standstill_torture::{Patience, Settings, Torture};
use standstill_x86_64::X86;
use standstill_x86_64::time::now_ns;

use crate::options::Options;
use crate::say;
use crate::thread::{Code, Thread};
use crate::{Kern, MAX_CPUS, console, crash, machine, report, sched, serial, slots, watch, watchdog};

type TheTorture = Torture<X86<Kern>, MAX_CPUS, 1>;

/// Between two lines of progress.
const SHOW_NS: u64 = 1_000_000_000;
/// Between two looks whether the workloads get on.
const LOOK_NS: u64 = 100_000_000;
/// A workload that does one thing for so long hangs.
const HANGS_AFTER_NS: u64 = 30_000_000_000;
/// From when the workloads are told to end.
const ENDS_WITHIN_NS: u64 = 50_000_000_000;

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
    let over: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    watch_over(torture, options.torture, began, over);
    torture.run(task, || {
        let now = now_ns();
        if now >= next.load(Relaxed) {
            next.store(now + SHOW_NS, Relaxed);
            report::progress(now - began, &torture.progress());
        }
        (now - began >= length && torture.least_cycles() >= options.cycles)
            || (options.torture && serial::input_ended())
            || ejects.is_some_and(|n| slots::ejected() >= n)
    });
    over.store(true, Relaxed);
    let took = now_ns() - began;
    watchdog::expect_events(false);
    watch::finish();
    let found = torture.report();
    report::report(took, &found, None, |cpu| torture.cycles(cpu));
    report::verdict(&found, options.protocol)
}

/// Starts a thread that waits for none of the workloads: it looks whether they get on, and ends the machine with a report if one does not.
/// What keeps this thread from running is the watchdog's.
fn watch_over(torture: &'static TheTorture, alone: bool, began: u64, over: &'static AtomicBool) {
    let body = Box::leak(Box::new(move |_: &mut Task| {
        let mut patience = Patience::new(HANGS_AFTER_NS);
        let mut ending_since = None;
        loop {
            sched::sleep(LOOK_NS);
            if over.load(Relaxed) {
                return;
            }
            let mut hang = torture.look(&mut patience);
            if torture.is_ending() {
                let since = *ending_since.get_or_insert(now_ns());
                if now_ns() - since > ENDS_WITHIN_NS {
                    hang = hang.or_else(|| torture.give_up(&mut patience));
                }
            }
            if let Some(hang) = hang {
                say!("{hang}");
                console::cpus();
                report::report(now_ns() - began, &torture.report(), Some(&hang), |cpu| torture.cycles(cpu));
                crash::exit(if alone { crash::DONE } else { crash::FAILED });
            }
        }
    }));
    sched::start(Thread::leak("torture: watcher", CpuId::BOOT, Code::Body(body)));
}
