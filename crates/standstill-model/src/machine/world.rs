//! The world of one exploration: the machine's state, its fibres, and the way back.
//!
//! The scheduler runs on the ordinary stack and lets one fibre run at a time, from one announced operation to the next. What simulated
//! code asks for (an access, an IPI, a wait) comes in through [`with`].

use crate::vocab::fault::Fault;
use std::cell::Cell;
use std::collections::HashSet;
use std::ptr;

use standstill::Place;
use standstill::platform::Entry;

use crate::base::arena::{self, Arena};
use crate::reduction::visibility::{Classes, Who};
use crate::memory::clocks::Clocks;
use crate::base::fibre::{Command, Slot};
use crate::machine::guess::Guess;
use crate::base::hash::{BuildHashed, Hash128};
use crate::machine::access::ModelWord;
use crate::reduction::movers::Movers;
use crate::config::mutant::Mutation;
use crate::machine::symbolize::Kept;
use crate::config::options::{Engine, MemoryModel, Options};
use crate::monitor::rules::Values;
use crate::machine::state::{Cpu, Op, OpKind, Power, Thread};
use crate::vocab::limits::{MAX_CPUS, THREADS};
use crate::reduction::footprint::Touches;
use crate::memory::buffers::Buffers;
use crate::machine::undo::Undo;
use crate::vocab::step::Step;

mod events;
mod fingerprint;
mod threads;

pub(crate) use events::broken;

/// What a run is made of.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) entry: Option<&'static dyn Entry>,
    /// What lies where in the machine.
    pub(crate) describe: Option<&'static dyn Fn(usize) -> Option<Place>>,
    /// What the scenario keeps beside it.
    pub(crate) kept: Vec<Kept>,
    /// The handler of device interrupts.
    pub(crate) device: Option<&'static dyn Fn(usize)>,
    /// What happens when a wait begins; it is told for what.
    pub(crate) wait_begins: Option<&'static dyn Fn(&'static str)>,
    /// Each with the CPU that it begins on.
    pub(crate) tasks: Vec<(usize, &'static dyn Fn())>,
    /// What the boot CPU does first.
    pub(crate) boot: Option<&'static dyn Fn()>,
    /// Guesses are loads like any other.
    pub(crate) tries: bool,
    /// The local mask is lazy.
    pub(crate) lazy: bool,
    /// How often the last look at a CPU's lines still finds one.
    pub(crate) lines_stay: Option<&'static ModelWord>,
    /// Where all of it lies.
    pub(crate) arena: Arena,
    pub(crate) slots: Box<[Slot]>,
    pub(crate) cpus: [Cpu; MAX_CPUS],
    pub(crate) threads: [Option<Thread>; THREADS],
    /// The CPU and the thread that run, or ran last.
    pub(crate) cpu: usize,
    pub(crate) thread: usize,
    /// The hash of all memory.
    pub(crate) memory: Hash128,
    pub(crate) classes: Classes,
    pub(crate) buffers: Buffers,
    pub(crate) movers: Movers,
    pub(crate) rules: Values,
    /// The bits of `Property` that did not hold in this step.
    pub(crate) broken: u8,
    pub(crate) fault: Option<Fault>,
    /// A data race, if the search goes on after it: nothing that comes after it is left out.
    pub(crate) race: Option<Fault>,
    pub(crate) undo: Undo,
    /// The choices that led here.
    pub(crate) choices: Vec<u32>,
    /// A fibre runs.
    pub(crate) inside: bool,
    /// The next access belongs to what was announced already.
    pub(crate) fused: bool,
    /// How many places were passed in this step where others could have come in.
    pub(crate) passed: u32,
    /// In a replay: how many are to be passed.
    pub(crate) budget: Option<u32>,
    /// In a replay: does this step end in a wait whose condition does not hold? `None`: look.
    pub(crate) blocks: Option<bool>,
    /// A wait on this place alone has just ended.
    pub(crate) waited: usize,
    /// The next load of this place belongs to the wait that ended: see [`cut`](standstill::platform::Wait::cut) in `port`.
    pub(crate) reload: usize,
    /// The stores up to the compare-and-swap that this is for belong to it.
    pub(crate) guess: Option<Guess>,
    /// Who knows of what; what it is kept for (data races, views) is asked for.
    pub(crate) clocks: Clocks,
    pub(crate) tracks: bool,
    /// Under `ra`, from the choice: which message the first access of this step that has a choice finds, counted from the newest.
    pub(crate) age: u32,
    /// A condition that reads one place with a choice is read for real, and what it read there.
    pub(crate) polling: bool,
    pub(crate) aged: Option<(usize, u32)>,
    /// A look at an old message found one that a read-modify-write can't have.
    pub(crate) vain: bool,
    /// The age of the last guess.
    pub(crate) guessed: u32,
    /// The words that got a message in this step.
    pub(crate) written: Vec<usize>,
    /// A condition is looked at; nothing else happens.
    pub(crate) peeking: Option<crate::machine::state::Watch>,
    /// Up to which step the words are watched that are stored to behind a guess.
    pub(crate) watches_until: u64,
    /// How often one was looked at.
    pub(crate) looks: u32,
    /// The watched places are read for real.
    pub(crate) branching: bool,
    /// It has just begun.
    begins: bool,
    /// The set-up is over when the next stop that takes a CPU out is published.
    pub(crate) armed: bool,
    /// So many deadlines may still expire, and might at the beginning.
    pub(crate) expirations: u8,
    /// The port's patience may end wherever it is the bound.
    pub(crate) patience_ends: bool,
    pub(crate) may_expire: u8,
    pub(crate) steps: u64,
    pub(crate) record: Option<Vec<Step>>,
    pub(crate) touches: Touches,
    /// The words that were ever written, if somebody asks for them: what a final state is told by, outside of this process.
    pub(crate) words: Option<HashSet<usize, BuildHashed>>,
    /// The words that were notified in this step.
    pub(crate) notified: Vec<usize>,
    pub(crate) mutation: Option<Box<Mutation>>,
    /// For the tests of the audit.
    #[cfg(test)]
    pub(crate) blind: Option<crate::result::audit::blind::Blind>,
    leaving: bool,
}

