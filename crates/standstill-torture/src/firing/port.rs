//! The machine, as a port: what the library and the workloads ask, answered from the [`World`](super::world::World).

use core::sync::atomic::{AtomicPtr, Ordering, Ordering::Release, fence};

use standstill::CpuId;
use standstill::context::Task;
use standstill::event::{Event, What};
use standstill::hotplug::Reason;
use standstill::platform::{
    Cpus, Datum, Deadline, Ipi, Irq, Memory, PlainCell, Runs, Sched, StartError, Vacate, Wait, WaitContext,
    WaitFor,
};

use super::lie::{At, Lie, Word};
use super::world::{
    CALL, CPUS, LINES, Role, STEP_NS, STOP, hotplug_thread, idle_loop, pass, poll, suspend, turn, world,
};
use crate::ground::{Body, Ground, LineHandler};

/// The machine, as a port.
#[derive(Clone, Copy)]
pub(crate) struct Sim;

// SAFETY: the types of real machines; a `Word` is one, too, unless it lies.
unsafe impl Memory for Sim {
    type Word = Word;
    type Ptr<T: 'static> = AtomicPtr<T>;
    type Cell<T: Datum> = PlainCell<T>;
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

// SAFETY: interrupts and the stopper run in `poll` only, which looks at the flags kept here; a thread moves only in `pass`.
unsafe impl Irq for Sim {
    type Flags = bool;
    fn this_cpu(&self) -> CpuId {
        let w = world();
        let lies = w.lie.get() == Lie::WorkElsewhere && w.cpu().in_work.get() && w.tell();
        CpuId::new(if lies { (w.at() + 1) % CPUS } else { w.at() })
    }
    fn irq_save(&self) -> bool {
        !world().cpu().irqs_off.replace(true)
    }
    unsafe fn irq_restore(&self, were_on: bool) {
        if were_on {
            world().cpu().irqs_off.set(false);
            poll();
        }
    }
    fn irqs_on(&self) -> bool {
        let w = world();
        w.pass_hook(At::IrqsOn);
        let (cpu, lie) = (w.cpu(), w.lie.get());
        let lies = (lie == Lie::OpenInHandler && cpu.in_handler.get())
            || (lie == Lie::OpenInStarting && cpu.in_starting.get());
        cpu.irqs_off.get() == (lies && w.tell())
    }
    fn hard_irq_disable(&self) {
        assert!(world().cpu().irqs_off.get(), "the local mask comes first");
    }
    fn preempt_disable(&self) {
        let cpu = world().cpu();
        cpu.preempt.set(cpu.preempt.get() + 1);
    }
    unsafe fn preempt_enable(&self) {
        let cpu = world().cpu();
        cpu.preempt.set(cpu.preempt.get() - 1);
        poll();
    }
    fn send_ipi(&self, to: CpuId, why: Ipi) {
        let pending = &world().cpus[to.index()].pending;
        let bit = if why == Ipi::Stop { STOP } else { CALL };
        assert!(why != Ipi::Halt, "nobody panics here");
        pending.set(pending.get() | bit);
    }
}

// SAFETY: `wait_until` returns only what `poll` said, or `None` after the deadline; NEVER does not expire.
unsafe impl Wait for Sim {
    fn deadline_in(&self, ns: u64) -> Deadline {
        Deadline((world().steps.get() * STEP_NS + ns) as usize)
    }
    fn expired(&self, deadline: Deadline) -> bool {
        deadline != Deadline::NEVER && world().steps.get() * STEP_NS >= deadline.0 as u64
    }
    fn wait_until<R>(
        &self,
        _: &Word,
        wait: &WaitFor<'_>,
        mut condition: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let w = world();
        let before = w.me().waits.replace(wait.site.what);
        loop {
            w.go_blind(wait.site.what);
            let result = condition();
            w.blind.set(false);
            if result.is_some() {
                w.me().waits.set(before);
                return result;
            }
            if self.expired(wait.deadline) {
                return condition();
            }
            match wait.context {
                WaitContext::Task => pass(),
                WaitContext::Spin => turn(),
                WaitContext::Frozen => {
                    turn();
                    w.interrupt_frozen();
                }
            }
        }
    }
    fn event(&self, event: impl FnOnce() -> Event) {
        let w = world();
        let cpu = w.cpu();
        match event().what {
            What::CallBegin(..) => cpu.in_handler.set(true),
            What::CallEnd(_) => cpu.in_handler.set(false),
            What::StateEnter { name, .. } => cpu.in_starting.set(name == "torture/starting"),
            What::StateLeave { .. } => cpu.in_starting.set(false),
            What::WorkBegin(_) => cpu.in_work.set(true),
            What::WorkEnd(_) => cpu.in_work.set(false),
            What::RunBegin { .. } => w.functions.set(w.functions.get() + 1),
            What::RunEnd { .. } => w.functions.set(w.functions.get() - 1),
            _ => {}
        }
        // What is between two events is one step, unless it waits.
        suspend();
    }
}

// SAFETY: a started CPU is a new coroutine that calls `start_cpu` first; one that died is not resumed.
unsafe impl Cpus for Sim {
    fn start(&self, cpu: CpuId, incarnation: usize) -> Result<(), StartError> {
        let w = world();
        if w.lie.get() == Lie::NoStart && w.handler.get().is_some() && !w.raises.get() {
            return Err(StartError("it does not listen"));
        }
        let block = &w.cpus[cpu.index()];
        block.pending.set(0);
        w.spawn(cpu.index(), Role::Idle, move || {
            block.irqs_off.set(true);
            block.preempt.set(0);
            block.in_stopper.set(false);
            // SAFETY: the first thing on a fresh stack, interrupts off.
            if unsafe { w.entry().start_cpu(incarnation) }.is_ok() {
                block.irqs_off.set(false);
                idle_loop();
            }
        });
        Ok(())
    }
    fn die(&self, dead: &Word, value: usize) -> ! {
        let w = world();
        w.leave(w.current.get());
        // Nobody is left here, unless the machine lies; then who stays goes on.
        w.cpu().irqs_off.set(w.cpu().threads.borrow().is_empty());
        w.cpu().in_stopper.set(false);
        standstill::platform::Word::store(dead, value, Release);
        loop {
            suspend();
        }
    }
    fn halt(&self) -> ! {
        panic!("nobody panics here")
    }
    fn halt_hard(&self, _: CpuId) {
        panic!("nobody panics here")
    }
}

// SAFETY: threads move in `pass`; the idle thread runs only when it is its turn. What a lie breaks, tests look at.
unsafe impl Sched for Sim {
    fn evict(&self, cpu: CpuId) {
        world().cpus[cpu.index()].evicted.set(true);
    }
    fn readmit(&self, cpu: CpuId) {
        world().cpus[cpu.index()].evicted.set(false);
    }
    fn vacate(&self, cpu: CpuId) -> Result<(), Vacate> {
        let w = world();
        if w.at() != cpu.index() {
            return Ok(());
        }
        let to = w.open_cpu().ok_or(Vacate::Nowhere)?;
        if w.lie.get() == Lie::Stays {
            w.me().stays.set(true);
        } else {
            w.move_to(to);
            turn();
        }
        Ok(())
    }
    fn occupied(&self, cpu: CpuId) -> Option<&'static str> {
        let w = world();
        let threads = w.threads.borrow();
        let is_in_the_way = |id: &usize| threads[*id].role != Role::Idle && !threads[*id].stays.get();
        w.cpus[cpu.index()].threads.borrow().iter().any(is_in_the_way).then_some("a thread")
    }
    fn only_idle_left(&self) -> bool {
        world().me().role == Role::Idle && self.occupied(self.this_cpu()).is_none()
    }
    fn park_threads(&self, cpu: CpuId) {
        while !world().cpus[cpu.index()].hotplug_parked.get() {
            pass();
        }
    }
    fn unpark_threads(&self, cpu: CpuId) {
        hotplug_thread(cpu.index());
    }
    fn aim_lines_away(&self, cpu: CpuId) -> Result<(), Reason> {
        let w = world();
        for line in w.lines.iter().filter(|line| line.aim.get() == cpu.index()) {
            line.aim.set(w.open_cpu().unwrap_or(0));
        }
        Ok(())
    }
    fn lines_left(&self, _: CpuId) -> Result<(), Reason> {
        Ok(())
    }
    fn lines_back(&self, cpu: CpuId) {
        world().lines[cpu.index() % LINES].aim.set(cpu.index());
    }
    fn runs(&self, _: CpuId) -> Runs {
        Runs { what: "a thread", irqs_off_at: None }
    }
}

