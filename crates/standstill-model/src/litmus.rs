//! Litmus tests of the memory models: small programs on bare simulated CPUs, with the exact set of what they can end in.
//!
//! A program is a body for each CPU. The bodies share four words, and each writes what it has seen to registers, which are
//! words that no other CPU uses.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use standstill::CpuId;
use standstill::context::Task;
use standstill::platform::{
    Cpus, DataCell, Deadline, Entry, Ipi, Irq, Memory, Site, TooLate, Wait, WaitContext, WaitFor, Word,
};

use crate::memory::{ModelCell, ModelWord};
use crate::options::{MemoryModel, Options};
use crate::port::Model;
use crate::sched::take;
use crate::state::{Cpu, Kind, MAX_CPUS, Power};
use crate::world::{World, enter, with_ptr};

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
    let mut world = World::new(options);
    world.entry = Some(Box::leak(Box::new(OnIpi { words, body: on_ipi })));
    for (cpu, body) in bodies.iter().copied().enumerate() {
        world.tasks.push((0, Box::leak(Box::new(move || body(words)))));
        world.cpus[cpu] = Cpu {
            power: Power::On,
            irqs_on: true,
            preempt: 0,
            current: (2 * MAX_CPUS + cpu) as u8,
            ..Cpu::OFF
        };
        world.spawn(2 * MAX_CPUS + cpu, Kind::Task, cpu, "body");
    }
    world.branching = true;
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
            w.classes.changed = false;
        });
        found.clear();
        faults.clear();
        let mut seen = HashSet::new();
        let mut ways: Vec<(Vec<u32>, usize)> = Vec::new();
        loop {
            let mut possible = Vec::new();
            let (hash, changed, fault) = with_ptr(world, |w| {
                w.enabled(&mut possible);
                (w.fingerprint().to_u128(), w.classes.changed, w.fault.take())
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
                        w.fault.take()
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

const STORE_BUFFERING: [Body; 2] = [
    |w| {
        w.x.store(1, Release);
        w.saw(0, w.y.load(Acquire));
    },
    |w| {
        w.y.store(1, Release);
        w.saw(1, w.x.load(Acquire));
    },
];

const STORE_BUFFERING_FENCED: [Body; 2] = [
    |w| {
        w.x.store(1, Relaxed);
        Model.fence();
        w.saw(0, w.y.load(Relaxed));
    },
    |w| {
        w.y.store(1, Relaxed);
        Model.fence();
        w.saw(1, w.x.load(Relaxed));
    },
];

#[test]
fn store_buffering() {
    assert_eq!(registers(SC, &STORE_BUFFERING), all_but(&[[0, 0]]));
    for memory in [TSO, RA] {
        assert_eq!(registers(memory, &STORE_BUFFERING), all_but::<2>(&[]));
    }
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &STORE_BUFFERING_FENCED), all_but(&[[0, 0]]));
    }
}

#[test]
fn a_locked_instruction_drains_as_a_fence_does() {
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.z.fetch_add(1, Relaxed);
            w.saw(0, w.y.load(Relaxed));
        },
        |w| {
            w.y.swap(1, Relaxed);
            w.saw(1, w.x.load(Relaxed));
        },
    ];
    assert_eq!(registers(TSO, &bodies), all_but(&[[0, 0]]));
    // That is a promise of x86 alone.
    assert_eq!(registers(RA, &bodies), all_but::<2>(&[]));
}

#[test]
fn a_cpu_sees_its_own_store_first() {
    // As store buffering, and each CPU looks at its own word before.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.saw(0, w.x.load(Relaxed));
            w.saw(1, w.y.load(Relaxed));
        },
        |w| {
            w.y.store(1, Relaxed);
            w.saw(2, w.y.load(Relaxed));
            w.saw(3, w.x.load(Relaxed));
        },
    ];
    let tso: BTreeSet<[usize; 4]> = [[1, 0, 1, 0], [1, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]].into();
    for memory in [TSO, RA] {
        assert_eq!(registers(memory, &bodies), tso);
    }
}

