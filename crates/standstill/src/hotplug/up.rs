//! The way up, on the control CPU: one CPU, or many together.
//!
//! CPUs that come up together pass each section together, and all have left it before the next one begins:
//!
//! | section | how |
//! |---|---|
//! | PREPARE | here, one CPU after the other |
//! | start | all start signals are sent, then all answers awaited: what hardware takes to start overlaps |
//! | STARTING | each CPU by itself, all at the same time; none waits for this one |
//! | ONLINE | each CPU on its own hotplug thread, all at the same time |
//! | the way back of those that failed | one after the other |
//!
//! Why they wait for each other: a callback that runs in a thread may hold the hotplug lock for reading, and is promised that no CPU comes or
//! goes. So PREPARE is over before the first start, ONLINE and DEAD callbacks begin when each started CPU is online or given up, and a CPU that
//! has to leave again does so when no callback runs any more. STARTING callbacks have one such promise, in
//! [`stop_machine_from_inactive_cpu`](crate::Machine::stop_machine_from_inactive_cpu), and a lock of its own for it (`stop.door`).
//!
//! A started CPU does not start others, as a tree would have it: if it failed, those below it would not be started, and somebody would have to
//! find out. A start signal is one write to a register; what takes its time is the CPU that gets it.

use core::panic::Location;
use core::sync::atomic::Ordering::Relaxed;

use super::state::{Reason, StateId};
use super::thread::{REPLY, Request};
use super::walk::{Broken, Dir};
use super::{HotplugError, SyncWord};
use crate::bound::By;
use crate::context::Task;
use crate::cpu::CpuId;
use crate::event::{Sync, What};
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{DataCell, Deadline, Platform, Site, StartError, WaitContext, WaitFor, Word};
use crate::stall::Part;

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Brings `cpu` online. Nothing to do if it is.
    ///
    /// Context: thread, and not inside a hotplug callback. Each wait ends by the port's patience, or by the bound of
    /// [`within`](Self::within).
    ///
    /// # Errors
    /// See [`HotplugError`]; unless it says otherwise, the CPU is as it was before.
    #[doc(alias = "add_cpu")]
    #[doc(alias = "cpu_device_up")]
    #[track_caller]
    pub fn cpu_up(&self, task: &mut Task, cpu: CpuId) -> Result<(), HotplugError> {
        self.cpu_up_to(task, cpu, StateId::ACTIVE)
    }

    /// Brings `cpu` up to `target` and leaves it there. Nothing to do if it is there, or above.
    ///
    /// Context: thread, and not inside a hotplug callback.
    ///
    /// # Errors
    /// As [`cpu_up`](Self::cpu_up); [`NotARestState`](HotplugError::NotARestState).
    #[track_caller]
    pub fn cpu_up_to(&self, task: &mut Task, cpu: CpuId, target: StateId) -> Result<(), HotplugError> {
        // A mask has no room for any number.
        self.knows(cpu)?;
        let mut result = Ok(());
        let failed = |_, error| result = Err(error);
        self.up(task, &CpuMask::of(cpu), target, Location::caller(), failed)?;
        result
    }

    /// Brings all of `cpus` online together, and returns those of them that are active then. `failed` learns of each other one why; what
    /// keeps one CPU back does not touch the others.
    ///
    /// That is quicker than one after the other: the CPUs start at the same time, and callbacks in STARTING and ONLINE states run
    /// on all of them at once. PREPARE callbacks, and the way back of CPUs that fail, come one CPU after the other. CPUs that do not answer are
    /// waited for together.
    ///
    /// Context: thread, and not inside a hotplug callback. `failed` is called with the hotplug lock held.
    ///
    /// # Errors
    /// Nothing was tried: [`NotBooted`](HotplugError::NotBooted), [`Disabled`](HotplugError::Disabled),
    /// [`HeldByCaller`](HotplugError::HeldByCaller), or [`Stuck`](HotplugError::Stuck) if a CPU that
    /// was given up earlier runs callbacks still.
    #[doc(alias = "bringup_nonboot_cpus")]
    #[doc(alias = "cpuhp_bringup_mask")]
    #[track_caller]
    pub fn cpus_up(
        &self,
        task: &mut Task,
        cpus: &CpuMask<W>,
        failed: impl FnMut(CpuId, HotplugError),
    ) -> Result<CpuMask<W>, HotplugError> {
        self.up(task, cpus, StateId::ACTIVE, Location::caller(), failed)
    }

    fn up(
        &self,
        task: &mut Task,
        cpus: &CpuMask<W>,
        target: StateId,
        from: &'static Location<'static>,
        mut failed: impl FnMut(CpuId, HotplugError),
    ) -> Result<CpuMask<W>, HotplugError> {
        if !target.can_rest() {
            return Err(HotplugError::NotARestState(target));
        }
        self.with_write_lock(task, from, |machine, task, by| {
            machine.allowed(cpus)?;
            let (mut coming, mut there) = (CpuMask::EMPTY, CpuMask::EMPTY);
            for who in cpus {
                match machine.has_to_move(who, target, Dir::Up) {
                    Ok(true) => coming.insert(who),
                    Ok(false) => there.insert(who),
                    Err(error) => failed(who, error),
                }
            }
            let mut climb = Climb { machine, target, by, coming, there, failed };
            climb.prepare(task);
            climb.start(task);
            climb.online(task);
            Ok(climb.there)
        })
    }
}

