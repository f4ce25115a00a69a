//! The state table: callbacks are added and removed while the machine runs, and failures injected.

use core::panic::Location;
use core::sync::atomic::Ordering::Relaxed;

use super::HotplugError;
use super::state::{Callbacks, Installed, Owner, Section, StateHandle, StateId, StateKey};
use super::thread::Request;
use super::walk::Dir;
use crate::bound::By;
use crate::context::Task;
use crate::cpu::CpuId;
use crate::event::What;
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{DataCell, Memory, Platform, Word};

/// Callbacks by state.
///
/// # Invariants
/// A slot's cell has been written if its bit in `used` is set. Both change only with the hotplug lock held for writing, and only
/// those who work for its holder read them.
pub(crate) struct Table<P: Memory> {
    slots: [P::Cell<Installed>; StateId::COUNT],
    used: [P::Word; StateId::COUNT.div_ceil(64)],
    /// How many were installed so far: the number of the next one. Under the lock.
    installed: P::Word,
}

impl<P: Memory> Table<P> {
    pub(crate) const fn new() -> Self {
        Table {
            slots: [const { P::Cell::EMPTY }; StateId::COUNT],
            used: [const { P::Word::ZERO }; StateId::COUNT.div_ceil(64)],
            installed: P::Word::ZERO,
        }
    }

    /// What is installed in `state`. For whoever works for the holder of the write lock.
    pub(super) fn get(&self, state: StateId) -> Option<Installed> {
        let used = self.used[state.index() / 64].load(Relaxed) & 1 << (state.index() % 64) != 0;
        // SAFETY: written, by the type's invariant; and nobody writes, as the caller works for the one that could. The lock, the
        // mailbox or the start handshake order that write before this read.
        used.then(|| unsafe { self.slots[state.index()].read() })
    }

    fn set(&self, state: StateId, installed: Installed) {
        // SAFETY: the caller holds the lock for writing, and nobody works for it at the moment.
        unsafe { self.slots[state.index()].write(installed) };
        self.used[state.index() / 64].fetch_or(1 << (state.index() % 64), Relaxed);
    }

    pub(super) fn clear(&self, state: StateId) {
        self.used[state.index() / 64].fetch_and(!(1 << (state.index() % 64)), Relaxed);
    }

    fn free_slot(&self, section: Section) -> Option<StateId> {
        section.states().find(|state| self.get(*state).is_none())
    }
}

