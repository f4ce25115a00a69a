//! The scheduler: each CPU's idle context runs the threads that are on it, and threads move only when switched out.
//!
//! A switch happens inside a [`Critical`](crate::irq::Critical) section on both sides, so no handler sees a CPU between two
//! contexts. Between two threads the section opens: there the stopper may run on top of the idle context, and there the
//! idle context looks whether this CPU is to die.
//!
//! Eviction: `takes` goes off under the queue's lock and what is switched out moves at once; a thread that runs moves
//! when it is switched out. Putting a thread on a CPU looks at `takes` under the same lock.

use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use corosensei::stack::DefaultStack;
use standstill::CpuId;
use standstill::hotplug::Reason;
use standstill::platform::{Deadline, Runs, Sched, Site, Vacate, Wait, WaitContext, WaitFor};
use standstill_sched::{State, place};

use crate::Hosted;
use crate::board::{Board, Cpu, Doing, here, try_here};
use crate::firmware::{self, Leave};
use crate::irq;
use crate::os;
use crate::thread::{Code, Out, Thread, switch_out};

/// The idle context of a CPU that came up. Returns when the machine is switched off.
pub(crate) fn idle_loop(cpu: &'static Cpu) -> Leave {
    let board = cpu.board;
    let entry = board.entry();
    loop {
        if board.power_off.load(Acquire) {
            return Leave::Off;
        }
        // SAFETY: this is the idle context of this CPU, with interrupts on and preempt count 0.
        unsafe { entry.idle() };
        let seen = cpu.queue.kicks();
        let section = irq::enter();
        let (next, timer) = {
            let mut q = cpu.queue.lock();
            let timer = q.timers(os::now_ns);
            (q.pop().inspect(|t| t.set_state(State::Running)), timer)
        };
        match next {
            Some(thread) => {
                run(cpu, thread);
                drop(section);
            }
            None => {
                drop(section);
                let ns = (timer != u64::MAX).then(|| timer.saturating_sub(os::now_ns()).max(1));
                cpu.queue.sleep(seen, ns);
            }
        }
    }
}

/// Runs `thread` until it is switched out, and puts it where it belongs then. Inside a section.
fn run(cpu: &'static Cpu, thread: &'static Thread) {
    cpu.current.store(ptr::from_ref(thread).cast_mut(), Relaxed);
    // SAFETY: this is the idle context of the thread's CPU, which took it from the queue.
    let out = unsafe { thread.resume() };
    match out {
        Some(Out::Leave(leave)) => firmware::go(cpu, leave),
        Some(Out::Yield) => settle(cpu, thread, State::Ready),
        Some(Out::Wait) => settle(cpu, thread, State::Blocked),
        None => retire(cpu, thread),
    }
    cpu.current.store(ptr::null_mut(), Relaxed);
    // Not before: whoever watches looks at `current`, too.
    wake_watcher(cpu);
}

/// Puts a thread that was switched out back, here or on a CPU where it would rather be.
fn settle(cpu: &'static Cpu, thread: &'static Thread, state: State) {
    loop {
        let to = cpu.board.place_for(thread, cpu);
        let Some(to) = to.filter(|to| !ptr::eq(*to, cpu)) else {
            let mut q = cpu.queue.lock();
            // Evicted since the glance: the sweep has passed this thread by, as it ran.
            if to.is_some() && !q.takes && !thread.bound {
                continue;
            }
            q.put(thread, state);
            return;
        };
        let (mut theirs, mut mine) = to.queue.lock_both(&cpu.queue);
        if theirs.takes {
            mine.remove(thread);
            thread.set_cpu(to.id);
            theirs.add(thread, state);
            drop((theirs, mine));
            to.queue.kick();
            return;
        }
    }
}

/// A thread's code returned.
fn retire(cpu: &'static Cpu, thread: &'static Thread) {
    let mut q = cpu.queue.lock();
    // SAFETY: its code returned, and this CPU owns the context.
    let stack = unsafe { thread.unload() };
    q.remove(thread);
    thread.set_state(State::Off);
    if !q.hotplug.is_some_and(|h| ptr::eq(h, thread)) {
        return;
    }
    if std::mem::take(&mut q.hotplug_again) {
        // SAFETY: it is gone, and the lock keeps others from starting it.
        unsafe { thread.load(stack.unwrap_or_else(|| cpu.board.stack()), hotplug_code(cpu)) };
        q.add(thread, State::Ready);
        return;
    }
    q.hotplug_runs = false;
    drop(q);
    cpu.queue.parked.store(1, Ordering::Release);
    cpu.board.notify(&raw const cpu.queue.parked);
}

