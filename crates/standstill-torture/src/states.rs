//! Callbacks on hotplug's states: they check where and in which order they are called, and now and then refuse.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{
    AtomicBool, AtomicU8,
    Ordering::{Relaxed, SeqCst},
};

use standstill::context::{IrqOff, Task};
use standstill::hotplug::{Callbacks, DeadCallback, IrqOffCallback, Reason, StateHandle, ThreadCallback};
use standstill::{CpuId, HotplugError, Machine};

use crate::ground::Ground;
use crate::once::Once;
use crate::rng::Rng;
use crate::rules::Rule;
use crate::shared::{Core, Other};

/// How a callback of the torture refuses.
pub(crate) const REFUSAL: Reason = Reason { code: -1, text: "the torture refuses, to see it undone" };
/// The code of an injected failure.
pub(crate) const INJECTED: i32 = -11;
/// One in how many operations is made to fail, in each of the two ways.
const ONE_IN: usize = 32;

/// The three sections of the state table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Section {
    Prepare,
    Starting,
    Online,
}

/// What the on/off thread is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Op {
    /// Installing or removing callbacks, or ending: nothing refuses, and callbacks of STARTING run on CPUs that are online.
    None,
    Up,
    Down,
}

/// What the callbacks share with the on/off thread.
pub(crate) struct States {
    /// For each CPU: which sections have been started and not been undone.
    up: Vec<[AtomicBool; 3]>,
    op: AtomicU8,
    /// For each CPU: a callback for it refused the operation that runs.
    refused: Vec<AtomicBool>,
    /// The states that an operation can be made to fail in: PREPARE's and ONLINE's.
    pub(crate) installed: Once<[StateHandle; 3]>,
}

impl States {
    pub(crate) fn new(cpus: usize) -> Self {
        States {
            up: (0..cpus).map(|_| [const { AtomicBool::new(false) }; 3]).collect(),
            op: AtomicU8::new(Op::None as u8),
            refused: (0..cpus).map(|_| AtomicBool::new(false)).collect(),
            installed: Once::new(),
        }
    }

    /// The on/off thread begins `op`, or has ended it.
    pub(crate) fn set_op(&self, op: Op) {
        for refused in &self.refused {
            refused.store(false, Relaxed);
        }
        self.op.store(op as u8, Relaxed);
    }

    /// Did a callback for `cpu` refuse the operation?
    pub(crate) fn refused(&self, cpu: CpuId) -> bool {
        self.refused[cpu.index()].load(Relaxed)
    }

    /// As if a callback had been called for `cpu` that nobody undoes.
    #[cfg(test)]
    pub(crate) fn leave_up(&self, cpu: CpuId) {
        self.up[cpu.index()][Section::Online as usize].store(true, Relaxed);
    }

    fn is_op(&self, op: Op) -> bool {
        self.op.load(Relaxed) == op as u8
    }
}

impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    /// A callback of `section` is called for `cpu`, going up or down. Where and when it should be, and once in each direction.
    fn called(&self, section: Section, cpu: CpuId, up: bool) {
        // An operation on many CPUs gets on with each of them.
        self.pulse(Other::OnOff).beat();
        let here = self.ground().this_cpu();
        let online = self.machine.online().contains(cpu);
        let irqs_on = self.ground().irqs_on();
        let between_operations = self.states.is_op(Op::None);
        let place = match section {
            Section::Prepare => between_operations || (here != cpu && !online && irqs_on),
            Section::Starting => here == cpu && !irqs_on && (between_operations || !online),
            Section::Online => here == cpu && online && irqs_on,
        };
        let read = self.readers.load(SeqCst);
        self.rules.check(Rule::ReadLock, between_operations || read == 0, |rule| self.failure(rule, cpu));
        let in_turn = self.states.up[cpu.index()][section as usize].swap(up, Relaxed) != up;
        self.rules.check(Rule::Callbacks, place && in_turn, |rule| self.failure(rule, cpu));
    }

    /// A callback of ONLINE: refuses now and then, if the operation goes in its direction (a rollback must not fail too).
    fn called_online(&self, cpu: CpuId, up: bool) -> Result<(), Reason> {
        let op = if up { Op::Up } else { Op::Down };
        if self.states.is_op(op) && self.dice(cpu).one_in(ONE_IN) {
            self.states.refused[cpu.index()].store(true, Relaxed);
            return Err(REFUSAL);
        }
        self.called(Section::Online, cpu, up);
        Ok(())
    }

    /// Which failure is to be injected into the next operation, if any.
    pub(crate) fn sabotage(&self, rng: &Rng, op: Op) -> Option<StateHandle> {
        let [prepare, _, online] = *self.states.installed.get()?;
        // On the way down PREPARE's callback is DEAD, which can't fail.
        let state = if op == Op::Up && rng.one_in(2) { prepare } else { online };
        rng.one_in(ONE_IN).then_some(state)
    }

    /// Did the operation on `cpu` fail as it was told to, and with the very words of who made it fail? True if it was.
    pub(crate) fn was_vetoed(
        &self,
        cpu: CpuId,
        injected: Option<StateHandle>,
        result: Result<(), HotplugError>,
    ) -> bool {
        let veto = match result {
            Err(HotplugError::Veto { cpu: who, state, reason, .. }) if who == cpu => Some((state, reason)),
            _ => None,
        };
        let holds = match (injected, self.states.refused(cpu)) {
            (Some(at), _) => veto.is_some_and(|(state, reason)| state == at.id() && reason.code == INJECTED),
            (None, true) => veto.is_some_and(|(_, reason)| reason == REFUSAL),
            (None, false) => veto.is_none(),
        };
        self.rules.check(Rule::Veto, holds, |rule| self.failure(rule, cpu));
        veto.is_some()
    }
}