const MESSAGE_PASSING: [Body; 2] = [
    |w| {
        w.x.store(1, Relaxed);
        w.y.store(1, Release);
    },
    |w| {
        w.saw(0, w.y.load(Acquire));
        w.saw(1, w.x.load(Relaxed));
    },
];

#[test]
fn message_passing() {
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &MESSAGE_PASSING), all_but(&[[1, 0]]));
    }
}

#[test]
fn message_passing_needs_both_sides() {
    let relaxed_store: Body = |w| {
        w.x.store(1, Relaxed);
        w.y.store(1, Relaxed);
    };
    let relaxed_load: Body = |w| {
        w.saw(0, w.y.load(Relaxed));
        w.saw(1, w.x.load(Relaxed));
    };
    for bodies in [[relaxed_store, MESSAGE_PASSING[1]], [MESSAGE_PASSING[0], relaxed_load]] {
        assert_eq!(registers(RA, &bodies), all_but::<2>(&[]));
        assert_eq!(registers(TSO, &bodies), all_but(&[[1, 0]]));
    }
}

#[test]
fn message_passing_by_fences() {
    let fenced_store: Body = |w| {
        w.x.store(1, Relaxed);
        Model.fence();
        w.y.store(1, Relaxed);
    };
    let fenced_load: Body = |w| {
        w.saw(0, w.y.load(Relaxed));
        Model.fence();
        w.saw(1, w.x.load(Relaxed));
    };
    // A fence on one side goes with a release or an acquire on the other.
    for bodies in
        [[fenced_store, fenced_load], [fenced_store, MESSAGE_PASSING[1]], [MESSAGE_PASSING[0], fenced_load]]
    {
        for memory in [SC, TSO, RA] {
            assert_eq!(registers(memory, &bodies), all_but(&[[1, 0]]));
        }
    }
    let relaxed: Body = |w| {
        w.saw(0, w.y.load(Relaxed));
        w.saw(1, w.x.load(Relaxed));
    };
    assert_eq!(registers(RA, &[fenced_store, relaxed]), all_but::<2>(&[]));
}

#[test]
fn a_release_sequence_goes_through_read_modify_writes_and_not_through_stores() {
    // The third CPU sees what the first published, if the second only modified it.
    let publish: Body = |w| {
        w.x.store(1, Relaxed);
        w.y.store(1, Release);
    };
    let look: Body = |w| {
        w.saw(0, usize::from(w.y.load(Acquire) == 3));
        w.saw(1, w.x.load(Relaxed));
    };
    let modify: Body = |w| {
        w.y.fetch_add(2, Relaxed);
    };
    assert_eq!(registers(RA, &[publish, modify, look]), all_but(&[[1, 0]]));
    let store: Body = |w| {
        if w.y.load(Relaxed) == 1 {
            w.y.store(3, Relaxed);
        }
    };
    assert_eq!(registers(RA, &[publish, store, look]), all_but::<2>(&[]));
}

#[test]
fn one_word_has_one_order() {
    // Two loads of one word don't go back, and what a CPU stored it does not see undone by what was before.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.x.store(2, Relaxed);
        },
        |w| {
            w.saw(0, w.x.load(Relaxed));
            w.saw(1, w.x.load(Relaxed));
        },
    ];
    let forward: BTreeSet<[usize; 2]> = [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]].into();
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &bodies), forward);
        // The last store is the last.
        assert!(ends(memory, &bodies, NOTHING).iter().all(|(_, [x, _, _])| *x == 2));
    }
    let two_readers: [Body; 4] = [
        |w| w.x.store(1, Relaxed),
        |w| w.x.store(2, Relaxed),
        |w| {
            w.saw(0, w.x.load(Relaxed));
            w.saw(1, w.x.load(Relaxed));
        },
        |w| {
            w.saw(2, w.x.load(Relaxed));
            w.saw(3, w.x.load(Relaxed));
        },
    ];
    let seen: BTreeSet<[usize; 4]> = registers(RA, &two_readers);
    assert!(seen.contains(&[1, 2, 1, 2]) && seen.contains(&[2, 1, 2, 1]));
    assert!(!seen.contains(&[1, 2, 2, 1]), "two readers disagree on the order of two stores to one word");
    assert_eq!(seen, registers(SC, &two_readers));
}

