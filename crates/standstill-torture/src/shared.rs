//! [`Core`]: what all workloads share, and what a handler does.

use alloc::vec::Vec;
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

use standstill::context::Task;
use standstill::event::Form;
use standstill::hotplug::{Callbacks, HotplugError};
use standstill::{CpuId, Machine, Property};

use crate::bounds::Drag;
use crate::calm::Moves;
use crate::counts::{Cycles, FormCounts, OpCounts};
use crate::dances::{self, Counter};
use crate::frozen::Frozen;
use crate::ground::Ground;
use crate::once::Once;
use crate::pulse::{Doing, Pulse};
use crate::record::{Record, Stream};
use crate::rng::Rng;
use crate::rules::{Failure, Rule, Rules};
use crate::settings::Settings;
use crate::states::States;

/// No CPU, in [`Core::victim`].
const NOBODY: usize = usize::MAX;

/// How often an invoker that is held looks whether it may go on, in nanoseconds.
const HELD_NS: u64 = 200_000;

/// The workloads that are not the invokers'.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Other {
    OnOff,
    Stops,
    ReaderOne,
    ReaderTwo,
    /// The thread that began it all.
    Main,
}

fn pulses(cpus: usize) -> Vec<Pulse> {
    let invokers = (0..cpus).map(|cpu| Pulse::new("invoker", Some(cpu)));
    invokers
        .chain(["on/off", "stops", "reader 1", "reader 2", "main"].map(|name| Pulse::new(name, None)))
        .collect()
}

/// What all workloads share.
pub(crate) struct Core<P: Ground, const N: usize, const W: usize> {
    pub(crate) machine: &'static Machine<P, N, W>,
    pub(crate) settings: Settings,
    /// How many CPUs the machine can have: `0..cpus` are possible. Those that are not present are offline to everybody.
    pub(crate) cpus: usize,
    pub(crate) began_ns: u64,
    pub(crate) rules: Rules,
    pub(crate) forms: [FormCounts; Form::ALL.len()],
    pub(crate) down: OpCounts,
    pub(crate) up: OpCounts,
    /// For each CPU: how often it was offline and online again.
    pub(crate) cycles: Vec<Cycles>,
    pub(crate) frozen: Frozen,
    /// Why the first hotplug operation failed that did and was not made to.
    pub(crate) veto: Once<HotplugError>,
    /// The first call of another CPU that was late, and the first that was lost.
    pub(crate) late: Once<Failure>,
    pub(crate) lost: Once<Failure>,
    pub(crate) states: States,
    /// Stops that have nothing to do with hotplug, and those of them that were abandoned at their deadline.
    pub(crate) stops: AtomicU64,
    pub(crate) aborted: AtomicU64,
    /// The CPU whose stop function runs now, plus one.
    pub(crate) alone: AtomicUsize,
    /// The order of calls: the next number of each (stream, sender)...
    next: Vec<AtomicU32>,
    /// ... and the last one that was seen, for each (stream, target, sender).
    seen: Vec<AtomicU32>,
    /// Random numbers for the handlers of each CPU.
    dice: Vec<Rng>,
    /// The CPU that is about to leave.
    victim: AtomicUsize,
    /// How many bring-ups are over...
    era: AtomicU64,
    /// ... and in which era the last two of each CPU were, the older one first.
    came_up: Vec<[AtomicU64; 2]>,
    stopping: AtomicBool,
    held: AtomicBool,
    /// What each workload does: the invokers in their order, then the others.
    pub(crate) pulses: Vec<Pulse>,
    promises_online: bool,
    /// A CPU that a pinned section sees active takes calls to the section's end.
    pub(crate) promises_calls: bool,
    pub(crate) moves: Moves,
    pub(crate) drag: Drag<P>,
    /// An operation is made to end early. A CPU whose callback hung becomes active again by itself.
    pub(crate) ends_early: AtomicBool,
    /// How many threads hold the hotplug lock for reading, as they see it.
    pub(crate) readers: AtomicUsize,
    /// Callbacks that come and go, and how often they were called.
    pub(crate) passing: [Callbacks; 3],
    pub(crate) counter: &'static Counter,
}

impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    pub(crate) fn new(machine: &'static Machine<P, N, W>, settings: Settings) -> Self {
        let cpus = machine.possible().snapshot().len();
        let counter = Counter::leak(cpus);
        let numbers = |n: usize| (0..n).map(|_| AtomicU32::new(0)).collect();
        Core {
            machine,
            settings,
            cpus,
            began_ns: machine.platform().now_ns(),
            rules: Rules::new(),
            forms: [const { FormCounts::new() }; Form::ALL.len()],
            down: OpCounts::new(),
            up: OpCounts::new(),
            cycles: (0..cpus).map(|_| Cycles::new()).collect(),
            frozen: Frozen::new(cpus),
            veto: Once::new(),
            states: States::new(cpus),
            late: Once::new(),
            lost: Once::new(),
            stops: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            alone: AtomicUsize::new(0),
            next: numbers(Stream::COUNT * cpus),
            seen: numbers(Stream::COUNT * cpus * cpus),
            dice: (0..cpus).map(|c| Rng::new(settings.seed, 1 << 32 | c as u64)).collect(),
            victim: AtomicUsize::new(NOBODY),
            era: AtomicU64::new(0),
            came_up: (0..cpus).map(|_| [const { AtomicU64::new(0) }; 2]).collect(),
            stopping: AtomicBool::new(false),
            held: AtomicBool::new(false),
            pulses: pulses(cpus),
            promises_calls: machine.protocol().promises().contains(&Property::Outside),
            moves: Moves::new(cpus),
            drag: Drag::new(),
            ends_early: AtomicBool::new(false),
            readers: AtomicUsize::new(0),
            passing: dances::passing(counter),
            counter,
            promises_online: machine.protocol().promises().contains(&Property::Outside),
        }
    }

    pub(crate) fn ground(&self) -> &P {
        self.machine.platform()
    }

    /// Nanoseconds since the torture began.
    pub(crate) fn elapsed_ns(&self) -> u64 {
        self.ground().now_ns().saturating_sub(self.began_ns)
    }

    pub(crate) fn form(&self, form: Form) -> &FormCounts {
        &self.forms[form as usize]
    }

    // ---- the end

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Have all workloads ended but the one that asks?
    pub(crate) fn all_ended(&self) -> bool {
        let main = self.cpus + Other::Main as usize;
        self.pulses.iter().enumerate().all(|(at, pulse)| at == main || !pulse.runs())
    }

    // ---- who gets on

    pub(crate) fn pulse(&self, other: Other) -> &Pulse {
        &self.pulses[self.cpus + other as usize]
    }

    /// The workload of `pulse` begins something.
    pub(crate) fn begin(&self, pulse: &Pulse, doing: Doing, about: Option<CpuId>) {
        let ground = self.ground();
        pulse.begin(doing, about, ground.this_cpu(), ground.now_ns());
    }

    // ---- who leaves

    pub(crate) fn announce(&self, victim: Option<CpuId>) {
        self.victim.store(victim.map_or(NOBODY, CpuId::index), Relaxed);
    }

    pub(crate) fn victim(&self) -> Option<CpuId> {
        let victim = self.victim.load(Relaxed);
        (victim != NOBODY).then(|| CpuId::new(victim))
    }

    /// `cpu` is up again: a new era. Called by one thread at a time. Release: a sender that reads the new era reads
    /// the CPU's turn in it too.
    pub(crate) fn came_up(&self, cpu: CpuId) {
        let now = self.era.load(Relaxed) + 1;
        let [older, last] = &self.came_up[cpu.index()];
        older.store(last.load(Relaxed), Relaxed);
        last.store(now, Release);
        self.era.store(now, Release);
    }

    pub(crate) fn era(&self) -> u64 {
        self.era.load(Acquire)
    }

    /// Has `cpu` come up twice since `era`? Then a call that it accepted in that era is over, or never runs: its queue
    /// was empty when it came up. (Twice, as a sender may read the era just before a bring-up is counted.)
    pub(crate) fn reborn_since(&self, cpu: CpuId, era: u64) -> bool {
        self.came_up.get(cpu.index()).is_some_and(|[older, _]| older.load(Acquire) > era)
    }

    // ---- order

    /// The next place in a stream of `origin`. Only one sender at a time uses a stream: the CPU that is pinned, the
    /// thread that waits, or the CPU's handlers.
    pub(crate) fn next_in(&self, stream: Stream, origin: usize) -> u32 {
        let next = &self.next[stream.index() * self.cpus + origin];
        let n = next.load(Relaxed) + 1;
        next.store(n, Relaxed);
        n
    }

    /// What `me` saw last of the stream; only `me` touches it, in its handlers.
    fn seen(&self, stream: Stream, me: CpuId, origin: usize) -> &AtomicU32 {
        &self.seen[(stream.index() * self.cpus + me.index()) * self.cpus + origin]
    }

    // ---- handlers

    /// What each handler does: looks at everything, counts, dawdles, and signs off.
    pub(crate) fn serve(&self, record: &Record<W>) {
        let me = self.ground().this_cpu();
        self.check_handler(record, me);
        self.form(record.form).ran();
        self.dawdle(me);
        record.out.fetch_add(1, Relaxed);
        record.end();
    }

    fn check_handler(&self, record: &Record<W>, me: CpuId) {
        let failure = |rule| Failure {
            func: Some(record.stream.func()),
            sender: Some(self.sender_of(record)),
            ..self.failure(rule, me)
        };
        // Relaxed, as all of the record: to make it visible is the library's job.
        let origin = record.origin.load(Relaxed) as usize % self.cpus;
        let order = record.order.load(Relaxed);
        self.rules.check(Rule::IrqsOff, !self.ground().irqs_on(), failure);
        self.rules.check(Rule::RightCpu, record.asked.contains(me), failure);
        self.rules.check(Rule::ExactlyOnce, record.ran.insert(me), failure);
        let alone = self.alone.load(Relaxed);
        self.rules.check(Rule::Alone, alone == 0 || alone == me.index() + 1, failure);
        if self.promises_online {
            self.rules.check(Rule::Online, self.machine.online().contains(me), failure);
        }
        let seen = self.seen(record.stream, me, origin);
        let last = seen.load(Relaxed);
        let in_order = order > last;
        // An old number is either an old call, or the new call's number that is not visible yet. A fence tells which.
        let not_visible = !in_order && {
            fence(SeqCst);
            record.order.load(Relaxed) > last
        };
        self.rules.check(Rule::MemoryIn, !not_visible, failure);
        self.rules.check(Rule::Order, in_order || not_visible, failure);
        seen.store(order.max(last), Relaxed);
    }

    /// Mostly nothing, 1 in 1024 up to 63 µs, 1 in 4096 up to 256 µs: as scftorture does.
    fn dawdle(&self, me: CpuId) {
        let dice = &self.dice[me.index()];
        let ns = match dice.below(4096) {
            0 => dice.below(256_000),
            1..=4 => dice.below(63_000),
            _ => return,
        };
        self.busy_ns(ns as u64);
    }

    pub(crate) fn dice(&self, cpu: CpuId) -> &Rng {
        &self.dice[cpu.index()]
    }

    /// Keeps this CPU busy for about `ns` nanoseconds.
    pub(crate) fn busy_ns(&self, ns: u64) {
        let until = self.ground().now_ns() + ns;
        while self.ground().now_ns() < until {
            self.ground().pause();
        }
    }

    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Relaxed);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Relaxed) && !self.stopping()
    }

    /// Lets others run between two operations of an invoker.
    pub(crate) fn rest(&self, task: &mut Task, rng: &Rng, pulse: &Pulse) {
        while self.is_held() {
            pulse.beat();
            self.ground().sleep_ns(task, HELD_NS);
        }
        match self.settings.rest_ns {
            0 => self.ground().yield_now(task),
            mean => self.ground().sleep_ns(task, rng.below(mean as usize * 2) as u64),
        }
    }

    fn sender_of(&self, record: &Record<W>) -> CpuId {
        CpuId::new(record.origin.load(Relaxed) as usize % self.cpus)
    }

    /// A failure that `cpu` sees now.
    pub(crate) fn failure(&self, rule: &'static str, cpu: CpuId) -> Failure {
        Failure { rule, cpu, func: None, sender: None, t_ns: self.elapsed_ns() }
    }

    // ---- senders

    /// A random CPU number, offline ones included on purpose.
    pub(crate) fn any_cpu(&self, rng: &Rng) -> CpuId {
        CpuId::new(rng.below(self.cpus))
    }

    /// Is the last call of `record` over? It is when all handlers ended, or when those that are missing never will, which is then
    /// counted as lost.
    pub(crate) fn settled(&self, record: &Record<W>) -> bool {
        if !record.is_idle() {
            let (missing, era) = (record.missing(), record.era.load(Relaxed));
            if missing.is_empty() || !missing.iter().all(|cpu| self.reborn_since(cpu, era)) {
                return false;
            }
            self.write_off(record);
        }
        record.is_idle()
    }

    /// The handlers of `record` that did not begin never will.
    pub(crate) fn write_off(&self, record: &Record<W>) {
        let missing = record.missing();
        let n = missing.len() as u64;
        record.lost(n);
        record.taken.assign(&record.ran.get());
        self.form(record.form).lost(n);
    }

    /// Looks at the call of a settled record once more: nobody who refused it ran it.
    pub(crate) fn check_settled(&self, record: &Record<W>) {
        let intruder = record.intruders().first();
        self.rules.check(Rule::Refused, intruder.is_none(), |rule| Failure {
            func: Some(record.stream.func()),
            sender: Some(self.sender_of(record)),
            ..self.failure(rule, intruder.unwrap_or(CpuId::BOOT))
        });
    }
}
