//! What needs threads on other CPUs: how many calls go through, how long the machine stands still as a thread or a timer sees it, and down and up
//! under load.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use standstill::context::{IrqOff, Stopped, Task};
use standstill::{CpuId, CpuMask, Csd};
use standstill_x86_64::time::now_ns;
use standstill_x86_64::{X86, host};

use super::{Counts, Samples, VICTIM, breakdown, timed};
use crate::thread::{Code, Thread};
use crate::{Kern, devices, machine, sched};

const SLICE_NS: u64 = 10_000_000;
/// How many calls one sender may have on the way.
const CSDS: usize = 32;
/// How long a workload computes between two points where it may be switched.
const WORK_NS: u64 = 50_000;

type Mask = CpuMask<1>;

/// Threads at home on one CPU each, which run a body again and again until they are told to end.
struct Crew {
    ends: &'static AtomicBool,
    left: &'static AtomicUsize,
}

impl Crew {
    /// `body` gets the number of the thread's home. Threads are never freed, and there are few.
    fn start(homes: &Mask, body: impl Fn(&mut Task, CpuId) + Sync + 'static) -> Self {
        let body: &'static _ = Box::leak(Box::new(body));
        let ends: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let left: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(homes.len())));
        for home in homes {
            let run = Box::leak(Box::new(move |task: &mut Task| {
                while !ends.load(Acquire) {
                    body(task, home);
                }
                left.fetch_sub(1, Release);
            }));
            sched::start(Thread::leak("bench", home, Code::Body(run)));
        }
        Crew { ends, left }
    }

    fn end(self) {
        self.ends.store(true, Release);
        while self.left.load(Acquire) != 0 {
            sched::sleep(1_000_000);
        }
    }
}

// ---- throughput of calls without wait

struct Sender {
    csds: [Csd<X86<Kern>>; CSDS],
    ran: Ran,
    next: AtomicUsize,
    to: AtomicUsize,
}

/// How many calls ran. On cache lines of its own, as others write it.
#[repr(align(128))]
struct Ran(AtomicU64);