#[test]
fn read_modify_writes_are_atomic() {
    let add: Body = |w| {
        w.x.fetch_add(1, Relaxed);
    };
    let store: Body = |w| w.x.store(5, Relaxed);
    for memory in [SC, TSO, RA] {
        assert!(ends(memory, &[add, add, add], NOTHING).iter().all(|(_, [x, _, _])| *x == 3));
        let with_store: BTreeSet<_> =
            ends(memory, &[add, add, store], NOTHING).iter().map(|(_, [x, _, _])| *x).collect();
        assert_eq!(with_store, [5, 6, 7].into());
        // Of two compare-and-swaps that expect the same one succeeds.
        let swap: [Body; 2] = [
            |w| w.saw(0, usize::from(w.x.compare_exchange(0, 1, Relaxed, Relaxed).is_ok())),
            |w| w.saw(1, usize::from(w.x.compare_exchange(0, 2, Relaxed, Relaxed).is_ok())),
        ];
        assert_eq!(registers(memory, &swap), [[0, 1], [1, 0]].into());
    }
}

#[test]
fn a_guess_and_its_swap_are_one_step() {
    let push: Body = |w| {
        let mut seen = w.x.guess();
        while let Err(now) = w.x.compare_exchange(seen, seen * 2 + 1, AcqRel, Relaxed) {
            seen = now;
        }
    };
    for memory in [SC, TSO, RA] {
        assert!(ends(memory, &[push, push, push], NOTHING).iter().all(|(_, [x, _, _])| *x == 7));
    }
}

/// Waits as the library does.
fn wait(word: &ModelWord, order: Ordering, value: usize) {
    let site = Site::here("a litmus program");
    let wait = WaitFor { site, context: WaitContext::Frozen, deadline: Deadline::NEVER, stalled: &|_| () };
    Model.wait_until(word, &wait, || (word.load(order) == value).then_some(()));
}

#[test]
fn who_waits_sees_what_was_published_and_no_more() {
    let publish: Body = |w| {
        w.x.store(1, Relaxed);
        w.y.store(1, Release);
    };
    let acquire: Body = |w| {
        wait(&w.y, Acquire, 1);
        w.saw(0, w.x.load(Relaxed));
    };
    let relaxed: Body = |w| {
        wait(&w.y, Relaxed, 1);
        w.saw(0, w.x.load(Relaxed));
    };
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &[publish, acquire]), [[1]].into());
    }
    assert_eq!(registers(TSO, &[publish, relaxed]), [[1]].into());
    assert_eq!(registers(RA, &[publish, relaxed]), [[0], [1]].into());
}

#[test]
fn a_value_that_is_gone_can_be_missed() {
    // Who waits for 1 may see it late, or not at all: then it waits for ever, and the search says so.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.x.store(0, Relaxed);
        },
        |w| {
            wait(&w.x, Relaxed, 1);
            w.saw(0, 1);
        },
    ];
    for memory in [SC, TSO, RA] {
        let (found, faults) = all_ends(memory, &bodies, NOTHING);
        assert_eq!(faults, ["deadlock".to_string()].into());
        assert!(found.iter().any(|(r, _)| r[0] == Some(1)));
    }
}

#[test]
fn load_buffering() {
    let bodies: [Body; 2] = [
        |w| {
            w.saw(0, w.x.load(Relaxed));
            w.y.store(1, Relaxed);
        },
        |w| {
            w.saw(1, w.y.load(Relaxed));
            w.x.store(1, Relaxed);
        },
    ];
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &bodies), all_but(&[[1, 1]]));
    }
}

