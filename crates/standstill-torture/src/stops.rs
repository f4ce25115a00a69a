//! The thread that stops the machine for reasons of its own: stops, works and readers of the hotplug lock that race with CPUs that
//! come and go.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::stop::{Receipt, Receipts, StopError, StopWork, WorkState};
use standstill::{CpuId, CpuMask};

use crate::ground::Ground;
use crate::pulse::Doing;
use crate::record::SharedMask;
use crate::rng::Rng;
use crate::rules::Rule;
use crate::shared::{Core, Other};
use crate::works::Works;

/// The function of a stop with a deadline nearer than this runs until that has passed, in nanoseconds.
const OVERTIME_NS: u64 = 100_000;
/// One in how many CPUs that come up stops the others.
const INACTIVE_ONE_IN: usize = 3;
/// No CPU.
const NOWHERE: usize = usize::MAX;

/// What a stop's function returns on `cpu`, so that a receipt can't be another CPU's. One returns 0, as a CPU does that
/// leaves.
pub(crate) fn value_of(cpu: CpuId) -> i32 {
    cpu.index() as i32
}

/// The thread that stops the machine.
pub(crate) struct Stops<P: Ground, const N: usize, const W: usize, F: 'static> {
    core: &'static Core<P, N, W>,
    rng: Rng,
    /// A work that is queued without waiting: what became of it is looked at before it is queued again.
    work: &'static StopWork<P>,
    function: &'static F,
    works: &'static Works<P>,
    /// The CPU that it was queued for.
    sent_to: AtomicUsize,
}

/// The function of the work that is not waited for.
pub(crate) fn nowait_work<P: Ground, const N: usize, const W: usize>(
    core: &'static Core<P, N, W>,
) -> impl Fn(&mut Pinned<'_>) -> i32 + Sync {
    move |_: &mut Pinned<'_>| value_of(core.ground().this_cpu())
}

/// Where a stop's function ran, and whether it ran twice anywhere.
pub(crate) struct Log<const W: usize> {
    ran: SharedMask<W>,
    twice: SharedMask<W>,
}

impl<const W: usize> Log<W> {
    pub(crate) fn new() -> Self {
        Log { ran: SharedMask::new(), twice: SharedMask::new() }
    }

    pub(crate) fn enter(&self, cpu: CpuId) {
        if !self.ran.insert(cpu) {
            self.twice.insert(cpu);
        }
    }

    fn once_on(&self, expected: &CpuMask<W>) -> bool {
        self.ran.get() == *expected && self.twice.get().is_empty()
    }
}

