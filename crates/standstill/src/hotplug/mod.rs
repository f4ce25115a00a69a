//! CPU hotplug: the states of a CPU, and the way up and down.
//!
//! # Vocabulary
//! The **control** CPU runs the thread that called [`cpu_up`](crate::Machine::cpu_up), [`cpus_up`](crate::Machine::cpus_up) or
//! [`cpu_down`](crate::Machine::cpu_down). An **AP** is a CPU that is coming up, a **dying** CPU one that is going. A **walk** goes through the
//! states one by one and calls their startup or teardown callbacks; a **veto** is a callback that refuses.
//!
//! # Down
//! ```text
//!   control                                       the CPU that goes
//!   leave active, move threads off, one pass
//!   of every stopper                              ONLINE callbacks down, on its hotplug thread
//!   aim lines away, park its threads,
//!   wait until only idle is left
//!   stop-machine, it alone active ──────────────> RUN: (may still refuse: not idle, lines left)
//!                                                      drain, leave online, DYING callbacks,
//!                                                      queue empty, close the stopper
//!   EXIT <──────────────────────────────────────  EXIT: dies, deaf
//!   sees it dead, looks at its queue
//!   DEAD callbacks
//! ```
//! # Up
//! ```text
//!   PREPARE callbacks
//!   KICKED, start ──────────────────────────────> ALIVE (or GIVEN_UP was there first: it dies)
//!                                                 STARTING callbacks, queue empty
//!                                                 ONLINE (or GIVEN_UP was there first), open the stopper,
//!                                                      online bit, interrupts on
//!   unpark its threads, lines back                ONLINE callbacks up, on its hotplug thread
//!   active
//! ```
//! It is not the mirror of down: the stopper opens *before* the online bit is set and closes *after* it is cleared, as who sees
//! the bit may queue a work. Many CPUs can come up together; see `up.rs`.
//!
//! | file | what |
//! |---|---|
//! | `state.rs` | states, sections, callbacks |
//! | `table.rs` | adding and removing callbacks, injecting failures |
//! | `walk.rs` | calling them, and undoing them |
//! | `thread.rs` | the hotplug thread of each CPU |
//! | `down.rs`, `leave.rs` | the way down: control's side, and the dying CPU's |
//! | `up.rs`, `arrive.rs` | the way up: control's side, and the AP's |
//! | `lock.rs` | the reader lock |
//! | `error.rs` | what can be in the way |

mod arrive;
mod down;
mod error;
mod leave;
mod lock;
mod state;
mod table;
mod thread;
mod up;
mod walk;

use core::panic::Location;
use core::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};

use crate::bound::By;
use crate::context::Task;
use crate::cpu::CpuId;
use crate::event::{Sync, What};
use crate::machine::Machine;
use crate::mask::{AtomicCpuMask, CpuMask};
use crate::places::Finder;
use crate::platform::{DataCell, Memory, Platform, Site, WaitContext, WaitFor, Word};
use crate::stall::{Operation, Part};
use lock::HotplugLock;
use table::Table;
use thread::Mailbox;
use walk::Dir;

pub use error::HotplugError;
pub use lock::HotplugRead;
pub use state::{
    Callbacks, DeadCallback, IrqOffCallback, ONLINE_SLOTS, PREPARE_SLOTS, Reason, STARTING_SLOTS, Section,
    StateHandle, StateId, StateKey, ThreadCallback,
};

/// Hotplug's part of the machine.
pub(crate) struct Hotplug<P: Memory, const W: usize> {
    pub(crate) lock: HotplugLock<P>,
    /// Written with the lock held for writing, read by whoever works for that writer.
    table: Table<P>,
    /// How many times hotplug is disabled. Under the lock.
    disabled: P::Word,
    /// The CPUs that were given up while they ran callbacks, and still do.
    pub(crate) loose: AtomicCpuMask<P, W>,
    /// What the operation under way waits for, for reports.
    pub(crate) operation: Operation<P>,
}

impl<P: Memory, const W: usize> Hotplug<P, W> {
    pub(crate) const fn new() -> Self {
        Hotplug {
            lock: HotplugLock::new(),
            table: Table::new(),
            disabled: P::Word::ZERO,
            loose: AtomicCpuMask::new(),
            operation: Operation::new(),
        }
    }
}

