//! The state table: callbacks are added and removed while the machine runs, and failures injected.

use core::panic::Location;
use core::sync::atomic::Ordering::Relaxed;

use super::HotplugError;
use super::state::{Callbacks, Installed, Section, StateId};
use super::walk::Dir;
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
}

impl<P: Memory> Table<P> {
    pub(crate) const fn new() -> Self {
        Table {
            slots: [const { P::Cell::EMPTY }; StateId::COUNT],
            used: [const { P::Word::ZERO }; StateId::COUNT.div_ceil(64)],
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

    fn clear(&self, state: StateId) {
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
    /// Context: thread, and not inside a hotplug callback.
    ///
    /// # Errors
    /// [`Full`](HotplugError::Full), [`Veto`](HotplugError::Veto), [`HeldByCaller`](HotplugError::HeldByCaller);
    /// [`Stuck`](HotplugError::Stuck): a CPU that was given up runs callbacks still, so they may not change.
    #[doc(alias = "cpuhp_setup_state")]
    #[track_caller]
    pub fn add_state(
        &self,
        task: &mut Task,
        name: &'static str,
        callbacks: Callbacks,
    ) -> Result<StateId, HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, task| {
            let state = machine.install(name, callbacks)?;
            let mut done = CpuMask::<W>::EMPTY;
            for cpu in &machine.past(state) {
                if let Err(veto) = machine.call_one(task, cpu, state, Dir::Up) {
                    for undo in (0..N).rev().map(CpuId::new).filter(|cpu| done.contains(*cpu)) {
                        // It was up a moment ago; a teardown that refuses now leaves that CPU as it is.
                        let _ = machine.call_one(task, undo, state, Dir::Down);
                    }
                    machine.hotplug.table.clear(state);
                    return Err(veto.into());
                }
                done.insert(cpu);
            }
            Ok(state)
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
    ) -> Result<StateId, HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, _| machine.install(name, callbacks))
    }

    /// Calls the teardown for each CPU that is past `state`, and removes the callbacks.
    ///
    /// # Errors
    /// [`NotInstalled`](HotplugError::NotInstalled); [`Veto`](HotplugError::Veto): a teardown refused, those that succeeded were
    /// undone, and the callbacks stay. [`HeldByCaller`](HotplugError::HeldByCaller), [`Stuck`](HotplugError::Stuck).
    #[doc(alias = "cpuhp_remove_state")]
    #[track_caller]
    pub fn remove_state(&self, task: &mut Task, state: StateId) -> Result<(), HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, task| {
            machine.nothing_is_loose()?;
            if machine.hotplug.table.get(state).is_none() {
                return Err(HotplugError::NotInstalled(state));
            }
            let mut done = CpuMask::<W>::EMPTY;
            for cpu in &machine.past(state) {
                if let Err(veto) = machine.call_one(task, cpu, state, Dir::Down) {
                    for undo in (0..N).rev().map(CpuId::new).filter(|cpu| done.contains(*cpu)) {
                        // As above.
                        let _ = machine.call_one(task, undo, state, Dir::Up);
                    }
                    return Err(veto.into());
                }
                done.insert(cpu);
            }
            machine.hotplug.table.clear(state);
            Ok(())
        })
    }

    /// As [`remove_state`](Self::remove_state), without any call.
    ///
    /// # Errors
    /// [`NotInstalled`](HotplugError::NotInstalled), [`HeldByCaller`](HotplugError::HeldByCaller), [`Stuck`](HotplugError::Stuck).
    #[doc(alias = "cpuhp_remove_state_nocalls")]
    #[track_caller]
    pub fn remove_state_nocalls(&self, task: &mut Task, state: StateId) -> Result<(), HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, _| {
            machine.nothing_is_loose()?;
            if machine.hotplug.table.get(state).is_none() {
                return Err(HotplugError::NotInstalled(state));
            }
            machine.hotplug.table.clear(state);
            Ok(())
        })
    }

    /// The next walk of `cpu` that comes through `state` fails there once, with code -11 (try again): its callback is not called.
    /// Rollbacks do not count.
    ///
    /// Context: thread, and not inside a hotplug callback.
    ///
    /// # Errors
    /// [`CannotFail`](HotplugError::CannotFail), [`NotBooted`](HotplugError::NotBooted),
    /// [`NoSuchCpu`](HotplugError::NoSuchCpu), [`HeldByCaller`](HotplugError::HeldByCaller).
    #[doc(alias = "fail")]
    #[track_caller]
    pub fn fail_once(&self, task: &mut Task, cpu: CpuId, state: StateId) -> Result<(), HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, _| {
            if !state.can_fail() {
                return Err(HotplugError::CannotFail(state));
            }
            machine.knows(cpu)?;
            machine.emit(|| What::InjectionArmed { who: cpu, state });
            machine.cpu[cpu.index()].hotplug.inject.store(state.index(), Relaxed);
            Ok(())
        })
    }

    /// The name of what is installed in `state`.
    ///
    /// Context: thread; inside a hotplug callback, too.
    #[track_caller]
    pub fn state_name(&self, task: &mut Task, state: StateId) -> Option<&'static str> {
        let locked = self.read_lock(task, Location::caller());
        let name = self.hotplug.table.get(state).map(|installed| installed.name);
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

    fn install(&self, name: &'static str, callbacks: Callbacks) -> Result<StateId, HotplugError> {
        self.nothing_is_loose()?;
        let section = callbacks.section();
        let state = self.hotplug.table.free_slot(section).ok_or(HotplugError::Full(section))?;
        self.hotplug.table.set(state, Installed { name, callbacks });
        Ok(state)
    }

    /// The CPUs that have passed `state`.
    fn past(&self, state: StateId) -> CpuMask<W> {
        // Relaxed: it does not change after the boot.
        self.possible.now().iter().filter(|cpu| self.state(*cpu) >= state).collect()
    }
}
