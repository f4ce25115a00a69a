//! A machine of four CPUs in one thread, whose schedule comes from a seed: the same run every time, counted in steps.
//!
//! Each thread of the machine is a coroutine. In each step one CPU, drawn at random, goes on until its next scheduling point. A CPU takes
//! interrupts only at such points. A CPU that dies is a coroutine that is never resumed. Time is the number of steps.
//!
//! The machine can [`Lie`]: do one thing that the contracts of the platform forbid.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ptr;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use standstill::context::{IrqOff, Task};
use standstill::platform::Entry;
use standstill::{CpuId, CpuMask, Machine, Protocol};

use super::lie::{Hook, Lie};
use super::port::Sim;
use crate::ground::LineHandler;
use crate::rng::Rng;

/// How many CPUs the machine has.
pub(crate) const CPUS: usize = 4;
/// The machine.
pub(crate) type Four = Machine<Sim, CPUS, 1>;

/// A run that takes longer than this hangs.
const MOST_STEPS: u64 = 5_000_000;
pub(super) const STEP_NS: u64 = 1_000;
const STACK: usize = 256 * 1024;
pub(super) const LINES: usize = 2;

pub(super) const CALL: usize = 1;
pub(super) const STOP: usize = 2;

type Co = Coroutine<(), (), (), DefaultStack>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Idle,
    Hotplug,
    Task,
}

pub(super) struct Thread {
    pub(super) role: Role,
    pub(super) cpu: Cell<usize>,
    /// What it waited for last.
    pub(super) waits: Cell<&'static str>,
    /// Stays on a CPU that it should leave: only in a lie.
    pub(super) stays: Cell<bool>,
    pub(super) yielder: Cell<*const Yielder<(), ()>>,
}

#[derive(Default)]
pub(super) struct Cpu {
    pub(super) pending: Cell<usize>,
    pub(super) irqs_off: Cell<bool>,
    pub(super) preempt: Cell<usize>,
    pub(super) in_stopper: Cell<bool>,
    pub(super) in_handler: Cell<bool>,
    pub(super) in_starting: Cell<bool>,
    pub(super) in_work: Cell<bool>,
    pub(super) evicted: Cell<bool>,
    pub(super) hotplug_parked: Cell<bool>,
    /// The threads that are here; the one that runs.
    pub(super) threads: RefCell<Vec<usize>>,
    pub(super) runs: Cell<usize>,
}

#[derive(Default)]
pub(super) struct Line {
    pub(super) aim: Cell<usize>,
    pub(super) pending: Cell<usize>,
}

pub(super) struct World {
    pub(super) cpus: [Cpu; CPUS],
    pub(super) lines: [Line; LINES],
    pub(super) threads: RefCell<Vec<Rc<Thread>>>,
    pub(super) fibres: RefCell<Vec<Option<Co>>>,
    pub(super) current: Cell<usize>,
    pub(super) steps: Cell<u64>,
    pub(super) rng: Rng,
    pub(super) entry: Cell<Option<&'static dyn Entry>>,
    pub(super) handler: Cell<Option<&'static LineHandler>>,
    /// The devices are on.
    pub(super) raises: Cell<bool>,
    pub(super) raised: Cell<u64>,
    pub(super) handled: Cell<u64>,
    /// How many CPUs run a stop's function.
    pub(super) functions: Cell<usize>,
    pub(super) lie: Cell<Lie>,
    /// The lie has been told: it is told once.
    pub(super) told: Cell<bool>,
    /// Loads find nothing: only in a lie.
    pub(super) blind: Cell<bool>,
    /// What else happens at the n-th time that the machine is asked something.
    pub(super) hook: RefCell<Option<Hook>>,
}

std::thread_local! {
    static WORLD: Cell<Option<&'static World>> = const { Cell::new(None) };
}

pub(super) fn world() -> &'static World {
    WORLD.get().expect("a machine runs")
}

impl World {
    fn new(seed: u64) -> World {
        World {
            cpus: Default::default(),
            lines: Default::default(),
            threads: RefCell::default(),
            fibres: RefCell::default(),
            current: Cell::new(0),
            steps: Cell::new(0),
            rng: Rng::new(seed, 9 << 32),
            entry: Cell::new(None),
            handler: Cell::new(None),
            raises: Cell::new(false),
            raised: Cell::new(0),
            handled: Cell::new(0),
            functions: Cell::new(0),
            lie: Cell::new(Lie::None),
            told: Cell::new(false),
            blind: Cell::new(false),
            hook: RefCell::default(),
        }
    }