impl Section {
    /// The states of this section, ascending.
    pub fn states(self) -> impl DoubleEndedIterator<Item = StateId> {
        let (first, count) = self.span();
        (usize::from(first)..usize::from(first) + count).filter_map(StateId::from_index)
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Installs callbacks in the lowest free state of their section, and calls the startup for each CPU that is past that state
    /// already. If one of them refuses, those that succeeded are undone in reverse order and nothing is installed.
    ///
    /// A STARTING callback for a CPU that is online already runs on that CPU's hotplug thread with interrupts off.
    ///
    /// Before the [boot](Self::boot), the CPU that will boot counts as past each state: its startup runs
    /// in place, in the calling thread. A machine that is moved between this and its boot forgets the
    /// handle.
    ///
    /// Context: thread, and not inside a hotplug callback.
    ///
    /// # Errors
    /// [`Full`](HotplugError::Full), [`HeldByCaller`](HotplugError::HeldByCaller);
    /// [`Veto`](HotplugError::Veto): nothing is installed. [`RollbackFailed`](HotplugError::RollbackFailed):
    /// nor then, and one CPU that had been set up refused to be torn down.
    /// [`Deadline`](HotplugError::Deadline), [`Cancelled`](HotplugError::Cancelled): nor then.
    /// [`Stuck`](HotplugError::Stuck), [`Hung`](HotplugError::Hung): a CPU that was given up runs callbacks
    /// still, so they may not change. If it is this startup that hangs, its CPU tears it down as soon as it
    /// has returned, and nothing is installed then.
    #[doc(alias = "cpuhp_setup_state")]
    #[track_caller]
    pub fn add_state(
        &self,
        task: &mut Task,
        name: &'static str,
        callbacks: Callbacks,
    ) -> Result<StateHandle, HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, task, by| {
            let added = machine.install(name, callbacks)?;
            match machine.call_each(task, added.id, Dir::Up, by) {
                Ok(()) => Ok(added),
                // A CPU on which they hang needs them still, and takes them out itself.
                Err(error @ HotplugError::Hung { .. }) if machine.nothing_is_loose().is_err() => Err(error),
                Err(error) => {
                    machine.uninstall(added.id);
                    Err(error)
                }
            }
        })
    }

    /// As [`add_state`](Self::add_state), without a call for the CPUs that are past that state.
    ///
    /// # Errors
    /// [`Full`](HotplugError::Full), [`HeldByCaller`](HotplugError::HeldByCaller), [`Stuck`](HotplugError::Stuck).
    #[doc(alias = "cpuhp_setup_state_nocalls")]
    #[track_caller]
    pub fn add_state_nocalls(
        &self,
        task: &mut Task,
        name: &'static str,
        callbacks: Callbacks,
    ) -> Result<StateHandle, HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, _, _| machine.install(name, callbacks))
    }

    /// Calls the teardown for each CPU that is past the state, and removes the callbacks. A failure that
    /// was injected there is forgotten.
    ///
    /// # Errors
    /// [`NotInstalled`](HotplugError::NotInstalled): it was removed before, whoever has its state now.
    /// [`Veto`](HotplugError::Veto): a teardown refused, those that succeeded were undone, and the
    /// callbacks stay. [`RollbackFailed`](HotplugError::RollbackFailed): they stay, and one CPU that had
    /// been torn down refused to be set up again.
    /// [`Deadline`](HotplugError::Deadline), [`Cancelled`](HotplugError::Cancelled),
    /// [`Hung`](HotplugError::Hung): they stay; a CPU whose teardown hangs sets itself up again when it
    /// has returned. [`HeldByCaller`](HotplugError::HeldByCaller), [`Stuck`](HotplugError::Stuck).
    #[doc(alias = "cpuhp_remove_state")]
    #[track_caller]
    pub fn remove_state(&self, task: &mut Task, handle: StateHandle) -> Result<(), HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, task, by| {
            let state = machine.may_remove(handle)?;
            machine.call_each(task, state, Dir::Down, by)?;
            machine.uninstall(state);
            Ok(())
        })
    }

    /// As [`remove_state`](Self::remove_state), without any call.
    ///
    /// # Errors
    /// [`NotInstalled`](HotplugError::NotInstalled), [`HeldByCaller`](HotplugError::HeldByCaller), [`Stuck`](HotplugError::Stuck).
    #[doc(alias = "cpuhp_remove_state_nocalls")]
    #[track_caller]
    pub fn remove_state_nocalls(&self, task: &mut Task, handle: StateHandle) -> Result<(), HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, _, _| {
            let state = machine.may_remove(handle)?;
            machine.uninstall(state);
            Ok(())
        })
    }

    /// The next walk of `cpu` that comes through `state` fails there once, with code -11 (try again): its callback is not called.
    /// Rollbacks do not count. A place may be armed that has no callback; a handle has to be installed.
    ///
    /// Context: thread, and not inside a hotplug callback.
    ///
    /// # Errors
    /// [`CannotFail`](HotplugError::CannotFail), [`NotInstalled`](HotplugError::NotInstalled),
    /// [`NotBooted`](HotplugError::NotBooted),
    /// [`NoSuchCpu`](HotplugError::NoSuchCpu), [`HeldByCaller`](HotplugError::HeldByCaller).
    #[doc(alias = "fail")]
    #[track_caller]
    pub fn fail_once(
        &self,
        task: &mut Task,
        cpu: CpuId,
        state: impl Into<StateKey>,
    ) -> Result<(), HotplugError> {
        let key = state.into();
        self.with_write_lock(task, Location::caller(), |machine, _, _| {
            let state = key.id;
            if !state.can_fail() {
                return Err(HotplugError::CannotFail(state));
            }
            machine.knows(cpu)?;
            if key.owner.is_some() && machine.meant(key).is_none() {
                return Err(HotplugError::NotInstalled(state));
            }
            machine.emit(|| What::InjectionArmed { who: cpu, state });
            machine.cpu[cpu.index()].hotplug.inject.store(state.index(), Relaxed);
            Ok(())
        })
    }

    /// Takes back what [`fail_once`](Self::fail_once) asked for, and returns the state if no walk has met it.
    ///
    /// Context: thread, and not inside a hotplug callback.
    ///
    /// # Errors
    /// [`NoSuchCpu`](HotplugError::NoSuchCpu), [`HeldByCaller`](HotplugError::HeldByCaller).
    #[track_caller]
    pub fn forget_failure(&self, task: &mut Task, cpu: CpuId) -> Result<Option<StateId>, HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, _, _| {
            machine.knows(cpu)?;
            let inject = &machine.cpu[cpu.index()].hotplug.inject;
            // Relaxed: as in `struck`, the lock orders all that use it.
            let armed = StateId::from_index(inject.load(Relaxed)).filter(|state| state.can_fail());
            if let Some(state) = armed {
                machine.disarm(cpu, state);
            }
            Ok(armed)
        })
    }

    /// The name of what is installed in `state`; of a handle, if that is what is installed.
    ///
    /// Context: thread; inside a hotplug callback, too.
    #[track_caller]
    pub fn state_name(&self, task: &mut Task, state: impl Into<StateKey>) -> Option<&'static str> {
        let key = state.into();
        let locked = self.read_lock(task, Location::caller());
        let name = self.meant(key).map(|installed| installed.name);
        if locked {
            self.read_unlock(task);
        }
        name
    }

    /// Does an injected failure strike `who` in `state`? Once.
    pub(super) fn struck(&self, who: CpuId, state: StateId) -> bool {
        let inject = &self.cpu[who.index()].hotplug.inject;
        // Relaxed: as with the table, the lock and the mailbox order all that use it.
        inject.load(Relaxed) == state.index() && inject.swap(0, Relaxed) == state.index()
    }

    fn install(&self, name: &'static str, callbacks: Callbacks) -> Result<StateHandle, HotplugError> {
        self.nothing_is_loose()?;
        let section = callbacks.section();
        let table = &self.hotplug.table;
        let id = table.free_slot(section).ok_or(HotplugError::Full(section))?;
        // Relaxed: the lock orders all that use it.
        let number = table.installed.fetch_add(1, Relaxed);
        table.set(id, Installed { name, callbacks, number });
        Ok(StateHandle { id, owner: Owner { machine: self.address(), number } })
    }

    /// What `key` means, if it is installed.
    fn meant(&self, key: StateKey) -> Option<Installed> {
        let is_it = |installed: &Installed| {
            let owner = Owner { machine: self.address(), number: installed.number };
            key.owner.is_none_or(|wanted| wanted == owner)
        };
        self.hotplug.table.get(key.id).filter(is_it)
    }

    fn may_remove(&self, handle: StateHandle) -> Result<StateId, HotplugError> {
        self.nothing_is_loose()?;
        match self.meant(handle.into()) {
            Some(_) => Ok(handle.id),
            None => Err(HotplugError::NotInstalled(handle.id)),
        }
    }

    /// Empties the slot. Who gets it next has nothing to do with a failure that was armed for this one.
    pub(super) fn uninstall(&self, state: StateId) {
        self.hotplug.table.clear(state);
        for (index, cpu) in self.cpu.iter().enumerate() {
            // Relaxed: as in `struck`.
            if cpu.hotplug.inject.load(Relaxed) == state.index() {
                self.disarm(CpuId::new(index), state);
            }
        }
    }

    fn disarm(&self, who: CpuId, state: StateId) {
        self.emit(|| What::InjectionDropped { who, state });
        // No walk passes OFFLINE: nothing is armed any more. Relaxed: as in `struck`.
        self.cpu[who.index()].hotplug.inject.store(StateId::OFFLINE.index(), Relaxed);
    }

    /// Calls the callback of `state` for each CPU that is past it. If one refuses, or does not return in time,
    /// those before it are undone in reverse order.
    fn call_each(
        &self,
        task: &mut Task,
        state: StateId,
        dir: Dir,
        by: By<'_, P>,
    ) -> Result<(), HotplugError> {
        let mut done = CpuMask::<W>::EMPTY;
        for cpu in &self.past(state) {
            let Err(first) = self.call_one(task, cpu, Request::One(state, dir), by) else {
                done.insert(cpu);
                continue;
            };
            let mut error = first;
            for undo in (0..N).rev().map(CpuId::new).filter(|cpu| done.contains(*cpu)) {
                match self.call_one(task, undo, Request::Undo(state, dir.back()), by.patient()) {
                    // One that hangs is named before one that refuses: nothing can change until it returns.
                    Err(HotplugError::Veto { cpu, state, name, reason }) => {
                        if !matches!(error, HotplugError::Hung { .. }) {
                            error =
                                HotplugError::RollbackFailed { cpu, state, name, reason, first: first.why() };
                        }
                    }
                    Err(second) => error = second,
                    Ok(()) => {}
                }
            }
            return Err(error);
        }
        Ok(())
    }

    /// The CPUs that have passed `state`.
    fn past(&self, state: StateId) -> CpuMask<W> {
        if !self.is_booted() {
            return CpuMask::of(self.platform.this_cpu());
        }
        // Relaxed: it does not change after the boot.
        self.possible.now().iter().filter(|cpu| self.state(*cpu) >= state).collect()
    }
}