impl Ground for Sim {
    fn now_ns(&self) -> u64 {
        world().pass_hook(At::Now);
        world().steps.get() * STEP_NS
    }
    fn spawn(&self, _: &'static str, home: CpuId, body: &'static Body) {
        let w = world();
        let home = if w.cpus[home.index()].evicted.get() { w.open_cpu().unwrap_or(0) } else { home.index() };
        w.spawn(home, Role::Task, move || {
            // SAFETY: a thread of its own, interrupts on.
            body(&mut unsafe { Task::new() });
        });
    }
    fn sleep_ns(&self, _: &mut Task, ns: u64) {
        let w = world();
        // Once the devices are off nothing else happens, and there is no need to sleep long.
        let at_the_end = w.handler.get().is_some() && !w.raises.get();
        let until = self.deadline_in(if at_the_end { ns.min(50 * STEP_NS) } else { ns });
        while !self.expired(until) {
            pass();
        }
    }
    fn yield_now(&self, _: &mut Task) {
        pass();
    }
    fn pause(&self) {
        turn();
    }
    fn lines(&self) -> usize {
        LINES
    }
    fn start_devices(&self, handler: &'static LineHandler) {
        world().handler.set(Some(handler));
        world().raises.set(true);
    }
    fn stop_devices(&self, _: &mut Task) -> (u64, u64) {
        let w = world();
        w.raises.set(false);
        while w.lines.iter().any(|line| line.pending.get() > 0) {
            pass();
        }
        (w.raised.get(), w.handled.get())
    }
}
