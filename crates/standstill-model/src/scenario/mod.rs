//! What happens in an exploration: which machine, which tasks, which interrupts.
//!
//! | file | what |
//! |---|---|
//! | `arrivals.rs` | several CPUs that come up together |
//! | `build.rs` | what a scenario is built from, and scenarios of other kernels |
//! | `calls.rs` | calls against a CPU that leaves |
//! | `stops.rs` | stops of the machine, and works of stoppers |
//! | `hotplug.rs` | the way up and down, and what can be in the way |
//! | `payload_calls.rs` | those of calls, of the masks, and of the end of all others |
//! | `payload.rs` | who sees what others wrote to plain memory: the library's promises about order |
//! | `payload_hotplug.rs` | those of hotplug |
//! | `payload_stops.rs` | those of stops and works |

mod arrivals;
mod build;
mod calls;
mod hotplug;
mod payload;
mod payload_calls;
mod payload_hotplug;
mod payload_stops;
mod stops;

use standstill::Machine;

use crate::counter::LITMUS;
use crate::options::{Engine, MemoryModel, Options};
use crate::port::Model;
use crate::state::MAX_CPUS;
use crate::world::World;

pub use build::{Plain, Scenario, Setup, all_up, branch, branch_at_stop, require};

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

/// Scenarios without the library, for the tests of the engines.
#[must_use]
pub fn litmus() -> &'static [ScenarioInfo] {
    LITMUS
}

/// The scenario with this name.
pub(crate) fn by_name(name: &str) -> Option<&'static ScenarioInfo> {
    SCENARIOS.iter().chain(LITMUS).find(|scenario| scenario.name == name)
}

/// The sizes that have an instance; every scenario needs two CPUs at least. Each size compiles the whole library once more.
macro_rules! for_size {
    ($build:path) => {
        |world| match world.options.cpus {
            2 => $build(&mut Setup::<2>::new(world)),
            3 => $build(&mut Setup::<3>::new(world)),
            4 => $build(&mut Setup::<4>::new(world)),
            5 => $build(&mut Setup::<5>::new(world)),
            _ => $build(&mut Setup::<MAX_CPUS>::new(world)),
        }
    };
}

const AT_STOP: &str = "when the works of the stop that takes the CPU out are queued";
const ALL_UP: &str = "when all CPUs are up";
const AT_START: &str = "when CPU 0 is about to start it";

