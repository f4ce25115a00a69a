//! Operations that end early: cancelled by one of their callbacks, with a deadline that is too near, or for a CPU that
//! does not start. Each leaves the machine as it was, or says where the CPU rests; the same operation succeeds later.

use alloc::vec::Vec;
use core::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use standstill::context::{Context, Task};
use standstill::hotplug::StateId;
use standstill::platform::Deadline;
use standstill::{Bound, Cancel, CpuId, HotplugError};

use crate::ground::Ground;
use crate::rng::Rng;
use crate::rules::Rule;
use crate::shared::{Core, Other};
use crate::states::Section;

/// How many operations of one run can be cancelled: a token stays cancelled.
const TOKENS: usize = 512;
/// The latest deadline, and the longest time that a callback takes, in nanoseconds.
const LATEST_NS: usize = 2_000_000;
/// How long a CPU may take to leave that is not seen dead, in nanoseconds.
const DIES_NS: u64 = 4_000_000;
/// An operation that ended early is repeated until it succeeds, so often, with so long a pause.
const TRIES: usize = 5_000;
const PAUSE_NS: u64 = 1_000_000;

/// What a callback does before anything else, once, for one CPU in one section.
pub(crate) struct Drag<P: Ground> {
    /// The CPU and the section, packed; 0: none does anything.
    armed: AtomicUsize,
    ns: AtomicU64,
    cancels: AtomicBool,
    /// It does that now.
    runs: AtomicBool,
    tokens: Vec<Cancel<P>>,
    /// How many tokens may be cancelled.
    used: AtomicUsize,
}

pub(crate) fn pack(cpu: CpuId, section: Section) -> usize {
    4 * cpu.index() + section as usize + 1
}

impl<P: Ground> Drag<P> {
    pub(crate) fn new() -> Self {
        Drag {
            armed: AtomicUsize::new(0),
            ns: AtomicU64::new(0),
            cancels: AtomicBool::new(false),
            runs: AtomicBool::new(false),
            tokens: (0..TOKENS).map(|_| Cancel::new()).collect(),
            used: AtomicUsize::new(0),
        }
    }
}

impl<P: Ground> Drag<P> {
    /// The callback of `place` takes `ns` from now on, once.
    pub(crate) fn arm(&self, place: usize, ns: u64) {
        self.cancels.store(false, Relaxed);
        self.ns.store(ns, Relaxed);
        // Release: pairs with the acquire of the callback.
        self.armed.store(place, Release);
    }

    /// Is the callback in the middle of that?
    pub(crate) fn runs(&self) -> bool {
        self.runs.load(SeqCst)
    }
}

/// What an operation is bounded by.
struct Limits<'a, P: Ground> {
    deadline: Deadline,
    token: Option<&'a Cancel<P>>,
}

impl<'a, P: Ground> Limits<'a, P> {
    fn bound(&self) -> Bound<'a, P> {
        let bound = Bound::until(self.deadline);
        self.token.map_or(bound, |token| bound.or_cancelled(token))
    }
}

impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    /// In a callback: takes its time, and cancels its own operation, if it is the one that is to.
    pub(crate) fn drag(&self, ctx: &impl Context, section: Section, cpu: CpuId) {
        // Acquire: pairs with the release in `limits`.
        if self.drag.armed.compare_exchange(pack(cpu, section), 0, Acquire, Relaxed).is_err() {
            return;
        }
        self.drag.runs.store(true, SeqCst);
        self.busy_ns(self.drag.ns.load(Relaxed));
        self.drag.runs.store(false, SeqCst);
        if self.drag.cancels.load(Relaxed) {
            let token = self.drag.tokens.get(self.drag.used.load(Relaxed) - 1);
            token.into_iter().for_each(|token| self.machine.cancel(ctx, token));
        }
    }

    /// Random limits, and perhaps a callback of `section` for `cpu` that takes its time or cancels.
    fn limits(&self, cpu: CpuId, section: Section, rng: &Rng) -> Limits<'_, P> {
        let used = self.drag.used.load(Relaxed);
        let token = if rng.one_in(2) { self.drag.tokens.get(used) } else { None };
        self.drag.cancels.store(token.is_some(), Relaxed);
        let mut latest = LATEST_NS;
        if token.is_some() {
            self.drag.used.store(used + 1, Relaxed);
            // Late enough for the callback to be first, mostly.
            latest *= 8;
        }
        if token.is_some() || rng.one_in(2) {
            self.drag.ns.store(rng.below(LATEST_NS) as u64, Relaxed);
            // Release: pairs with the acquire of the callback.
            self.drag.armed.store(pack(cpu, section), Release);
        }
        Limits { deadline: self.ground().deadline_in(rng.below(latest) as u64), token }
    }

    /// One operation that ends early, on `cpu`, which is active and not the only one; or on one that is offline.
    pub(crate) fn early_end(&self, task: &mut Task, cpu: CpuId, rng: &Rng) {
        let offline = self.machine.present().snapshot().without(&self.machine.online().snapshot()).last();
        self.moves.step();
        self.ends_early.store(true, SeqCst);
        match (rng.below(4), offline) {
            (0, Some(offline)) => self.late_start(task, offline, rng),
            (1, _) => self.up_from_rest(task, cpu, rng),
            (2, _) => self.late_death(task, cpu),
            _ => self.down_in_time(task, cpu, rng),
        }
        self.ends_early.store(false, SeqCst);
        self.moves.step();
    }

    /// Are these words true?
    fn is_true(&self, cpu: CpuId, limits: &Limits<'_, P>, error: HotplugError, from: StateId) -> bool {
        let is_up = self.machine.online().contains(cpu);
        match error {
            HotplugError::Cancelled { .. } => {
                limits.token.is_some_and(Cancel::is_cancelled) && self.is_at(cpu, from)
            }
            HotplugError::Deadline { .. } | HotplugError::Occupied { .. } => {
                self.ground().expired(limits.deadline) && self.is_at(cpu, from)
            }
            HotplugError::NoAnswer(who) => {
                who == cpu && self.ground().expired(limits.deadline) && self.is_at(cpu, from)
            }
            // The thread that the callback is on goes on with it, and then goes back.
            HotplugError::Hung { cpu: who, .. } => who == cpu && is_up,
            HotplugError::NotDead(who) => who == cpu && !is_up && !self.machine.active().contains(cpu),
            _ => false,
        }
    }

    fn judge_early(
        &self,
        cpu: CpuId,
        limits: &Limits<'_, P>,
        from: StateId,
        to: StateId,
        result: Result<(), HotplugError>,
    ) {
        // Relaxed: the operation has ended, and no callback of it runs but one that hangs, which has disarmed it.
        self.drag.armed.store(0, Relaxed);
        let holds = match result {
            Ok(()) => self.is_at(cpu, to),
            Err(error) => self.is_true(cpu, limits, error, from),
        };
        self.expect(Rule::Masks, holds, cpu);
    }

    /// Down, with a bound.
    fn down_in_time(&self, task: &mut Task, cpu: CpuId, rng: &Rng) {
        let limits = self.limits(cpu, Section::Online, rng);
        let down = self.machine.within(task, limits.bound(), |task| self.machine.cpu_down(task, cpu));
        self.judge_early(cpu, &limits, StateId::ACTIVE, StateId::OFFLINE, down);
        self.up_at_last(task, cpu);
    }

    /// Up from where it is online and no callback of the ONLINE section was called for it, with a bound.
    fn up_from_rest(&self, task: &mut Task, cpu: CpuId, rng: &Rng) {
        let rests = self.machine.cpu_down_to(task, cpu, StateId::AP_ONLINE);
        self.expect(Rule::Veto, rests.is_ok() && self.is_at(cpu, StateId::AP_ONLINE), cpu);
        let limits = self.limits(cpu, Section::Online, rng);
        let up = self.machine.within(task, limits.bound(), |task| self.machine.cpu_up(task, cpu));
        self.judge_early(cpu, &limits, StateId::AP_ONLINE, StateId::ACTIVE, up);
        self.up_at_last(task, cpu);
    }

    /// A CPU that left and is not seen dead: it rests where it can't be started, and comes up once it is dead.
    fn late_death(&self, task: &mut Task, cpu: CpuId) {
        if !self.ground().hold_death(cpu, true) {
            return;
        }
        let deadline = self.ground().deadline_in(DIES_NS);
        let down = self.machine.within(task, deadline, |task| self.machine.cpu_down(task, cpu));
        let limits = Limits { deadline, token: None };
        self.expect(Rule::Masks, down.is_err(), cpu);
        self.judge_early(cpu, &limits, StateId::ACTIVE, StateId::OFFLINE, down);
        if matches!(down, Err(HotplugError::NotDead(_))) {
            let not_dead = |result| matches!(result, Err(HotplugError::NotDead(who)) if who == cpu);
            let up = not_dead(self.machine.cpu_up(task, cpu));
            let unplugged = self.machine.set_present(task, cpu, false).is_ok();
            self.expect(Rule::Veto, up && !unplugged, cpu);
        }
        self.ground().hold_death(cpu, false);
        self.up_at_last(task, cpu);
    }

    /// A CPU that does not start as long as it is kept from it: what PREPARE did is undone, down to where it rested.
    fn late_start(&self, task: &mut Task, cpu: CpuId, rng: &Rng) {
        let prepare = || [StateId::OFFLINE].into_iter().chain(crate::dances::Section::Prepare.states());
        let rest = if rng.one_in(2) { prepare().nth(rng.below(prepare().count())) } else { None };
        let rest = rest.unwrap_or(StateId::OFFLINE);
        let rests = self.machine.cpu_up_to(task, cpu, rest);
        self.expect(Rule::Veto, rests.is_ok() && self.is_at(cpu, rest), cpu);
        if self.ground().hold_start(cpu, true) {
            for _ in 0..=rng.below(3) {
                let limits = self.limits(cpu, Section::Prepare, rng);
                let up = self.machine.within(task, limits.bound(), |task| self.machine.cpu_up(task, cpu));
                // It can't come up; which words are true of that, is looked at below.
                self.expect(Rule::Masks, up.is_err(), cpu);
                self.judge_early(cpu, &limits, rest, StateId::ACTIVE, up);
            }
            self.ground().hold_start(cpu, false);
        }
        self.up_at_last(task, cpu);
    }

    /// Whatever came of the last operation, `cpu` comes up in the end.
    fn up_at_last(&self, task: &mut Task, cpu: CpuId) {
        let was_online = self.machine.online().contains(cpu);
        let up = (0..TRIES).any(|_| {
            self.pulse(Other::OnOff).beat();
            let up = self.machine.cpu_up(task, cpu);
            // Until its callback has returned, or it is dead.
            let later = matches!(up, Err(HotplugError::Hung { .. } | HotplugError::NotDead(_)));
            self.expect(Rule::Veto, up.is_ok() || later, cpu);
            if later {
                self.ground().sleep_ns(task, PAUSE_NS);
            }
            !later
        });
        if !was_online {
            self.came_up(cpu);
        }
        self.expect(Rule::Masks, up && self.is_at(cpu, StateId::ACTIVE), cpu);
    }
}