/// A step that passes so many places goes round for ever; a schedule can't count more.
const MOST_PASSED: u32 = (1 << 15) - 1;

thread_local! {
    static WORLD: Cell<*mut World> = const { Cell::new(ptr::null_mut()) };
}

/// Calls `f` with the world of this OS thread.
#[inline(always)]
pub(crate) fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    let world = WORLD.get();
    assert!(!world.is_null(), "this code runs on the model's platform, outside of `standstill_model::check`");
    // SAFETY: set by `enter` to a world that is alive until `Entered` is dropped. One OS thread uses it, `f` neither switches fibres
    // nor calls `with`, and the scheduler holds no reference while a fibre runs.
    f(unsafe { &mut *world })
}

/// The world is this OS thread's until this is dropped.
pub(crate) struct Entered(*mut World, usize);

impl Drop for Entered {
    fn drop(&mut self) {
        WORLD.set(self.0);
        arena::leave(self.1);
    }
}

/// Makes `world` the one of this OS thread.
pub(crate) fn enter(world: *mut World) -> Entered {
    // SAFETY: a world that lives longer than what is returned, by the contract of `with`.
    let before = arena::enter(unsafe { &(*world).arena });
    Entered(WORLD.replace(world), before)
}

/// A place where others may come in, if somebody can notice (`noticed`): announces `op`, and returns when it is to be carried out.
/// Interrupts and the stopper run in here.
pub(crate) fn point(op: Op, noticed: bool) {
    if std::thread::panicking() || with(|w| !w.inside) {
        return;
    }
    let entered = with(|w| {
        if w.peeking.is_some() {
            return None;
        }
        let kept = matches!(op.kind, OpKind::Access(..)) || w.gives_up("something else is done", op.at);
        let passes = w.passes(noticed);
        Some((passes, !kept || passes && w.goes_round()))
    });
    let Some((passes, ends)) = entered else {
        crate::port::condition::does_more("asks the platform for something", op.at)
    };
    if ends {
        crate::port::rest_for_ever();
    }
    if !passes {
        loop {
            match announce(op) {
                Command::Interrupt(kind) => crate::port::take_interrupt(kind),
                Command::Stopper => crate::port::take_stopper(),
                Command::Go | Command::Peek | Command::Expire => break,
            }
        }
        with(|w| w.movers.at_point());
    }
    // What does not read anything is part of the history, too: before it and after it are two states.
    with(|w| w.learn(op.kind.code()));
}

/// Announces `op` and suspends.
pub(crate) fn announce(op: Op) -> Command {
    let slot: *const Slot = with(|w| {
        let thread = w.thread;
        let t = w.thread_mut();
        t.op = op;
        if op.kind != OpKind::Wait {
            t.blocked = false;
        }
        w.fused = false;
        &raw const w.slots[thread]
    });
    // SAFETY: the caller runs on the fibre of the current thread.
    unsafe { Slot::suspend(slot) }
}

