//! What the on/off thread does besides down and up: it is the only one that operates, so it knows what has to come of it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use standstill::context::{IrqOff, Task};
use standstill::hotplug::{
    Callbacks, DeadCallback, IrqOffCallback, Reason, Section, StateId, ThreadCallback,
};
use standstill::{CpuId, CpuMask, HotplugError};

use crate::algebra;
use crate::ground::Ground;
use crate::rng::Rng;
use crate::rules::Rule;
use crate::shared::Core;
use crate::states::Op;

/// Nobody, in [`Counter::refuses`].
const NOBODY: usize = usize::MAX;
/// How a callback that is added refuses.
const NO: Reason = Reason { code: -2, text: "the torture refuses to be added" };
/// How often an operation is tried that a callback may refuse.
const TRIES: usize = 100;

/// How often the callbacks that come and go were called for each CPU, up and down.
pub(crate) struct Counter {
    calls: Vec<[AtomicU32; 2]>,
    /// The CPU whose startup refuses.
    refuses: AtomicUsize,
}

impl Counter {
    pub(crate) fn leak(cpus: usize) -> &'static Self {
        let calls = (0..cpus).map(|_| [const { AtomicU32::new(0) }; 2]).collect();
        Box::leak(Box::new(Counter { calls, refuses: AtomicUsize::new(NOBODY) }))
    }

    fn called(&self, cpu: CpuId, up: bool) -> Result<(), Reason> {
        self.calls[cpu.index()][usize::from(!up)].fetch_add(1, Relaxed);
        if up && self.refuses.load(Relaxed) == cpu.index() { Err(NO) } else { Ok(()) }
    }

    /// From now on counted from zero, and the startup for `refuses` refuses.
    fn begin(&self, refuses: Option<CpuId>) {
        for [up, down] in &self.calls {
            up.store(0, Relaxed);
            down.store(0, Relaxed);
        }
        self.refuses.store(refuses.map_or(NOBODY, CpuId::index), Relaxed);
    }

    /// Was each startup and each teardown called as often as `wanted` says?
    fn were(&self, wanted: impl Fn(CpuId) -> [u32; 2]) -> bool {
        let all = self.calls.iter().enumerate();
        all.map(|(cpu, calls)| (CpuId::new(cpu), calls))
            .all(|(cpu, [up, down])| [up.load(Relaxed), down.load(Relaxed)] == wanted(cpu))
    }
}

/// The callbacks of each section, which count.
pub(crate) fn passing(counter: &'static Counter) -> [Callbacks; 3] {
    let thread = |up| -> &'static ThreadCallback {
        Box::leak(Box::new(move |_: &mut Task, cpu| counter.called(cpu, up)))
    };
    // What can't fail has nobody to tell.
    let off = |up| -> &'static IrqOffCallback {
        Box::leak(Box::new(move |_: &IrqOff<'_>, cpu| {
            let _ = counter.called(cpu, up);
        }))
    };
    let dead: &'static DeadCallback = Box::leak(Box::new(move |_: &mut Task, cpu| {
        let _ = counter.called(cpu, false);
    }));
    [
        Callbacks::Prepare { up: Some(thread(true)), dead: Some(dead) },
        Callbacks::Starting { starting: Some(off(true)), dying: Some(off(false)) },
        Callbacks::Online { up: Some(thread(true)), down: Some(thread(false)) },
    ]
}

impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    /// One of the dances, if there is a CPU for it.
    pub(crate) fn dance(&self, task: &mut Task, cpu: CpuId, rng: &Rng) {
        let agree = algebra::agrees(rng);
        self.rules.check(Rule::Masks, agree, |rule| self.failure(rule, self.ground().this_cpu()));
        // The last one that is active stays so.
        let others = self.machine.active().snapshot().len() > 1;
        match rng.below(4) {
            0 if others => self.half_down(task, cpu, rng),
            1 => self.add_and_remove(task, rng),
            2 => self.disabled(task, cpu),
            3 => self.unplug(task),
            _ => {}
        }
    }

    fn expect(&self, rule: Rule, holds: bool, cpu: CpuId) {
        self.rules.check(rule, holds, |rule| self.failure(rule, cpu));
    }

    fn is_at(&self, cpu: CpuId, state: StateId) -> bool {
        let machine = self.machine;
        machine.state(cpu) == state
            && machine.online().contains(cpu) == (state >= StateId::AP_ONLINE)
            && machine.active().contains(cpu) == (state == StateId::ACTIVE)
    }

    /// `cpu` goes down to a state where it stays online, rests there, and comes back.
    fn half_down(&self, task: &mut Task, cpu: CpuId, rng: &Rng) {
        let online = || Section::Online.states().chain([StateId::AP_ONLINE]);
        let Some(target) = online().nth(rng.below(online().count())) else { return };
        self.moves.step();
        self.states.set_op(Op::Down);
        let down = self.machine.cpu_down_to(task, cpu, target);
        let vetoed = self.was_vetoed(cpu, None, down);
        let rests = if down.is_ok() { target } else { StateId::ACTIVE };
        self.expect(Rule::Masks, self.is_at(cpu, rests) && (down.is_ok() || vetoed), cpu);
        for _ in 0..TRIES {
            self.states.set_op(Op::Up);
            let up = self.machine.cpu_up(task, cpu);
            let vetoed = self.was_vetoed(cpu, None, up);
            let rests = if up.is_ok() { StateId::ACTIVE } else { rests };
            self.expect(Rule::Masks, self.is_at(cpu, rests) && (up.is_ok() || vetoed), cpu);
            if up.is_ok() {
                break;
            }
        }
        self.states.set_op(Op::None);
        self.moves.step();
    }

    /// Callbacks are added, with or without calls, or refuse to be; and removed.
    fn add_and_remove(&self, task: &mut Task, rng: &Rng) {
        let machine = self.machine;
        let callbacks = self.passing[rng.below(3)];
        let section = callbacks.section();
        let at_home = |state: StateId| -> CpuMask<W> {
            machine.possible().snapshot().iter().filter(|cpu| machine.state(*cpu) >= state).collect()
        };
        // All states of a section are passed together in calm, but for CPUs that rest in the middle, and none does.
        let Some(some) = section.states().next() else { return };
        let past = at_home(some);
        let here = self.ground().this_cpu();
        let calls = !rng.one_in(4);
        let may_refuse = calls && section != Section::Starting && !past.is_empty();
        let refuses = (may_refuse && rng.one_in(3)).then(|| past.iter().nth(rng.below(past.len()))).flatten();
        self.counter.begin(refuses);
        let added = if calls {
            machine.add_state(task, "torture/passing", callbacks)
        } else {
            machine.add_state_nocalls(task, "torture/passing", callbacks)
        };
        let once = |cpu: CpuId| u32::from(calls && past.contains(cpu));
        match (added, refuses) {
            (Err(error), Some(who)) => {
                let told = error.reason() == Some(NO);
                // Those before it are undone; it refused, and nobody behind it was asked.
                let fits = self.counter.were(|cpu| {
                    let asked = past.contains(cpu) && cpu <= who;
                    [u32::from(asked), u32::from(asked && cpu < who)]
                });
                self.expect(Rule::Callbacks, told && fits, who);
            }
            (Ok(handle), None) => {
                self.expect(Rule::Callbacks, self.counter.were(|cpu| [once(cpu), 0]), here);
                let named = machine.state_name(task, handle) == Some("torture/passing");
                let removed = if calls {
                    machine.remove_state(task, handle)
                } else {
                    machine.remove_state_nocalls(task, handle)
                };
                let fits = self.counter.were(|cpu| [once(cpu), once(cpu)]);
                let gone = machine.state_name(task, handle).is_none()
                    && matches!(machine.remove_state(task, handle), Err(HotplugError::NotInstalled(_)));
                self.expect(Rule::Callbacks, named && removed.is_ok() && fits && gone, here);
            }
            (added, _) => {
                self.expect(Rule::Callbacks, false, here);
                if let Ok(handle) = added {
                    // It was to refuse and did not.
                    let _ = machine.remove_state(task, handle);
                }
            }
        }
    }

    /// Nobody comes or goes while hotplug is disabled, and each disable needs an enable.
    fn disabled(&self, task: &mut Task, cpu: CpuId) {
        let machine = self.machine;
        let masks = || (machine.online().snapshot(), machine.active().snapshot());
        let before = masks();
        let offline = machine.present().snapshot().without(&before.0).first();
        let mut disabled = machine.hotplug_disable(task).is_ok() && machine.hotplug_disable(task).is_ok();
        for _ in 0..2 {
            disabled &= matches!(machine.cpu_down(task, cpu), Err(HotplugError::Disabled));
            if let Some(offline) = offline {
                disabled &= matches!(machine.cpu_up(task, offline), Err(HotplugError::Disabled));
            }
            disabled &= machine.hotplug_enable(task).is_ok();
        }
        self.expect(Rule::Veto, disabled, cpu);
        self.expect(Rule::Masks, masks() == before, cpu);
    }

    /// A CPU that is up can't be unplugged, and one that is not there does not come up.
    fn unplug(&self, task: &mut Task) {
        let machine = self.machine;
        let online = machine.online().snapshot();
        if let Some(up) = online.last() {
            let stays = matches!(machine.set_present(task, up, false), Err(HotplugError::StillUp(_)));
            self.expect(Rule::Veto, stays && machine.present().contains(up), up);
        }
        let Some(gone) = machine.present().snapshot().without(&online).last() else { return };
        let holds = machine.set_present(task, gone, false).is_ok()
            && !machine.present().contains(gone)
            && matches!(machine.cpu_up(task, gone), Err(HotplugError::NotPresent(_)))
            && machine.set_present(task, gone, true).is_ok()
            && machine.present().contains(gone);
        self.expect(Rule::Veto, holds && machine.online().snapshot() == online, gone);
    }
}
