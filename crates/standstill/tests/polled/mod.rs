//! A port for tests that needs no signals, so that Miri can run it: a CPU takes interrupts only where it polls.
//!
//! Each CPU is a baton: of the OS threads that belong to it (its idle loop, its hotplug thread, the tasks on it) the one with the baton
//! runs, and passes it on where it waits. Interrupts and the stopper run on the thread that has the baton, at the next point where
//! they are allowed. A CPU dies by unwinding its idle thread to the root; the store that says so is made there.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use standstill::context::{IrqOff, Task};
use standstill::event::Event;
use standstill::hotplug::Reason;
use standstill::invariants::Monitor;
use standstill::platform::{
    Cpus, Deadline, Entry, Ipi, Irq, Runs, Sched, Site, StartError, Vacate, Wait, WaitContext, WaitFor,
};
use standstill::{CpuId, CpuMask, Machine, Protocol};

/// The machine of these tests.
pub(crate) type Four = Machine<Polled, 4, 1>;

/// A stall is reported after this long.
pub(crate) const STALL: Duration = Duration::from_millis(if cfg!(miri) { 2000 } else { 50 });

/// No wait of a test takes so long, on the busiest machine: a test that hangs says where.
const LIMIT: Duration = Duration::from_secs(120);

/// What a thread waits for that has nothing to do.
const IDLES: &str = "hotplug thread: a request";

/// Ends the process: a panic on a thread that is one CPU would leave the others waiting.
fn hangs(cpu: CpuId, site: Site) -> ! {
    let test = thread::current().name().unwrap_or("a thread without a name").to_string();
    eprintln!("a test hangs: for {LIMIT:?} {cpu} (thread `{test}`) has waited for: {site}");
    std::process::exit(101);
}

const CALL: usize = 1;
const STOP: usize = 2;
const HALT: usize = 4;
const HARD: usize = 8;

pub(crate) struct Board {
    cpus: Vec<CpuBlock>,
    entry: OnceLock<&'static dyn Entry>,
    began: Instant,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next_thread: AtomicUsize,
    shutdown: AtomicBool,
    /// How long control waits for another CPU.
    pub(crate) timeout_ms: AtomicUsize,
    /// The CPUs that wait before they answer when they are started: a bit for each.
    pub(crate) hold_start: AtomicUsize,
    /// Those that wait before they are dead when they die.
    pub(crate) hold_death: AtomicUsize,
    /// Those that can't be started at all.
    pub(crate) refuse_start: AtomicUsize,
    /// What the port answers when asked whether lines are left.
    pub(crate) lines_stuck: AtomicBool,
    /// How many more times it answers that none is left; `usize::MAX`: always.
    pub(crate) lines_stuck_after: AtomicUsize,
    /// The CPUs whose lines have no other place: a bit for each.
    pub(crate) lines_full: AtomicUsize,
    /// The CPUs whose lines are aimed away.
    pub(crate) lines_away: AtomicUsize,
    /// A thread that does not leave sits on these CPUs.
    pub(crate) squatted: AtomicUsize,
    /// The stoppers of these CPUs find something else than the idle loop below them.
    pub(crate) not_idle: AtomicUsize,
    /// Call IPIs are on their way to these CPUs for as long as the bit is set.
    pub(crate) hold_calls: AtomicUsize,
    /// The thread that calls `cpu_down` is bound to its CPU.
    pub(crate) bound: AtomicBool,
    pub(crate) log: Mutex<Vec<Event>>,
}

#[derive(Default)]
struct CpuBlock {
    pending: AtomicUsize,
    irqs_off: AtomicBool,
    preempt: AtomicUsize,
    in_stopper: AtomicBool,
    dying: AtomicBool,
    /// The thread that runs; 0: nobody.
    baton: AtomicUsize,
    /// The threads that want to.
    ready: Mutex<Vec<(usize, Role)>>,
    evicted: AtomicBool,
    hotplug_parked: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Idle,
    Hotplug,
    Task,
}

