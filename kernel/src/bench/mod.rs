//! How long calls, stops and hotplug take, with results as lines for `cargo xtask bench-linux`. The operations and their counts are those of the
//! Linux module in bench/linux; keep the two alike.
//!
//! The events' listeners are off while something is timed, but for the breakdowns, which are made from events in turns of their own;
//! `rules` leaves them on, for a run that shows that nothing is lost.
//!
//! | file | what |
//! |---|---|
//! | `timed.rs` | stops, calls, down and up, timed by who asks for them |
//! | `threads.rs` | what needs threads on other CPUs: throughput, gaps, load |
//! | `breakdown.rs` | where the time of a stop, of down and of up goes, from the events |

mod breakdown;
mod threads;
mod timed;

use alloc::vec::Vec;

use standstill::CpuId;
use standstill::context::Task;
use standstill::event::Form;

use crate::{console, crash, machine, say, sched, watch};

/// How often each thing is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) calls: usize,
    pub(crate) stops: usize,
    pub(crate) updown: usize,
    /// Turns of all CPUs up together.
    pub(crate) together: usize,
    /// Turns of the throughput measurements.
    pub(crate) slices: usize,
    /// How many stops are watched for gaps.
    pub(crate) watched: usize,
    /// How many looks are taken at timers, which fire so often.
    pub(crate) looks: usize,
    pub(crate) probe_us: usize,
    /// Turns of down and up under load.
    pub(crate) loaded: usize,
    /// The rules look at each event.
    pub(crate) rules: bool,
}

impl Counts {
    pub(crate) const SHORT: Counts = Counts {
        calls: 1_000,
        stops: 500,
        updown: 20,
        together: 3,
        slices: 5,
        watched: 20,
        looks: 10,
        probe_us: 5_000,
        loaded: 5,
        rules: false,
    };

    /// Sets the count of this name; false if there is none.
    pub(crate) fn set(&mut self, name: &str, value: usize) -> bool {
        let count = match name {
            "calls" => &mut self.calls,
            "stops" => &mut self.stops,
            "updown" => &mut self.updown,
            "together" => &mut self.together,
            "slices" => &mut self.slices,
            "watched" => &mut self.watched,
            "looks" => &mut self.looks,
            "probe_us" => &mut self.probe_us,
            "loaded" => &mut self.loaded,
            _ => return false,
        };
        *count = value;
        true
    }
}

/// The CPU that comes and goes.
const VICTIM: CpuId = CpuId::new(1);

/// Times, in nanoseconds.
struct Samples(Vec<u64>);

impl Samples {
    fn new(room: usize) -> Self {
        Samples(Vec::with_capacity(room))
    }

    fn say(mut self, op: &str) {
        self.0.sort_unstable();
        let v = &self.0;
        let (Some(min), Some(max)) = (v.first(), v.last()) else { return };
        let (n, p50, p99) = (v.len(), v[v.len() / 2], v[v.len() * 99 / 100]);
        say!(r#"@dist {{"op":"{op}","n":{n},"min_ns":{min},"p50_ns":{p50},"p99_ns":{p99},"max_ns":{max}}}"#);
    }

    fn say_stage(mut self, op: &str, stage: &str) {
        self.0.sort_unstable();
        let Some(p50) = self.0.get(self.0.len() / 2) else { return };
        say!(r#"@stage {{"op":"{op}","stage":"{stage}","n":{},"p50_ns":{p50}}}"#, self.0.len());
    }
}

/// Brings all CPUs up and measures everything.
pub(crate) fn run(task: &mut Task, counts: &Counts) {
    timed::bring_up(task);
    say!(r#"@begin {{"cpus":{}}}"#, machine().online().snapshot().len());
    if !machine().online().contains(VICTIM) {
        say!(r#"@error "there is only one CPU""#);
        return;
    }
    timed::calls(task, counts);
    timed::stops(task, counts);
    threads::throughputs(task, counts);
    threads::latenesses(task, counts);
    timed::updown(task, counts.updown, "cpu_down", "cpu_up");
    timed::bring_ups(task, counts);
    if !counts.rules {
        breakdown::stops(task, "stop_machine_stages", counts.stops);
        breakdown::updown(task, counts);
    }
    threads::load(task, counts);
    // Last, as it takes longest where there are more CPUs than cores.
    threads::gaps(task, counts);
    if counts.rules {
        say_rules();
    }
    say!("@end {{}}");
}

/// As the whole life of a machine.
pub(crate) fn run_and_exit(task: &mut Task, counts: &Counts) -> ! {
    // As on Linux, which has its boot to settle.
    sched::sleep(50_000_000);
    console::install_states(task);
    run(task, counts);
    crash::exit(crash::DONE);
}

/// What the rules and the books say about everything since the boot.
fn say_rules() {
    watch::finish();
    let (tally, checks) = (watch::tally(), watch::checks());
    let asked: u64 = checks.iter().map(|(_, asked, _)| asked).sum();
    let ran: u64 = Form::ALL.iter().map(|form| tally.of(*form).ran).sum();
    say!(
        r#"@rules {{"asked":{asked},"broken":{},"ran":{ran},"lost":{},"late":{},"spurious":{},"outside":{},"stops":{},"downs":{},"ups":{}}}"#,
        checks.broken_total(),
        tally.lost,
        tally.late,
        tally.spurious,
        tally.outside,
        tally.stops,
        tally.downs.1,
        tally.ups.1,
    );
}