const ANSWER: &str = "cpu_up: the started CPU to answer";

/// CPUs that come up together.
struct Climb<'a, P: Platform, const N: usize, const W: usize, F> {
    machine: &'a Machine<P, N, W>,
    target: StateId,
    by: By<'a, P>,
    /// Those that are under way.
    coming: CpuMask<W>,
    /// Those that have reached their target.
    there: CpuMask<W>,
    failed: F,
}

impl<P: Platform, const N: usize, const W: usize, F: FnMut(CpuId, HotplugError)> Climb<'_, P, N, W, F> {
    fn succeed(&mut self, who: CpuId) {
        self.machine.emit(|| What::UpEnd { who, ok: true });
        self.coming.remove(who);
        self.there.insert(who);
    }

    fn fail(&mut self, who: CpuId, error: HotplugError) {
        self.machine.emit(|| What::UpEnd { who, ok: false });
        self.coming.remove(who);
        (self.failed)(who, error);
    }

    /// PREPARE callbacks.
    fn prepare(&mut self, task: &mut Task) {
        let (m, target, coming) = (self.machine, self.target, self.coming);
        for who in &coming {
            m.emit(|| What::UpBegin { who, target });
            let began = m.state(who);
            m.note_beginning(who, began);
            if began >= StateId::BRINGUP {
                continue;
            }
            match m.walk(task, who, began, target.min(StateId::BRINGUP.prev())) {
                Err(broken) => self.fail(who, broken.into()),
                Ok(()) if target < StateId::BRINGUP => self.succeed(who),
                Ok(()) => m.set_state(who, StateId::BRINGUP),
            }
        }
    }

    /// Starts those that do not run. When it returns, each is online, or was given up, and no CPU comes online any more.
    fn start(&mut self, task: &mut Task) {
        let m = self.machine;
        let dead: CpuMask<W> = self.coming.iter().filter(|who| m.state(*who) == StateId::BRINGUP).collect();
        for who in &dead {
            m.kick(who);
        }
        let mut unsent = CpuMask::EMPTY;
        let each = dead.iter().map(|who| (who, m.sync_of(who).incarnation));
        m.platform.start_each(each, |who, error| {
            m.note_start_error(who, error);
            unsent.insert(who);
        });
        let sent = dead.without(&unsent);
        let by = m.settled(self.by);
        let answered: CpuMask<W> = sent.iter().filter(|who| m.await_alive(*who, by)).collect();
        let by = m.settled(self.by);
        for who in &answered {
            if m.await_online(who, by) {
                m.set_state(who, StateId::AP_ONLINE);
                m.emit(|| What::ThreadsUnparked { who });
                m.platform.unpark_threads(who);
                m.platform.lines_back(who);
            } else {
                self.fail(who, HotplugError::GivenUp(who));
            }
        }
        for who in &dead.without(&answered) {
            let error = if unsent.contains(who) {
                m.start_error(who)
            } else if by.bound.is_cancelled() {
                HotplugError::Cancelled { what: ANSWER }
            } else {
                HotplugError::NoAnswer(who)
            };
            let undone = m
                .walk_back(task, who, StateId::BRINGUP, m.began(who))
                .map_err(|veto| Broken::Twice(error.why(), veto));
            self.fail(who, undone.err().map_or(error, HotplugError::from));
        }
    }

    /// ONLINE callbacks, and the end.
    fn online(&mut self, task: &mut Task) {
        let (m, last) = (self.machine, self.target.min(StateId::ACTIVE.prev()));
        let coming = self.coming;
        let walk: CpuMask<W> = coming.iter().filter(|who| m.state(*who) != last).collect();
        for who in &walk {
            m.request(who, Request::Walk(m.state(who), last));
        }
        let by = m.settled(self.by);
        let (mut untaken, mut hung) = (CpuMask::EMPTY, CpuMask::EMPTY);
        for who in &walk {
            match m.await_reply(who, by) {
                Ok(()) => {}
                Err(error @ HotplugError::Hung { .. }) => {
                    hung.insert(who);
                    self.fail(who, error);
                }
                Err(_) => untaken.insert(who),
            }
        }
        let replied = walk.without(&untaken).without(&hung);
        let refused: CpuMask<W> = replied.iter().filter(|who| m.reply(*who).is_err()).collect();
        for who in &coming.without(&untaken).without(&hung).without(&refused) {
            if self.target == StateId::ACTIVE {
                m.become_active(who);
            }
            self.succeed(who);
        }
        for who in &refused {
            if let Err(broken) = m.reply(who) {
                let error = match broken {
                    Broken::Vetoed(veto) => m.leave_again(task, who, veto.into(), self.by),
                    Broken::Twice(..) => broken.into(),
                };
                self.fail(who, error);
            }
        }
        for who in &untaken {
            let error = m.leave_again(task, who, m.ended_early(by, who, REPLY), self.by);
            self.fail(who, error);
        }
    }
}