/// Hotplug's part of one CPU.
pub(crate) struct HotplugCpu<P: Memory> {
    /// Readers of the hotplug lock that locked here, less those that unlocked here.
    readers: P::Word,
    /// The last state that was reached completely.
    state: P::Word,
    /// The state in which the operation found it. The control CPU's own, under the lock; read by the CPU's hotplug thread.
    began: P::Word,
    /// (incarnation, [`Sync`]).
    sync: P::Word,
    /// The state whose next callback is not called but fails; 0: none.
    inject: P::Word,
    /// Why the CPU refused to leave, in RUN; or why it could not be started.
    refusal: P::Cell<Reason>,
    mailbox: Mailbox<P>,
}

impl<P: Memory, const W: usize> Hotplug<P, W> {
    pub(crate) fn places(&self, finder: &mut Finder) {
        finder.see("hotplug lock", &self.lock);
        finder.see("hotplug states", &self.table);
        finder.see("hotplug disable count", &self.disabled);
        finder.see("CPUs given up", &self.loose);
        finder.see("hotplug operation", &self.operation);
    }
}

impl<P: Memory> HotplugCpu<P> {
    pub(crate) fn places(&self, finder: &mut Finder) {
        finder.see("hotplug readers", &self.readers);
        finder.see("hotplug state", &self.state);
        finder.see("hotplug state before", &self.began);
        finder.see("hotplug handshake", &self.sync);
        finder.see("injected failure", &self.inject);
        finder.see("refusal to leave", &self.refusal);
        finder.see("hotplug mailbox", &self.mailbox);
    }

    pub(crate) const fn new() -> Self {
        HotplugCpu {
            readers: P::Word::ZERO,
            state: P::Word::ZERO,
            began: P::Word::ZERO,
            sync: P::Word::ZERO,
            inject: P::Word::ZERO,
            refusal: P::Cell::EMPTY,
            mailbox: Mailbox::new(),
        }
    }
}

/// What a CPU runs of the kernel: threads, handlers, callbacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Nothing; a start signal may be under way to it.
    Still,
    /// Something.
    Runs,
    /// Nothing but its way to its death.
    Dies,
}

/// (incarnation, step) in one word: a CPU that is late for one start can't be taken for the next.
#[derive(Clone, Copy, PartialEq, Eq)]
struct SyncWord {
    incarnation: usize,
    step: Sync,
}

impl SyncWord {
    const fn pack(self) -> usize {
        self.incarnation << 3 | self.step as usize
    }