fn hotplug_code(cpu: &'static Cpu) -> Code {
    Box::new(move |task| {
        // SAFETY: the body of the CPU's one bound thread.
        unsafe { cpu.board.entry().serve_hotplug(task) }
    })
}

/// Something left `cpu`: whoever waits for that looks again.
fn wake_watcher(cpu: &Cpu) {
    if cpu.queue.watcher.load(Relaxed).is_null() {
        return;
    }
    let watcher = cpu.queue.watcher.swap(ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: null or a thread, and threads are never freed.
    if let Some(thread) = unsafe { watcher.as_ref() } {
        cpu.board.wake(thread);
    }
}

impl Board {
    /// A stack for a thread.
    pub(crate) fn stack(&self) -> DefaultStack {
        DefaultStack::new(self.config.stack_bytes).unwrap_or_else(|error| {
            (self.config.refused)(&format!(
                "the system gives no memory for a thread's stack: {error}; use fewer CPUs, or allow \
                 more memory (`ulimit -v`) or mappings (vm.max_map_count)"
            ))
        })
    }

    /// Where `thread`, now on `at`, should be: at home, else where it is, else anywhere. `None`: no CPU takes threads.
    fn place_for(&'static self, thread: &Thread, at: &'static Cpu) -> Option<&'static Cpu> {
        let takes = |cpu: CpuId| self.cpu(cpu).queue.lock().takes;
        let to = place(thread, at.id, self.cpus().len(), &self.next_place, takes)?;
        Some(self.cpu(to))
    }

    /// Ends `thread`'s wait. From any context.
    pub(crate) fn wake(&'static self, thread: &'static Thread) {
        let _section = irq::enter();
        loop {
            let cpu = self.cpu(thread.cpu());
            let mut q = cpu.queue.lock();
            if thread.cpu() != cpu.id {
                continue;
            }
            match thread.state() {
                State::Blocked => {
                    q.push(thread);
                    drop(q);
                    cpu.queue.kick();
                }
                State::Running => thread.woken.store(true, Relaxed),
                State::Ready | State::Off => {}
            }
            return;
        }
    }

    /// Starts a thread at `home`, or elsewhere if that takes none.
    pub(crate) fn start_thread(
        &'static self,
        name: &'static str,
        home: CpuId,
        code: Code,
    ) -> &'static Thread {
        let thread = Thread::leak(name, home, false);
        self.register(thread);
        // SAFETY: it is new.
        unsafe { thread.load(self.stack(), code) };
        let _section = irq::enter();
        let home = self.cpu(home);
        loop {
            let to = self.place_for(thread, home).expect("no CPU takes threads: spawn after the boot");
            let mut q = to.queue.lock();
            if q.takes {
                thread.set_cpu(to.id);
                q.add(thread, State::Ready);
                drop(q);
                to.queue.kick();
                return thread;
            }
        }
    }

    /// Moves what is switched out on `from` and may run elsewhere.
    fn sweep(&'static self, from: &'static Cpu) {
        let mut stuck = 0;
        loop {
            let _section = irq::enter();
            let movable = {
                let q = from.queue.lock();
                let mut all = q.members().iter();
                all.by_ref().filter(|t| !t.bound && t.state() != State::Running).nth(stuck).copied()
            };
            let Some(thread) = movable else { return };
            let Some(to) = self.place_for(thread, from).filter(|to| !ptr::eq(*to, from)) else {
                stuck += 1;
                continue;
            };
            let (mut theirs, mut mine) = to.queue.lock_both(&from.queue);
            if theirs.takes
                && thread.cpu() == from.id
                && matches!(thread.state(), State::Ready | State::Blocked)
            {
                let state = mine.remove(thread);
                thread.set_cpu(to.id);
                theirs.add(thread, state);
                drop((theirs, mine));
                to.queue.kick();
            }
        }
    }

    /// Starts the hotplug thread of `cpu`, or makes it start again when it has ended.
    pub(crate) fn start_hotplug_thread(&'static self, cpu: &'static Cpu) {
        let _section = irq::enter();
        let mut q = cpu.queue.lock();
        if q.hotplug_runs {
            q.hotplug_again = true;
            return;
        }
        let thread = *q.hotplug.get_or_insert_with(|| {
            let name = Box::leak(format!("cpuhp/{}", cpu.id.index()).into_boxed_str());
            let thread = Thread::leak(name, cpu.id, true);
            self.register(thread);
            thread
        });
        q.hotplug_runs = true;
        cpu.queue.parked.store(0, Ordering::Release);
        // SAFETY: it does not run, and the lock keeps others from starting it.
        unsafe { thread.load(self.stack(), hotplug_code(cpu)) };
        q.add(thread, State::Ready);
        drop(q);
        cpu.queue.kick();
    }

    /// Lets `cpu` take threads.
    pub(crate) fn admit(&'static self, cpu: CpuId) {
        let _section = irq::enter();
        self.cpu(cpu).queue.lock().takes = true;
    }
}

