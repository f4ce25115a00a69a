//! What a scenario is built from: the machine, tasks, device interrupts, and memory that all CPUs share.

use crate::monitor::library::of;
use crate::port::program::Runs;
use std::fmt;
use std::sync::Arc;

use standstill::context::{IrqOff, Task};
use standstill::platform::{DataCell, Datum, Word};
use standstill::{CpuId, CpuMask, Machine};

use super::Machined;
use crate::config::options::Options;
use crate::machine::access::{ModelCell, ModelWord};
use crate::machine::kept::Kept;
use crate::machine::state::Kind;
use crate::machine::world::{World, with};
use crate::port::Model;
use crate::vocab::limits::{MAX_CPUS, TASKS};

/// What one scenario of `N` CPUs is made of. Each exploration builds it anew.
///
/// # What the code of a scenario may do
/// The checker carries out a step, looks, and undoes it: the stacks of the simulated code are put back to what they were, and so is
/// the memory that the library's platform knows. Nothing else is. So in a task, a device handler or a callback
/// * what CPUs share is a [`ModelWord`], a [`ModelPtr`](crate::ModelPtr) or [`Plain`] memory that
///   [`keep`](Self::keep) made: no `static`, no `Mutex`, no `Cell`;
/// * nothing on the stack owns memory: no `Vec`, `String` or `Box` (but in a message of `panic!`);
/// * the code is deterministic: no clock, no random numbers, no input.
pub struct Setup<'w, const N: usize> {
    world: &'w mut World,
    machine: &'static Machined<N>,
}

impl<'w, const N: usize> Setup<'w, N> {
    /// A machine, booted by CPU 0. All of it stays for ever: fibres are abandoned in the middle of what they do.
    pub(crate) fn new(world: &'w mut World) -> Self {
        let machine: &'static Machined<N> =
            world.stacks.arena.keep(Machine::new(Model, world.options.protocol));
        world.subject.program = Some(world.stacks.arena.keep(Runs(machine)));
        world.subject.kept.push(Kept::new(machine));
        world.subject.describe =
            Some(world.stacks.arena.keep(|address| machine.place_at(address).map(|place| place.to_string())));
        world.subject.boot = Some(world.stacks.arena.keep(move || {
            // SAFETY: the first thing on the CPU that boots, while no other runs; the scheduler takes interrupts and stoppers.
            unsafe { machine.boot(&CpuMask::first_n(N), &CpuMask::first_n(N)) };
            with(|w| {
                w.cpus[0].evicted = false;
                w.spawn(MAX_CPUS, Kind::Hotplug, 0, "hotplug thread");
                for task in 0..w.subject.tasks.len() {
                    w.spawn(2 * MAX_CPUS + task, Kind::Task, w.subject.tasks[task].0, "task");
                }
            });
        }));
        Setup { world, machine }
    }