pub(crate) const fn info(
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
        for_size!(calls::offline_vs_device_irq),
    ),
    info(
        "down-and-up",
        "the last CPU goes offline and comes online again at once, while device interrupts on the others send it async calls",
        2,
        ALL_UP,
        for_size!(hotplug::down_and_up),
    ),
    info(
        "irqs-off-sender",
        "the last CPU goes offline while a thread sends it an async call with interrupts off",
        2,
        AT_STOP,
        for_size!(calls::irqs_off_sender),
    ),
    info(
        "async-sender",
        "the last CPU goes offline while a thread sends it async calls: it may be preempted by the stopper between its look at the mask and the push",
        2,
        AT_STOP,
        for_size!(calls::async_sender),
    ),
    info(
        "waiting-sender",
        "the last CPU goes offline while a thread calls it and waits: it may be preempted by the stopper at each step",
        2,
        AT_STOP,
        for_size!(calls::waiting_sender),
    ),
    info(
        "two-senders",
        "the last CPU goes offline while a thread and device interrupts on each CPU send it calls in one and the same slot",
        2,
        AT_STOP,
        for_size!(calls::two_senders),
    ),
    info(
        "call-many-vs-offline",
        "the last CPU goes offline while a thread calls all CPUs and waits",
        2,
        AT_STOP,
        for_size!(calls::call_many_vs_offline),
    ),
    info(
        "boards-vs-offline",
        "the last CPU goes offline while device interrupts call all other CPUs and do not wait",
        2,
        AT_STOP,
        for_size!(calls::boards_vs_offline),
    ),
    info(
        "board-is-busy",
        "a thread calls all other CPUs while device interrupts of its own CPU do, in the same slot",
        2,
        ALL_UP,
        for_size!(calls::board_is_busy),
    ),
    info(
        "pinned-sender",
        "the last CPU goes offline while a pinned section calls it twice: who takes calls takes them to the section's end",
        2,
        AT_STOP,
        for_size!(calls::pinned_sender),
    ),
    info(
        "call-forms",
        "a thread sends calls in each form while the last CPU goes offline",
        2,
        AT_STOP,
        for_size!(calls::call_forms),
    ),
    info(
        "call-to-self",
        "the last CPU goes offline, and the callback of the call that a device interrupt sends it sends to its own CPU",
        2,
        AT_STOP,
        for_size!(calls::call_to_self),
    ),
    info(
        "stop-one-vs-offline",
        "a work for the stopper of the last CPU is queued while that CPU goes offline: it runs or is refused",
        2,
        AT_STOP,
        for_size!(stops::stop_one_vs_offline),
    ),
    info(
        "works-behind-stop",
        "device interrupts queue works for the stopper of the last CPU, behind the stop that takes it offline",
        2,
        AT_STOP,
        for_size!(stops::works_behind_stop),
    ),
    info(
        "stop-one-vs-online",
        "works for the stopper of the last CPU are queued at every step of its way up",
        2,
        AT_START,
        for_size!(stops::stop_one_vs_online),
    ),
    info("two-stops", "two threads stop the machine at once", 2, ALL_UP, for_size!(stops::two_stops)),
    info(
        "two-active",
        "a stop has two active CPUs, and the function of each sends the other one a call",
        2,
        ALL_UP,
        for_size!(stops::two_active),
    ),
    info(
        "stop-pairs",
        "three threads stop pairs of CPUs that overlap in a circle: (0,1), (1,2), (2,0)",
        3,
        ALL_UP,
        for_size!(stops::stop_pairs),
    ),
    info(
        "pair-vs-offline",
        "a thread stops CPU 0 and the last CPU while that one goes offline: it runs on both or on neither",
        2,
        AT_STOP,
        for_size!(stops::pair_vs_offline),
    ),
    info(
        "stop-vs-work",
        "a thread on the last CPU stops the machine while one on CPU 0 queues a work for that CPU",
        2,
        ALL_UP,
        for_size!(stops::stop_vs_work),
    ),
    info(
        "deadline-frees",
        "the last CPU does not answer a stop until that has ended, by its deadline",
        2,
        ALL_UP,
        for_size!(stops::deadline_frees),
    ),
    info(
        "stop-from-inactive",
        "the last CPU stops the machine as it comes up, before it is online",
        2,
        AT_START,
        for_size!(stops::stop_from_inactive),
    ),
    info(
        "deadline-vs-last-ack",
        "a stop has a deadline that may be over at any moment, also as the last CPU acknowledges",
        2,
        ALL_UP,
        for_size!(stops::deadline_vs_last_ack),
    ),
    info(
        "reader-vs-writer",
        "a thread holds the hotplug lock for reading and looks at the masks while the last CPU is to go offline",
        2,
        ALL_UP,
        for_size!(hotplug::reader_vs_writer),
    ),
    info(
        "readers-and-writers",
        "a thread takes the hotplug lock for reading while two take it for writing, one after the other",
        2,
        ALL_UP,
        for_size!(hotplug::readers_and_writers),
    ),
    info(
        "two-operations",
        "two threads take the last CPU down and bring it up again at once",
        2,
        ALL_UP,
        for_size!(hotplug::two_operations),
    ),
    info(
        "callers-own-cpu",
        "a thread takes down the CPU that it runs on: it is moved off first",
        2,
        ALL_UP,
        for_size!(hotplug::callers_own_cpu),
    ),
    info(
        "late-cpu",
        "the last CPU is started, and whoever waits for it may give up at any moment",
        2,
        AT_START,
        for_size!(hotplug::late_cpu),
    ),
    info(
        "bring-up-many",
        "all CPUs come up together, through callbacks that need what others wrote, while a thread calls the last one",
        2,
        AT_START,
        for_size!(arrivals::many),
    ),
    info(
        "bring-up-one-fails",
        "all CPUs come up together, and a callback of CPU 1 refuses: once in PREPARE, once in ONLINE",
        2,
        AT_START,
        for_size!(arrivals::one_fails),
    ),
    info(
        "bring-up-late",
        "all CPUs come up together, any of them may be given up at any moment, and CPU 1 has to leave again",
        2,
        AT_START,
        for_size!(arrivals::late),
    ),
    info(
        "bring-up-stops",
        "all CPUs come up together, and each stops the machine before it is online",
        2,
        AT_START,
        for_size!(arrivals::each_stops),
    ),
    info(
        "rollback",
        "the last CPU comes up and goes down through callbacks, and fails once at each state that may fail",
        2,
        "after a first failure-free round",
        for_size!(hotplug::rollback),
    ),
    info(
        "half-way",
        "the last CPU rests half-way up, and a callback refuses on the way on: it rests there again",
        2,
        "when all others are up",
        for_size!(hotplug::half_way),
    ),
    info(
        "halt",
        "two CPUs stop all others at once: one of them wins, and it is told that all others did stop",
        2,
        ALL_UP,
        for_size!(hotplug::halt),
    ),
    info(
        "payload-call",
        "what a sender wrote is seen by the function that it calls, and what that wrote by the sender that waited",
        2,
        ALL_UP,
        for_size!(payload::call),
    ),
    info(
        "payload-async",
        "what a sender wrote is seen by the function, also if the slot is used again",
        2,
        ALL_UP,
        for_size!(payload::call_async),
    ),
    info(
        "payload-many",
        "what a sender wrote is seen by the functions on many CPUs, and what those wrote by the sender that waited",
        2,
        ALL_UP,
        for_size!(payload::many),
    ),
    info(
        "payload-board",
        "what a sender wrote is seen by the functions on many CPUs, also if nobody waits and the board is used again",
        2,
        ALL_UP,
        for_size!(payload_calls::board),
    ),
    info(
        "payload-boards",
        "what two senders wrote is seen by the functions that they call on the last CPU, by boards and by a slot of its own",
        3,
        ALL_UP,
        for_size!(payload_calls::boards),
    ),
    info(
        "payload-masks",
        "who finds the last CPU in a mask sees what its STARTING callbacks wrote on the way up",
        2,
        AT_START,
        for_size!(payload_calls::masks),
    ),
    info(
        "payload-halt",
        "what CPUs wrote before they were halted is seen by the one that stopped them",
        2,
        ALL_UP,
        for_size!(payload_calls::halt),
    ),
    info(
        "payload-stop",
        "what was written before a stop is seen by its function, and what that wrote by everybody after it",
        2,
        ALL_UP,
        for_size!(payload::stop),
    ),
    info(
        "payload-stop-one",
        "what was written before a work is seen by it, and what it wrote by the caller that waited",
        2,
        ALL_UP,
        for_size!(payload::stop_one),
    ),
    info(
        "payload-quiesce",
        "what a pinned section wrote is seen by who quiesces after it",
        2,
        ALL_UP,
        for_size!(payload::quiesce),
    ),
    info(
        "payload-offline",
        "what a CPU's last calls and callbacks wrote is seen by who took it down",
        2,
        ALL_UP,
        for_size!(payload::offline),
    ),
    info(
        "payload-online",
        "what was written before a CPU is brought up is seen by its callbacks, and what those wrote after it is up",
        2,
        AT_START,
        for_size!(payload::online),
    ),
    info(
        "payload-lock",
        "what was written under the hotplug lock is seen by the readers that come after",
        2,
        ALL_UP,
        for_size!(payload::lock),
    ),
    info(
        "payload-stop-handlers",
        "what each CPU's handlers wrote before a stop is seen by its function on every active CPU, and they go on after it",
        2,
        ALL_UP,
        for_size!(payload_stops::handlers),
    ),
    info(
        "payload-pair",
        "CPU 0 stops two other CPUs: what it wrote is seen by both, and what both wrote by it",
        3,
        ALL_UP,
        for_size!(payload_stops::pair),
    ),
    info(
        "payload-stop-threads",
        "what a thread wrote before a stop is seen by its function on another CPU",
        2,
        ALL_UP,
        for_size!(payload_stops::threads),
    ),
    info(
        "payload-stop-end",
        "what a stop's function wrote is seen by a thread on another CPU that goes on after the stop",
        2,
        "when the stop's function runs",
        for_size!(payload_stops::end),
    ),
    info(
        "payload-turns",
        "two CPUs stop the same pair, and one of them has no part in it",
        3,
        ALL_UP,
        for_size!(payload_stops::turns),
    ),
    info(
        "payload-turn-until",
        "a CPU stops the machine, with a deadline, after a stop in which it had no part",
        3,
        "when the function of that stop runs",
        for_size!(payload_stops::turn_until),
    ),
    info(
        "payload-work-again",
        "a work is queued again when it is over: the new function, and not the old one's memory",
        2,
        ALL_UP,
        for_size!(payload_stops::work_again),
    ),
    info(
        "payload-work-refused",
        "two CPUs queue one work for the last CPU, which is offline: one after the other owns it",
        3,
        "when all others are up",
        for_size!(payload_stops::work_refused),
    ),
    info(
        "payload-late-part",
        "the last CPU is late for a stop that was abandoned, and finds its part in the next one in the same place",
        2,
        ALL_UP,
        for_size!(payload_stops::late_part),
    ),
    info(
        "payload-late-link",
        "the last CPU is late for a stop that was abandoned, and its part in the next one is queued behind a work",
        2,
        ALL_UP,
        for_size!(payload_stops::late_link),
    ),
    info(
        "half-a-pair",
        "CPU 0 stops a pair of which one CPU is offline: the other one goes on",
        3,
        "when all others are up",
        for_size!(payload_stops::half_a_pair),
    ),
    info(
        "payload-readers",
        "what was written under the hotplug lock on one CPU is seen by a reader on another, and what that did by the next writer",
        2,
        ALL_UP,
        for_size!(payload_hotplug::readers),
    ),
    info(
        "payload-states",
        "what was written before callbacks are added and removed is seen by them on a CPU that is up, and what they wrote after it",
        2,
        ALL_UP,
        for_size!(payload_hotplug::states),
    ),
    info(
        "payload-state",
        "who sees that a CPU is past a state sees what its callback wrote",
        2,
        AT_START,
        for_size!(payload_hotplug::state),
    ),
    info(
        "payload-early",
        "what was written before a CPU is brought up is seen by its STARTING callbacks, and what those wrote once it is online",
        2,
        AT_START,
        for_size!(payload_hotplug::early),
    ),
    info(
        "payload-late",
        "a CPU that was given up uses what its callbacks use, and no more once they can be removed",
        2,
        AT_START,
        for_size!(payload_hotplug::late),
    ),
    info(
        "payload-bits",
        "who sees that a CPU is active sees what its callbacks wrote",
        3,
        AT_START,
        for_size!(payload_hotplug::bits),
    ),
    info(
        "halt-vs-online",
        "a CPU stops all others while another comes up: that one is seen, or sees that it is to halt",
        2,
        AT_START,
        for_size!(payload_hotplug::halt_vs_online),
    ),
];