#[test]
fn independent_reads_of_independent_writes() {
    let bodies: [Body; 4] = [
        |w| w.x.store(1, Release),
        |w| w.y.store(1, Release),
        |w| {
            w.saw(0, w.x.load(Acquire));
            w.saw(1, w.y.load(Acquire));
        },
        |w| {
            w.saw(2, w.y.load(Acquire));
            w.saw(3, w.x.load(Acquire));
        },
    ];
    for memory in [SC, TSO] {
        assert_eq!(registers(memory, &bodies), all_but(&[[1, 0, 1, 0]]));
    }
    assert_eq!(registers(RA, &bodies), all_but::<4>(&[]));
    let fenced: [Body; 4] = [
        bodies[0],
        bodies[1],
        |w| {
            w.saw(0, w.x.load(Relaxed));
            Model.fence();
            w.saw(1, w.y.load(Relaxed));
        },
        |w| {
            w.saw(2, w.y.load(Relaxed));
            Model.fence();
            w.saw(3, w.x.load(Relaxed));
        },
    ];
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &fenced), all_but(&[[1, 0, 1, 0]]));
    }
}

/// The words and the registers of all ends.
fn both(memory: MemoryModel, bodies: &[Body]) -> BTreeSet<([usize; 2], Option<usize>)> {
    ends(memory, bodies, NOTHING).into_iter().map(|(r, [x, y, _])| ([x, y], r[0])).collect()
}

#[test]
fn r() {
    // The second word ends as the second CPU's, and that CPU has not seen the first word.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.y.store(1, Relaxed);
        },
        |w| {
            w.y.store(2, Relaxed);
            w.saw(0, w.x.load(Relaxed));
        },
    ];
    let sc: BTreeSet<_> = [([1, 1], Some(0)), ([1, 1], Some(1)), ([1, 2], Some(1))].into();
    assert_eq!(both(SC, &bodies), sc);
    let mut weak = sc;
    weak.insert(([1, 2], Some(0)));
    for memory in [TSO, RA] {
        assert_eq!(both(memory, &bodies), weak);
    }
}

#[test]
fn s() {
    // The first word ends as the first CPU's, and the second CPU has seen the second word.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(2, Relaxed);
            w.y.store(1, Release);
        },
        |w| {
            w.saw(0, w.y.load(Acquire));
            w.x.store(1, Relaxed);
        },
    ];
    let expected: BTreeSet<_> = [([1, 1], Some(0)), ([1, 1], Some(1)), ([2, 1], Some(0))].into();
    for memory in [SC, TSO, RA] {
        assert_eq!(both(memory, &bodies), expected);
    }
    let relaxed: [Body; 2] = [
        |w| {
            w.x.store(2, Relaxed);
            w.y.store(1, Relaxed);
        },
        bodies[1],
    ];
    let mut weak = expected;
    weak.insert(([2, 1], Some(1)));
    assert_eq!(both(RA, &relaxed), weak);
}

#[test]
fn two_plus_two_writes() {
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Release);
            w.y.store(2, Release);
        },
        |w| {
            w.y.store(1, Release);
            w.x.store(2, Release);
        },
    ];
    // The last store to each word can't be the first of each CPU.
    let expected: BTreeSet<_> = [([1, 2], None), ([2, 1], None), ([2, 2], None)].into();
    for memory in [SC, TSO] {
        assert_eq!(both(memory, &bodies), expected);
    }
    let mut weak = expected;
    weak.insert(([1, 1], None));
    assert_eq!(both(RA, &bodies), weak);
}

/// A store, and an IPI whose handler looks for it.
fn seen_by_the_handler(memory: MemoryModel) -> BTreeSet<Option<usize>> {
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            Model.send_ipi(CpuId::new(1), Ipi::Call);
        },
        |_| {
            // A last moment for an interrupt.
            let flags = Model.irq_save();
            // SAFETY: from the line above.
            unsafe { Model.irq_restore(flags) };
        },
    ];
    ends(memory, &bodies, |w| w.saw(0, w.x.load(Relaxed))).into_iter().map(|(r, _)| r[0]).collect()
}

