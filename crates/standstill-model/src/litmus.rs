//! Litmus tests of the memory models: small programs on bare simulated CPUs, with the exact set of what they can end in.
//!
//! A program is a body for each CPU. The bodies share four words, and each writes what it has seen to registers, which are
//! words that no other CPU uses.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use standstill::CpuId;
use standstill::context::Task;
use standstill::platform::TooLate;
use standstill::platform::{Cpus, Entry, Ipi, Irq, Memory, Word};

use crate::memory::ModelWord;
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
fn ends(memory: MemoryModel, bodies: &[Body], on_ipi: Body) -> BTreeSet<([Option<usize>; 6], [usize; 3])> {
    let words: &'static Words = Box::leak(Box::new(Words {
        x: ModelWord::ZERO,
        y: ModelWord::ZERO,
        z: ModelWord::ZERO,
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

fn explore(world: *mut World, words: &Words) -> BTreeSet<([Option<usize>; 6], [usize; 3])> {
    let mut found = BTreeSet::new();
    'again: loop {
        with_ptr(world, |w| {
            w.undo_to(0);
            w.classes.changed = false;
        });
        found.clear();
        let mut seen = HashSet::new();
        let mut ways: Vec<(Vec<u32>, usize)> = Vec::new();
        loop {
            let mut possible = Vec::new();
            let (hash, changed) = with_ptr(world, |w| {
                assert!(w.fault.is_none(), "{:?}", w.fault);
                w.enabled(&mut possible);
                (w.fingerprint().to_u128(), w.classes.changed)
            });
            if changed {
                continue 'again;
            }
            if seen.insert(hash) {
                if possible.is_empty() {
                    with_ptr(world, |w| {
                        w.finish();
                        assert!(w.fault.is_none(), "{:?}", w.fault);
                    });
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
                let Some((choices, next)) = ways.last_mut() else { return found };
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
    assert_eq!(registers(TSO, &STORE_BUFFERING), all_but::<2>(&[]));
    for memory in [SC, TSO] {
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
    assert_eq!(registers(TSO, &bodies), tso);
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
    for memory in [SC, TSO] {
        assert_eq!(registers(memory, &MESSAGE_PASSING), all_but(&[[1, 0]]));
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
    for memory in [SC, TSO] {
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
    let mut tso = sc;
    tso.insert(([1, 2], Some(0)));
    assert_eq!(both(TSO, &bodies), tso);
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
    for memory in [SC, TSO] {
        assert_eq!(both(memory, &bodies), expected);
    }
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
    assert_eq!(seen_by_the_handler(UNFENCED), [None, Some(0), Some(1)].into());
}
