//! The reader lock: many cheap readers, one writer at a time, nobody starved.
//!
//! A reader counts itself on its own CPU and then looks at the gate; a writer closes the gate and then adds up the counts. Between
//! the two steps each has a fence, so at least one of them sees the other: either the reader finds the gate closed and backs
//! out, or the writer finds the reader in its sum. Readers that find it closed wait in the gate word itself; when the writer goes, it
//! lets all of them in at once (it adds them to `granted`, a counter like the CPUs'), so the next writer waits for them and
//! they never lose against a row of writers; nor do writers lose against a stream of readers, who wait once the gate is closed.
//!
//! A reader may unlock on another CPU than it locked on: only the sum of all counters means something. The writer's sum is exact
//! once the gate is closed: no reader that counted itself before can be missed (the fences), and nobody new stays.
//!
//! A thread that already holds the lock may lock it again, a waiting writer or not: its [`Task`] knows.
//!
//! Both sides may give up at a deadline. A reader takes itself out of the gate word by compare-and-swap, if no writer has let it in
//! before. A writer leaves the line of writers, or opens the gate that it has closed, and lets in who waits there.

use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::bound::{Bound, By};
use crate::context::Task;
use crate::cpu::CpuId;
use crate::event::What;
use crate::machine::Machine;
use crate::platform::{Deadline, Memory, Platform, Site, WaitContext, WaitFor, Word};
use crate::stop::TicketLock;

/// In the gate: a writer holds the lock, or waits for the readers to go.
const CLOSED: usize = 1;
/// In the gate: one reader that waits.
const WAITING: usize = 2;
/// In the gate: one writer that has gone. 31 bits for readers below it.
const PHASE: usize = 1 << 32;

fn waiting(gate: usize) -> usize {
    (gate % PHASE) / WAITING
}

/// The lock, apart from the readers' counters, which each CPU has.
pub(crate) struct HotplugLock<P: Memory> {
    /// Writers take turns.
    pub(crate) writers: TicketLock<P>,
    gate: P::Word,
    /// Readers that a writer let in when it went.
    granted: P::Word,
    /// Changes when a reader goes while the gate is closed: what the writer waits on.
    poke: P::Word,
}

impl<P: Memory> HotplugLock<P> {
    pub(crate) const fn new() -> Self {
        HotplugLock {
            writers: TicketLock::new(),
            gate: P::Word::ZERO,
            granted: P::Word::ZERO,
            poke: P::Word::ZERO,
        }
    }
}

/// No CPU comes or goes while this lives. Leaking it blocks hotplug for ever, and nothing else.
pub struct HotplugRead<'a, P: Platform, const N: usize, const W: usize> {
    machine: &'a Machine<P, N, W>,
    task: &'a mut Task,
    locked: bool,
}

impl<P: Platform, const N: usize, const W: usize> HotplugRead<'_, P, N, W> {
    /// The thread that holds the lock, for what takes a [`Task`].
    pub const fn task(&mut self) -> &mut Task {
        self.task
    }
}

