//! Litmus tests of the memory models: small programs on bare simulated CPUs, with the exact set of what they can end in.
//!
//! A program is a body for each CPU. The bodies share four words, and each writes what it has seen to registers, which are
//! words that no other CPU uses.
//!
//! | file | what |
//! |---|---|
//! | `loads.rs` | what loads may find: store buffering, message passing, coherence, independent reads |
//! | `stores.rs` | in which order stores may end, and reach a handler |
//! | `plain.rs` | data races on plain memory |

mod loads;
mod plain;
mod stores;

use crate::monitor::library::Library;
use crate::port::program::Runs;
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use standstill::CpuId;
use standstill::context::Task;
use standstill::platform::{
    Cpus, DataCell, Deadline, Entry, Ipi, Irq, Memory, Site, TooLate, Wait, WaitContext, WaitFor, Word,
};

use crate::config::options::{MemoryModel, Options};
use crate::machine::access::{ModelCell, ModelWord};
use crate::machine::state::{Cpu, Kind, Power};
use crate::machine::step::take;
use crate::machine::world::{World, enter, with_ptr};
use crate::port::Model;
use crate::vocab::limits::MAX_CPUS;

/// The words of a program.
pub(crate) struct Words {
    x: ModelWord,
    y: ModelWord,
    z: ModelWord,
    cell: ModelCell<usize>,
    registers: [ModelWord; 6],
}

impl Words {
    /// What CPU code has seen is part of how the program ends.
    fn saw(&self, register: usize, value: usize) {
        self.registers[register].store(value + 1, Relaxed);
    }
}

type Body = fn(&Words);

/// What interrupts do.
struct OnIpi {
    words: &'static Words,
    body: Body,
}

// SAFETY: nothing of a machine is there that could be broken.
unsafe impl Entry for OnIpi {
    unsafe fn on_call_ipi(&self) {
        (self.body)(self.words);
    }

    unsafe fn on_halt_ipi(&self) -> ! {
        Model.halt()
    }

    fn stopper_pending(&self) -> bool {
        false
    }

    unsafe fn run_stopper(&self) {}

    unsafe fn start_cpu(&self, _: usize) -> Result<(), TooLate> {
        Err(TooLate)
    }

    unsafe fn serve_hotplug(&self, _: &mut Task) {}

    unsafe fn idle(&self) {}

    fn is_online(&self, _: CpuId) -> bool {
        true
    }
}

const NOTHING: Body = |_| ();

/// All ends of a program: the registers that were written (`None` for the others), and the words at the end.
fn ends(memory: MemoryModel, bodies: &[Body], on_ipi: Body) -> Ends {
    let (found, faults) = all_ends(memory, bodies, on_ipi);
    assert_eq!(faults, BTreeSet::new());
    found
}

type Ends = BTreeSet<([Option<usize>; 6], [usize; 3])>;

/// As `ends`, and the rules that are broken on the way.
fn all_ends(memory: MemoryModel, bodies: &[Body], on_ipi: Body) -> (Ends, BTreeSet<String>) {
    let words: &'static Words = Box::leak(Box::new(Words {
        x: ModelWord::ZERO,
        y: ModelWord::ZERO,
        z: ModelWord::ZERO,
        cell: ModelCell::EMPTY,
        registers: [const { ModelWord::ZERO }; 6],
    }));
    let options = Options { memory, cpus: bodies.len(), ..Options::default() };
    let mut world = World::new(options, Box::new(Library::new(standstill::Protocol::STANDSTILL)))
        .expect("there is memory");
    world.subject.program =
        Some(Box::leak(Box::new(Runs(Box::leak(Box::new(OnIpi { words, body: on_ipi }))))));
    for (cpu, body) in bodies.iter().copied().enumerate() {
        world.subject.tasks.push((0, Box::leak(Box::new(move || body(words)))));
        world.cpus[cpu] = Cpu {
            power: Power::On,
            irqs_on: true,
            preempt: 0,
            current: (2 * MAX_CPUS + cpu) as u8,
            ..Cpu::OFF
        };
        world.spawn(2 * MAX_CPUS + cpu, Kind::Task, cpu, "body");
    }
    world.phase.branching = true;
    let world = Box::into_raw(world);
    let entered = enter(world);
    let found = explore(world, words);
    drop(entered);
    // SAFETY: from `into_raw` above, and no fibre runs.
    drop(unsafe { Box::from_raw(world) });
    found
}

fn explore(world: *mut World, words: &Words) -> (Ends, BTreeSet<String>) {
    let (mut found, mut faults) = (BTreeSet::new(), BTreeSet::new());
    'again: loop {
        with_ptr(world, |w| {
            w.undo_to(0);
            w.reduction.classes.changed = false;
        });
        found.clear();
        faults.clear();
        let mut seen = HashSet::new();
        let mut ways: Vec<(Vec<u32>, usize)> = Vec::new();
        loop {
            let mut possible = Vec::new();
            let (hash, changed, fault) = with_ptr(world, |w| {
                w.enabled(&mut possible);
                (w.fingerprint().to_u128(), w.reduction.classes.changed, w.step.fault.take())
            });
            if changed {
                continue 'again;
            }
            let stop = fault.is_some();
            faults.extend(fault.map(|fault| fault.rule));
            if !stop && seen.insert(hash) {
                if possible.is_empty() {
                    let fault = with_ptr(world, |w| {
                        w.finish();
                        w.step.fault.take()
                    });
                    faults.extend(fault.map(|fault| fault.rule));
                    let value = |word: &ModelWord| with_ptr(world, |w| w.value_of(word.place()));
                    found.insert((
                        std::array::from_fn(|n| value(&words.registers[n]).checked_sub(1)),
                        [value(&words.x), value(&words.y), value(&words.z)],
                    ));
                } else {
                    ways.push((possible, 0));
                }
            }
            loop {
                let depth = ways.len();
                let Some((choices, next)) = ways.last_mut() else { return (found, faults) };
                if let Some(choice) = choices.get(*next).copied() {
                    *next += 1;
                    with_ptr(world, |w| w.undo_to(depth - 1));
                    take(world, choice, true);
                    break;
                }
                ways.pop();
            }
        }
    }
}

/// The registers of all ends.
fn registers<const N: usize>(memory: MemoryModel, bodies: &[Body]) -> BTreeSet<[usize; N]> {
    ends(memory, bodies, NOTHING)
        .into_iter()
        .map(|(registers, _)| std::array::from_fn(|n| registers[n].expect("each body writes its registers")))
        .collect()
}

const SC: MemoryModel = MemoryModel::Sc;
const TSO: MemoryModel = MemoryModel::Tso { fenced: true };
const UNFENCED: MemoryModel = MemoryModel::Tso { fenced: false };
const RA: MemoryModel = MemoryModel::Ra;

/// All rows of `N` zeros and ones, without some.
fn all_but<const N: usize>(forbidden: &[[usize; N]]) -> BTreeSet<[usize; N]> {
    (0..1 << N)
        .map(|bits| std::array::from_fn(|n| bits >> (N - 1 - n) & 1))
        .filter(|row| !forbidden.contains(row))
        .collect()
}

/// Waits as the library does.
fn wait(word: &ModelWord, order: Ordering, value: usize) {
    let site = Site::here("a litmus program");
    let wait = WaitFor { site, context: WaitContext::Frozen, deadline: Deadline::NEVER, stalled: &|_| () };
    Model.wait_until(word, &wait, || (word.load(order) == value).then_some(()));
}
