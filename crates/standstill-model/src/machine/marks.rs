//! What each step changed: the memory of the way back.
use crate::base::hash::Hash128;
use crate::base::log::Log;
use crate::machine::state::Cpu;
use crate::machine::state::Thread;
use crate::reduction::movers::Entry;
use crate::vocab::limits::MAX_CPUS;

/// Where a step began.
pub(crate) struct Mark {
    pub(crate) cpus: [Cpu; MAX_CPUS],
    pub(crate) memory: Hash128,
    pub(crate) expirations: u8,
    /// Which fibre it ran, and where that is saved.
    pub(crate) fibre: Option<usize>,
    pub(crate) fibre_bytes: (usize, usize),
    pub(crate) bytes: usize,
    pub(crate) olds: usize,
    pub(crate) threads: usize,
    pub(crate) rules: u32,
    /// Where what was moved is saved.
    pub(crate) moved: usize,
}

/// All steps since the set-up.
#[derive(Default)]
pub(crate) struct Undo {
    /// The stacks that were saved.
    pub(crate) bytes: Vec<u8>,
    pub(crate) log: Log,
    pub(crate) threads: Vec<(usize, Option<Thread>)>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) moved: Vec<Entry>,
    /// The threads that this step has saved already.
    pub(crate) touched: u32,
    pub(crate) peak: usize,
}

impl Undo {
    /// How many steps can be undone.
    pub(crate) fn depth(&self) -> usize {
        self.marks.len()
    }

    /// The most bytes that were ever kept here.
    pub(crate) fn peak(&self) -> usize {
        self.peak
    }

    /// A thread's state is about to change.
    pub(crate) fn touch(&mut self, index: usize, thread: &Option<Thread>) {
        if self.marks.is_empty() || self.touched & 1 << index != 0 {
            return;
        }
        self.touched |= 1 << index;
        self.threads.push((index, *thread));
    }
}
