//! [`Pulse`]: what each workload does, and whether it gets on; [`Patience`]: who looks at that from outside.
//!
//! A workload that waits for what never comes can't tell. So each leaves a sign when it begins something, and a thread
//! that waits for none of them looks whether the signs change.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use standstill::CpuId;
use standstill::platform::Site;

use crate::latest::Latest;

/// Which CPU an operation is for: none.
const NO_CPU: usize = usize::MAX;
/// A gap between two looks counts for no more than this: a process that was stopped, or a machine that was suspended,
/// did not hang.
const LONGEST_GAP_NS: u64 = 1_000_000_000;
/// How long before the wait the operation may have begun to which a reported wait belongs.
const EARLIER_NS: u64 = 1_000_000_000;

macro_rules! doing {
    ($($(#[$doc:meta])* $name:ident = $words:literal,)*) => {
        /// What a workload does.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Doing { $($(#[$doc])* $name,)* }

        impl Doing {
            const WORDS: &'static [&'static str] = &[$($words),*];
        }
    };
}

doing! {
    Rest = "rest",
    Call = "call_single without wait",
    CallWait = "call_single",
    Burst = "a burst of call_single_async",
    Many = "call_many without wait",
    ManyWait = "call_many",
    All = "call_all without wait",
    AllWait = "call_all",
    Down = "cpu_down",
    Up = "cpu_up",
    UpTogether = "cpus_up",
    Dance = "cpu_down_to, add_state, an operation that ends early or is refused",
    Between = "the port's work between two operations",
    Stop = "stop_machine",
    StopInTime = "stop_machine_deadline",
    StopTwo = "stop_two_cpus",
    StopOne = "stop_one_cpu",
    StopNowait = "stop_one_cpu_nowait",
    ReadLock = "a section under cpus_read_lock",
    Quiesce = "quiesce",
    AddState = "add_state",
    RemoveState = "remove_state",
    Watch = "wait for the end of the workloads",
    Devices = "wait for the devices' last interrupts",
    Flush = "wait for the last calls and works",
    Lost = "an operation on a CPU that comes too late",
    Halt = "stop_others",
    Runs = "run, with nothing to wait for",
}

impl Doing {
    fn from_number(number: u8) -> &'static str {
        Self::WORDS.get(usize::from(number)).copied().unwrap_or("?")
    }
}

/// A wait of the library that was reported as long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HangWait {
    /// Where.
    pub site: Site,
    /// For whom.
    pub missing: CpuId,
}

/// The signs of one workload.
pub(crate) struct Pulse {
    name: &'static str,
    /// Its number, if there are several of that name.
    number: Option<usize>,
    beats: AtomicU64,
    doing: AtomicU8,
    about: AtomicUsize,
    cpu: AtomicUsize,
    began_ns: AtomicU64,
    runs: AtomicBool,
    wait: Latest<(u64, HangWait)>,
}

impl Pulse {
    pub(crate) const fn new(name: &'static str, number: Option<usize>) -> Self {
        Pulse {
            name,
            number,
            beats: AtomicU64::new(0),
            doing: AtomicU8::new(Doing::Rest as u8),
            about: AtomicUsize::new(NO_CPU),
            cpu: AtomicUsize::new(0),
            began_ns: AtomicU64::new(0),
            runs: AtomicBool::new(false),
            wait: Latest::new(),
        }
    }

    /// The workload begins `doing`, on behalf of `about`, if of anybody; it is on `cpu` now. All relaxed: who looks
    /// from outside looks again.
    pub(crate) fn begin(&self, doing: Doing, about: Option<CpuId>, cpu: CpuId, now_ns: u64) {
        self.doing.store(doing as u8, Relaxed);
        self.about.store(about.map_or(NO_CPU, CpuId::index), Relaxed);
        self.cpu.store(cpu.index(), Relaxed);
        self.began_ns.store(now_ns, Relaxed);
        self.beat();
    }

