//! Where the time goes: the events of one operation cut it into parts, each named after what its end says was done.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicUsize};

use alloc::boxed::Box;
use alloc::vec::Vec;

use standstill::context::{Stopped, Task};
use standstill::event::{Event, Sync, What};
use standstill::stop::Stage;
use standstill_x86_64::time::now_ns;

use super::{Counts, Samples, VICTIM};
use crate::lock::SpinLock;
use crate::{machine, watch};

/// How many stops are taken apart.
const STOPS: usize = 1_000;
/// More parts than any operation has.
const PARTS: usize = 32;

/// The parts of the operation that runs: the name of each, and when it ended. In order, as each event is noted under the lock.
struct Log {
    parts: [(&'static str, u64); PARTS],
    used: usize,
}

static LOG: SpinLock<Log> = SpinLock::new(Log { parts: [("", 0); PARTS], used: 0 });
static ON: AtomicBool = AtomicBool::new(false);
/// The stop that runs takes a CPU out.
static LEAVING: AtomicUsize = AtomicUsize::new(0);

fn note(event: &Event) {
    if !ON.load(Relaxed) {
        return;
    }
    if let What::StopBegin { leaving, .. } = event.what {
        LEAVING.store(leaving.is_some().into(), Relaxed);
    }
    if let Some(name) = part_ended(&event.what, LEAVING.load(Relaxed) != 0) {
        let mut log = LOG.lock();
        let at = log.used.min(PARTS - 1);
        log.parts[at] = (name, now_ns());
        log.used = at + 1;
    }
}

/// Which part ends with this event.
fn part_ended(what: &What, leaving: bool) -> Option<&'static str> {
    Some(match *what {
        What::StageEntered { stage, .. } if LONE.load(Relaxed) => match stage {
            Stage::None => return None,
            Stage::Prepare => "works queued",
            Stage::DisableIrqInactive => "PREPARE",
            Stage::DisableIrqActive => "DISABLE_IRQ_INACTIVE",
            Stage::Seal => "DISABLE_IRQ_ACTIVE",
            Stage::Run => "SEAL",
            Stage::Exit => "RUN",
        },
        What::StopEnd { .. } if LONE.load(Relaxed) => "EXIT",
        What::DownBegin { .. } | What::UpBegin { .. } => "lock",
        What::ActiveCleared { .. } => "threads told to leave",
        What::StopBegin { .. } if leaving => "last threads gone",
        What::StopEnd { .. } if leaving => "stop-machine",
        What::StopEnd { .. } => "a pass of every stopper",
        What::ThreadsParked { .. } => "ONLINE callbacks, lines, threads parked",
        What::DeadSeen { .. } => "parked and seen dead",
        What::DownEnd { .. } => "DEAD callbacks",
        What::SyncMoved { to: Sync::Kicked, .. } => "PREPARE callbacks",
        What::CpuStarted { .. } => "INIT, SIPI, the first code",
        What::SyncMoved { to: Sync::Alive, .. } => "answered",
        What::SyncMoved { to: Sync::Online, .. } => "STARTING callbacks",
        What::ThreadsUnparked { .. } => "seen online",
        What::UpEnd { .. } => "ONLINE callbacks, threads back",
        _ => return None,
    })
}

/// It is a stop that is taken apart, not down and up.
static LONE: AtomicBool = AtomicBool::new(true);

struct Parts {
    op: &'static str,
    all: Vec<(&'static str, Samples)>,
    turns: usize,
}

impl Parts {
    fn new(op: &'static str, turns: usize) -> Self {
        Parts { op, all: Vec::with_capacity(PARTS), turns }
    }

    /// Runs one operation and takes it apart.
    fn of(&mut self, operation: impl FnOnce()) {
        LOG.lock().used = 0;
        let began = now_ns();
        ON.store(true, Relaxed);
        operation();
        ON.store(false, Relaxed);
        let ended = now_ns();
        let log = LOG.lock();
        let mut last = began;
        for (name, at) in &log.parts[..log.used] {
            self.add(name, at.saturating_sub(last));
            last = *at;
        }
        drop(log);
        self.add("return", ended.saturating_sub(last));
        self.add("total", ended - began);
    }

    fn add(&mut self, name: &'static str, ns: u64) {
        match self.all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, samples)) => samples.0.push(ns),
            None => {
                let mut samples = Samples::new(self.turns);
                samples.0.push(ns);
                self.all.push((name, samples));
            }
        }
    }

    fn say(self) {
        for (name, samples) in self.all {
            samples.say_stage(self.op, name);
        }
    }
}

/// Takes some stops apart.
pub(super) fn stops(task: &mut Task, op: &'static str, turns: usize) {
    watch::set_hook(Box::leak(Box::new(note)));
    let turns = turns.min(STOPS);
    let mut parts = Parts::new(op, turns);
    for _ in 0..turns {
        parts.of(|| drop(machine().stop_machine(task, None, &|_: &Stopped<'_>| 0).expect("it is online")));
    }
    parts.say();
    watch::clear_hook();
}

pub(super) fn updown(task: &mut Task, counts: &Counts) {
    watch::set_hook(Box::leak(Box::new(note)));
    LONE.store(false, Relaxed);
    let [mut downs, mut ups] = ["cpu_down", "cpu_up"].map(|op| Parts::new(op, counts.updown));
    for _ in 0..counts.updown {
        downs.of(|| machine().cpu_down(task, VICTIM).expect("nothing is in its way"));
        ups.of(|| machine().cpu_up(task, VICTIM).expect("it was up before"));
    }
    downs.say();
    ups.say();
    LONE.store(true, Relaxed);
    watch::clear_hook();
}
