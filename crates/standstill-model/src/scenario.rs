//! What happens in an exploration: which machine, which tasks, which interrupts.

use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::hotplug::{Callbacks, Reason, StateId};
use standstill::platform::Wait;
use standstill::stop::{Receipt, StopError};
use standstill::{CallError, CpuId, CpuMask, Csd, HotplugError, Machine, Property};

use crate::options::{MemoryModel, Options};
use crate::port::Model;
use crate::state::{Kind, MAX_CPUS};
use crate::world::{World, with};

/// A scenario, for lists.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ScenarioInfo {
    /// Its name.
    pub name: &'static str,
    /// What happens, in one sentence.
    pub about: &'static str,
    /// The fewest CPUs that it makes sense for.
    pub min_cpus: usize,
    /// Where the branching begins.
    pub begins: &'static str,
    pub(crate) build: fn(&mut World),
}

/// The machine of a scenario.
pub(crate) type Machined<const N: usize> = Machine<Model, N, 1>;

/// All scenarios.
#[must_use]
pub fn scenarios() -> &'static [ScenarioInfo] {
    SCENARIOS
}

/// The scenario with this name.
pub(crate) fn by_name(name: &str) -> Option<&'static ScenarioInfo> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// Calls the instance of a function for as many CPUs as the options say.
macro_rules! for_size {
    ($build:ident) => {
        |world| match world.options.cpus {
            1 => $build::<1>(world),
            2 => $build::<2>(world),
            3 => $build::<3>(world),
            4 => $build::<4>(world),
            5 => $build::<5>(world),
            _ => $build::<6>(world),
        }
    };
}

const AT_STOP: &str = "when the works of the stop that takes the CPU out are queued";
const ALL_UP: &str = "when all CPUs are up";

const fn info(
    name: &'static str,
    about: &'static str,
    min_cpus: usize,
    begins: &'static str,
    build: fn(&mut World),
) -> ScenarioInfo {
    ScenarioInfo { name, about, min_cpus, begins, build }
}

const SCENARIOS: &[ScenarioInfo] = &[
    info(
        "offline-vs-device-irq",
        "the mail's: the last CPU goes offline while device interrupts on the others send it async calls",
        2,
        AT_STOP,
        for_size!(offline_vs_device_irq),
    ),
    info(
        "down-and-up",
        "the last CPU goes offline and comes online again at once, while device interrupts on the others send it async calls",
        2,
        ALL_UP,
        for_size!(down_and_up),
    ),
    info(
        "irqs-off-sender",
        "the last CPU goes offline while a thread sends it an async call with interrupts off",
        2,
        AT_STOP,
        for_size!(irqs_off_sender),
    ),
    info(
        "waiting-sender",
        "the last CPU goes offline while a thread calls it and waits: it may be preempted by the stopper at each step",
        2,
        AT_STOP,
        for_size!(waiting_sender),
    ),
    info(
        "call-many-vs-offline",
        "the last CPU goes offline while a thread calls all CPUs and waits",
        2,
        AT_STOP,
        for_size!(call_many_vs_offline),
    ),
    info(
        "call-to-self",
        "the last CPU goes offline, and the callback of the call that a device interrupt sends it sends to its own CPU",
        2,
        AT_STOP,
        for_size!(call_to_self),
    ),
    info(
        "stop-one-vs-offline",
        "a work for the stopper of the last CPU is queued while that CPU goes offline: it runs or is refused",
        2,
        AT_STOP,
        for_size!(stop_one_vs_offline),
    ),
    info("two-stops", "two threads stop the machine at once", 2, ALL_UP, for_size!(two_stops)),
    info(
        "stop-pairs",
        "three threads stop pairs of CPUs that overlap in a circle: (0,1), (1,2), (2,0)",
        3,
        ALL_UP,
        for_size!(stop_pairs),
    ),
    info(
        "reader-vs-writer",
        "a thread holds the hotplug lock for reading and looks at the masks while the last CPU is to go offline",
        2,
        ALL_UP,
        for_size!(reader_vs_writer),
    ),
    info(
        "late-cpu",
        "the last CPU is started, and whoever waits for it may give up at any moment",
        2,
        "when CPU 0 is about to start it",
        for_size!(late_cpu),
    ),
    info(
        "deadline-vs-last-ack",
        "a stop has a deadline that may be over at any moment, also as the last CPU acknowledges",
        2,
        ALL_UP,
        for_size!(deadline_vs_last_ack),
    ),
    info(
        "rollback",
        "the last CPU comes up and goes down through callbacks, and fails once at each state that may fail",
        2,
        "after a first failure-free round",
        for_size!(rollback),
    ),
];