// SAFETY: 1. `vacate` returns Ok only when another CPU runs the caller, and an evicted CPU is given no thread: `takes` is
// looked at under the lock of its queue whenever one is put there. 2. `members` holds every thread that is on this CPU,
// running or not, and `current` says what the stopper interrupted: both change inside sections, where no stopper runs.
// 3. See lines.rs.
unsafe impl Sched for Hosted {
    fn evict(&self, cpu: CpuId) {
        let cpu = self.board.cpu(cpu);
        {
            let _section = irq::enter();
            cpu.queue.lock().takes = false;
        }
        self.board.sweep(cpu);
    }

    fn readmit(&self, cpu: CpuId) {
        self.board.admit(cpu);
    }

    fn vacate(&self, cpu: CpuId) -> Result<(), Vacate> {
        while here().id == cpu {
            if here().thread().is_none_or(|t| t.bound) {
                return Err(Vacate::Bound);
            }
            let elsewhere = {
                let _section = irq::enter();
                self.board.cpus().iter().any(|c| c.id != cpu && c.queue.lock().takes)
            };
            if !elsewhere {
                return Err(Vacate::Nowhere);
            }
            switch_out(Out::Yield);
        }
        Ok(())
    }

    fn occupied(&self, cpu: CpuId) -> Option<&'static str> {
        let _section = irq::enter();
        let cpu = self.board.cpu(cpu);
        let q = cpu.queue.lock();
        let name = q
            .members()
            .iter()
            .find(|t| t.state() == State::Running)
            .or(q.members().first())
            .map(|t| t.name)
            .or_else(|| cpu.thread().map(|t| t.name));
        if name.is_some()
            && let Some(me) = try_here().and_then(Cpu::thread)
        {
            cpu.queue.watcher.store(ptr::from_ref(me).cast_mut(), Ordering::Release);
        }
        name
    }

    fn only_idle_left(&self) -> bool {
        let _section = irq::enter();
        let cpu = here();
        cpu.thread().is_none() && cpu.queue.lock().members().is_empty() && !cpu.keeps_busy.load(Relaxed)
    }

    fn park_threads(&self, cpu: CpuId) {
        let cpu = self.board.cpu(cpu);
        let parked = {
            let _section = irq::enter();
            let mut q = cpu.queue.lock();
            q.hotplug_again = false;
            !q.hotplug_runs
        };
        if parked {
            return;
        }
        let on = &cpu.queue.parked;
        let wait = WaitFor {
            site: Site::here("park: the hotplug thread to end"),
            context: WaitContext::Task,
            deadline: Deadline::NEVER,
            stalled: &|_| {},
        };
        self.wait_until(on, &wait, || (on.load(Acquire) == 1).then_some(()));
    }

    fn unpark_threads(&self, cpu: CpuId) {
        self.board.start_hotplug_thread(self.board.cpu(cpu));
    }

    fn aim_lines_away(&self, cpu: CpuId) -> Result<(), Reason> {
        self.board.lines.aim_away(self.board, cpu)
    }

    fn lines_left(&self, cpu: CpuId) -> Result<(), Reason> {
        if self.board.cpu(cpu).keeps_line.load(Relaxed) {
            return Err(Reason { code: -16, text: "a device line is kept on the CPU on purpose" });
        }
        self.board.lines.hand_over(self.board, cpu)
    }

    fn lines_back(&self, cpu: CpuId) {
        self.board.lines.rebalance(self.board, cpu);
    }

    fn runs(&self, cpu: CpuId) -> Runs {
        let cpu = self.board.cpu(cpu);
        let what = match Doing::from_u8(cpu.doing.load(Relaxed)) {
            Doing::Firmware => "nothing: it is not running",
            Doing::StartUp => "its start-up",
            Doing::CallHandler => "the handler of a call interrupt",
            Doing::LineHandler => "the handler of a device line",
            Doing::Stopper => "its stopper",
            Doing::Halted => "nothing: it is halted",
            Doing::Thread => cpu.thread().map_or("idle", |t| t.name),
        };
        let irqs_off_at = if cpu.soft_off.load(Relaxed) {
            // SAFETY: null, or the `Location` of a caller, which is static.
            unsafe { cpu.off_at.load(Relaxed).as_ref() }
        } else {
            None
        };
        Runs { what, irqs_off_at }
    }
}

#[cfg(test)]
mod tests;