    pub(super) fn me(&self) -> Rc<Thread> {
        Rc::clone(&self.threads.borrow()[self.current.get()])
    }

    pub(super) fn at(&self) -> usize {
        self.me().cpu.get()
    }

    pub(super) fn cpu(&self) -> &Cpu {
        &self.cpus[self.at()]
    }

    pub(super) fn entry(&self) -> &'static dyn Entry {
        self.entry.get().expect("the machine exists")
    }

    /// One step of one CPU that has threads.
    fn step(&self) {
        self.steps.set(self.steps.get() + 1);
        assert!(self.steps.get() < MOST_STEPS, "the machine hangs: {}", self.describe());
        if self.raises.get() && self.rng.one_in(1024) {
            self.raise(self.rng.below(LINES));
        }
        let cpu = &self.cpus[self.rng.below(CPUS)];
        if cpu.threads.borrow().is_empty() {
            return;
        }
        let id = cpu.runs.get();
        self.current.set(id);
        let mut fibre = self.fibres.borrow_mut()[id].take().expect("it is not over");
        match fibre.resume(()) {
            CoroutineResult::Yield(()) => self.fibres.borrow_mut()[id] = Some(fibre),
            CoroutineResult::Return(()) => self.leave(id),
        }
    }

    /// What each CPU runs, and what each thread waited for last.
    fn describe(&self) -> String {
        let threads = self.threads.borrow();
        let of = |cpu: &Cpu| {
            let wait = |id: &usize| (*id, threads[*id].role, threads[*id].waits.get());
            let waits: Vec<_> = cpu.threads.borrow().iter().map(wait).collect();
            format!("\nruns {}, interrupts off: {}, {waits:?}", cpu.runs.get(), cpu.irqs_off.get())
        };
        self.cpus.iter().map(of).collect()
    }

    fn raise(&self, line: usize) {
        self.raised.set(self.raised.get() + 1);
        let pending = &self.lines[line].pending;
        let n = match self.lie.get() {
            Lie::LineLost if self.tell() => 0,
            Lie::LineTwice if self.tell() => 2,
            _ => 1,
        };
        pending.set(pending.get() + n);
    }

    pub(super) fn spawn(&'static self, cpu: usize, role: Role, body: impl FnOnce() + 'static) {
        let thread = Rc::new(Thread {
            role,
            cpu: Cell::new(cpu),
            waits: Cell::new(""),
            stays: Cell::new(false),
            yielder: Cell::new(ptr::null()),
        });
        let id = self.threads.borrow().len();
        self.threads.borrow_mut().push(Rc::clone(&thread));
        let stack = DefaultStack::new(STACK).expect("memory for a stack");
        let fibre = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            thread.yielder.set(yielder);
            body();
        });
        self.fibres.borrow_mut().push(Some(fibre));
        self.enter(id, cpu);
    }

    fn enter(&self, id: usize, cpu: usize) {
        let cpu = &self.cpus[cpu];
        let mut threads = cpu.threads.borrow_mut();
        if threads.is_empty() {
            cpu.runs.set(id);
        }
        threads.push(id);
    }

    /// Takes a thread off its CPU.
    pub(super) fn leave(&self, id: usize) {
        let cpu = &self.cpus[self.threads.borrow()[id].cpu.get()];
        let mut threads = cpu.threads.borrow_mut();
        threads.retain(|other| *other != id);
        if let Some(next) = threads.first() {
            cpu.runs.set(*next);
        }
    }

    pub(super) fn move_to(&self, to: usize) {
        let id = self.current.get();
        self.leave(id);
        self.me().cpu.set(to);
        self.enter(id, to);
    }

    pub(super) fn open_cpu(&self) -> Option<usize> {
        self.cpus.iter().position(|cpu| !cpu.evicted.get())
    }
}

/// The end of a step: other CPUs go on.
pub(super) fn suspend() {
    let yielder = world().me().yielder.get();
    // SAFETY: set when the coroutine that runs began; it lives on that coroutine's stack, as long as this is not over.
    unsafe { (*yielder).suspend(()) }
}

/// The end of a step; this thread goes on in the CPU's next one, and takes its interrupts first.
pub(super) fn turn() {
    suspend();
    poll();
}