impl<P, const N: usize, const W: usize, F> Stops<P, N, W, F>
where
    P: Ground,
    F: Fn(&mut Pinned<'_>) -> i32 + Sync,
{
    pub(crate) fn new(core: &'static Core<P, N, W>, rng: Rng, works: &'static Works<P>, function: F) -> Self {
        let (work, function) = (Box::leak(Box::new(StopWork::new())), Box::leak(Box::new(function)));
        Stops { core, rng, works, work, function, sent_to: AtomicUsize::new(NOWHERE) }
    }

    /// The thread.
    pub(crate) fn run(&self, task: &mut Task) {
        let core = self.core;
        let pulse = core.pulse(Other::Stops);
        let begin = |doing| core.begin(pulse, doing, None);
        while !core.stopping() {
            begin(Doing::Rest);
            let mean = core.settings.stop_pause_ns.max(1);
            core.ground().sleep_ns(task, self.rng.below(mean as usize * 2) as u64);
            let what = self.rng.below(12);
            begin(match what {
                0 | 1 => Doing::Stop,
                2 => Doing::StopInTime,
                3 => Doing::StopTwo,
                4 => Doing::ReadLock,
                5 => Doing::Quiesce,
                6 | 7 | 10 | 11 => Doing::StopNowait,
                _ => Doing::StopOne,
            });
            match what {
                0 => self.stop_machine(task, None),
                1 => self.stop_machine(task, Some(self.random_mask())),
                2 => self.stop_in_time(task),
                3 => self.stop_two(task),
                4 => self.read_locked(task),
                5 => core.check_quiesce(task),
                6 | 7 => self.stop_one_nowait(task),
                10 | 11 => self.works.several(core, task, core.victim().unwrap_or(core.any_cpu(&self.rng))),
                _ => self.stop_one(task),
            }
        }
        begin(Doing::StopNowait);
        // Its stopper comes to it; then nothing is queued any more.
        while self.work.state() == WorkState::Queued {
            core.ground().sleep_ns(task, 1_000_000);
        }
        pulse.ends();
    }

    fn random_mask(&self) -> CpuMask<W> {
        (0..self.core.cpus).map(CpuId::new).filter(|_| self.rng.one_in(2)).collect()
    }

    fn two_cpus(&self) -> (CpuId, CpuId) {
        (self.core.any_cpu(&self.rng), self.core.any_cpu(&self.rng))
    }

    fn stop_machine(&self, task: &mut Task, active: Option<CpuMask<W>>) {
        let log = Log::<W>::new();
        let calm = self.core.calm();
        let result = match active {
            None => self.core.machine.stop_machine(task, None, &|_: &Stopped<'_>| {
                self.core.alone(&log, self.core.ground().this_cpu())
            }),
            Some(active) => self.core.machine.stop_machine(task, Some(&active), &|_: &Stopped<'_>| {
                let me = self.core.ground().this_cpu();
                log.enter(me);
                value_of(me)
            }),
        };
        self.core.judge(&log, active, result);
        if let Some((active, calm)) = active.zip(self.core.still(calm)) {
            let holds = log.ran.get() == active.and(&calm.up);
            self.core
                .rules
                .check(Rule::Receipts, holds, |rule| self.core.failure(rule, self.core.ground().this_cpu()));
        }
    }

    /// With a deadline that is sometimes too near.
    fn stop_in_time(&self, task: &mut Task) {
        let far = if self.rng.one_in(2) { 2_000_000 } else { 100_000 };
        self.core.stop_by(task, self.rng.below(far) as u64);
    }

    fn stop_two(&self, task: &mut Task) {
        let (a, b) = self.two_cpus();
        let log = Log::<W>::new();
        let result = self.core.machine.stop_two_cpus(task, a, b, &|_: &Stopped<'_>| {
            let me = self.core.ground().this_cpu();
            log.enter(me);
            value_of(me)
        });
        let (pair, ok) = ([a, b].into_iter().collect(), result.is_ok());
        self.core.judge(&log, Some(pair), result);
        let holds = log.once_on(if ok { &pair } else { &CpuMask::EMPTY });
        self.core.rules.check(Rule::Receipts, holds, |rule| self.core.failure(rule, a));
    }

    /// A work for the stopper of a random CPU, which may be offline or about to leave.
    pub(crate) fn stop_one(&self, task: &mut Task) {
        let core = self.core;
        let to = core.any_cpu(&self.rng);
        let log = Log::<W>::new();
        let calm = core.calm();
        let result = core.machine.stop_one_cpu(task, to, &|_: &mut Pinned<'_>| {
            let me = core.ground().this_cpu();
            log.enter(me);
            value_of(me)
        });
        let holds = match result {
            Ok(value) => value == value_of(to) && log.once_on(&CpuMask::of(to)),
            Err(_) => log.once_on(&CpuMask::EMPTY),
        };
        core.rules.check(Rule::Receipts, holds, |rule| core.failure(rule, to));
        core.check_taken(calm, &CpuMask::of(to), &log.ran.get());
    }

    /// As above, without waiting: what became of it is asked the next time.
    pub(crate) fn stop_one_nowait(&self, task: &mut Task) {
        let core = self.core;
        let queued_for = self.sent_to.load(Relaxed);
        let holds = match self.work.state() {
            // Its CPU has much to do: ask again later.
            WorkState::Queued => return,
            WorkState::Idle => queued_for == NOWHERE,
            WorkState::Refused => true,
            WorkState::Ran(value) => queued_for != NOWHERE && value == value_of(CpuId::new(queued_for)),
        };
        let to = core.any_cpu(&self.rng);
        core.rules.check(Rule::Receipts, holds, |rule| core.failure(rule, to));
        self.sent_to.store(to.index(), Relaxed);
        let calm = core.calm();
        let queued = core.machine.stop_one_cpu_nowait(task, to, self.work, self.function);
        // It was not queued before, so the only refusal is that the CPU is offline.
        let taken = if queued.is_ok() { CpuMask::of(to) } else { CpuMask::EMPTY };
        core.check_taken(calm, &CpuMask::of(to), &taken);
        let holds = matches!(queued, Ok(()) | Err(StopError::Offline(_)));
        core.rules.check(Rule::Receipts, holds, |rule| core.failure(rule, to));
    }

    /// While the hotplug lock is held for reading, nobody comes or goes; a reader may stop the machine, too.
    fn read_locked(&self, task: &mut Task) {
        let core = self.core;
        let log = Log::<W>::new();
        let mut guard = core.machine.cpus_read_lock(task);
        let before = core.machine.online().snapshot();
        core.busy_ns(self.rng.below(100_000) as u64);
        let result = core.machine.stop_machine_cpuslocked(&mut guard, None, &|_: &Stopped<'_>| {
            core.alone(&log, core.ground().this_cpu())
        });
        self.core.judge(&log, None, result);
        let after = core.machine.online().snapshot();
        core.rules
            .check(Rule::ReadLock, before == after, |rule| core.failure(rule, core.ground().this_cpu()));
        drop(guard);
    }
}