#[test]
fn an_ipi_overtakes_a_store_where_sends_are_not_fenced() {
    // `None`: the IPI comes too late for the body.
    assert_eq!(seen_by_the_handler(SC), [None, Some(1)].into());
    assert_eq!(seen_by_the_handler(TSO), [None, Some(1)].into());
    assert_eq!(seen_by_the_handler(RA), [None, Some(1)].into());
    assert_eq!(seen_by_the_handler(UNFENCED), [None, Some(0), Some(1)].into());
}

impl Words {
    fn write_cell(&self, value: usize) {
        // SAFETY: whether another access is concurrent is what the programs below are about: the model says so, and nothing is torn.
        unsafe { self.cell.write(value) }
    }

    fn read_cell(&self) -> usize {
        // SAFETY: as above; each program writes before anybody reads.
        unsafe { self.cell.read() }
    }
}

fn races(memory: MemoryModel, bodies: &[Body], on_ipi: Body) -> bool {
    let (_, faults) = all_ends(memory, bodies, on_ipi);
    assert!(faults.is_empty() || faults == ["race".to_string()].into(), "{faults:?}");
    !faults.is_empty()
}

#[test]
fn plain_memory_is_published_by_release_and_acquire_alone() {
    let release: Body = |w| {
        w.write_cell(7);
        w.y.store(1, Release);
    };
    let relaxed: Body = |w| {
        w.write_cell(7);
        w.y.store(1, Relaxed);
    };
    let fenced: Body = |w| {
        w.write_cell(7);
        Model.fence();
        w.y.store(1, Relaxed);
    };
    let acquire: Body = |w| {
        wait(&w.y, Acquire, 1);
        w.saw(0, w.read_cell());
    };
    let relaxed_load: Body = |w| {
        wait(&w.y, Relaxed, 1);
        w.saw(0, w.read_cell());
    };
    let fenced_load: Body = |w| {
        wait(&w.y, Relaxed, 1);
        Model.fence();
        w.saw(0, w.read_cell());
    };
    for memory in [SC, TSO, UNFENCED, RA] {
        for good in [[release, acquire], [fenced, acquire], [release, fenced_load], [fenced, fenced_load]] {
            assert!(!races(memory, &good, NOTHING), "{memory:?}");
        }
        for bad in
            [[relaxed, acquire], [release, relaxed_load], [relaxed, fenced_load], [fenced, relaxed_load]]
        {
            assert!(races(memory, &bad, NOTHING), "{memory:?}");
        }
    }
}

#[test]
fn two_reads_do_not_race_and_a_read_and_a_later_write_do() {
    let begin: Body = |w| {
        w.write_cell(7);
        w.x.store(1, Release);
        w.saw(0, w.read_cell());
    };
    let read: Body = |w| {
        wait(&w.x, Acquire, 1);
        w.saw(1, w.read_cell());
        w.y.store(1, Release);
    };
    let write: Body = |w| {
        wait(&w.x, Acquire, 1);
        w.write_cell(8);
    };
    let write_later: Body = |w| {
        wait(&w.y, Acquire, 1);
        w.write_cell(8);
    };
    let begin_alone: Body = |w| {
        w.write_cell(7);
        w.x.store(1, Release);
    };
    for memory in [SC, TSO, UNFENCED, RA] {
        assert!(!races(memory, &[begin, read, read], NOTHING));
        assert!(races(memory, &[begin, write], NOTHING), "the first CPU reads when it likes");
        assert!(races(memory, &[begin_alone, read, write], NOTHING), "the second reads when it likes");
        assert!(!races(memory, &[begin_alone, read, write_later], NOTHING));
    }
}

#[test]
fn an_ipi_publishes_plain_memory_where_sends_are_fenced() {
    let bodies: [Body; 2] = [
        |w| {
            w.write_cell(7);
            Model.send_ipi(CpuId::new(1), Ipi::Call);
        },
        |_| {
            let flags = Model.irq_save();
            // SAFETY: from the line above.
            unsafe { Model.irq_restore(flags) };
        },
    ];
    let handler: Body = |w| w.saw(0, w.read_cell());
    for memory in [SC, TSO, RA] {
        assert!(!races(memory, &bodies, handler));
    }
    assert!(races(UNFENCED, &bodies, handler));
}