impl World {
    pub(crate) fn new(options: Options) -> Result<Box<World>, String> {
        let rules = Values::new(options.protocol);
        let arena = Arena::new(options.own.is_some())?;
        Ok(Box::new(World {
            entry: None,
            describe: None,
            kept: Vec::new(),
            device: None,
            wait_begins: None,
            tasks: Vec::new(),
            boot: None,
            tries: false,
            lazy: false,
            lines_stay: None,
            slots: (0..THREADS).map(|fibre| Slot::new(arena.stack(fibre))).collect(),
            arena,
            cpus: [Cpu::OFF; MAX_CPUS],
            threads: [const { None }; THREADS],
            cpu: 0,
            thread: 0,
            memory: Hash128::ZERO,
            classes: Classes::new(options.races || options.memory != MemoryModel::Sc),
            buffers: Buffers::new(),
            movers: Movers::default(),
            rules,
            broken: 0,
            fault: None,
            race: None,
            undo: Undo::default(),
            choices: Vec::new(),
            inside: false,
            fused: false,
            passed: 0,
            budget: None,
            blocks: None,
            waited: 0,
            reload: 0,
            guess: None,
            clocks: Clocks::new(
                options.memory == MemoryModel::Ra,
                matches!(options.memory, MemoryModel::Tso { .. }),
            ),
            tracks: options.races || options.memory == MemoryModel::Ra,
            age: 0,
            polling: false,
            aged: None,
            vain: false,
            guessed: 0,
            written: Vec::new(),
            peeking: None,
            watches_until: u64::MAX,
            looks: 0,
            branching: false,
            begins: false,
            armed: false,
            expirations: 0,
            patience_ends: false,
            may_expire: 0,
            steps: 0,
            record: None,
            touches: Touches::default(),
            words: (options.engine == Engine::Dpor).then(HashSet::default),
            notified: Vec::new(),
            mutation: Mutation::of(&options),
            #[cfg(test)]
            blind: None,
            leaving: false,
            options,
        }))
    }

    pub(crate) fn thread_ref(&self) -> &Thread {
        self.threads[self.thread].as_ref().expect("the current thread exists")
    }

    pub(crate) fn thread_mut(&mut self) -> &mut Thread {
        self.threads[self.thread].as_mut().expect("the current thread exists")
    }

    pub(crate) fn cpu_ref(&self) -> &Cpu {
        &self.cpus[self.cpu]
    }

    pub(crate) fn cpu_mut(&mut self) -> &mut Cpu {
        &mut self.cpus[self.cpu]
    }

    /// The context of the code that runs.
    pub(crate) fn context(&self) -> Who {
        Who::new(self.cpu, self.thread_ref().level().kind.context(), self.cpu_ref().irqs_on)
    }

    pub(crate) fn learn(&mut self, word: u64) {
        self.thread_mut().level_mut().history.mix(word);
    }

    /// Is a place where others could come in passed without a stop? A schedule remembers how many were in each step, so that it can be
    /// replayed by who does not know what is shared.
    pub(crate) fn passes(&mut self, noticed: bool) -> bool {
        if std::mem::take(&mut self.begins) {
            // The set-up ends here, whatever is known of what is shared.
            self.fused = false;
            return false;
        }
        let passes = match self.budget {
            Some(budget) => self.passed < budget,
            None => !noticed || self.fused,
        };
        if noticed {
            self.fused = false;
        }
        self.passed += u32::from(passes);
        passes
    }

    /// Has this step no end? Nothing in it can be noticed by anybody else, so nobody ends it.
    fn goes_round(&mut self) -> bool {
        if self.passed < MOST_PASSED {
            return false;
        }
        let at = self.thread_ref().op.at;
        let (file, line) = (at.file(), at.line());
        self.fail(
            "livelock",
            format!("CPU {} goes round for ever in one step", self.cpu),
            format!("{file}:{line}"),
        );
        true
    }

    /// The branching begins, at the next place where others could come in.
    pub(crate) fn branch(&mut self) {
        self.branching = true;
        self.begins = true;
    }

    /// What `place` holds, also if it is no memory.
    pub(crate) fn value_of(&self, place: usize) -> usize {
        match place {
            // Who occupies a CPU, and whether its hotplug thread is parked: see `port`.
            1..64 => usize::from(self.occupied(place - 1)),
            64..96 => usize::from(self.parked(place - 64)),
            96..128 => usize::from(self.cpus[place - 96].power != Power::On),
            // SAFETY: a word of a machine, or of the stack of a thread that waits on it.
            _ => unsafe { *(place as *const usize) },
        }
    }
}

/// Lets the fibre of thread `thread` on CPU `cpu` run to its next announcement.
pub(crate) fn run(world: *mut World, cpu: usize, thread: usize, command: Command) {
    // SAFETY: `world` is the one that was entered, and no reference to it is held.
    let slot: *mut Slot = with_ptr(world, |w| {
        (w.cpu, w.thread) = (cpu, thread);
        w.inside = true;
        w.fused = false;
        (w.waited, w.reload, w.guess) = (0, 0, None);
        w.movers.at_point();
        (w.polling, w.aged) = (false, None);
        &raw mut w.slots[thread]
    });
    // SAFETY: only live threads are run.
    unsafe { Slot::resume(slot, command) };
    with_ptr(world, |w| {
        w.inside = false;
        w.fused = false;
    });
}

/// As [`with`], for the scheduler.
pub(crate) fn with_ptr<R>(world: *mut World, f: impl FnOnce(&mut World) -> R) -> R {
    // SAFETY: the scheduler owns the world, and fibres use it only while they run.
    f(unsafe { &mut *world })
}