/// What comes of a stop, whoever asked for it.
impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    /// A stop's function that runs on one CPU says so, and no handler may run anywhere until it is over.
    pub(crate) fn alone(&self, log: &Log<W>, me: CpuId) -> i32 {
        self.alone.store(me.index() + 1, Relaxed);
        log.enter(me);
        self.check_nobody_is_pinned();
        self.busy_ns(self.dice(me).below(5_000) as u64);
        self.alone.store(0, Relaxed);
        value_of(me)
    }

    /// The function ran where the receipts say, once, and nowhere else; an error means that it ran nowhere.
    pub(crate) fn judge(
        &self,
        log: &Log<W>,
        active: Option<CpuMask<W>>,
        result: Result<Receipts<'_, P, N, W>, StopError<W>>,
    ) {
        let holds = match &result {
            Ok(receipts) => {
                let named: CpuMask<W> = receipts
                    .iter()
                    .filter(|(_, r)| matches!(r, Receipt::Ran(_)))
                    .map(|(cpu, _)| cpu)
                    .collect();
                let values = named.iter().all(|cpu| receipts.of(cpu) == Receipt::Ran(value_of(cpu)));
                let asked = match active {
                    Some(active) => named.is_subset(&active),
                    None => named.len() == 1,
                };
                log.once_on(&named) && values && asked && !named.is_empty()
            }
            Err(_) => log.once_on(&CpuMask::EMPTY),
        };
        self.stops.fetch_add(1, Relaxed);
        if matches!(result, Err(StopError::Deadline { .. })) {
            self.aborted.fetch_add(1, Relaxed);
        }
        drop(result);
        self.rules.check(Rule::Receipts, holds, |rule| self.failure(rule, self.ground().this_cpu()));
    }

    /// With a deadline that is sometimes too near: it ends early only if that has passed.
    pub(crate) fn stop_by(&self, task: &mut Task, ns: u64) {
        let log = Log::<W>::new();
        let deadline = self.ground().deadline_in(ns);
        let f = |_: &Stopped<'_>| {
            let value = self.alone(&log, self.ground().this_cpu());
            // What has begun runs to its end, and that counts.
            while ns < OVERTIME_NS && !self.ground().expired(deadline) {
                self.ground().pause();
            }
            value
        };
        let result = self.machine.stop_machine_deadline(task, None, deadline, &f);
        let holds = match &result {
            Err(StopError::Deadline { missing, .. }) => {
                self.ground().expired(deadline) && missing.is_subset(&self.machine.possible().snapshot())
            }
            Err(_) => false,
            Ok(_) => true,
        };
        self.rules.check(Rule::Receipts, holds, |rule| self.failure(rule, self.ground().this_cpu()));
        self.judge(&log, None, result);
    }

    /// A CPU that comes up stops all others, now and then. One that is up already is told that it can't.
    pub(crate) fn stop_from_inactive(&self, off: &IrqOff<'_>, me: CpuId) {
        if self.stopping() || !self.dice(me).one_in(INACTIVE_ONE_IN) {
            return;
        }
        let log = Log::<W>::new();
        let online = self.machine.online().contains(me);
        let nobody_comes = AtomicBool::new(true);
        let f = |_: &Stopped<'_>| {
            let before = self.machine.online().snapshot();
            let value = self.alone(&log, self.ground().this_cpu());
            // Long enough for another CPU that comes up beside this one.
            self.busy_ns(20_000);
            nobody_comes.store(self.machine.online().snapshot() == before, Relaxed);
            value
        };
        let result = self.machine.stop_machine_from_inactive_cpu(off, None, &f);
        self.rules.check(Rule::Masks, nobody_comes.load(Relaxed), |rule| self.failure(rule, me));
        let (ran, holds) = match result {
            Ok(value) => (CpuMask::of(me), !online && value == value_of(me)),
            Err(StopError::NotComingUp(who)) => (CpuMask::EMPTY, online && who == me),
            // The port has no more patience.
            Err(StopError::Deadline { .. }) => (CpuMask::EMPTY, !online),
            Err(_) => (CpuMask::EMPTY, false),
        };
        self.rules.check(Rule::Receipts, holds && log.once_on(&ran), |rule| self.failure(rule, me));
    }
}
