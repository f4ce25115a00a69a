//! The reader of the hotplug lock: short and long, tried, one inside another.

use standstill::HotplugError;
use standstill::context::Task;

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
            match self.rng.below(4) {
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

    /// While it is held nobody comes or goes.
    fn hold(&self, task: &mut Task) {
        let core = self.core;
        let masks = || (core.machine.online().snapshot(), core.machine.active().snapshot());
        let before = masks();
        core.busy_ns(self.rng.below(HOLDS_NS) as u64);
        if self.rng.one_in(8) {
            core.ground().yield_now(task);
        }
        let holds = masks() == before;
        core.rules.check(Rule::ReadLock, holds, |rule| core.failure(rule, core.ground().this_cpu()));
    }
}
