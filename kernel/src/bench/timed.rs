//! What the thread that asks for it can time by itself.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

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

pub(super) fn calls(task: &mut Task, counts: &Counts) {
    let m = machine();
    time(counts.calls, || m.call_single(task, VICTIM, &empty).expect("it is online")).say("call_single");
    let everywhere = || _ = m.on_each_cpu(task, &empty).expect("interrupts are on");
    time(counts.calls, everywhere).say("on_each_cpu");
}

pub(super) fn stops(task: &mut Task, counts: &Counts) {
    let m = machine();
    let ran_at = AtomicU64::new(0);
    let note_time = |_: &Stopped<'_>| {
        ran_at.store(now_ns(), Relaxed);
        0
    };
    let [mut all, mut before, mut after] = [(); 3].map(|()| Samples::new(counts.stops));
    for _ in 0..counts.stops {
        let began = now_ns();
        drop(m.stop_machine(task, None, &note_time).expect("this CPU is online"));
        let (ran, ended) = (ran_at.load(Relaxed), now_ns());
        all.0.push(ended - began);
        before.0.push(ran - began);
        after.0.push(ended - ran);
    }
    all.say("stop_machine");
    before.say_stage("stop_machine", "up to RUN");
    after.say_stage("stop_machine", "after RUN");
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
