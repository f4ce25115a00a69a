//! What the on/off thread does besides down and up: it is the only one that operates, so it knows what has to come of it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use standstill::context::{IrqOff, Pinned, Task};
pub(crate) use standstill::hotplug::Section;
use standstill::hotplug::{Callbacks, DeadCallback, IrqOffCallback, Reason, StateId, ThreadCallback};
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
        match rng.below(9) {
            0 if others => self.half_down(task, cpu, rng),
            1 => self.add_and_remove(task, rng, false),
            2 => self.disabled(task, cpu),
            3 => self.unplug(task),
            4 if others => self.rest_in_added(task, cpu),
            5 if others => self.refuse_in_run(task, cpu, rng.one_in(2)),
            6 => self.nowhere_to_go(task),
            7 if others => self.early_end(task, cpu, rng),
            8 => self.no_failure_for_dead(task, rng),
            _ => {}
        }
    }

    pub(crate) fn expect(&self, rule: Rule, holds: bool, cpu: CpuId) {
        self.rules.check(rule, holds, |rule| self.failure(rule, cpu));
    }

    pub(crate) fn is_at(&self, cpu: CpuId, state: StateId) -> bool {
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
        self.states.set_op(Op::None);
        if down.is_ok() && rng.one_in(2) {
            self.add_and_remove(task, rng, true);
        }
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
    /// `rests`: a CPU is half-way down, so that it has passed some of the states and not all.
    fn add_and_remove(&self, task: &mut Task, rng: &Rng, rests: bool) {
        let machine = self.machine;
        let callbacks = self.passing[rng.below(3)];
        let section = callbacks.section();
        let at_home = |state: StateId| -> CpuMask<W> {
            machine.possible().snapshot().iter().filter(|cpu| machine.state(*cpu) >= state).collect()
        };
        // All states of a section are passed together in calm, but for a CPU that rests.
        let Some(some) = section.states().next() else { return };
        let all_past = at_home(some);
        let here = self.ground().this_cpu();
        let calls = !rng.one_in(4);
        let may_refuse = calls && section != Section::Starting && !all_past.is_empty() && !rests;
        let refuses =
            (may_refuse && rng.one_in(3)).then(|| all_past.iter().nth(rng.below(all_past.len()))).flatten();
        self.counter.begin(refuses);
        let added = if calls {
            machine.add_state(task, "torture/passing", callbacks)
        } else {
            machine.add_state_nocalls(task, "torture/passing", callbacks)
        };
        let past = added.map_or(all_past, |handle| at_home(handle.id()));
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
                let armed =
                    !calls && section != Section::Starting && machine.fail_once(task, here, handle).is_ok();
                let removed = if calls {
                    machine.remove_state(task, handle)
                } else {
                    machine.remove_state_nocalls(task, handle)
                };
                let fits = self.counter.were(|cpu| [once(cpu), once(cpu)]);
                let gone = machine.state_name(task, handle).is_none()
                    && matches!(machine.remove_state(task, handle), Err(HotplugError::NotInstalled(_)));
                self.expect(Rule::Callbacks, named && removed.is_ok() && fits && gone, here);
                // A failure goes with the state that it was for.
                self.expect(Rule::Veto, !armed || machine.forget_failure(task, here) == Ok(None), here);
            }
            (Err(HotplugError::Full(which)), _) => {
                self.expect(Rule::Callbacks, which == section && self.is_full(task, section), here);
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

    /// Others may have filled the table before the torture began.
    fn is_full(&self, task: &mut Task, section: Section) -> bool {
        section.states().all(|state| self.machine.state_name(task, state).is_some())
    }

    /// A state is removed while a CPU rests in that very state: it is undone there, too.
    fn rest_in_added(&self, task: &mut Task, cpu: CpuId) {
        let machine = self.machine;
        self.counter.begin(None);
        let handle = match machine.add_state(task, "torture/resting", self.passing[2]) {
            Ok(handle) => handle,
            Err(error) => {
                let full = error == HotplugError::Full(Section::Online);
                return self.expect(Rule::Callbacks, full && self.is_full(task, Section::Online), cpu);
            }
        };
        self.moves.step();
        let down = machine.cpu_down_to(task, cpu, handle.id());
        self.expect(Rule::Masks, down.is_ok() && self.is_at(cpu, handle.id()), cpu);
        let others = machine.active().snapshot();
        let there = |who: CpuId| u32::from(who == cpu || others.contains(who));
        let removed = machine.remove_state(task, handle);
        let fits = self.counter.were(|who| [there(who), there(who)]);
        self.expect(Rule::Callbacks, removed.is_ok() && fits, cpu);
        let up = machine.cpu_up(task, cpu);
        self.expect(Rule::Masks, up.is_ok() && self.is_at(cpu, StateId::ACTIVE), cpu);
        self.moves.step();
        // One that is up and not active rests nowhere between two operations.
        self.expect(Rule::Callbacks, self.counter.were(|who| [there(who), there(who)]), cpu);
    }

    /// A CPU that refuses at the last moment stays as it was, and the next time it leaves.
    fn refuse_in_run(&self, task: &mut Task, cpu: CpuId, line: bool) {
        let keep = |kept| {
            if line { self.ground().keep_line(cpu, kept) } else { self.ground().keep_busy(cpu, kept) }
        };
        if !keep(true) {
            return;
        }
        self.announce(Some(cpu));
        self.moves.step();
        let down = self.machine.cpu_down(task, cpu);
        self.moves.step();
        self.announce(None);
        let refused = match down {
            Err(HotplugError::Lines { cpu: who, .. }) => line && who == cpu,
            Err(HotplugError::Occupied { cpu: who, .. }) => !line && who == cpu,
            _ => false,
        };
        self.expect(Rule::Veto, refused, cpu);
        self.expect(Rule::Masks, self.is_at(cpu, StateId::ACTIVE), cpu);
        keep(false);
        // It takes calls again, and works.
        let called = self.machine.call_single(task, cpu, &|_: &IrqOff<'_>| ());
        let worked = self.machine.stop_one_cpu(task, cpu, &|_: &mut Pinned<'_>| 7);
        self.expect(Rule::Taken, called.is_ok() && worked.is_ok_and(|value| value == 7), cpu);
    }

    /// Operations that have nothing to do do nothing, and those that can't be are refused.
    fn nowhere_to_go(&self, task: &mut Task) {
        let machine = self.machine;
        let (online, active) = (machine.online().snapshot(), machine.active().snapshot());
        let possible = machine.possible().snapshot();
        // Two sets of states have the same sum hardly ever.
        let sum =
            || possible.iter().map(|cpu| machine.state(cpu).index() << (cpu.index() % 50)).sum::<usize>();
        let before = sum();
        let mut holds = true;
        if let Some(up) = active.first() {
            holds &= machine.cpu_up(task, up).is_ok()
                && machine.cpu_up_to(task, up, StateId::AP_ONLINE).is_ok()
                && machine.cpu_up_to(task, up, StateId::OFFLINE).is_ok()
                && machine.cpu_down_to(task, up, StateId::ACTIVE).is_ok();
            let middle = [Some(StateId::BRINGUP), Section::Starting.states().next()];
            for state in middle.into_iter().flatten() {
                let refused = |result| matches!(result, Err(HotplugError::NotARestState(at)) if at == state);
                holds &= refused(machine.cpu_down_to(task, up, state))
                    && refused(machine.cpu_up_to(task, up, state));
            }
            if online.len() == 1 {
                holds &=
                    matches!(machine.cpu_down(task, up), Err(HotplugError::LastOnline(who)) if who == up);
            }
        }
        if let Some(down) = machine.present().snapshot().without(&online).first() {
            holds &= machine.cpu_down(task, down).is_ok()
                && machine.cpu_down_to(task, down, StateId::AP_ONLINE).is_ok()
                && machine.cpu_up_to(task, down, StateId::OFFLINE).is_ok();
        }
        self.expect(Rule::Veto, holds, self.ground().this_cpu());
        self.expect(Rule::Masks, before == sum(), self.ground().this_cpu());
    }

    /// A failure in a PREPARE state does not strike on the way down, where nothing can fail, and is still there after.
    fn no_failure_for_dead(&self, task: &mut Task, rng: &Rng) {
        let machine = self.machine;
        let Some([prepare, starting, _]) = self.states.installed.get() else { return };
        let online = machine.online().snapshot();
        if machine.active().snapshot().len() < 2 || online.is_empty() {
            return;
        }
        let Some(cpu) = online.iter().nth(rng.below(online.len())) else { return };
        let never = machine.fail_once(task, cpu, *starting);
        let armed = machine.fail_once(task, cpu, *prepare);
        self.moves.step();
        let down = machine.cpu_down(task, cpu);
        let kept = machine.forget_failure(task, cpu);
        let holds = matches!(never, Err(HotplugError::CannotFail(_))) && armed.is_ok() && down.is_ok();
        self.expect(Rule::Veto, holds && kept == Ok(Some(prepare.id())), cpu);
        self.expect(Rule::Masks, self.is_at(cpu, StateId::OFFLINE), cpu);
        self.moves.step();
    }
}
