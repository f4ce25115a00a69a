//! The reader of the hotplug lock: short and long, tried, one inside another.

use core::sync::atomic::Ordering::SeqCst;

use standstill::context::Task;
use standstill::stop::StopError;
use standstill::{CpuId, HotplugError};

use crate::ground::Ground;
use crate::pulse::Doing;
use crate::rng::Rng;
use crate::rules::Rule;
use crate::shared::{Core, Other};

/// The longest time that it holds the lock, in nanoseconds.
const HOLDS_NS: usize = 40_000;

/// A thread that reads while others write.
pub(crate) struct Reader<P: Ground, const N: usize, const W: usize> {
    pub(crate) core: &'static Core<P, N, W>,
    pub(crate) rng: Rng,
    pub(crate) other: Other,
}

impl<P: Ground, const N: usize, const W: usize> Reader<P, N, W> {
    /// The thread.
    pub(crate) fn run(&self, task: &mut Task) {
        let core = self.core;
        let pulse = core.pulse(self.other);
        while !core.stopping() {
            core.begin(pulse, Doing::Rest, None);
            let mean = core.settings.read_pause_ns.max(1);
            core.ground().sleep_ns(task, self.rng.below(mean as usize * 2) as u64);
            core.begin(pulse, Doing::ReadLock, None);
            match self.rng.below(7) {
                4 => self.read_in_time(task),
                5 => {
                    core.begin(pulse, Doing::StopInTime, None);
                    core.stop_by(task, self.rng.below(300_000) as u64);
                }
                6 => {
                    core.begin(pulse, Doing::Quiesce, None);
                    self.pass_in_time(task);
                }
                0 => {
                    if let Some(mut guard) = core.machine.cpus_read_trylock(task) {
                        self.hold(guard.task());
                    }
                }
                1 => {
                    let mut guard = core.machine.cpus_read_lock(task);
                    let mut inner = core.machine.cpus_read_lock(guard.task());
                    self.hold(inner.task());
                }
                2 => {
                    let mut guard = core.machine.cpus_read_lock(task);
                    let me = core.ground().this_cpu();
                    // It can't wait for itself.
                    let refused = core.machine.cpu_down(guard.task(), me);
                    let holds = matches!(refused, Err(HotplugError::HeldByCaller));
                    core.rules.check(Rule::ReadLock, holds, |rule| core.failure(rule, me));
                }
                _ => {
                    let mut guard = core.machine.cpus_read_lock(task);
                    self.hold(guard.task());
                }
            }
        }
        pulse.ends();
    }

    /// With a deadline that is sometimes too near.
    fn read_in_time(&self, task: &mut Task) {
        let core = self.core;
        let deadline = core.ground().deadline_in(self.rng.below(400_000) as u64);
        match core.machine.cpus_read_lock_until(task, deadline) {
            Some(mut guard) => self.hold(guard.task()),
            None => {
                let holds = core.ground().expired(deadline);
                core.rules.check(Rule::ReadLock, holds, |rule| core.failure(rule, core.ground().this_cpu()));
            }
        }
    }

    fn pass_in_time(&self, task: &mut Task) {
        let core = self.core;
        let deadline = core.ground().deadline_in(self.rng.below(400_000) as u64);
        let passed = core.machine.within(task, deadline, |task| core.machine.quiesce(task));
        let holds = match passed {
            Ok(()) => true,
            Err(error) => matches!(error, StopError::Deadline { .. }) && core.ground().expired(deadline),
        };
        core.rules.check(Rule::Grace, holds, |rule| core.failure(rule, core.ground().this_cpu()));
    }

    /// While it is held nobody comes or goes.
    fn hold(&self, task: &mut Task) {
        let core = self.core;
        core.readers.fetch_add(1, SeqCst);
        let early = || core.ends_early.load(SeqCst);
        let masks = || (core.machine.online().snapshot(), core.machine.active().snapshot());
        let began_early = early();
        let before = masks();
        core.busy_ns(self.rng.below(HOLDS_NS) as u64);
        if self.rng.one_in(8) {
            core.ground().yield_now(task);
        }
        let (after, early) = (masks(), began_early || early());
        let holds = after.0 == before.0 && (early || after.1 == before.1);
        core.readers.fetch_sub(1, SeqCst);
        core.rules.check(Rule::ReadLock, holds, |rule| core.failure(rule, core.ground().this_cpu()));
    }
}

impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    /// A short section, if it can be had at once.
    pub(crate) fn read_briefly(&self, task: &mut Task) {
        if let Some(guard) = self.machine.cpus_read_trylock(task) {
            self.readers.fetch_add(1, SeqCst);
            self.busy_ns(500);
            self.readers.fetch_sub(1, SeqCst);
            drop(guard);
        }
    }

    /// In a callback: the lock is its operation's, and free for it.
    pub(crate) fn read_inside(&self, task: &mut Task, cpu: CpuId) {
        if self.dice(cpu).one_in(4) {
            let free = self.machine.cpus_read_trylock(task).is_some();
            drop(self.machine.cpus_read_lock(task));
            self.rules.check(Rule::ReadLock, free, |rule| self.failure(rule, cpu));
        }
    }
}
