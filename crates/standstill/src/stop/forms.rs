//! The public functions: which CPUs, which context, which lock.

use core::panic::Location;
use core::sync::atomic::Ordering::Relaxed;

use super::control::Plan;
use super::lock::TicketLock;
use super::machine::Body;
use super::receipts::{Receipt, Receipts, StopError};
use super::stage::Stage;
use super::work::{Body as WorkBody, StopWork};
use crate::bound::{Bound, By};
use crate::context::{Context, IrqOff, Pinned, Stopped, Task};
use crate::cpu::CpuId;
use crate::event::{What, WorkKey};
use crate::hotplug::HotplugRead;
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{Platform, WaitContext, Word};

type Stop<'a, P, const N: usize, const W: usize> = Result<Receipts<'a, P, N, W>, StopError<W>>;

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Stops the machine and runs `f` on the online CPUs of `active` (none given: on the first online CPU) with interrupts off,
    /// while all other CPUs spin with interrupts off. No CPU comes or goes meanwhile, nor until the receipts are dropped.
    ///
    /// Context: thread. Inside a hotplug callback, or with the hotplug lock held for reading, it does not wait for that lock. Each
    /// wait ends by the port's patience, or by the bound of [`within`](Self::within).
    ///
    /// # Errors
    /// Nothing ran, and every CPU goes on as before: [`Deadline`](StopError::Deadline) names the CPUs that did not answer;
    /// [`Cancelled`](StopError::Cancelled), [`NoneOnline`](StopError::NoneOnline),
    /// [`EmptyMask`](StopError::EmptyMask); [`NoSuchCpu`](StopError::NoSuchCpu): `active` has no CPU of
    /// this machine.
    #[track_caller]
    pub fn stop_machine<'a, F>(
        &'a self,
        task: &'a mut Task,
        active: Option<&CpuMask<W>>,
        f: &F,
    ) -> Stop<'a, P, N, W>
    where
        F: Fn(&Stopped<'_>) -> i32 + Sync,
    {
        let by = self.by(task, Location::caller());
        self.stop_online(task, active, f, by)
    }

    /// As [`stop_machine`](Self::stop_machine), but gives up when `bound` is reached before every CPU has closed its interrupts. That
    /// includes the time that it waits for a hotplug operation or another stop to end.
    ///
    /// It waits in line: only those that asked before it come first. If more than 40 are ahead, it has no
    /// place in the line until they are fewer, and others may come first. It leaves the line when it gives
    /// up, and delays nobody. So do all stops, as the port's patience is a bound, too.
    ///
    /// Context: as [`stop_machine`](Self::stop_machine).
    ///
    /// # Errors
    /// As [`stop_machine`](Self::stop_machine).
    #[track_caller]
    pub fn stop_machine_deadline<'a, 'b, F>(
        &'a self,
        task: &'a mut Task,
        active: Option<&CpuMask<W>>,
        bound: impl Into<Bound<'b, P>>,
        f: &F,
    ) -> Stop<'a, P, N, W>
    where
        F: Fn(&Stopped<'_>) -> i32 + Sync,
    {
        let by = By { from: Location::caller(), bound: bound.into() };
        self.stop_online(task, active, f, by)
    }

    /// As [`stop_machine`](Self::stop_machine), by a caller that holds the hotplug lock for reading and keeps it.
    ///
    /// Context: thread.
    ///
    /// # Errors
    /// As [`stop_machine`](Self::stop_machine).
    #[track_caller]
    pub fn stop_machine_cpuslocked<'a, F>(
        &'a self,
        guard: &'a mut HotplugRead<'_, P, N, W>,
        active: Option<&CpuMask<W>>,
        f: &F,
    ) -> Stop<'a, P, N, W>
    where
        F: Fn(&Stopped<'_>) -> i32 + Sync,
    {
        let by = self.by(guard.task(), Location::caller());
        self.stop_online(guard.task(), active, f, by)
    }

    /// Stops `a` and `b`, and nobody else, and runs `f` on both with interrupts off.
    ///
    /// Context: thread.
    ///
    /// # Errors
    /// It ran on neither: [`Offline`](StopError::Offline): one of them is not online;
    /// [`NoSuchCpu`](StopError::NoSuchCpu), [`SameCpu`](StopError::SameCpu);
    /// [`Deadline`](StopError::Deadline), [`Cancelled`](StopError::Cancelled), as [`stop_machine`](Self::stop_machine).
    #[track_caller]
    pub fn stop_two_cpus<'a, F>(&'a self, task: &'a mut Task, a: CpuId, b: CpuId, f: &F) -> Stop<'a, P, N, W>
    where
        F: Fn(&Stopped<'_>) -> i32 + Sync,
    {
        let by = self.by(task, Location::caller());
        if a == b {
            return Err(StopError::SameCpu(a));
        }
        for cpu in [a, b] {
            if cpu.index() >= N {
                return Err(StopError::NoSuchCpu(cpu));
            }
        }
        let pair: CpuMask<W> = [a, b].into_iter().collect();
        let plan = Plan::new(pair, pair, false);
        self.take_turn("stop_two_cpus: its turn", by)?;
        let receipts = Receipts { machine: self, task, locked: false };
        // SAFETY: `f` is `Sync` and alive until this returns.
        unsafe { self.carry_out(&plan, Body::of(f), WaitContext::Task, by)? };
        Ok(receipts)
    }

    /// Runs `f` by the stopper of `cpu`: before every thread there, interrupts on, and not together with any other stop that involves
    /// that CPU. Returns its value.
    ///
    /// Context: thread. A function that has begun is waited for without end: it may use what is on the caller's stack.
    ///
    /// # Errors
    /// It did not run: [`Offline`](StopError::Offline): `cpu` is not online, or left before the work's turn;
    /// [`Deadline`](StopError::Deadline): its stopper did not come to it in time, within the port's patience or the bound of
    /// [`within`](Self::within); [`Cancelled`](StopError::Cancelled), [`NoSuchCpu`](StopError::NoSuchCpu).
    #[track_caller]
    pub fn stop_one_cpu<F>(&self, task: &mut Task, cpu: CpuId, f: &F) -> Result<i32, StopError<W>>
    where
        F: Fn(&mut Pinned<'_>) -> i32 + Sync,
    {
        self.run_on_stopper(cpu, f, self.by(task, Location::caller()))
    }

    /// Queues `f` for the stopper of `cpu` and does not wait. What became of it is in [`StopWork::state`].
    ///
    /// Context: any.
    ///
    /// # Errors
    /// [`Offline`](StopError::Offline), [`NoSuchCpu`](StopError::NoSuchCpu),
    /// [`Busy`](StopError::Busy): not queued.
    #[track_caller]
    pub fn stop_one_cpu_nowait<F>(
        &self,
        _ctx: &impl Context,
        cpu: CpuId,
        work: &'static StopWork<P>,
        f: &'static F,
    ) -> Result<(), StopError<W>>
    where
        F: Fn(&mut Pinned<'_>) -> i32 + Sync,
    {
        // SAFETY: both are `'static`.
        unsafe { self.queue_one(cpu, work, WorkBody::of(f, Location::caller())) }
    }

    /// Stops all online CPUs, by a CPU that is coming up and not online yet: it takes part in person. Runs `f` on those of `active` that
    /// are online or this one (none given: on this one). Returns the first value of `f` that is not 0, or 0.
    ///
    /// Context: a STARTING callback; interrupts are off and stay off.
    ///
    /// # Errors
    /// [`NotComingUp`](StopError::NotComingUp): called anywhere else. With interrupts off, a CPU that others may call would block them,
    /// and one that leaves is inside a stop already. Otherwise as [`stop_machine`](Self::stop_machine); each wait has the port's patience.
    #[track_caller]
    pub fn stop_machine_from_inactive_cpu<F>(
        &self,
        _off: &IrqOff<'_>,
        active: Option<&CpuMask<W>>,
        f: &F,
    ) -> Result<i32, StopError<W>>
    where
        F: Fn(&Stopped<'_>) -> i32 + Sync,
    {
        let from = Location::caller();
        let me = self.platform.this_cpu();
        if !self.is_coming_up(me) {
            return Err(StopError::NotComingUp(me));
        }
        let by = By { from, bound: Bound::PATIENCE };
        self.take(&self.stop.door, WaitContext::Frozen, "stop_machine: other CPUs to be online", by)?;
        if let Err(late) = self.take(&self.stop.turn, WaitContext::Frozen, "stop_machine: its turn", by) {
            self.stop.door.unlock(&self.platform);
            return Err(late);
        }
        // Relaxed: no CPU comes or goes while this one comes up.
        let mut members = self.online.now();
        members.insert(me);
        let asked = active.copied().unwrap_or_else(|| CpuMask::of(me));
        let active = asked.and(&members);
        let result = if active.is_empty() {
            Err(self.nobody_of(&asked))
        } else {
            let plan = Plan { inline: Some(me), ..Plan::new(members, active, self.splits()) };
            // SAFETY: `f` is `Sync` and alive until this returns.
            unsafe { self.carry_out(&plan, Body::of(f), WaitContext::Frozen, by) }
        };
        let value = result.map(|()| self.first_value());
        self.stop.turn.unlock(&self.platform);
        self.stop.door.unlock(&self.platform);
        value
    }

    /// One turn of every online CPU's stopper: whatever a pinned section or an interrupts-off section did there before this call is done
    /// when it returns. Nobody is frozen.
    ///
    /// Context: thread; inside a hotplug callback, too. Each wait ends by the port's patience, or by the bound of
    /// [`within`](Self::within).
    ///
    /// # Errors
    /// Not every section is done: [`Deadline`](StopError::Deadline) names the CPUs that did not take their turn;
    /// [`Cancelled`](StopError::Cancelled). Then nothing may be freed that such a section may use.
    #[doc(alias = "synchronize_rcu")]
    #[track_caller]
    pub fn quiesce(&self, task: &mut Task) -> Result<(), StopError<W>> {
        let by = self.by(task, Location::caller());
        let locked = self.read_within(task, "quiesce: the hotplug operation to end", by)?;
        let passed = self.take_turn("quiesce: its turn", by).and_then(|()| {
            let passed = self.pass(by);
            self.stop.turn.unlock(&self.platform);
            passed
        });
        if locked {
            self.read_unlock(task);
        }
        passed
    }

    /// As [`quiesce`](Self::quiesce), by a caller that holds `turn`.
    pub(crate) fn pass(&self, by: By<'_, P>) -> Result<(), StopError<W>> {
        // Relaxed: the caller holds the hotplug lock.
        let plan = Plan { pass: true, ..Plan::new(self.online.now(), CpuMask::EMPTY, false) };
        let nothing = |_: &Stopped<'_>| 0;
        // SAFETY: nobody is active, so nobody runs the function.
        unsafe { self.carry_out(&plan, Body::of(&nothing), WaitContext::Task, by) }
    }

    /// Who asks, and for how long `task` may wait.
    pub(crate) fn by<'b>(&self, task: &Task, from: &'static Location<'static>) -> By<'b, P> {
        By { from, bound: self.bound_of(task) }
    }

    /// Takes the turn of the stops, in a thread.
    pub(crate) fn take_turn(&self, what: &'static str, by: By<'_, P>) -> Result<(), StopError<W>> {
        self.take(&self.stop.turn, WaitContext::Task, what, by)
    }

    fn take(
        &self,
        lock: &TicketLock<P>,
        context: WaitContext,
        what: &'static str,
        by: By<'_, P>,
    ) -> Result<(), StopError<W>> {
        if lock.lock_within(self, context, what, by) { Ok(()) } else { Err(Self::too_late(by)) }
    }

    /// Takes the hotplug lock for reading; see `read_lock`.
    fn read_within(&self, task: &mut Task, what: &'static str, by: By<'_, P>) -> Result<bool, StopError<W>> {
        self.read_lock_within(task, what, by).ok_or_else(|| Self::too_late(by))
    }

    /// The bound was reached before the stop had begun.
    fn too_late(by: By<'_, P>) -> StopError<W> {
        if by.bound.is_cancelled() {
            StopError::Cancelled
        } else {
            StopError::Deadline { stage: Stage::None, missing: CpuMask::EMPTY }
        }
    }

    /// Two disable stages? They matter for the stop that takes a CPU out; all stops of a machine use the same.
    pub(crate) fn splits(&self) -> bool {
        self.protocol.stages != crate::Stages::Single
    }

    fn stop_online<'a, F>(
        &'a self,
        task: &'a mut Task,
        active: Option<&CpuMask<W>>,
        f: &F,
        by: By<'_, P>,
    ) -> Stop<'a, P, N, W>
    where
        F: Fn(&Stopped<'_>) -> i32 + Sync,
    {
        let locked = self.read_within(task, "stop_machine: the hotplug operation to end", by)?;
        if let Err(late) = self.take_turn("stop_machine: its turn", by) {
            if locked {
                self.read_unlock(task);
            }
            return Err(late);
        }
        let receipts = Receipts { machine: self, task, locked };
        if !self.is_booted() {
            let me = self.platform.this_cpu();
            let asked = active.copied().unwrap_or_else(|| CpuMask::of(me));
            if !asked.contains(me) {
                return Err(self.nobody_of(&asked));
            }
            self.run_in_place(&asked, f);
            return Ok(receipts);
        }
        // Relaxed: the hotplug lock is held.
        let members = self.online.now();
        let asked = active.copied().unwrap_or_else(|| members.first().map_or(CpuMask::EMPTY, CpuMask::of));
        let active = asked.and(&members);
        if active.is_empty() {
            return Err(self.nobody_of(&asked));
        }
        let plan = Plan { asked, ..Plan::new(members, active, self.splits()) };
        // SAFETY: `f` is `Sync` and alive until this returns.
        unsafe { self.carry_out(&plan, Body::of(f), WaitContext::Task, by)? };
        Ok(receipts)
    }

    /// Early boot: there are no stoppers and no other CPUs yet.
    fn run_in_place<F: Fn(&Stopped<'_>) -> i32>(&self, asked: &CpuMask<W>, f: &F) {
        let flags = self.platform.irq_save();
        let me = self.platform.this_cpu();
        // SAFETY: interrupts are off and this is the only CPU that runs.
        let stopped = unsafe { Stopped::new() };
        let value = f(&stopped);
        for (index, cpu) in self.cpu.iter().enumerate() {
            let asked = asked.contains(CpuId::new(index));
            let receipt = if asked { Receipt::Refused } else { Receipt::NotAMember };
            cpu.stop.receipt.store(receipt.pack(), Relaxed);
        }
        self.cpu[me.index()].stop.receipt.store(Receipt::Ran(value).pack(), Relaxed);
        // SAFETY: from the save above.
        unsafe { self.platform.irq_restore(flags) };
    }

    /// Why `cpu` takes no work.
    #[cold]
    pub(super) fn turned_away(&self, cpu: CpuId) -> StopError<W> {
        // Relaxed: it does not change after the boot; before it, nobody knows which CPUs there are.
        if cpu.index() < N && (!self.is_booted() || self.possible.has(cpu)) {
            StopError::Offline(cpu)
        } else {
            StopError::NoSuchCpu(cpu)
        }
    }

    /// Why none of `asked` can run a function.
    #[cold]
    fn nobody_of(&self, asked: &CpuMask<W>) -> StopError<W> {
        let Some(first) = asked.first() else { return StopError::EmptyMask };
        match self.turned_away(first) {
            missing @ StopError::NoSuchCpu(_) if asked.and(&self.possible.now()).is_empty() => missing,
            _ => StopError::NoneOnline,
        }
    }

    /// At the boot: a stop that ran in place named CPUs that no later stop may have to do with.
    pub(crate) fn forget_receipts(&self) {
        for cpu in &self.cpu {
            // Relaxed: no other CPU runs.
            cpu.stop.receipt.store(Receipt::NotAMember.pack(), Relaxed);
        }
    }

    /// The first value that is not 0; 0 if there is none.
    fn first_value(&self) -> i32 {
        self.cpu
            .iter()
            .find_map(|cpu| match Receipt::unpack(cpu.stop.receipt.load(Relaxed)) {
                Receipt::Ran(value) if value != 0 => Some(value),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// # Safety
    /// The work and the function stay alive until the work's state is no longer queued.
    pub(crate) unsafe fn queue_one(
        &self,
        cpu: CpuId,
        work: &StopWork<P>,
        body: WorkBody,
    ) -> Result<(), StopError<W>> {
        if cpu.index() >= N {
            return Err(StopError::NoSuchCpu(cpu));
        }
        if !work.claim() {
            return Err(StopError::Busy);
        }
        // SAFETY: claimed above, not queued yet.
        unsafe { work.fill(body) };
        let pin = self.pinned();
        self.emit(|| What::WorkQueued(WorkKey { work: core::ptr::from_ref(work).addr(), to: cpu }));
        // SAFETY: a claimed work is in no list; it lives long enough by the contract; it is filled in.
        if unsafe { self.push_work(&pin, cpu, core::ptr::from_ref(work).cast()) } {
            Ok(())
        } else {
            work.refuse();
            Err(self.turned_away(cpu))
        }
    }
}
