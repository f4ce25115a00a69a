//! The public functions: which CPUs, which context, which lock.

use core::panic::Location;
use core::sync::atomic::Ordering::Relaxed;

use super::control::Plan;
use super::machine::Body;
use super::receipts::{Receipt, Receipts, StopError};
use super::stage::Stage;
use super::work::{Body as WorkBody, StopWork, WorkState};
use crate::context::{Context, IrqOff, Pinned, Stopped, Task};
use crate::cpu::CpuId;
use crate::event::{What, WorkKey};
use crate::hotplug::HotplugRead;
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{Deadline, Platform, Site, WaitContext, WaitFor, Word};

type Stop<'a, P, const N: usize, const W: usize> = Result<Receipts<'a, P, N, W>, StopError<W>>;

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Stops the machine and runs `f` on the online CPUs of `active` (none given: on the first online CPU) with interrupts off,
    /// while all other CPUs spin with interrupts off. No CPU comes or goes meanwhile, nor until the receipts are dropped.
    ///
    /// Context: thread. Inside a hotplug callback, or with the hotplug lock held for reading, it does not wait for that lock.
    ///
    /// # Errors
    /// [`NoneOnline`](StopError::NoneOnline), [`EmptyMask`](StopError::EmptyMask);
    /// [`NoSuchCpu`](StopError::NoSuchCpu): `active` has no CPU of this machine. Nothing ran.
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
        self.stop_online(task, active, Deadline::NEVER, f, Location::caller())
    }

    /// As [`stop_machine`](Self::stop_machine), but gives up when `deadline` expires before every CPU has closed its interrupts. That
    /// includes the time that it waits for a hotplug operation or another stop to end.
    ///
    /// It waits in line like a stop without a deadline: only those that asked before it come first. If more than 40 are ahead, it has
    /// no place in the line until they are fewer, and others may come first. It leaves the line when it gives up, and delays nobody.
    ///
    /// Context: as there.
    ///
    /// # Errors
    /// [`Deadline`](StopError::Deadline) names the CPUs that did not answer; nothing ran anywhere, and every CPU goes on as before.
    /// Else as [`stop_machine`](Self::stop_machine).
    #[track_caller]
    pub fn stop_machine_deadline<'a, F>(
        &'a self,
        task: &'a mut Task,
        active: Option<&CpuMask<W>>,
        deadline: Deadline,
        f: &F,
    ) -> Stop<'a, P, N, W>
    where
        F: Fn(&Stopped<'_>) -> i32 + Sync,
    {
        self.stop_online(task, active, deadline, f, Location::caller())
    }

    /// As [`stop_machine`](Self::stop_machine), by a caller that holds the hotplug lock for reading and keeps it.
    ///
    /// Context: thread.
    ///
    /// # Errors
    /// As there.
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
        self.stop_online(guard.task(), active, Deadline::NEVER, f, Location::caller())
    }

    /// Stops `a` and `b`, and nobody else, and runs `f` on both with interrupts off.
    ///
    /// Context: thread.
    ///
    /// # Errors
    /// [`Offline`](StopError::Offline): one of them is not online; it ran on neither.
    /// [`NoSuchCpu`](StopError::NoSuchCpu), [`SameCpu`](StopError::SameCpu).
    #[track_caller]
    pub fn stop_two_cpus<'a, F>(&'a self, task: &'a mut Task, a: CpuId, b: CpuId, f: &F) -> Stop<'a, P, N, W>
    where
        F: Fn(&Stopped<'_>) -> i32 + Sync,
    {
        let from = Location::caller();
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
        self.stop.turn.lock(self, WaitContext::Task, "stop_two_cpus: its turn", from);
        let receipts = Receipts { machine: self, task, locked: false };
        // SAFETY: `f` is `Sync` and alive until this returns.
        unsafe { self.carry_out(&plan, Body::of(f), WaitContext::Task, from)? };
        Ok(receipts)
    }

    /// Runs `f` by the stopper of `cpu`: before every thread there, interrupts on, and not together with any other stop that involves
    /// that CPU. Returns its value.
    ///
    /// Context: thread.
    ///
    /// # Errors
    /// [`Offline`](StopError::Offline): `cpu` is not online, or left before the work's turn; it did
    /// not run. [`NoSuchCpu`](StopError::NoSuchCpu).
    #[track_caller]
    pub fn stop_one_cpu<F>(&self, _task: &mut Task, cpu: CpuId, f: &F) -> Result<i32, StopError<W>>
    where
        F: Fn(&mut Pinned<'_>) -> i32 + Sync,
    {
        self.run_on_stopper(cpu, f, Location::caller())
    }

    /// [`stop_one_cpu`](Self::stop_one_cpu), on behalf of `from`.
    pub(crate) fn run_on_stopper<F>(
        &self,
        cpu: CpuId,
        f: &F,
        from: &'static Location<'static>,
    ) -> Result<i32, StopError<W>>
    where
        F: Fn(&mut Pinned<'_>) -> i32 + Sync,
    {
        if !self.is_booted() && cpu == self.platform.this_cpu() {
            let _pin = self.pinned();
            // SAFETY: preemption is off until `_pin` is dropped, and a thread has its interrupts on.
            let mut pinned = unsafe { Pinned::new() };
            return Ok(f(&mut pinned));
        }
        let work = StopWork::new();
        // SAFETY: this function waits below until the work is over, so `work` and `f` outlive it.
        unsafe { self.queue_one(cpu, &work, WorkBody::of(f, from))? };
        let at = Site { what: "stop_one_cpu: the work to end", at: from };
        let stalled = |waited_ns| self.report_stall(at, waited_ns, cpu);
        let wait =
            WaitFor { site: at, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &stalled };
        let end = self.platform.wait_until(work.word(), &wait, || {
            let state = work.state();
            (state != WorkState::Queued).then_some(state)
        });
        match end {
            Some(WorkState::Ran(value)) => Ok(value),
            _ => Err(StopError::Offline(cpu)),
        }
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
    /// and one that leaves is inside a stop already. Else as
    /// [`stop_machine`](Self::stop_machine).
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
        self.stop.door.lock(self, WaitContext::Frozen, "stop_machine: other CPUs to be online", from);
        self.stop.turn.lock(self, WaitContext::Frozen, "stop_machine: its turn", from);
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
            unsafe { self.carry_out(&plan, Body::of(f), WaitContext::Frozen, from) }
        };
        let value = result.map(|()| self.first_value());
        self.stop.turn.unlock(&self.platform);
        self.stop.door.unlock(&self.platform);
        value
    }

    /// One turn of every online CPU's stopper: whatever a pinned section or an interrupts-off section did there before this call is done
    /// when it returns. Nobody is frozen.
    ///
    /// Context: thread; inside a hotplug callback, too.
    #[doc(alias = "synchronize_rcu")]
    #[track_caller]
    pub fn quiesce(&self, task: &mut Task) {
        let from = Location::caller();
        let locked = self.read_lock(task, from);
        self.stop.turn.lock(self, WaitContext::Task, "quiesce: its turn", from);
        self.pass(from);
        self.stop.turn.unlock(&self.platform);
        if locked {
            self.read_unlock(task);
        }
    }

    /// As [`quiesce`](Self::quiesce), by a caller that holds `turn`.
    pub(crate) fn pass(&self, from: &'static Location<'static>) {
        // Relaxed: the caller holds the hotplug lock.
        let plan = Plan { pass: true, ..Plan::new(self.online.now(), CpuMask::EMPTY, false) };
        let nothing = |_: &Stopped<'_>| 0;
        // SAFETY: nobody is active, so nobody runs the function.
        let passed = unsafe { self.carry_out(&plan, Body::of(&nothing), WaitContext::Task, from) };
        debug_assert!(
            passed.is_ok(),
            "no deadline, and every CPU that is online has its stopper open: {passed:?}"
        );
    }

    /// Two disable stages? They matter for the stop that takes a CPU out; all stops of a machine use the same.
    pub(crate) fn splits(&self) -> bool {
        self.protocol.stages != crate::Stages::Single
    }

    fn stop_online<'a, F>(
        &'a self,
        task: &'a mut Task,
        active: Option<&CpuMask<W>>,
        deadline: Deadline,
        f: &F,
        from: &'static Location<'static>,
    ) -> Stop<'a, P, N, W>
    where
        F: Fn(&Stopped<'_>) -> i32 + Sync,
    {
        let too_late = StopError::Deadline { stage: Stage::None, missing: CpuMask::EMPTY };
        let site = Site { what: "stop_machine: the hotplug operation to end", at: from };
        let locked = self.read_lock_until(task, deadline, site).ok_or(too_late)?;
        if !self.stop.turn.lock_until(self, deadline, "stop_machine: its turn", from) {
            if locked {
                self.read_unlock(task);
            }
            return Err(too_late);
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
        let plan = Plan { asked, deadline, ..Plan::new(members, active, self.splits()) };
        // SAFETY: `f` is `Sync` and alive until this returns.
        unsafe { self.carry_out(&plan, Body::of(f), WaitContext::Task, from)? };
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