    /// The machine: `N` CPUs, of which CPU 0 is up.
    #[must_use]
    pub const fn machine(&self) -> &'static Machine<Model, N, 1> {
        self.machine
    }

    /// The CPU with the highest number: the one that goes, by custom.
    #[must_use]
    pub const fn last(&self) -> CpuId {
        CpuId::new(N - 1)
    }

    /// Adds a task, a thread that begins on CPU 0. The first one leads, without branching, to [`branch`]; the others begin there.
    ///
    /// # Panics
    /// If there are too many.
    pub fn task(&mut self, body: impl Fn(&mut Task) + 'static) {
        self.task_on(CpuId::BOOT, body);
    }

    /// As [`task`](Self::task), on another CPU: it runs beside those of CPU 0. If its CPU goes, it moves off when it waits.
    ///
    /// # Panics
    /// As there, and if there is no such CPU.
    pub fn task_on(&mut self, cpu: CpuId, body: impl Fn(&mut Task) + 'static) {
        assert!(cpu.index() < N, "the machine has no {cpu}");
        assert!(self.world.subject.tasks.len() < TASKS, "a scenario has at most {TASKS} tasks");
        let body = self.world.stacks.arena.keep(move || {
            // SAFETY: a thread of its own, interrupts on.
            let mut task = unsafe { Task::new() };
            body(&mut task);
        });
        self.world.subject.tasks.push((cpu.index(), body));
    }

    /// What a device interrupt does, on the CPU that takes it. How many each CPU may get is in [`Options::irqs`].
    pub fn device(&mut self, handler: impl Fn(&IrqOff<'_>, CpuId) + 'static) {
        self.world.subject.device = Some(self.world.stacks.arena.keep(move |cpu: usize| {
            // SAFETY: a handler: interrupts are off.
            let off = unsafe { IrqOff::new() };
            handler(&off, CpuId::new(cpu));
        }));
    }

    /// What happens when a wait begins, in the context that waits; it is told for what. So a scenario learns how far a function of the
    /// library has come.
    pub(super) fn when_a_wait_begins(&mut self, f: impl Fn(&'static str) + 'static) {
        self.world.subject.wait_begins = Some(self.world.stacks.arena.keep(f));
    }

    /// Waits with a deadline may see it over, in each run `times` times at most. Without this, time plays no part.
    pub fn deadlines_may_be_over(&mut self, times: u8) {
        (self.world.phase.expirations, self.world.phase.may_expire) = (times, times);
    }

    /// A guess is a load like any other: others may come in between it and its compare-and-swap, and the code tries again.
    pub fn guesses_are_loads(&mut self) {
        self.world.subject.tries = true;
    }

    /// The local mask is lazy: an interrupt that arrives while it is closed, and the hardware's is open, is noted by the CPU. That must not be once the CPU is
    /// out of the online mask.
    pub fn lazy_mask(&mut self) {
        of(self.world).lazy = true;
    }

    /// The first `times` times that a CPU which leaves looks at its interrupt lines for the last time, one is still aimed at it.
    pub fn lines_stay(&mut self, times: usize) {
        let word: &'static ModelWord = self.keep(ModelWord::ZERO);
        word.preset(times);
        of(self.world).lines_stay = Some(word);
    }

    /// As [`deadlines_may_be_over`](Self::deadlines_may_be_over), and so may the port's patience, wherever a wait has no other
    /// bound: an operation may end early at each of its waits.
    pub fn patience_may_end(&mut self, times: u8) {
        self.deadlines_may_be_over(times);
        of(self.world).patience_ends = true;
    }

    /// Keeps a value for as long as the machine lives: what CPUs share, slots of calls, callbacks.
    pub fn keep<T: 'static>(&mut self, value: T) -> &'static T {
        let kept = self.world.stacks.arena.keep(value);
        self.world.subject.kept.push(Kept::new(kept));
        kept
    }

    /// Plain memory for each CPU, as in [`plain`](Self::plain).
    pub fn plain_each<T: Datum>(&mut self) -> &'static [Plain<T>; N] {
        self.plains()
    }

    pub(super) fn plains<T: Datum, const K: usize>(&mut self) -> &'static [Plain<T>; K] {
        self.keep([const { Plain(ModelCell::EMPTY) }; K])
    }

    /// Plain memory that nobody has written yet.
    pub fn plain<T: Datum>(&mut self) -> &'static Plain<T> {
        self.keep(Plain(ModelCell::EMPTY))
    }
}

/// Plain memory, without any ordering of its own: whoever uses it relies on what the library promises about order.
pub struct Plain<T: Datum>(ModelCell<T>);

impl<T: Datum> Plain<T> {
    /// The value.
    ///
    /// # Panics
    /// If nobody has written it. That the write may be unseen, or at the same time, is a violation that the check reports.
    #[track_caller]
    pub fn get(&self) -> T {
        // SAFETY: 1. the cell panics if it was never written. 2. one OS thread runs all simulated CPUs; that two of them
        // meet here is what the check looks for.
        unsafe { self.0.read() }
    }

    /// Replaces the value.
    #[track_caller]
    pub fn set(&self, value: T) {
        // SAFETY: as in `get`.
        unsafe { self.0.write(value) };
    }
}

/// What must hold, whatever the interleaving: if it does not, the check ends with the violation `require`. Instead of `assert!` in the
/// function of a call or a stop, which must not unwind (there a panic aborts the process).
#[track_caller]
pub fn require(holds: bool, what: &str) {
    if !holds {
        let at = std::panic::Location::caller();
        with(|w| w.fail("require", what, format!("{}:{}", at.file(), at.line())));
        crate::machine::announce::rest_for_ever();
    }
}

