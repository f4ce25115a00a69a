//! Calling the callbacks of a walk, and undoing them.

use super::HotplugError;
use super::state::{Callbacks, Reason, Section, StateId};
use super::thread::Request;
use crate::bound::By;
use crate::context::{IrqOff, Task};
use crate::cpu::CpuId;
use crate::event::{Outcome, Walk, What};
use crate::machine::Machine;
use crate::platform::Platform;

/// What an injected failure says.
const INJECTED: Reason = Reason { code: -11, text: "a failure was injected here" };

/// Up or down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Dir {
    Up,
    Down,
}

impl Dir {
    pub(super) const fn back(self) -> Dir {
        match self {
            Dir::Up => Dir::Down,
            Dir::Down => Dir::Up,
        }
    }
}

/// Who refused, and why.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Veto {
    pub(super) cpu: CpuId,
    pub(super) state: StateId,
    pub(super) name: &'static str,
    pub(super) reason: Reason,
}

impl From<Veto> for HotplugError {
    fn from(v: Veto) -> Self {
        HotplugError::Veto { cpu: v.cpu, state: v.state, name: v.name, reason: v.reason }
    }
}

/// Why a walk did not get where it should.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Broken {
    /// Undone: the CPU is where the walk began.
    Vetoed(Veto),
    /// Not undone: for this reason it was to be, and the second one refused.
    Twice(Reason, Veto),
}