thread_local! {
    static ME: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// How a thread ends from within.
enum End {
    Died { dead: usize, value: usize },
    Halted,
    Shutdown,
}

#[derive(Clone, Copy)]
pub(crate) struct Polled(pub(crate) &'static Board);

impl Polled {
    fn cpu(self) -> &'static CpuBlock {
        &self.0.cpus[ME.get().0]
    }

    fn entry(self) -> &'static dyn Entry {
        *self.0.entry.get().expect("the machine exists")
    }

    /// Takes what is pending and allowed.
    fn poll(self) {
        let cpu = self.cpu();
        if self.0.shutdown.load(SeqCst) && !thread::panicking() {
            panic::resume_unwind(Box::new(End::Shutdown));
        }
        if cpu.dying.load(SeqCst) {
            return;
        }
        if cpu.pending.load(SeqCst) & HARD != 0 {
            // SAFETY: as an NMI would.
            unsafe { self.entry().on_halt_ipi() };
        }
        if cpu.irqs_off.load(SeqCst) {
            return;
        }
        let held = self.0.hold_calls.load(SeqCst) & 1 << ME.get().0 != 0;
        let takes = if held { HALT } else { CALL | HALT };
        while cpu.pending.load(SeqCst) & takes != 0 {
            let taken = cpu.pending.fetch_and(!takes, SeqCst) & takes;
            cpu.irqs_off.store(true, SeqCst);
            if taken & HALT != 0 {
                // SAFETY: on this CPU, interrupts off.
                unsafe { self.entry().on_halt_ipi() };
            }
            if taken & CALL != 0 {
                // SAFETY: on this CPU, interrupts off.
                unsafe { self.entry().on_call_ipi() };
            }
            cpu.irqs_off.store(false, SeqCst);
        }
        let may_stop = cpu.preempt.load(SeqCst) == 0 && !cpu.in_stopper.load(SeqCst);
        if may_stop && cpu.pending.load(SeqCst) & STOP != 0 {
            cpu.pending.fetch_and(!STOP, SeqCst);
            cpu.in_stopper.store(true, SeqCst);
            // SAFETY: preempt count 0, interrupts on, not nested.
            unsafe { self.entry().run_stopper() };
            cpu.in_stopper.store(false, SeqCst);
        }
    }

    /// Lets the CPU's other threads run, and moves on if the CPU is not for tasks any more.
    fn pass_baton(self) {
        let (at, me) = ME.get();
        let cpu = &self.0.cpus[at];
        if cpu.dying.load(SeqCst) {
            return;
        }
        let role = role_of(cpu, me);
        if role == Some(Role::Task)
            && cpu.evicted.load(SeqCst)
            && let Some(to) = self.0.cpus.iter().position(|cpu| !cpu.evicted.load(SeqCst))
        {
            self.move_to(to);
            return;
        }
        let ready = cpu.ready.lock().unwrap();
        let mine = ready.iter().position(|(id, _)| *id == me).expect("it runs here");
        let next = ready[(mine + 1) % ready.len()].0;
        drop(ready);
        cpu.baton.store(next, SeqCst);
        self.await_baton();
    }

    fn move_to(self, to: usize) {
        let (from, me) = ME.get();
        self.leave(from, me);
        self.0.cpus[to].ready.lock().unwrap().push((me, Role::Task));
        ME.set((to, me));
        self.await_baton();
    }

    /// Takes the thread off its CPU and gives the baton to another one there.
    fn leave(self, from: usize, me: usize) {
        let cpu = &self.0.cpus[from];
        let mut ready = cpu.ready.lock().unwrap();
        ready.retain(|(id, _)| *id != me);
        let next = ready.first().map_or(0, |(id, _)| *id);
        drop(ready);
        cpu.baton.store(next, SeqCst);
    }

    fn await_baton(self) {
        let (at, me) = ME.get();
        let cpu = &self.0.cpus[at];
        while cpu.baton.load(SeqCst) != me {
            if self.0.shutdown.load(SeqCst) {
                panic::resume_unwind(Box::new(End::Shutdown));
            }
            if cpu.baton.load(SeqCst) == 0 {
                let _ = cpu.baton.compare_exchange(0, me, SeqCst, SeqCst);
            }
            thread::yield_now();
        }
    }

    /// Starts an OS thread that belongs to `cpu`.
    fn spawn(self, cpu: usize, role: Role, body: impl FnOnce() + Send + 'static) {
        let id = self.0.next_thread.fetch_add(1, SeqCst);
        self.0.cpus[cpu].ready.lock().unwrap().push((id, role));
        let handle = thread::spawn(move || {
            ME.set((cpu, id));
            let end = panic::catch_unwind(AssertUnwindSafe(|| {
                self.await_baton();
                body();
            }));
            let at = ME.get().0;
            self.leave(at, id);
            match end.map_err(|end| end.downcast::<End>()) {
                Ok(()) => {}
                Err(Ok(end)) => {
                    if let End::Died { dead, value } = *end {
                        self.await_release(&self.0.hold_death, at);
                        self.0.cpus[at].dying.store(false, SeqCst);
                        // SAFETY: the word is part of a machine that is leaked, and so lives for ever.
                        let dead = unsafe { &*std::ptr::with_exposed_provenance::<AtomicUsize>(dead) };
                        dead.store(value, Ordering::Release);
                    }
                }
                Err(Err(panic)) => {
                    self.0.shutdown.store(true, SeqCst);
                    panic::resume_unwind(panic);
                }
            }
        });
        self.0.threads.lock().unwrap().push(handle);
    }

    fn hotplug_thread(self, cpu: usize) {
        self.0.cpus[cpu].hotplug_parked.store(false, SeqCst);
        self.spawn(cpu, Role::Hotplug, move || {
            // SAFETY: a thread of its own, interrupts on.
            let mut task = unsafe { Task::new() };
            // SAFETY: this thread belongs to the CPU and is its only hotplug thread.
            unsafe { self.entry().serve_hotplug(&mut task) };
            self.0.cpus[cpu].hotplug_parked.store(true, SeqCst);
        });
    }

    /// Waits until CPU `at` is not in `held` any more; false if the machine ends first.
    fn await_release(self, held: &AtomicUsize, at: usize) -> bool {
        while held.load(SeqCst) & 1 << at != 0 {
            if self.0.shutdown.load(SeqCst) {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    fn idle_loop(self) {
        loop {
            self.poll();
            // SAFETY: the idle loop of this CPU.
            unsafe { self.entry().idle() };
            self.pass_baton();
            thread::yield_now();
        }
    }

    /// A task on `cpu`.
    pub(crate) fn task(self, cpu: usize, body: impl FnOnce(&mut Task) + Send + 'static) {
        self.spawn(cpu, Role::Task, move || {
            // SAFETY: a thread of its own, interrupts on.
            let mut task = unsafe { Task::new() };
            body(&mut task);
        });
    }

    /// Takes interrupts and lets others run.
    pub(crate) fn breathe(self) {
        self.poll();
        self.pass_baton();
    }
}

fn role_of(cpu: &CpuBlock, me: usize) -> Option<Role> {
    cpu.ready.lock().unwrap().iter().find(|(id, _)| *id == me).map(|(_, role)| *role)
}

/// Runs `test` as a task on CPU 0 of a machine of four CPUs, of which CPU 0 is online, checks every rule on its log (the
/// log of this port is totally ordered) and returns what it returned.
pub(crate) fn run<R: Send + 'static>(
    protocol: Protocol,
    test: impl FnOnce(&'static Four, &mut Task) -> R + Send + 'static,
) -> R {
    run_with(protocol, CpuMask::first_n(4), |_, _| (), test)
}

/// As [`run`], with these CPUs only; `early` runs on CPU 0 before the machine is booted.
pub(crate) fn run_with<R: Send + 'static>(
    protocol: Protocol,
    possible: CpuMask<1>,
    early: impl FnOnce(&'static Four, &mut Task) + Send + 'static,
    test: impl FnOnce(&'static Four, &mut Task) -> R + Send + 'static,
) -> R {
    let board: &'static Board = Box::leak(Box::new(Board {
        cpus: (0..4).map(|_| CpuBlock::default()).collect(),
        entry: OnceLock::new(),
        began: Instant::now(),
        threads: Mutex::default(),
        next_thread: AtomicUsize::new(1),
        shutdown: AtomicBool::new(false),
        timeout_ms: AtomicUsize::new(if cfg!(miri) { 600_000 } else { 60_000 }),
        hold_start: AtomicUsize::new(0),
        hold_death: AtomicUsize::new(0),
        refuse_start: AtomicUsize::new(0),
        lines_stuck: AtomicBool::new(false),
        lines_stuck_after: AtomicUsize::new(usize::MAX),
        lines_full: AtomicUsize::new(0),
        lines_away: AtomicUsize::new(0),
        squatted: AtomicUsize::new(0),
        not_idle: AtomicUsize::new(0),
        hold_calls: AtomicUsize::new(0),
        bound: AtomicBool::new(false),
        log: Mutex::default(),
    }));
    let port = Polled(board);
    let machine: &'static Four = Box::leak(Box::new(Machine::new(port, protocol)));
    assert!(board.entry.set(machine).is_ok());
    for cpu in &board.cpus[1..] {
        cpu.evicted.store(true, SeqCst);
        cpu.hotplug_parked.store(true, SeqCst);
    }
    let (send, receive) = std::sync::mpsc::channel();
    port.spawn(0, Role::Idle, move || {
        // SAFETY: as in `task`; it is gone when the machine boots.
        early(machine, &mut unsafe { Task::new() });
        // SAFETY: on the CPU that boots, while no other runs.
        unsafe { machine.boot(&possible, &possible) };
        port.hotplug_thread(0);
        port.task(0, move |task| {
            let result = test(machine, task);
            let _ = send.send(result);
        });
        port.idle_loop();
    });
    let result = receive.recv();
    board.shutdown.store(true, SeqCst);
    loop {
        let Some(handle) = board.threads.lock().unwrap().pop() else { break };
        if let Err(panic) = handle.join() {
            panic::resume_unwind(panic);
        }
    }
    let result = result.expect("the test ran to its end");
    check(&board.log.lock().unwrap(), protocol);
    result
}

fn check(log: &[Event], protocol: Protocol) {
    let mut monitor = Monitor::<4>::new(protocol);
    for (index, event) in log.iter().enumerate() {
        if let Err(violation) = monitor.feed(event) {
            let from = index.saturating_sub(30);
            for event in &log[from..=index] {
                eprintln!("{event:?}");
            }
            panic!("{violation}");
        }
    }
}

standstill::platform::native_memory!(Polled);

// SAFETY: interrupts and the stopper run in `poll` only, which looks at the flags kept here; a thread moves only in `pass_baton`.
unsafe impl Irq for Polled {
    type Flags = bool;
    fn this_cpu(&self) -> CpuId {
        CpuId::new(ME.get().0)
    }
    fn irq_save(&self) -> bool {
        !self.cpu().irqs_off.swap(true, SeqCst)
    }
    unsafe fn irq_restore(&self, were_on: bool) {
        if were_on {
            self.cpu().irqs_off.store(false, SeqCst);
            self.poll();
        }
    }
    fn irqs_on(&self) -> bool {
        !self.cpu().irqs_off.load(SeqCst)
    }
    fn hard_irq_disable(&self) {
        assert!(!self.irqs_on(), "the local mask comes first");
    }
    fn preempt_disable(&self) {
        self.cpu().preempt.fetch_add(1, SeqCst);
    }
    unsafe fn preempt_enable(&self) {
        if self.cpu().preempt.fetch_sub(1, SeqCst) == 1 {
            self.poll();
        }
    }
    fn send_ipi(&self, to: CpuId, why: Ipi) {
        let bit = match why {
            Ipi::Call => CALL,
            Ipi::Stop => STOP,
            Ipi::Halt => HALT,
        };
        self.0.cpus[to.index()].pending.fetch_or(bit, SeqCst);
    }
}

// SAFETY: `wait_until` returns only what `poll` said, or `None` after the deadline; NEVER does not expire.
unsafe impl Wait for Polled {
    fn deadline_in(&self, ns: u64) -> Deadline {
        Deadline((self.0.began.elapsed().as_nanos() as u64 + ns) as usize)
    }
    fn expired(&self, deadline: Deadline) -> bool {
        deadline != Deadline::NEVER && self.0.began.elapsed().as_nanos() as usize >= deadline.0
    }
    fn wait_until<R>(
        &self,
        _: &AtomicUsize,
        wait: &WaitFor<'_>,
        mut poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let began = Instant::now();
        let mut told = STALL;
        loop {
            if let Some(result) = poll() {
                return Some(result);
            }
            if self.expired(wait.deadline) {
                return poll();
            }
            if began.elapsed() > LIMIT && wait.site.what != IDLES {
                hangs(self.this_cpu(), wait.site);
            }
            if began.elapsed() > told {
                (wait.stalled)(began.elapsed().as_nanos() as u64);
                told *= 2;
            }
            match wait.context {
                WaitContext::Task => self.breathe(),
                WaitContext::Spin | WaitContext::Frozen => self.poll(),
            }
            thread::yield_now();
        }
    }
    fn event(&self, event: impl FnOnce() -> Event) {
        // In one lock with the log, so that the order of the log is the order of the events.
        let mut log = self.0.log.lock().unwrap();
        log.push(event());
    }
}

// SAFETY: a started CPU is a new thread that calls `start_cpu` first; `die` leaves the thread's stack before the store.
unsafe impl Cpus for Polled {
    /// Less than there are CPUs, so that stops use their tree.
    fn fan_in(&self) -> usize {
        2
    }
    fn timeout_ns(&self) -> u64 {
        self.0.timeout_ms.load(SeqCst) as u64 * 1_000_000
    }
    fn start(&self, cpu: CpuId, incarnation: usize) -> Result<(), StartError> {
        let (port, at) = (*self, cpu.index());
        if self.0.refuse_start.load(SeqCst) & 1 << at != 0 {
            return Err(StartError("it has no power"));
        }
        let block = &self.0.cpus[at];
        block.pending.store(0, SeqCst);
        self.spawn(at, Role::Idle, move || {
            if !port.await_release(&port.0.hold_start, at) {
                return;
            }
            block.irqs_off.store(true, SeqCst);
            block.preempt.store(0, SeqCst);
            block.in_stopper.store(false, SeqCst);
            // SAFETY: the first thing on a fresh stack, interrupts off.
            if unsafe { port.entry().start_cpu(incarnation) }.is_ok() {
                block.irqs_off.store(false, SeqCst);
                port.idle_loop();
            }
        });
        Ok(())
    }
    fn die(&self, dead: &AtomicUsize, value: usize) -> ! {
        self.cpu().dying.store(true, SeqCst);
        let dead = std::ptr::from_ref(dead).expose_provenance();
        panic::resume_unwind(Box::new(End::Died { dead, value }))
    }
    fn halt(&self) -> ! {
        panic::resume_unwind(Box::new(End::Halted))
    }
    fn halt_hard(&self, cpu: CpuId) {
        self.0.cpus[cpu.index()].pending.fetch_or(HARD, SeqCst);
    }
}

// SAFETY: tasks move in `pass_baton`; the idle thread has the baton only when it is the one that runs.
unsafe impl Sched for Polled {
    fn evict(&self, cpu: CpuId) {
        self.0.cpus[cpu.index()].evicted.store(true, SeqCst);
    }
    fn readmit(&self, cpu: CpuId) {
        self.0.cpus[cpu.index()].evicted.store(false, SeqCst);
    }
    fn vacate(&self, cpu: CpuId) -> Result<(), Vacate> {
        if ME.get().0 == cpu.index() {
            if self.0.bound.load(SeqCst) {
                return Err(Vacate::Bound);
            }
            let Some(to) = self.0.cpus.iter().position(|cpu| !cpu.evicted.load(SeqCst)) else {
                return Err(Vacate::Nowhere);
            };
            self.move_to(to);
        }
        Ok(())
    }
    fn occupied(&self, cpu: CpuId) -> Option<&'static str> {
        if self.0.squatted.load(SeqCst) & 1 << cpu.index() != 0 {
            return Some("squatter/1");
        }
        let ready = self.0.cpus[cpu.index()].ready.lock().unwrap();
        ready.iter().any(|(_, role)| *role != Role::Idle).then_some("a task")
    }
    fn only_idle_left(&self) -> bool {
        let (at, me) = ME.get();
        let idle = self.0.not_idle.load(SeqCst) & 1 << at == 0;
        idle && role_of(&self.0.cpus[at], me) == Some(Role::Idle) && self.occupied(CpuId::new(at)).is_none()
    }
    fn park_threads(&self, cpu: CpuId) {
        while !self.0.cpus[cpu.index()].hotplug_parked.load(SeqCst) {
            self.breathe();
        }
    }
    fn unpark_threads(&self, cpu: CpuId) {
        self.hotplug_thread(cpu.index());
    }
    fn aim_lines_away(&self, cpu: CpuId) -> Result<(), Reason> {
        if self.0.lines_full.load(SeqCst) & 1 << cpu.index() != 0 {
            return Err(Reason::new(-28, "every other CPU has its hands full"));
        }
        self.0.lines_away.fetch_or(1 << cpu.index(), SeqCst);
        Ok(())
    }
    fn lines_left(&self, _: CpuId) -> Result<(), Reason> {
        let after = self.0.lines_stuck_after.load(SeqCst);
        if after != usize::MAX && after > 0 {
            self.0.lines_stuck_after.store(after - 1, SeqCst);
        }
        if self.0.lines_stuck.load(SeqCst) || after == 0 {
            return Err(Reason { code: -28, text: "no vector is free elsewhere" });
        }
        Ok(())
    }
    fn lines_back(&self, cpu: CpuId) {
        self.0.lines_away.fetch_and(!(1 << cpu.index()), SeqCst);
    }
    fn runs(&self, cpu: CpuId) -> Runs {
        let irqs_off_at = self.0.cpus[cpu.index()].irqs_off.load(SeqCst).then(Location::caller);
        Runs { what: "a thread", irqs_off_at }
    }
}

/// An interrupts-off token is only ever handed to a handler; this names the type for closures.
pub(crate) type Off<'a> = IrqOff<'a>;
