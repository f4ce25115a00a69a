//! The parts of a [`World`](super::world::World): each is written where its name says.

use std::collections::HashSet;

use crate::base::arena::Arena;
use crate::base::fibre::Slot;
use crate::base::hash::BuildHashed;
use crate::machine::kept::Kept;
use crate::machine::state::Watch;
use crate::program::{Monitor, Program};
use crate::vocab::fault::Fault;
use crate::vocab::limits::THREADS;
use crate::vocab::step::Step;

/// What is explored: the code that runs, and what it shares.
pub(crate) struct Subject {
    pub(crate) program: Option<&'static dyn Program>,
    pub(crate) monitor: Box<dyn Monitor>,
    /// What lies where in the machine.
    pub(crate) describe: Option<&'static dyn Fn(usize) -> Option<String>>,
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
}

impl Subject {
    pub(crate) fn new(monitor: Box<dyn Monitor>) -> Subject {
        Subject {
            program: None,
            monitor,
            describe: None,
            kept: Vec::new(),
            device: None,
            wait_begins: None,
            tasks: Vec::new(),
            boot: None,
            tries: false,
        }
    }
}

/// The memory of the simulated code, and the fibres whose stacks lie in it.
pub(crate) struct Stacks {
    pub(crate) arena: Arena,
    pub(crate) slots: Box<[Slot]>,
}

impl Stacks {
    pub(crate) fn new(for_ever: bool) -> Result<Stacks, String> {
        let arena = Arena::new(for_ever)?;
        let slots = (0..THREADS).map(|fibre| Slot::new(arena.stack(fibre))).collect();
        Ok(Stacks { slots, arena })
    }
}

/// The step that is being made.
#[derive(Default)]
pub(crate) struct StepState {
    /// The bits of the properties that did not hold in this step.
    pub(crate) broken: u8,
    pub(crate) fault: Option<Fault>,
    /// A data race, if the search goes on after it: nothing that comes after it is left out.
    pub(crate) race: Option<Fault>,
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
    /// The words that were notified in this step.
    pub(crate) notified: Vec<usize>,
}

/// A condition that is looked at, and what an access finds where it has a choice.
pub(crate) struct Look {
    /// A wait on this place alone has just ended.
    pub(crate) waited: usize,
    /// The next load of this place belongs to the wait that ended: see the head of a loop, in `access`.
    pub(crate) reload: usize,
    /// Under `ra`, from the choice: which message the first access of this step that has a choice finds, counted from the newest.
    pub(crate) age: u32,
    /// A condition that reads one place with a choice is read for real, and what it read there.
    pub(crate) polling: bool,
    pub(crate) aged: Option<(usize, u32)>,
    /// A look at an old message found one that a read-modify-write can't have.
    pub(crate) vain: bool,
    /// The age of the last guess.
    pub(crate) guessed: u32,
    /// A condition is looked at; nothing else happens.
    pub(crate) peeking: Option<Watch>,
    /// How often one was looked at.
    pub(crate) looks: u32,
    /// Up to which step the words are watched that are stored to behind a guess.
    pub(crate) watches_until: u64,
}

impl Default for Look {
    fn default() -> Look {
        Look {
            waited: 0,
            reload: 0,
            age: 0,
            polling: false,
            aged: None,
            vain: false,
            guessed: 0,
            peeking: None,
            looks: 0,
            watches_until: u64::MAX,
        }
    }
}

/// How far the set-up is, and what time may do.
#[derive(Default)]
pub(crate) struct Phase {
    /// The set-up is over: orders are tried.
    pub(crate) branching: bool,
    /// That has just begun.
    pub(crate) begins: bool,
    /// The set-up is over when the next stop that takes a CPU out is published.
    pub(crate) armed: bool,
    pub(crate) leaving: bool,
    /// So many deadlines may still expire, and might at the beginning.
    pub(crate) expirations: u8,
    pub(crate) may_expire: u8,
}

/// The run so far.
#[derive(Default)]
pub(crate) struct Recorder {
    /// What happened, if somebody asks for it.
    pub(crate) record: Option<Vec<Step>>,
    /// The words that were ever written, if somebody asks for them: what a final state is told by, outside of this process.
    pub(crate) words: Option<HashSet<usize, BuildHashed>>,
    /// The choices that led here.
    pub(crate) choices: Vec<u32>,
    pub(crate) steps: u64,
}

impl Recorder {
    pub(crate) fn new(notes_words: bool) -> Recorder {
        Recorder { words: notes_words.then(HashSet::default), ..Recorder::default() }
    }
}