/// What a climb does with one CPU.
impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    pub(super) fn note_beginning(&self, who: CpuId, state: StateId) {
        // Relaxed: its thread reads it behind the mailbox.
        self.cpu[who.index()].hotplug.began.store(state.index(), Relaxed);
    }

    pub(super) fn began(&self, who: CpuId) -> StateId {
        let began = self.cpu[who.index()].hotplug.began.load(Relaxed);
        StateId::from_index(began).unwrap_or(StateId::OFFLINE)
    }

    /// A new incarnation: from here on it may answer.
    fn kick(&self, who: CpuId) {
        let last = self.sync_of(who);
        let kicked = SyncWord { incarnation: last.incarnation + 1, step: Sync::Kicked };
        self.emit(|| What::SyncMoved { who, from: last.step, to: Sync::Kicked });
        // Relaxed: the start makes it, and what PREPARE did, visible to the CPU that answers (`Cpus` 4). Nobody else moves the word of a
        // CPU that does not run, and a late one of an earlier start finds another incarnation.
        self.cpu[who.index()].hotplug.sync.store(kicked.pack(), Relaxed);
    }

    fn note_start_error(&self, who: CpuId, error: StartError) {
        let kicked = self.sync_of(who);
        self.move_sync(who, kicked, Sync::GivenUp);
        // SAFETY: only control uses the cell while `who` does not run, and nothing was started.
        unsafe { self.cpu[who.index()].hotplug.refusal.write(Reason { code: 0, text: error.0 }) };
    }

    fn start_error(&self, who: CpuId) -> HotplugError {
        // SAFETY: this CPU wrote it in `note_start_error`, in the same operation.
        let reason = unsafe { self.cpu[who.index()].hotplug.refusal.read() };
        HotplugError::Start { cpu: who, error: StartError(reason.text) }
    }

    /// Waits until `who` has answered; false if it was given up.
    fn await_alive(&self, who: CpuId, by: By<'_, P>) -> bool {
        let answered = || self.sync_of(who).step != Sync::Kicked;
        if self.await_handshake(who, ANSWER, by, answered) {
            return true;
        }
        let at = self.sync_of(who);
        !(at.step == Sync::Kicked && self.move_sync(who, at, Sync::GivenUp))
    }

    /// Waits until `who`, which has answered, is online; false if it was given up: then it may be anywhere in its callbacks.
    fn await_online(&self, who: CpuId, by: By<'_, P>) -> bool {
        let commits = || self.sync_of(who).step == Sync::Online;
        if !self.await_handshake(who, "cpu_up: the started CPU to be online", by, commits) {
            // First noted, then given up: it takes itself out when it has ended its callbacks.
            self.hotplug.loose.insert(who);
            let at = self.sync_of(who);
            if at.step == Sync::Alive && self.give_up_loose(who, at) {
                return false;
            }
            self.hotplug.loose.remove(who);
        }
        // It is committed, and its bits follow at once.
        let site = Site { what: "cpu_up: the online bit", at: by.from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, who);
        let wait = WaitFor { site, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &stalled };
        let accepts = || self.accepting.contains(who).then_some(());
        let bit = || self.platform.wait_until(self.accepting.word_of(who), &wait, accepts);
        self.awaiting(who, Part::Cpu, bit);
        true
    }

    /// An ONLINE callback of `who` refused, and those before it are undone, or none has begun: `why`. If it came up in this operation it
    /// leaves again; if it can't, it stays where it is, and the caller learns both.
    fn leave_again(&self, task: &mut Task, who: CpuId, why: HotplugError, by: By<'_, P>) -> HotplugError {
        let began = self.began(who);
        if began >= StateId::AP_ONLINE {
            return why;
        }
        self.undo_start(task, who, began, why.why(), by).err().unwrap_or(why)
    }

    fn undo_start(
        &self,
        task: &mut Task,
        who: CpuId,
        began: StateId,
        first: Reason,
        by: By<'_, P>,
    ) -> Result<(), HotplugError> {
        // Nobody was ever put on it, so it can go at once; unless another CPU of this operation was given up in its callbacks.
        let gone = self.nothing_is_loose().and_then(|()| self.take_down(who, by.patient()));
        gone.map_err(|error| error.after(first, who, self.state(who)))?;
        let undone = self.walk_back(task, who, StateId::BRINGUP, began);
        Ok(undone.map_err(|veto| Broken::Twice(first, veto))?)
    }
}