/// What is called: counts that it ran.
fn counter(Ran(ran): &'static Ran) -> &'static (impl Fn(&IrqOff<'_>) + Sync) {
    // Calls of one sender may run on many CPUs at once.
    Box::leak(Box::new(move |_: &IrqOff<'_>| _ = ran.fetch_add(1, Relaxed)))
}

pub(super) fn throughputs(_: &mut Task, counts: &Counts) {
    let online = machine().online().snapshot();
    let sender = |cpu: CpuId| Sender {
        csds: [const { Csd::new() }; CSDS],
        ran: Ran(AtomicU64::new(0)),
        next: AtomicUsize::new(0),
        to: AtomicUsize::new(cpu.index()),
    };
    let senders: &'static [Sender] = online.iter().map(sender).collect::<Vec<_>>().leak();
    let counters: &'static [_] = senders.iter().map(|sender| counter(&sender.ran)).collect::<Vec<_>>().leak();
    let run = |op, from: Mask, to: Mask| {
        let body = move |task: &mut Task, home: CpuId| {
            send(task, &senders[home.index()], counters[home.index()], home, &to);
        };
        throughput(senders, counts, op, Crew::start(&from, body));
    };
    let one = |cpu| [cpu].into_iter().collect::<Mask>();
    let mut others = online;
    others.remove(VICTIM);
    run("async_one_to_one", one(CpuId::BOOT), one(VICTIM));
    run("async_all_to_one", others, one(VICTIM));
    run("async_all_to_all", online, online);
}

fn throughput(senders: &'static [Sender], counts: &Counts, op: &str, crew: Crew) {
    let ran = || senders.iter().map(|sender| sender.ran.0.load(Relaxed)).sum::<u64>();
    sched::sleep(2 * SLICE_NS);
    let mut samples = Samples::new(counts.slices);
    for _ in 0..counts.slices {
        let (began, before) = (now_ns(), ran());
        sched::sleep(SLICE_NS);
        samples.0.push((now_ns() - began) / (ran() - before).max(1));
    }
    crew.end();
    // The last ones are still on their way.
    sched::sleep(5 * SLICE_NS);
    samples.say(op);
}

fn send<F>(task: &mut Task, sender: &'static Sender, count: &'static F, me: CpuId, targets: &Mask)
where
    F: Fn(&IrqOff<'_>) + Sync,
{
    for _ in 0..64 {
        let mut to = CpuId::new(sender.to.load(Relaxed));
        loop {
            to = targets.after(to).or_else(|| targets.first()).unwrap_or(me);
            if to != me {
                break;
            }
        }
        sender.to.store(to.index(), Relaxed);
        let next = sender.next.load(Relaxed);
        if machine().call_single_async(task, to, &sender.csds[next], count).is_ok() {
            sender.next.store((next + 1) % CSDS, Relaxed);
        } else {
            host::relax();
        }
    }
}

// ---- how long the machine stands still

/// The longest time between two looks at the clock, of a thread on each other CPU, during each stop.
pub(super) fn gaps(task: &mut Task, counts: &Counts) {
    if counts.watched == 0 {
        return;
    }
    let mut others = machine().online().snapshot();
    others.remove(CpuId::BOOT);
    let longest = zeroes();
    let crew = Crew::start(&others, |_, home| {
        let mine = &longest[home.index()];
        let mut last = now_ns();
        // One look at the end of the crew for many at the clock.
        for _ in 0..1_000 {
            let now = now_ns();
            if now - last > mine.load(Relaxed) {
                mine.store(now - last, Relaxed);
            }
            last = now;
        }
    });
    sched::sleep(2 * SLICE_NS);
    let mut samples = Samples::new(counts.watched);
    for _ in 0..counts.watched {
        others.iter().for_each(|cpu| longest[cpu.index()].store(0, Relaxed));
        stop(task);
        samples.0.push(others.iter().map(|cpu| longest[cpu.index()].load(Relaxed)).max().unwrap_or(0));
    }
    samples.say("stop_gap");
    if !counts.rules {
        breakdown::stops(task, "stop_gap_stages", counts.watched / 2);
    }
    crew.end();
}

fn stop(task: &mut Task) {
    drop(machine().stop_machine(task, None, &|_: &Stopped<'_>| 0).expect("this CPU is online"));
}

/// How late timer interrupts are on each CPU: the longest time with interrupts off, and the way of an interrupt.
pub(super) fn latenesses(task: &mut Task, counts: &Counts) {
    let online = machine().online().snapshot();
    let probe_ns = counts.probe_us as u64 * 1_000;
    sched::probe_timers(Some(probe_ns));
    // A CPU that is idle looks at it at its next interrupt.
    machine().on_each_cpu(task, &|_: &IrqOff<'_>| sched::arm_probe()).expect("interrupts are on");
    sched::sleep(2 * SLICE_NS);
    for (op, with_stops) in [("irq_late_quiet", false), ("irq_late_stops", true)] {
        online.iter().for_each(|cpu| _ = sched::local(cpu).latest.swap(0, Relaxed));
        let mut samples = Samples::new(counts.looks * online.len());
        for _ in 0..counts.looks {
            // Long enough for the timer of each CPU to fire.
            let until = now_ns() + 4 * probe_ns;
            if !with_stops {
                sched::sleep(4 * probe_ns);
            }
            while with_stops && now_ns() < until {
                stop(task);
            }
            samples.0.extend(online.iter().map(|cpu| sched::local(cpu).latest.swap(0, Relaxed)));
        }
        samples.say(op);
    }
    sched::probe_timers(None);
}

fn zeroes() -> &'static [AtomicU64] {
    let many = machine().possible().snapshot().len();
    (0..many).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak()
}

// ---- down and up under load

pub(super) fn load(task: &mut Task, counts: &Counts) {
    if counts.loaded == 0 {
        return;
    }
    let online = machine().online().snapshot();
    let crew = Crew::start(&online, |_, _| {
        let until = now_ns() + WORK_NS;
        while now_ns() < until {
            core::hint::spin_loop();
        }
        sched::yield_now();
    });
    let csds: &'static [Csd<X86<Kern>>] =
        (0..machine().possible().snapshot().len()).map(|_| Csd::new()).collect::<Vec<_>>().leak();
    let empty: &'static _ = Box::leak(Box::new(|_: &IrqOff<'_>| ()));
    let turn = AtomicUsize::new(0);
    devices::start(Box::leak(Box::new(move |_: usize, off: &IrqOff<'_>| {
        let online = machine().online().snapshot();
        let last = CpuId::new(turn.load(Relaxed));
        let Some(to) = online.after(last).or_else(|| online.first()) else { return };
        turn.store(to.index(), Relaxed);
        // Busy, or offline by now: then there is none this time.
        let _ = machine().call_single_async(off, to, &csds[to.index()], empty);
    })));
    timed::updown(task, counts.loaded, "cpu_down_load", "cpu_up_load");
    devices::stop(task);
    crew.end();
}
