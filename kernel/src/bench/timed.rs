//! What the thread that asks for it can time by itself.

use standstill::CpuId;
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

/// All CPUs.
pub(super) fn bring_up(task: &mut Task) {
    let cpus = machine().present().snapshot();
    let up = machine().cpus_up(task, &cpus, |_, error| panic!("{error}"));
    assert_eq!(up, Ok(cpus));
}

/// From one CPU to all of them, together.
pub(super) fn bring_ups(task: &mut Task, counts: &Counts) {
    let mut ups = Samples::new(counts.together);
    for _ in 0..counts.together {
        for cpu in machine().online().snapshot().iter().filter(|cpu| *cpu != CpuId::BOOT) {
            machine().cpu_down(task, cpu).expect("nothing is in its way");
        }
        let began = now_ns();
        bring_up(task);
        ups.0.push(now_ns() - began);
    }
    ups.say("bring_up");
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