impl<P: Platform, const N: usize, const W: usize> Drop for HotplugRead<'_, P, N, W> {
    fn drop(&mut self) {
        if self.locked {
            self.machine.read_unlock(self.task);
        }
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Keeps every CPU from coming or going. Cheap: a counter of the own CPU and a fence.
    ///
    /// Context: thread. May be nested, and used inside hotplug callbacks, where it is free.
    #[doc(alias = "get_online_cpus")]
    #[doc(alias = "cpu_hotplug_lock")]
    #[track_caller]
    pub fn cpus_read_lock<'a>(&'a self, task: &'a mut Task) -> HotplugRead<'a, P, N, W> {
        let locked = self.read_lock(task, Location::caller());
        HotplugRead { machine: self, task, locked }
    }

    /// As [`cpus_read_lock`](Self::cpus_read_lock), and gives up when `bound` is reached: then `None`. A hotplug operation is bounded
    /// itself, so that only one whose own PREPARE callback hangs keeps a reader out without end.
    ///
    /// Context: thread.
    #[track_caller]
    pub fn cpus_read_lock_until<'a, 'b>(
        &'a self,
        task: &'a mut Task,
        bound: impl Into<Bound<'b, P>>,
    ) -> Option<HotplugRead<'a, P, N, W>> {
        let by = By { from: Location::caller(), bound: bound.into() };
        let locked = self.read_lock_within(task, "cpus_read_lock: the hotplug operation to end", by)?;
        Some(HotplugRead { machine: self, task, locked })
    }

    /// As [`cpus_read_lock`](Self::cpus_read_lock), if it can be had without waiting; `None` while a hotplug operation runs or waits for
    /// readers.
    ///
    /// Context: thread.
    pub fn cpus_read_trylock<'a>(&'a self, task: &'a mut Task) -> Option<HotplugRead<'a, P, N, W>> {
        task.deals_with(self.address());
        if task.writer {
            return Some(HotplugRead { machine: self, task, locked: false });
        }
        if task.readers == 0 && !self.count_reader() {
            return None;
        }
        self.reader_is_in(task);
        Some(HotplugRead { machine: self, task, locked: true })
    }

    /// Takes the lock for reading; false if the thread has it for writing and needs nothing.
    pub(crate) fn read_lock(&self, task: &mut Task, from: &'static Location<'static>) -> bool {
        let by = By { from, bound: Bound::until(Deadline::NEVER) };
        self.read_lock_within(task, "cpus_read_lock: the hotplug operation to end", by) == Some(true)
    }

    /// As [`read_lock`](Self::read_lock), and gives up when the bound is reached: then `None`.
    pub(crate) fn read_lock_within(
        &self,
        task: &mut Task,
        what: &'static str,
        by: By<'_, P>,
    ) -> Option<bool> {
        task.deals_with(self.address());
        if task.writer {
            return Some(false);
        }
        if task.readers == 0 {
            while !self.count_reader() {
                if self.wait_for_writer(what, by)? {
                    break;
                }
            }
        }
        self.reader_is_in(task);
        Some(true)
    }

    pub(crate) fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    fn reader_is_in(&self, task: &mut Task) {
        task.readers += 1;
        if task.readers == 1 {
            self.emit(|| What::ReadLocked);
        }
    }

    /// Counts a reader on this CPU, unless the gate is closed.
    fn count_reader(&self) -> bool {
        let pin = self.pinned();
        let count = &self.cpu[pin.cpu().index()].hotplug.readers;
        count.fetch_add(1, Relaxed);
        // Against the writer's fence: it closed the gate and did not see the count, or the gate is seen closed here.
        self.platform.fence();
        // Acquire: pairs with the release of the writer that opened it.
        if self.hotplug.lock.gate.load(Acquire) & CLOSED == 0 {
            return true;
        }
        // Relaxed: this reader did nothing under the lock. Readers that did, and whose count this one goes on with, stay published.
        count.fetch_sub(1, Relaxed);
        drop(pin);
        self.poke_writer();
        false
    }

    /// Waits until the writer has gone; true if it let this reader in, false if it had gone before. `None`: the bound was
    /// reached before, and nobody counts this reader.
    fn wait_for_writer(&self, what: &'static str, by: By<'_, P>) -> Option<bool> {
        let gate = &self.hotplug.lock.gate;
        let mut seen = gate.load(Relaxed);
        loop {
            if seen & CLOSED == 0 {
                return Some(false);
            }
            match gate.compare_exchange(seen, seen + WAITING, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        let phase = seen / PHASE;
        let site = Site { what, at: by.from };
        let writers = &self.hotplug.lock.writers;
        let stalled = |waited_ns| self.report_operation(site, waited_ns, writers);
        let deadline = self.limit(by.bound);
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        // Acquire: pairs with the release of the writer that opened it.
        let opened = || (gate.load(Acquire) / PHASE != phase).then_some(());
        if self.wait_within(gate, &wait, by.bound, opened).is_none() && self.no_longer_waits(phase) {
            return None;
        }
        Some(true)
    }

    /// A reader that waits in the gate since `phase` takes itself out; false if a writer has let it in.
    fn no_longer_waits(&self, phase: usize) -> bool {
        let gate = &self.hotplug.lock.gate;
        // Acquire: as in `wait_for_writer`, for a reader that was let in.
        let mut seen = gate.load(Acquire);
        while seen / PHASE == phase {
            // Relaxed: there is nothing to hand over.
            match gate.compare_exchange(seen, seen - WAITING, Relaxed, Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    pub(crate) fn read_unlock(&self, task: &mut Task) {
        task.readers -= 1;
        if task.readers > 0 {
            return;
        }
        self.emit(|| What::ReadUnlocked);
        let pin = self.pinned();
        // Release: pairs with the acquire of the writer's sum.
        self.cpu[pin.cpu().index()].hotplug.readers.fetch_sub(1, Release);
        drop(pin);
        // Against the writer's fence: it sees the count gone, or the gate is seen closed here and it is poked.
        self.platform.fence();
        if self.hotplug.lock.gate.load(Relaxed) & CLOSED != 0 {
            self.poke_writer();
        }
    }

    fn poke_writer(&self) {
        // Release: a port that sleeps reads it (acquire) before it looks at the counts: who finds it changed finds them changed.
        self.hotplug.lock.poke.fetch_add(1, Release);
        self.platform.notify(&raw const self.hotplug.lock.poke);
    }

    /// Keeps readers and other writers out. The caller does not hold the lock. If the bound is reached before, nobody is kept out, and
    /// the error names a CPU on which somebody holds the lock, and what was waited for.
    pub(crate) fn write_lock_within(
        &self,
        task: &mut Task,
        by: By<'_, P>,
    ) -> Result<(), (CpuId, &'static str)> {
        const TURN: &str = "hotplug: its turn";
        const READERS: &str = "hotplug: the readers to go";
        let lock = &self.hotplug.lock;
        if !lock.writers.lock_within(self, WaitContext::Task, TURN, by) {
            return Err((lock.writers.holder(), TURN));
        }
        lock.gate.fetch_or(CLOSED, Relaxed);
        // Against the readers' fences, see there.
        self.platform.fence();
        let site = Site { what: READERS, at: by.from };
        let stalled = |waited_ns| self.report_readers(site, waited_ns);
        let deadline = self.limit(by.bound);
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        let gone = || (self.readers() == 0).then_some(());
        let all_gone = || self.wait_within(&lock.poke, &wait, by.bound, gone);
        if self.awaiting_readers(all_gone).is_none() {
            let missing = self.reader_cpus().next().unwrap_or(lock.writers.holder());
            self.open_gate();
            return Err((missing, READERS));
        }
        task.writer = true;
        self.emit(|| What::WriteLocked);
        Ok(())
    }

    fn readers(&self) -> usize {
        // Relaxed: only writers change it, each with its turn taken. Acquire: pairs with the release of each reader that went.
        let granted = self.hotplug.lock.granted.load(Relaxed);
        self.cpu.iter().fold(granted, |sum, cpu| sum.wrapping_add(cpu.hotplug.readers.load(Acquire)))
    }

    /// CPUs on which readers locked that have not gone. Not those whose readers were let in by a writer: they are counted in one word.
    /// A reader that unlocks elsewhere than it locked leaves a count above 0 on one CPU, and one below 0 on the other.
    fn reader_cpus(&self) -> impl Iterator<Item = CpuId> + '_ {
        let counts = self.cpu.iter().enumerate();
        counts
            .filter(|(_, cpu)| cpu.hotplug.readers.load(Relaxed).cast_signed() > 0)
            .map(|(index, _)| CpuId::new(index))
    }

    /// Tells of the readers that a writer waits for. If it is known of none where it is, of the writer's own CPU.
    pub(crate) fn report_readers(&self, site: Site, waited_ns: u64) {
        self.reader_cpus().for_each(|cpu| self.report_stall(site, waited_ns, cpu));
        if self.reader_cpus().next().is_none() {
            self.report_stall(site, waited_ns, self.hotplug.lock.writers.holder());
        }
    }

    pub(crate) fn write_unlock(&self, task: &mut Task) {
        task.writer = false;
        self.emit(|| What::WriteUnlocked);
        self.open_gate();
    }

    /// Lets in the readers that wait, and the next writer. The caller has closed the gate.
    fn open_gate(&self) {
        let lock = &self.hotplug.lock;
        let mut seen = lock.gate.load(Relaxed);
        let mut counted = 0;
        loop {
            // Before the gate opens, or the next writer could miss them. Some may have given up since they were counted.
            lock.granted.fetch_add(waiting(seen).wrapping_sub(counted), Relaxed);
            counted = waiting(seen);
            let open = (seen / PHASE).wrapping_add(1).wrapping_mul(PHASE);
            // Release: what the writer did is visible to those it lets in.
            match lock.gate.compare_exchange(seen, open, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        self.platform.notify(&raw const lock.gate);
        lock.writers.unlock(&self.platform);
    }
}