/// Installs the callbacks, one state in each section. The startup runs for each CPU that is up.
pub(crate) fn install<P: Ground, const N: usize, const W: usize>(
    core: &'static Core<P, N, W>,
    callbacks: &Hooks,
    task: &mut Task,
) {
    let machine: &Machine<P, N, W> = core.machine;
    let mut states = [None; 3];
    let all = [
        ("torture/prepare", callbacks.prepare),
        ("torture/starting", callbacks.starting),
        ("torture/online", callbacks.online),
    ];
    for (state, (name, callbacks)) in states.iter_mut().zip(all) {
        match machine.add_state(task, name, callbacks) {
            Ok(added) => *state = Some(added),
            Err(error) => {
                core.veto.set(error);
                core.rules.check(Rule::Callbacks, false, |rule| core.failure(rule, CpuId::BOOT));
                return;
            }
        }
    }
    if let [Some(prepare), Some(starting), Some(online)] = states {
        core.states.installed.set([prepare, starting, online]);
    }
}

/// Removes them again, in reverse order; then each CPU must have come down as often as it went up.
pub(crate) fn remove<P: Ground, const N: usize, const W: usize>(
    core: &'static Core<P, N, W>,
    task: &mut Task,
) {
    let Some(states) = core.states.installed.get() else { return };
    for state in states.iter().rev() {
        let removed = core.machine.remove_state(task, *state);
        core.rules.check(Rule::Callbacks, removed.is_ok(), |rule| core.failure(rule, CpuId::BOOT));
    }
    for (cpu, sections) in core.states.up.iter().enumerate() {
        let balanced = sections.iter().all(|up| !up.load(Relaxed));
        core.rules.check(Rule::Callbacks, balanced, |rule| core.failure(rule, CpuId::new(cpu)));
    }
}

/// The callbacks, made before the torture begins.
pub(crate) struct Hooks {
    prepare: Callbacks,
    starting: Callbacks,
    online: Callbacks,
}

impl Hooks {
    pub(crate) fn new<P: Ground, const N: usize, const W: usize>(core: &'static Core<P, N, W>) -> Self {
        let prepare: &'static ThreadCallback = Box::leak(Box::new(|task: &mut Task, cpu: CpuId| {
            core.drag(task, Section::Prepare, cpu);
            core.called(Section::Prepare, cpu, true);
            core.read_inside(task, cpu);
            Ok(())
        }));
        let dead: &'static DeadCallback =
            Box::leak(Box::new(|_: &mut Task, cpu: CpuId| core.called(Section::Prepare, cpu, false)));
        let irq_off = |up| -> &'static IrqOffCallback {
            Box::leak(Box::new(move |off: &IrqOff<'_>, cpu| {
                core.called(Section::Starting, cpu, up);
                if up {
                    core.drag(off, Section::Starting, cpu);
                }
                if up {
                    core.stop_from_inactive(off, cpu);
                }
            }))
        };
        let online = |up| -> &'static ThreadCallback {
            Box::leak(Box::new(move |task: &mut Task, cpu| {
                core.drag(task, Section::Online, cpu);
                core.read_inside(task, cpu);
                core.called_online(cpu, up)
            }))
        };
        Hooks {
            prepare: Callbacks::Prepare { up: Some(prepare), dead: Some(dead) },
            starting: Callbacks::Starting { starting: Some(irq_off(true)), dying: Some(irq_off(false)) },
            online: Callbacks::Online { up: Some(online(true)), down: Some(online(false)) },
        }
    }
}