/// Builds what the options ask for, in a fresh world.
pub(crate) fn build(options: &Options, world: &mut World) -> Result<(), String> {
    let Some(own) = &options.own else {
        return refuse(options).map(|scenario| (scenario.build)(world));
    };
    limits(options)?;
    if own.cpus() != options.cpus {
        return Err(format!("`{}` is written for {} CPUs, not for {}", own.name(), own.cpus(), options.cpus));
    }
    own.build(world);
    Ok(())
}

/// What can't be explored, whatever the scenario.
fn limits(options: &Options) -> Result<(), String> {
    if options.engine == Engine::Dpor && (options.memory != MemoryModel::Sc || options.sleepers) {
        return Err(
            "the engine `dpor` explores sequentially consistent memory and waits that poll, and nothing else"
                .to_string(),
        );
    }
    if options.audit.merges > 0 && options.engine != Engine::Stateful {
        return Err(format!(
            "the engine `{}` merges no states that an audit could continue: take `stateful`",
            options.engine.name()
        ));
    }
    if options.irqs > 8 {
        return Err(format!("{} device interrupts for each CPU are more than 8", options.irqs));
    }
    Ok(())
}

/// Are the options such that they can be checked?
pub(crate) fn refuse(options: &Options) -> Result<&'static ScenarioInfo, String> {
    limits(options)?;
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
    Ok(scenario)
}