/// What was written before it happened, and nothing else.
#[track_caller]
pub(super) fn expect(cell: &Plain<usize>, value: usize) {
    let seen = cell.get();
    require(seen == value, "plain memory shows an old value");
}

/// The branching begins here: for the first task of a scenario, once the machine is as the scenario wants it.
pub fn branch() {
    with(World::branch);
}

/// The branching begins when the next stop that takes a CPU out is published (or here, if the protocol has none).
pub fn branch_at_stop() {
    with(|w| {
        // Without a stop there is nothing to wait for.
        if w.options.protocol.stages() == standstill::Stages::None {
            w.branch();
        }
        w.phase.armed = true;
    });
}

/// Brings all CPUs up.
///
/// # Panics
/// If one does not come.
pub fn all_up<const N: usize>(machine: &Machine<Model, N, 1>, task: &mut Task) {
    for cpu in 1..N {
        if let Err(error) = machine.cpu_up(task, CpuId::new(cpu)) {
            panic!("CPU {cpu} does not come up in the set-up: {error}");
        }
    }
    for mask in [machine.online(), machine.active(), machine.accepting()] {
        must_be!(
            mask.snapshot(),
            CpuMask::first_n(N),
            "all CPUs are up, and one of the masks does not say so"
        );
    }
}

/// A scenario of one's own: another kernel checks its callbacks, handlers and senders with it.
///
/// ```
/// use standstill::context::IrqOff;
/// use standstill::{CpuId, Csd, Machine, Protocol};
/// use standstill_model::{Model, Scenario, Setup, all_up, branch_at_stop, check};
///
/// let scenario = Scenario::new("call-the-last", |s: &mut Setup<'_, 2>| {
///     let machine = s.machine();
///     let last = s.last();
///     let csds = s.keep([const { Csd::new() }; 2]);
///     s.device(move |off, cpu| {
///         // Refused or busy are fine: the sender is told.
///         let _ = machine.call_single_async(off, last, &csds[cpu.index()], &|_: &IrqOff<'_>| ());
///     });
///     s.task(move |task| {
///         all_up(machine, task);
///         branch_at_stop();
///         machine.cpu_down(task, last).expect("nobody refuses");
///     });
/// });
/// // Every interleaving of the two CPUs and their interrupts:
/// scenario.verify();
///
/// // The same with the protocol of another time: the race of 2014.
/// let mut options = scenario.options();
/// options.protocol = Protocol::LINUX_3_14;
/// options.keep_going = true;
/// let verdict = check(&options, &mut |_| std::ops::ControlFlow::Continue(()));
/// assert!(verdict.of(standstill::Property::Late).count > 0);
/// ```
#[derive(Clone)]
pub struct Scenario {
    name: &'static str,
    cpus: usize,
    build: Arc<dyn Fn(&mut World) + Send + Sync>,
}

impl Scenario {
    /// A scenario of `N` CPUs. `build` is called for each exploration; see [`Setup`] for what its code may do.
    ///
    /// # Panics
    /// If `N` is 0 or more than [`MAX_CPUS`].
    pub fn new<const N: usize>(
        name: &'static str,
        build: impl Fn(&mut Setup<'_, N>) + Send + Sync + 'static,
    ) -> Scenario {
        assert!((1..=MAX_CPUS).contains(&N), "a scenario has 1 to {MAX_CPUS} CPUs");
        Scenario { name, cpus: N, build: Arc::new(move |world| build(&mut Setup::new(world))) }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn cpus(&self) -> usize {
        self.cpus
    }

    pub(crate) fn build(&self, world: &mut World) {
        (self.build)(world);
    }

    /// The options to check it with: all interleavings, delayed IPIs, the default protocol.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { scenario: self.name, cpus: self.cpus, own: Some(self.clone()), ..Options::default() }
    }

    /// Checks all interleavings with [`options`](Self::options), for an ordinary `#[test]`.
    ///
    /// # Panics
    /// If anything is wrong: with what is wrong, and the run that shows it, step by step.
    pub fn verify(&self) {
        let verdict = crate::check(&self.options(), &mut |_| std::ops::ControlFlow::Continue(()));
        if let Err(why) = verdict.story() {
            panic!("{}: {why}", self.name);
        }
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).field("cpus", &self.cpus).finish_non_exhaustive()
    }
}