    /// It does the same thing still, and gets on.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    pub(crate) fn starts(&self) {
        self.beat();
        self.runs.store(true, Relaxed);
    }

    /// Release: pairs with [`runs`](Self::runs), so that what the thread counted is visible to the report.
    pub(crate) fn ends(&self) {
        self.beat();
        self.runs.store(false, Release);
    }

    pub(crate) fn runs(&self) -> bool {
        self.runs.load(Acquire)
    }

    pub(crate) fn hang(&self, waited_ns: u64) -> Hang {
        let about = self.about.load(Relaxed);
        let began_ns = self.began_ns.load(Relaxed);
        Hang {
            workload: self.name,
            number: self.number,
            doing: Doing::from_number(self.doing.load(Relaxed)),
            about: (about != NO_CPU).then(|| CpuId::new(about)),
            cpu: CpuId::new(self.cpu.load(Relaxed)),
            waited_ns,
            wait: self.wait.get().filter(|(began, _)| *began == began_ns).map(|(_, wait)| wait),
        }
    }
}

/// Of the workloads in `pulses`, the one whose operation began last before a wait that began at `since_ns` is the one
/// that waits there: keeps `wait` for it.
pub(crate) fn note_wait<'a>(pulses: impl Iterator<Item = &'a Pulse>, since_ns: u64, wait: HangWait) {
    let began = |pulse: &Pulse| pulse.began_ns.load(Relaxed);
    let fits = |pulse: &&Pulse| {
        let before = since_ns.checked_sub(began(pulse));
        pulse.runs() && before.is_some_and(|before| before < EARLIER_NS)
    };
    if let Some(pulse) = pulses.filter(fits).max_by_key(|pulse| began(pulse)) {
        pulse.wait.set((began(pulse), wait));
    }
}

/// A workload that does not get on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hang {
    /// Which one.
    pub workload: &'static str,
    /// Which one of that name.
    pub number: Option<usize>,
    /// What it does.
    pub doing: &'static str,
    /// The CPU that this is for.
    pub about: Option<CpuId>,
    /// The CPU that the workload was on when it began.
    pub cpu: CpuId,
    /// For how long it has not got on, as far as somebody looked.
    pub waited_ns: u64,
    /// Where it waits in the library, if that was reported.
    pub wait: Option<HangWait>,
}

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workload {}", self.workload)?;
        if let Some(number) = self.number {
            write!(f, " {number}")?;
        }
        write!(f, " hangs on {}: {}", self.cpu, self.doing)?;
        if let Some(about) = self.about {
            write!(f, " of {about}")?;
        }
        write!(f, ", no progress for {} s", self.waited_ns / 1_000_000_000)?;
        match self.wait {
            Some(HangWait { site, missing }) => write!(f, "; it waits for {missing}: {site}"),
            None => write!(f, "; no wait of the library was reported for it"),
        }
    }
}

/// Who looks at the workloads now and then: how long each has shown no sign.
#[derive(Debug)]
pub struct Patience {
    limit_ns: u64,
    last_ns: Option<u64>,
    /// For each workload: its beats, and for how long they have been the same.
    seen: Vec<(u64, u64)>,
}

impl Patience {
    /// A workload may show no sign for `limit_ns`.
    #[must_use]
    pub const fn new(limit_ns: u64) -> Self {
        Patience { limit_ns, last_ns: None, seen: Vec::new() }
    }

    /// Looks, at `now_ns`; the workload that has shown no sign for longest, and for how long.
    pub(crate) fn look<'a>(&mut self, pulses: &'a [Pulse], now_ns: u64) -> Option<(&'a Pulse, u64)> {
        let last = self.last_ns.replace(now_ns).unwrap_or(now_ns);
        let gap = now_ns.saturating_sub(last).min(LONGEST_GAP_NS);
        self.seen.resize(pulses.len(), (0, 0));
        for (pulse, (beats, silent_ns)) in pulses.iter().zip(&mut self.seen) {
            let now = pulse.beats.load(Relaxed);
            *silent_ns = if now != *beats || !pulse.runs() { 0 } else { *silent_ns + gap };
            *beats = now;
        }
        let running = pulses.iter().zip(&self.seen).filter(|(pulse, _)| pulse.runs());
        running.max_by_key(|(_, (_, silent_ns))| *silent_ns).map(|(pulse, (_, silent))| (pulse, *silent))
    }

    pub(crate) fn is_over(&self, silent_ns: u64) -> bool {
        silent_ns > self.limit_ns
    }
}