impl From<Broken> for HotplugError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Vetoed(veto) => veto.into(),
            Broken::Twice(first, v) => HotplugError::RollbackFailed {
                cpu: v.cpu,
                state: v.state,
                name: v.name,
                reason: v.reason,
                first,
            },
        }
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Walks `who` from `from` to `to` within one section that runs in threads, and undoes everything if a callback refuses.
    /// On the control CPU for PREPARE, on `who`'s hotplug thread for ONLINE.
    pub(super) fn walk(&self, task: &mut Task, who: CpuId, from: StateId, to: StateId) -> Result<(), Broken> {
        let (dir, walk, undo) = if to > from {
            (Dir::Up, Walk::Up, Walk::RollbackDown)
        } else {
            (Dir::Down, Walk::Down, Walk::RollbackUp)
        };
        self.steps(task, who, from, to, dir, walk).map_err(|(veto, reached)| {
            match self.steps(task, who, reached, from, dir.back(), undo) {
                Ok(()) => Broken::Vetoed(veto),
                Err((second, _)) => Broken::Twice(veto.reason, second),
            }
        })
    }

    /// Undoes an earlier walk whose callbacks all succeeded, because something after it failed.
    pub(super) fn walk_back(
        &self,
        task: &mut Task,
        who: CpuId,
        from: StateId,
        to: StateId,
    ) -> Result<(), Veto> {
        let (dir, walk) =
            if to > from { (Dir::Up, Walk::RollbackUp) } else { (Dir::Down, Walk::RollbackDown) };
        self.steps(task, who, from, to, dir, walk).map_err(|(veto, _)| veto)
    }

    /// One direction. The state of the CPU moves with each callback that succeeded, so it always says what has to be undone.
    fn steps(
        &self,
        task: &mut Task,
        who: CpuId,
        from: StateId,
        to: StateId,
        dir: Dir,
        walk: Walk,
    ) -> Result<(), (Veto, StateId)> {
        let mut at = from;
        while at != to {
            let (state, after) = match dir {
                Dir::Up => (at.next(), at.next()),
                Dir::Down => (at, at.prev()),
            };
            self.call_in_thread(task, who, state, dir, walk).map_err(|veto| (veto, at))?;
            self.set_state(who, after);
            at = after;
        }
        Ok(())
    }

    /// Calls one callback that runs in a thread, unless an injected failure strikes.
    pub(super) fn call_in_thread(
        &self,
        task: &mut Task,
        who: CpuId,
        state: StateId,
        dir: Dir,
        walk: Walk,
    ) -> Result<(), Veto> {
        let installed = self.hotplug.table.get(state);
        let forward = matches!(walk, Walk::Up | Walk::Down);
        // A DEAD callback can't fail: the CPU is gone.
        let fallible = state.can_fail() && !(dir == Dir::Down && state.section() == Some(Section::Prepare));
        let injected = forward && fallible && self.struck(who, state);
        let name = installed.map_or("(no callback)", |installed| installed.name);
        if installed.is_none() && !injected {
            return Ok(());
        }
        if let (Some(Section::Starting), Some(_)) = (state.section(), installed) {
            // Added or removed while the CPU is online: on its thread, in the context that the callback was written for.
            self.irq_off(task, |off| self.call_irqs_off(off, who, state, name, dir, walk));
            return Ok(());
        }
        self.emit(|| What::StateEnter { who, state, name, walk, irqs_on: self.platform.irqs_on() });
        let result = if injected {
            Err(INJECTED)
        } else {
            let callbacks = installed.map(|installed| installed.callbacks);
            self.naming(who, state, name, walk, || match callbacks {
                Some(Callbacks::Prepare { up: Some(up), .. }) if dir == Dir::Up => up(task, who),
                Some(Callbacks::Online { up: Some(up), .. }) if dir == Dir::Up => up(task, who),
                Some(Callbacks::Online { down: Some(down), .. }) if dir == Dir::Down => down(task, who),
                Some(Callbacks::Prepare { dead: Some(dead), .. }) if dir == Dir::Down => {
                    dead(task, who);
                    Ok(())
                }
                _ => Ok(()),
            })
        };
        let outcome = match (result, injected) {
            (Ok(()), _) => Outcome::Ok,
            (Err(_), true) => Outcome::Injected,
            (Err(_), false) => Outcome::Failed,
        };
        self.emit(|| What::StateLeave { who, state, walk, outcome });
        result.map_err(|reason| Veto { cpu: who, state, name, reason })
    }

    /// STARTING upwards or DYING downwards, on the CPU itself with interrupts off. Can't fail.
    pub(super) fn walk_irqs_off(&self, off: &IrqOff<'_>, me: CpuId, dir: Dir) {
        let walk = |state: StateId| {
            let Some(installed) = self.hotplug.table.get(state) else { return };
            let (name, walk) = (installed.name, if dir == Dir::Up { Walk::Up } else { Walk::Down });
            self.call_irqs_off(off, me, state, name, dir, walk);
        };
        match dir {
            Dir::Up => Section::Starting.states().for_each(walk),
            Dir::Down => Section::Starting.states().rev().for_each(walk),
        }
    }

    fn call_irqs_off(
        &self,
        off: &IrqOff<'_>,
        who: CpuId,
        state: StateId,
        name: &'static str,
        dir: Dir,
        walk: Walk,
    ) {
        self.emit(|| What::StateEnter { who, state, name, walk, irqs_on: self.platform.irqs_on() });
        if let Some(Callbacks::Starting { starting, dying }) =
            self.hotplug.table.get(state).map(|installed| installed.callbacks)
        {
            let callback = if dir == Dir::Up { starting } else { dying };
            if let Some(callback) = callback {
                self.naming(who, state, name, walk, || callback(off, who));
            }
        }
        self.emit(|| What::StateLeave { who, state, walk, outcome: Outcome::Ok });
    }

    /// Calls one callback for a CPU that is past its state, where that callback belongs: here and now, if
    /// there are no hotplug threads yet.
    pub(super) fn call_one(
        &self,
        task: &mut Task,
        who: CpuId,
        request: Request,
        by: By<'_, P>,
    ) -> Result<(), HotplugError> {
        match request {
            Request::One(state, dir) | Request::Undo(state, dir)
                if state.section() == Some(Section::Prepare) || !self.is_booted() =>
            {
                let walk = if dir == Dir::Up { Walk::Up } else { Walk::Down };
                Ok(self.call_in_thread(task, who, state, dir, walk)?)
            }
            _ => self.ask(who, request, by),
        }
    }
}