/// A machine, booted by CPU 0, with its tasks. All of it is leaked: fibres are abandoned in the middle of what they do.
pub(crate) fn machine<const N: usize>(world: &mut World) -> &'static Machined<N> {
    let machine: &'static Machined<N> = Box::leak(Box::new(Machine::new(Model, world.options.protocol)));
    world.entry = Some(machine);
    world.boot = Some(leak(move || {
        // SAFETY: the first thing on the CPU that boots, while no other runs; the scheduler takes interrupts and stoppers.
        unsafe { machine.boot(&CpuMask::first_n(N), &CpuMask::first_n(N)) };
        with(|w| {
            w.cpus[0].evicted = false;
            w.spawn(MAX_CPUS, Kind::Hotplug, 0, "hotplug thread");
            for task in 0..w.tasks.len() {
                w.spawn(2 * MAX_CPUS + task, Kind::Task, 0, "task");
            }
        });
    }));
    machine
}

fn leak<F: Fn() + 'static>(f: F) -> &'static dyn Fn() {
    Box::leak(Box::new(f))
}

/// Adds a task on CPU 0.
pub(crate) fn task(world: &mut World, body: impl Fn(&mut Task) + 'static) {
    world.tasks.push(leak(move || {
        // SAFETY: a thread of its own, interrupts on.
        let mut task = unsafe { Task::new() };
        body(&mut task);
    }));
}

/// The branching begins here.
pub(crate) fn branch() {
    with(World::branch);
}

/// The branching begins when the next stop that takes a CPU out is published.
pub(crate) fn branch_at_stop() {
    with(|w| {
        // Without a stop there is nothing to wait for.
        if w.options.protocol.stages() == standstill::Stages::None {
            w.branch();
        }
        w.armed = true;
    });
}

/// Brings all CPUs up.
pub(crate) fn all_up<const N: usize>(machine: &'static Machined<N>, task: &mut Task) {
    for cpu in 1..N {
        if let Err(error) = machine.cpu_up(task, CpuId::new(cpu)) {
            panic!("CPU {cpu} does not come up in the set-up: {error}");
        }
    }
}

/// Device interrupts send an async call to `to`.
pub(crate) fn devices_call<const N: usize>(world: &mut World, machine: &'static Machined<N>, to: CpuId) {
    let csds: &'static [Csd<Model>; N] = Box::leak(Box::new([const { Csd::new() }; N]));
    world.device = Some(Box::leak(Box::new(move |cpu: usize| {
        // SAFETY: a handler: interrupts are off.
        let off = unsafe { IrqOff::new() };
        // Refused or busy are fine: the sender knows.
        let _ = machine.call_single_async(&off, to, &csds[cpu], &nothing);
    })));
}