    const fn unpack(word: usize) -> Self {
        let step = match word & 7 {
            0 => Sync::Dead,
            1 => Sync::Kicked,
            2 => Sync::Alive,
            3 => Sync::Online,
            4 => Sync::Dying,
            _ => Sync::GivenUp,
        };
        SyncWord { incarnation: word >> 3, step }
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// The state that `cpu` rests in, or has reached last. Who finds that it has passed a state sees what the callbacks did up to
    /// there.
    pub fn state(&self, cpu: CpuId) -> StateId {
        self.cpu
            .get(cpu.index())
            // Acquire: pairs with the release of `set_state`.
            .and_then(|cpu| StateId::from_index(cpu.hotplug.state.load(Acquire)))
            .unwrap_or(StateId::OFFLINE)
    }

    pub(crate) fn boot_states(&self, me: CpuId) {
        let mine = &self.cpu[me.index()].hotplug;
        // Relaxed, both: no other CPU runs, and one that is started sees what was written before (`Cpus` 4).
        mine.state.store(StateId::ACTIVE.index(), Relaxed);
        let mut from = Sync::Dead;
        for to in [Sync::Kicked, Sync::Alive, Sync::Online] {
            self.emit(|| What::SyncMoved { who: me, from, to });
            from = to;
        }
        mine.sync.store(SyncWord { incarnation: 1, step: Sync::Online }.pack(), Relaxed);
    }

    fn set_state(&self, who: CpuId, state: StateId) {
        // Release: pairs with the acquire of `state`, for those that do not hold the lock.
        self.cpu[who.index()].hotplug.state.store(state.index(), Release);
    }

    fn sync_of(&self, who: CpuId) -> SyncWord {
        // Acquire: pairs with the release of the store that a CPU dies with: what it did last is seen by who sees it dead.
        SyncWord::unpack(self.cpu[who.index()].hotplug.sync.load(Acquire))
    }

    /// Where `who` is, for `stop_others`.
    pub(crate) fn life_of(&self, who: CpuId) -> Life {
        match self.sync_of(who).step {
            Sync::Dead | Sync::Kicked => Life::Still,
            Sync::Alive | Sync::Online => Life::Runs,
            Sync::Dying => Life::Dies,
            // Relaxed: who sees that it was given up (acquire) sees it in here (release), until it is still.
            Sync::GivenUp if self.hotplug.loose.has(who) => Life::Runs,
            Sync::GivenUp => Life::Still,
        }
    }

    /// The word that changes when `who` is dead.
    pub(crate) fn death_of(&self, who: CpuId) -> &P::Word {
        &self.cpu[who.index()].hotplug.sync
    }

    /// Moves the handshake, if it is still where the caller saw it.
    ///
    /// Relaxed: the word only says how far the two sides are, and that in one order. What they did is handed over by others. By control, before it
    /// starts the CPU: by the start (`Cpus` 4). By the CPU, before it is online: by its bit in `accepting`, which control waits for as
    /// well. By a dying CPU: by the store that it dies with. By a CPU that was given up: by `loose`.
    fn move_sync(&self, who: CpuId, from: SyncWord, to: Sync) -> bool {
        self.exchange_sync(who, from, to, Relaxed)
    }

    /// As [`move_sync`](Self::move_sync), for a CPU that was put into `loose` before: release, for
    /// `life_of`.
    fn give_up_loose(&self, who: CpuId, from: SyncWord) -> bool {
        self.exchange_sync(who, from, Sync::GivenUp, Release)
    }

    fn exchange_sync(&self, who: CpuId, from: SyncWord, to: Sync, order: Ordering) -> bool {
        let word = &self.cpu[who.index()].hotplug.sync;
        if word.load(Relaxed) != from.pack() {
            return false;
        }
        self.emit(|| What::SyncMoved { who, from: from.step, to });
        let to = SyncWord { step: to, ..from };
        let moved = word.compare_exchange(from.pack(), to.pack(), order, Relaxed).is_ok();
        self.platform.notify(&raw const *word);
        moved
    }

    /// Hotplug operations fail with [`HotplugError::Disabled`] until [`hotplug_enable`](Self::hotplug_enable) was called as often. One that
    /// runs ends first.
    ///
    /// Context: thread, and not inside a hotplug callback.
    ///
    /// # Errors
    /// [`HotplugError::HeldByCaller`].
    #[doc(alias = "cpu_hotplug_disable")]
    #[track_caller]
    pub fn hotplug_disable(&self, task: &mut Task) -> Result<(), HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, _, _| {
            machine.hotplug.disabled.fetch_add(1, Relaxed);
            Ok(())
        })
    }

    /// Undoes one [`hotplug_disable`](Self::hotplug_disable).
    ///
    /// Context: as there.
    ///
    /// # Errors
    /// [`HotplugError::HeldByCaller`].
    ///
    /// # Panics
    /// If it was not disabled.
    #[doc(alias = "cpu_hotplug_enable")]
    #[track_caller]
    pub fn hotplug_enable(&self, task: &mut Task) -> Result<(), HotplugError> {
        let was = self.with_write_lock(task, Location::caller(), |machine, _, _| {
            let was = machine.hotplug.disabled.load(Relaxed);
            machine.hotplug.disabled.store(was.saturating_sub(1), Relaxed);
            Ok(was)
        })?;
        // Without the lock: a panic does not give it back.
        assert!(was > 0, "hotplug_enable without hotplug_disable");
        Ok(())
    }

    /// A CPU was plugged in, or is about to be taken out.
    ///
    /// Context: thread, and not inside a hotplug callback.
    ///
    /// # Errors
    /// [`NotBooted`](HotplugError::NotBooted); [`NoSuchCpu`](HotplugError::NoSuchCpu): it is not
    /// possible. [`StillUp`](HotplugError::StillUp): it is not offline.
    /// [`GivenUp`](HotplugError::GivenUp): nor will it ever be.
    /// [`HeldByCaller`](HotplugError::HeldByCaller).
    #[doc(alias = "set_cpu_present")]
    #[track_caller]
    pub fn set_present(&self, task: &mut Task, cpu: CpuId, present: bool) -> Result<(), HotplugError> {
        self.with_write_lock(task, Location::caller(), |machine, _, _| {
            machine.knows(cpu)?;
            if present {
                machine.present.insert(cpu);
            } else if machine.state(cpu) == StateId::OFFLINE {
                machine.present.remove(cpu);
            } else if machine.is_given_up(cpu) {
                return Err(HotplugError::GivenUp(cpu));
            } else {
                return Err(HotplugError::StillUp(cpu));
            }
            Ok(())
        })
    }

    /// May an operation on `cpus` begin at all? CPUs that can't be started again get an error of
    /// their own, and change nothing.
    fn allowed(&self, cpus: &CpuMask<W>) -> Result<(), HotplugError> {
        if !self.is_booted() {
            return Err(HotplugError::NotBooted);
        }
        if self.hotplug.disabled.load(Relaxed) > 0 {
            return Err(HotplugError::Disabled);
        }
        if cpus.iter().all(|cpu| self.possible.has(cpu) && self.is_given_up(cpu)) {
            return Ok(());
        }
        self.nothing_is_loose()
    }

    /// Was `cpu` given up after it had answered? It can't be started again.
    fn is_given_up(&self, cpu: CpuId) -> bool {
        self.state(cpu) == StateId::BRINGUP && self.sync_of(cpu).step == Sync::GivenUp
    }

    /// Is there such a CPU?
    fn knows(&self, cpu: CpuId) -> Result<(), HotplugError> {
        if !self.is_booted() {
            return Err(HotplugError::NotBooted);
        }
        // Relaxed: it does not change after the boot.
        if self.possible.has(cpu) { Ok(()) } else { Err(HotplugError::NoSuchCpu(cpu)) }
    }

    /// May `cpu` be moved to `target`, and has it to?
    fn has_to_move(&self, cpu: CpuId, target: StateId, dir: Dir) -> Result<bool, HotplugError> {
        self.knows(cpu)?;
        // Relaxed: it changes under this lock only.
        if !self.present.has(cpu) {
            return Err(HotplugError::NotPresent(cpu));
        }
        self.resolve(cpu)?;
        let state = self.state(cpu);
        Ok(if dir == Dir::Up { state < target } else { state > target })
    }

    /// Waits for `ready`, which the handshake of `who` makes true; false if the bound was reached first.
    fn await_handshake(
        &self,
        who: CpuId,
        what: &'static str,
        by: By<'_, P>,
        ready: impl Fn() -> bool,
    ) -> bool {
        let site = Site { what, at: by.from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, who);
        let deadline = self.limit(by.bound);
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        let sync = &self.cpu[who.index()].hotplug.sync;
        let wait = || self.wait_within(sync, &wait, by.bound, || ready().then_some(()));
        self.awaiting(who, Part::Cpu, wait).is_some()
    }

    /// The operation's bound was reached while it waited for `missing`.
    fn ended_early(&self, by: By<'_, P>, missing: CpuId, what: &'static str) -> HotplugError {
        if by.bound.is_cancelled() {
            HotplugError::Cancelled { what }
        } else {
            HotplugError::Deadline { missing, what }
        }
    }

    /// While a CPU that was given up runs callbacks, nobody may change them, and no CPU may leave, as it may send calls that no
    /// stop waits for.
    fn nothing_is_loose(&self) -> Result<(), HotplugError> {
        // Acquire: pairs with the release of the CPU that has ended its callbacks.
        let Some(cpu) = self.hotplug.loose.snapshot().first() else { return Ok(()) };
        // One that came too late never is online; one whose callback hangs is.
        let late = self.sync_of(cpu).step == Sync::GivenUp;
        Err(if late { HotplugError::Stuck(cpu) } else { self.hung(cpu) })
    }

    /// A CPU only rests in BRINGUP if it was not seen dead, or not seen online. If it is dead by now, it is as good as any other: it rests where its
    /// PREPARE callbacks left it. Its death is noted once, and a start that fails after this finds it below BRINGUP again.
    fn resolve(&self, who: CpuId) -> Result<(), HotplugError> {
        if self.state(who) != StateId::BRINGUP {
            return Ok(());
        }
        match self.sync_of(who).step {
            Sync::Dead => {
                self.see_dead(who);
                self.set_state(who, StateId::BRINGUP.prev());
                Ok(())
            }
            Sync::Online | Sync::Dying => Err(HotplugError::NotDead(who)),
            _ => Err(HotplugError::GivenUp(who)),
        }
    }

    /// Runs `f` with the lock held for writing.
    fn with_write_lock<R>(
        &self,
        task: &mut Task,
        from: &'static Location<'static>,
        f: impl FnOnce(&Self, &mut Task, By<'_, P>) -> Result<R, HotplugError>,
    ) -> Result<R, HotplugError> {
        task.deals_with(self.address());
        if task.writer || task.readers > 0 {
            return Err(HotplugError::HeldByCaller);
        }
        let by = self.by(task, from);
        self.write_lock_within(task, by).map_err(|(missing, what)| self.ended_early(by, missing, what))?;
        self.hotplug.operation.begin(from);
        let result = f(self, task, by);
        self.write_unlock(task);
        result
    }
}