/// As [`turn`]; the CPU's other threads go first, and a thread moves off a CPU that it should leave.
pub(super) fn pass() {
    let (w, me) = (world(), world().me());
    if me.role == Role::Task
        && w.cpu().evicted.get()
        && !me.stays.get()
        && let Some(to) = w.open_cpu()
    {
        w.move_to(to);
    } else {
        let threads = w.cpu().threads.borrow();
        let mine = threads.iter().position(|id| *id == w.current.get()).expect("it runs here");
        w.cpu().runs.set(threads[(mine + 1) % threads.len()]);
    }
    turn();
}

/// Takes what is pending and allowed.
pub(super) fn poll() {
    let w = world();
    while !w.cpu().irqs_off.get() && take_interrupt() {}
    let cpu = w.cpu();
    let preemptible = cpu.preempt.get() == 0 && !cpu.irqs_off.get() && !cpu.in_stopper.get();
    if preemptible && !w.me().stays.get() && cpu.pending.get() & STOP != 0 {
        cpu.pending.set(cpu.pending.get() & !STOP);
        cpu.in_stopper.set(true);
        // SAFETY: preempt count 0, interrupts on, not nested.
        unsafe { w.entry().run_stopper() };
        cpu.in_stopper.set(false);
    }
}

/// Runs one handler with interrupts off, if there is one to run.
pub(super) fn take_interrupt() -> bool {
    let w = world();
    let (at, cpu) = (w.at(), w.cpu());
    let were_off = cpu.irqs_off.replace(true);
    let line = w.lines.iter().position(|line| line.aim.get() == at && line.pending.get() > 0);
    let some = if cpu.pending.get() & CALL != 0 {
        cpu.pending.set(cpu.pending.get() & !CALL);
        // SAFETY: on this CPU, interrupts off.
        unsafe { w.entry().on_call_ipi() };
        true
    } else if let Some(line) = line
        && let Some(handler) = w.handler.get()
    {
        w.lines[line].pending.set(w.lines[line].pending.get() - 1);
        // SAFETY: interrupts are off until the end of this function.
        handler(line, &unsafe { IrqOff::new() });
        w.handled.set(w.handled.get() + 1);
        true
    } else {
        false
    };
    cpu.irqs_off.set(were_off);
    some
}

pub(super) fn hotplug_thread(at: usize) {
    let w = world();
    w.cpus[at].hotplug_parked.set(false);
    w.spawn(at, Role::Hotplug, move || {
        // SAFETY: a thread of its own, interrupts on.
        let mut task = unsafe { Task::new() };
        // SAFETY: this thread belongs to the CPU and is its only hotplug thread.
        unsafe { w.entry().serve_hotplug(&mut task) };
        w.cpus[at].hotplug_parked.set(true);
    });
}

pub(super) fn idle_loop() {
    loop {
        // SAFETY: the idle loop of this CPU, interrupts on.
        unsafe { world().entry().idle() };
        pass();
    }
}

/// Runs `scene` as a thread of a machine whose four CPUs are online, until it returns. Must be called once in a thread.
pub(crate) fn run<R: 'static>(seed: u64, scene: impl FnOnce(&'static Four, &mut Task) -> R + 'static) -> R {
    // Never dropped: to drop a coroutine would unwind it, and what it stands in does not unwind.
    let w: &'static World = Box::leak(Box::new(World::new(seed)));
    WORLD.set(Some(w));
    let machine: &'static Four = Box::leak(Box::new(Machine::new(Sim, Protocol::STANDSTILL)));
    w.entry.set(Some(machine));
    for cpu in &w.cpus[1..] {
        cpu.evicted.set(true);
        cpu.hotplug_parked.set(true);
    }
    let result = Rc::new(RefCell::new(None));
    let place = Rc::clone(&result);
    w.spawn(0, Role::Idle, move || {
        // SAFETY: the first thing on the CPU that boots, while no other runs.
        unsafe { machine.boot(&CpuMask::first_n(CPUS), &CpuMask::first_n(CPUS)) };
        hotplug_thread(0);
        w.spawn(0, Role::Task, move || {
            // SAFETY: a thread of its own, interrupts on.
            let mut task = unsafe { Task::new() };
            for cpu in (1..CPUS).map(CpuId::new) {
                machine.cpu_up(&mut task, cpu).expect("a CPU comes up");
            }
            let seen = scene(machine, &mut task);
            *place.borrow_mut() = Some(seen);
        });
        idle_loop();
    });
    loop {
        if let Some(result) = result.borrow_mut().take() {
            return result;
        }
        w.step();
    }
}
