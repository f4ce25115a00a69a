//! What the thread that asks for it can time by itself.

use standstill::context::{IrqOff, Stopped, Task};
use standstill_x86_64::time::now_ns;

use super::{Counts, Samples, VICTIM};
use crate::machine;

/// Times `f`, `n` times.
fn time(n: usize, mut f: impl FnMut()) -> Samples {
    let mut samples = Samples::new(n);
    for _ in 0..n {
        let began = now_ns();
        f();
        samples.0.push(now_ns() - began);
    }
    samples
}

fn empty(_: &IrqOff<'_>) {}

/// All CPUs at once, from the call to all of them online: the machine has just booted.
pub(super) fn bring_up(task: &mut Task) {
    let cpus = machine().present().snapshot();
    let bring_up = || {
        let up = machine().cpus_up(task, &cpus, |_, error| panic!("{error}"));
        assert_eq!(up, Ok(cpus));
    };
    time(1, bring_up).say("bring_up");
}

pub(super) fn calls(task: &mut Task, counts: &Counts) {
    let m = machine();
    time(counts.calls, || m.call_single(task, VICTIM, &empty).expect("it is online")).say("call_single");
    let everywhere = || _ = m.on_each_cpu(task, &empty).expect("interrupts are on");
    time(counts.calls, everywhere).say("on_each_cpu");
}

pub(super) fn stops(task: &mut Task, counts: &Counts) {
    let m = machine();
    let one = || drop(m.stop_machine(task, None, &|_: &Stopped<'_>| 0).expect("this CPU is online"));
    time(counts.stops, one).say("stop_machine");
    let online = m.online().snapshot();
    let stop = || drop(m.stop_machine(task, Some(&online), &|_: &Stopped<'_>| 0).expect("all are online"));
    time(counts.stops, stop).say("stop_machine_all");
}

pub(super) fn updown(task: &mut Task, turns: usize, down: &str, up: &str) {
    let [mut downs, mut ups] = [(); 2].map(|()| Samples::new(turns));
    for _ in 0..turns {
        let began = now_ns();
        machine().cpu_down(task, VICTIM).expect("nothing is in its way");
        downs.0.push(now_ns() - began);
        let began = now_ns();
        machine().cpu_up(task, VICTIM).expect("it was up before");
        ups.0.push(now_ns() - began);
    }
    downs.say(down);
    ups.say(up);
}