#[expect(clippy::missing_const_for_fn, reason = "the function of a call")]
fn nothing(_: &IrqOff<'_>) {}

fn offline_vs_device_irq<const N: usize>(world: &mut World) {
    let machine = machine::<N>(world);
    let last = CpuId::new(N - 1);
    devices_call(world, machine, last);
    task(world, move |task| {
        all_up(machine, task);
        branch_at_stop();
        if let Err(error) = machine.cpu_down(task, last) {
            panic!("{last} does not go down: {error}");
        }
    });
}

fn take_down<const N: usize>(machine: &'static Machined<N>, task: &mut Task) {
    let last = CpuId::new(N - 1);
    if let Err(error) = machine.cpu_down(task, last) {
        panic!("{last} does not go down: {error}");
    }
}

fn down_and_up<const N: usize>(world: &mut World) {
    let machine = machine::<N>(world);
    let last = CpuId::new(N - 1);
    devices_call(world, machine, last);
    task(world, move |task| {
        all_up(machine, task);
        branch();
        take_down(machine, task);
        if let Err(error) = machine.cpu_up(task, last) {
            panic!("{last} does not come back: {error}");
        }
    });
}

/// A machine whose last CPU goes down while `beside` runs as another thread on CPU 0.
fn beside_down<const N: usize>(
    world: &mut World,
    beside: impl Fn(&'static Machined<N>, &mut Task) + 'static,
) {
    let machine = machine::<N>(world);
    devices_call(world, machine, CpuId::new(N - 1));
    task(world, move |task| {
        all_up(machine, task);
        branch_at_stop();
        take_down(machine, task);
    });
    task(world, move |task| beside(machine, task));
}

fn irqs_off_sender<const N: usize>(world: &mut World) {
    let csd: &'static Csd<Model> = Box::leak(Box::new(Csd::new()));
    beside_down::<N>(world, move |machine, task| {
        machine.irq_off(task, |off| {
            let _ = machine.call_single_async(off, CpuId::new(N - 1), csd, &nothing);
        });
    });
}

fn waiting_sender<const N: usize>(world: &mut World) {
    beside_down::<N>(world, |machine, task| {
        let sent = machine.call_single(task, CpuId::new(N - 1), &nothing);
        let lost = matches!(sent, Err(CallError::Lost(_)));
        let promised = machine.protocol().promises().contains(&Property::Lost);
        assert!(!(lost && promised), "a sender that waits was told that its call is lost");
    });
}

fn call_many_vs_offline<const N: usize>(world: &mut World) {
    beside_down::<N>(world, |machine, task| {
        // Whoever is refused is not in the answer; what was accepted and lost is the rules' affair.
        let _ = machine.call_many(task, &CpuMask::first_n(N), &nothing);
    });
}

fn call_to_self<const N: usize>(world: &mut World) {
    let machine = machine::<N>(world);
    let last = CpuId::new(N - 1);
    let csds: &'static [[Csd<Model>; 2]; N] = Box::leak(Box::new([const { [const { Csd::new() }; 2] }; N]));
    let fs: &'static [_] = Box::leak(
        (0..N)
            .map(|from| {
                move |off: &IrqOff<'_>| {
                    // In a drain it is refused: whoever leaves takes no calls, its own included.
                    let _ = machine.call_single_async(off, last, &csds[from][1], &nothing);
                }
            })
            .collect::<Box<[_]>>(),
    );
    world.device = Some(Box::leak(Box::new(move |cpu: usize| {
        // SAFETY: a handler: interrupts are off.
        let off = unsafe { IrqOff::new() };
        let _ = machine.call_single_async(&off, last, &csds[cpu][0], &fs[cpu]);
    })));
    task(world, move |task| {
        all_up(machine, task);
        branch_at_stop();
        take_down(machine, task);
    });
}

fn stop_one_vs_offline<const N: usize>(world: &mut World) {
    beside_down::<N>(world, |machine, task| {
        match machine.stop_one_cpu(task, CpuId::new(N - 1), &|_: &mut Pinned<'_>| 7) {
            Ok(7) | Err(StopError::Offline(_)) => {}
            other => panic!("a work ran or was refused, and its caller is told: {other:?}"),
        }
    });
}

