//! The way back: what each step changed, so that it can be undone.

use std::mem::MaybeUninit;

use crate::base::fibre::Slot;
use crate::base::hash::Hash128;
use crate::reduction::movers::Entry;
use crate::machine::state::{Cpu, Thread};
use crate::vocab::limits::MAX_CPUS;
use crate::machine::world::World;

/// What was at a place of memory. Most of what changes is a word: that is kept here.
enum Old {
    Word { place: *mut Word, was: Word },
    Bytes { place: *mut u8, len: usize, from: usize },
}

/// Not a number: it may be a pointer, and parts of it may never have been written.
type Word = MaybeUninit<usize>;

/// Where a step began.
struct Mark {
    cpus: [Cpu; MAX_CPUS],
    memory: Hash128,
    expirations: u8,
    /// Which fibre it ran, and where that is saved.
    fibre: Option<usize>,
    fibre_bytes: (usize, usize),
    bytes: usize,
    olds: usize,
    threads: usize,
    rules: u32,
    /// Where what was moved is saved.
    moved: usize,
}

/// All steps since the set-up.
#[derive(Default)]
pub(crate) struct Undo {
    bytes: Vec<u8>,
    olds: Vec<Old>,
    threads: Vec<(usize, Option<Thread>)>,
    marks: Vec<Mark>,
    moved: Vec<Entry>,
    /// The threads that this step has saved already.
    touched: u32,
    peak: usize,
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

    /// Memory is about to change.
    ///
    /// # Safety
    /// `len` bytes can be read at `place`.
    pub(crate) unsafe fn memory(&mut self, place: usize, len: usize) {
        if self.marks.is_empty() {
            return;
        }
        if len == size_of::<Word>() {
            let place = place as *mut Word;
            // SAFETY: the contract of this function; any bytes are a `MaybeUninit`.
            let was = unsafe { place.read_unaligned() };
            self.olds.push(Old::Word { place, was });
            return;
        }
        self.olds.push(Old::Bytes { place: place as *mut u8, len, from: self.bytes.len() });
        // SAFETY: the contract of this function; what is copied may be uninitialised, and is only copied back.
        self.bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(place as *const u8, len) });
    }
}

impl World {
    /// A step begins that runs the fibre of `thread`, if any.
    pub(crate) fn mark(&mut self, thread: Option<usize>) {
        let undo = &mut self.undo;
        let (bytes, olds, threads) = (undo.bytes.len(), undo.olds.len(), undo.threads.len());
        // SAFETY: a live thread's fibre is suspended between steps.
        let len = thread.map_or(0, |thread| unsafe { self.stacks.slots[thread].save(&mut undo.bytes) });
        let moved = undo.moved.len();
        undo.moved.extend_from_slice(&self.reduction.movers.entries);
        undo.marks.push(Mark {
            cpus: self.cpus,
            memory: self.memory.hash,
            expirations: self.phase.expirations,
            fibre: thread,
            fibre_bytes: (bytes, len),
            bytes,
            olds,
            threads,
            rules: self.subject.rules.now(),
            moved,
        });
        undo.touched = 0;
        if let Some(thread) = thread {
            undo.touch(thread, &self.threads[thread]);
        }
        undo.peak = undo.peak.max(
            undo.bytes.capacity()
                + undo.olds.capacity() * size_of::<Old>()
                + undo.threads.capacity() * size_of::<(usize, Option<Thread>)>()
                + self.subject.rules.bytes()
                + undo.marks.capacity() * size_of::<Mark>(),
        );
    }

    /// Undoes the last step.
    pub(crate) fn undo(&mut self) {
        let Some(mark) = self.undo.marks.pop() else { return };
        while self.undo.olds.len() > mark.olds {
            match self.undo.olds.pop() {
                // SAFETY: the place was memory of the machine or of a stack when it was saved, and is mapped until the world ends.
                Some(Old::Word { place, was }) => unsafe { place.write_unaligned(was) },
                Some(Old::Bytes { place, len, from }) => {
                    let was = self.undo.bytes[from..from + len].as_ptr();
                    // SAFETY: as above.
                    unsafe { std::ptr::copy_nonoverlapping(was, place, len) };
                }
                None => {}
            }
        }
        while self.undo.threads.len() > mark.threads {
            if let Some((index, thread)) = self.undo.threads.pop() {
                self.threads[index] = thread;
            }
        }
        self.subject.rules.set(mark.rules);
        if let Some(fibre) = mark.fibre {
            let (from, len) = mark.fibre_bytes;
            let slot: &mut Slot = &mut self.stacks.slots[fibre];
            // SAFETY: saved by `mark` from this slot; no fibre runs.
            unsafe { slot.restore(&self.undo.bytes[from..from + len]) };
        }
        self.undo.bytes.truncate(mark.bytes);
        self.cpus = mark.cpus;
        self.reduction.movers.entries.clear();
        self.reduction.movers.entries.extend_from_slice(&self.undo.moved[mark.moved..]);
        self.undo.moved.truncate(mark.moved);
        self.memory.hash = mark.memory;
        self.phase.expirations = mark.expirations;
        self.recorder.choices.pop();
        self.step.broken = 0;
        (self.step.fault, self.step.race) = (None, None);
    }

    /// Undoes all steps after the first `depth`.
    pub(crate) fn undo_to(&mut self, depth: usize) {
        while self.undo.depth() > depth {
            self.undo();
        }
        if depth == 0 && self.subject.rules.bytes() > 1 << 28 {
            self.subject.rules.forget();
        }
    }
}