fn two_stops<const N: usize>(world: &mut World) {
    let machine = machine::<N>(world);
    for first in [true, false] {
        task(world, move |task| {
            if first {
                all_up(machine, task);
                branch();
            }
            let stop =
                machine.stop_machine(task, Some(&CpuMask::of(CpuId::new(N - 1))), &|_: &Stopped<'_>| 3);
            match stop {
                Ok(receipts) => assert_eq!(receipts.of(CpuId::new(N - 1)), Receipt::Ran(3)),
                Err(error) => panic!("a stop of the machine: {error}"),
            }
        });
    }
}

fn stop_pairs<const N: usize>(world: &mut World) {
    let machine = machine::<N>(world);
    for first in 0..3 {
        task(world, move |task| {
            if first == 0 {
                all_up(machine, task);
                branch();
            }
            let (a, b) = (CpuId::new(first), CpuId::new((first + 1) % 3));
            match machine.stop_two_cpus(task, a, b, &|_: &Stopped<'_>| 0) {
                Ok(receipts) => assert_eq!(receipts.ran(), 2),
                Err(error) => panic!("a stop of {a} and {b}: {error}"),
            }
        });
    }
}

fn reader_vs_writer<const N: usize>(world: &mut World) {
    let machine = machine::<N>(world);
    task(world, move |task| {
        all_up(machine, task);
        branch();
        take_down(machine, task);
    });
    task(world, move |task| {
        let _read = machine.cpus_read_lock(task);
        let before = machine.online().snapshot();
        let after = machine.online().snapshot();
        assert_eq!(before, after, "the online mask changed under a reader's eyes");
        assert_eq!(
            machine.accepting().snapshot(),
            after,
            "a CPU is online and takes no calls under a reader's eyes"
        );
    });
}

fn late_cpu<const N: usize>(world: &mut World) {
    let machine = machine::<N>(world);
    world.expirations = 1;
    task(world, move |task| {
        for cpu in 1..N - 1 {
            if let Err(error) = machine.cpu_up(task, CpuId::new(cpu)) {
                panic!("CPU {cpu} does not come up in the set-up: {error}");
            }
        }
        branch();
        let last = CpuId::new(N - 1);
        match machine.cpu_up(task, last) {
            Ok(()) => assert!(machine.online().contains(last)),
            Err(HotplugError::NoAnswer(_) | HotplugError::Stuck(_)) => {
                assert!(!machine.online().contains(last), "nobody waits for it any more, and it is online");
            }
            Err(error) => panic!("{last} does not come up: {error}"),
        }
    });
}

fn deadline_vs_last_ack<const N: usize>(world: &mut World) {
    let machine = machine::<N>(world);
    world.expirations = 1;
    task(world, move |task| {
        all_up(machine, task);
        branch();
        let last = CpuId::new(N - 1);
        // The lock is held already: with a deadline it is taken by trying, and a try that fails is no wait that the model can fold.
        let mut read = machine.cpus_read_lock(task);
        let task = read.task();
        let deadline = machine.platform().deadline_in(1);
        let f = |_: &Stopped<'_>| 3;
        let ended = match machine.stop_machine_deadline(task, Some(&CpuMask::of(last)), deadline, &f) {
            Ok(receipts) => {
                assert_eq!(receipts.of(last), Receipt::Ran(3));
                true
            }
            Err(StopError::Deadline { .. }) => false,
            Err(error) => panic!("a stop with a deadline: {error}"),
        };
        // The next one is not disturbed by those that are late for the one that was abandoned.
        if !ended {
            match machine.stop_machine(task, Some(&CpuMask::of(last)), &f) {
                Ok(receipts) => assert_eq!(receipts.of(last), Receipt::Ran(3)),
                Err(error) => panic!("a stop after one that was abandoned: {error}"),
            }
        }
    });
}

fn rollback<const N: usize>(world: &mut World) {
    let machine = machine::<N>(world);
    let last = CpuId::new(N - 1);
    devices_call(world, machine, last);
    task(world, move |task| {
        // No `Vec` here: what owns memory must not be on a stack that is put back to an earlier state.
        let kinds = [
            ("prepare", Callbacks::Prepare { up: Some(&works), dead: Some(&ends) }),
            ("first", Callbacks::Online { up: Some(&works), down: Some(&works) }),
            ("second", Callbacks::Online { up: Some(&works), down: Some(&works) }),
        ];
        let states = kinds.map(|(name, callbacks)| match machine.add_state(task, name, callbacks) {
            Ok(state) => state,
            Err(error) => panic!("the set-up of the scenario: {error}"),
        });
        all_up(machine, task);
        branch();
        for state in &states[1..] {
            inject(machine, task, last, *state);
            let down = machine.cpu_down(task, last);
            assert!(matches!(down, Err(HotplugError::Veto { .. })), "a failure was injected: {down:?}");
            assert!(machine.online().contains(last) && machine.active().contains(last));
        }
        take_down(machine, task);
        for state in states {
            inject(machine, task, last, state);
            let up = machine.cpu_up(task, last);
            assert!(matches!(up, Err(HotplugError::Veto { .. })), "a failure was injected: {up:?}");
            assert!(!machine.online().contains(last));
        }
        if let Err(error) = machine.cpu_up(task, last) {
            panic!("{last} does not come back: {error}");
        }
    });
}

#[expect(clippy::missing_const_for_fn, clippy::unnecessary_wraps, reason = "a callback")]
fn works(_: &mut Task, _: CpuId) -> Result<(), Reason> {
    Ok(())
}

#[expect(clippy::missing_const_for_fn, reason = "a callback")]
fn ends(_: &mut Task, _: CpuId) {}

fn inject<const N: usize>(machine: &'static Machined<N>, task: &mut Task, cpu: CpuId, state: StateId) {
    if let Err(error) = machine.fail_once(task, cpu, state) {
        panic!("a failure can't be injected: {error}");
    }
}

/// Are the options such that they can be checked?
pub(crate) fn refuse(options: &Options) -> Result<&'static ScenarioInfo, String> {
    let Some(scenario) = by_name(options.scenario) else {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        return Err(format!("there is no scenario `{}`; there are: {}", options.scenario, names.join(", ")));
    };
    if !(scenario.min_cpus..=MAX_CPUS).contains(&options.cpus) {
        return Err(format!(
            "`{}` runs on {} to {MAX_CPUS} CPUs, not on {}",
            scenario.name, scenario.min_cpus, options.cpus
        ));
    }
    if options.memory == MemoryModel::Ra {
        return Err(format!(
            "the memory model `{}` can't be explored yet: `sc` and `tso` can",
            options.memory.name()
        ));
    }
    if options.irqs > 8 {
        return Err(format!("{} device interrupts for each CPU are more than 8", options.irqs));
    }
    Ok(scenario)
}
