//! x86-TSO: a FIFO of stores in front of memory, one for each CPU.
//!
//! A store enters the buffer of its CPU, where its own loads find it; that its oldest entry reaches memory is a choice of its own
//! (a *flush*). A locked instruction and a fence drain the buffer, and so does taking an interrupt (the manuals list all three). An IPI
//! drains it where the port fences its sends; otherwise the IPI may overtake what is in there.
//!
//! | question | answer |
//! |---|---|
//! | Who has a buffer? | The CPU: its threads, its stopper and its handlers share it. |
//! | What is buffered? | Stores to places that another CPU is known to use. A store that nobody else reads reaches memory at once: no other CPU can tell, and its own can't either. A CPU that turns out to use the place starts the search again, as in `class.rs`. |
//! | Why may a drain be one step? | Each flush of it could have been chosen before, one by one, as long as the instruction that drains was only announced. |
//! | Words on the stack of the thread that stores? | Its stores reach memory at once: it makes them before anybody else knows the word, or after everybody has forgotten it. |
//! | Plain cells? | They are not buffered. Without a data race a reader's flag or IPI comes after the flush of all that was stored before it, and data races are found. |
//! | A thread that is moved? | It takes what is in the buffer with it: a scheduler's lock drains it. |
//! | A dead CPU? | Its last stores reach memory some time later, and at the latest when it is started again. |

use std::panic::Location;

use crate::base::arena::steady;
use crate::memory::clocks;
use crate::base::hash::Hash128;
use crate::config::options::MemoryModel;
use crate::machine::step::settle;
use crate::machine::state::{Op, OpKind};
use crate::vocab::limits::MAX_CPUS;
use crate::vocab::step::{Access, StepWhat};
use crate::machine::world::{World, with_ptr};

/// So many stores fit into a buffer: more than any code here leaves in it, also in a replay, where those that nobody else reads wait, too.
pub(crate) const ROOM: usize = 512;

/// A store on its way.
#[derive(Clone, Copy)]
struct Entry {
    place: usize,
    value: usize,
    /// How many stores of this CPU went to memory at once since the entry before: a replay, that does not know which, counts.
    passed: u32,
    at: &'static Location<'static>,
}

/// The store buffer of one CPU.
struct Buffer {
    entries: [Entry; ROOM],
    first: usize,
    len: usize,
    /// How many stores went to memory at once since the newest entry.
    passed: u32,
}

/// The store buffers of all CPUs.
pub(crate) struct Buffers([Buffer; MAX_CPUS]);

impl Buffers {
    #[track_caller]
    pub(crate) fn new() -> Buffers {
        let none = Entry { place: 0, value: 0, passed: 0, at: Location::caller() };
        Buffers(std::array::from_fn(|_| Buffer { entries: [none; ROOM], first: 0, len: 0, passed: 0 }))
    }

    /// What is in the buffer of `cpu`, the oldest first.
    fn of(&self, cpu: usize) -> impl DoubleEndedIterator<Item = &Entry> {
        let buffer = &self.0[cpu];
        (0..buffer.len).map(|index| &buffer.entries[(buffer.first + index) % ROOM])
    }

    /// Is nothing on its way from `cpu`?
    pub(crate) fn is_empty(&self, cpu: usize) -> bool {
        self.0[cpu].len == 0
    }

    /// The newest value on its way from `cpu` to `place`.
    fn newest(&self, cpu: usize, place: usize) -> Option<usize> {
        self.of(cpu).rev().find(|entry| entry.place == place).map(|entry| entry.value)
    }

    /// For the fingerprint.
    pub(crate) fn hash_into(&self, hash: &mut Hash128) {
        for cpu in 0..MAX_CPUS {
            if self.is_empty(cpu) {
                continue;
            }
            hash.mix(cpu as u64 | (self.0[cpu].len as u64) << 8);
            for entry in self.of(cpu) {
                hash.mix(steady(entry.place) as u64);
                hash.mix(steady(entry.value) as u64);
            }
        }
    }
}

/// Does this operation wait until the buffer of its CPU is empty?
pub(crate) fn drains(op: &Op, memory: MemoryModel) -> bool {
    match op.kind {
        OpKind::Access(access, writes) => writes && !matches!(access, Access::Store | Access::CellWrite),
        OpKind::Send => memory == MemoryModel::Tso { fenced: true },
        _ => false,
    }
}

impl World {
    pub(crate) fn is_tso(&self) -> bool {
        matches!(self.options.memory, MemoryModel::Tso { .. })
    }

    /// What a context on `cpu` finds at `place`.
    pub(crate) fn value_seen(&self, cpu: usize, place: usize) -> usize {
        match self.buffered(cpu, place) {
            Some(value) => value,
            None => self.value_of(place),
        }
    }

    /// What `cpu` has on its way to `place`.
    pub(crate) fn buffered(&self, cpu: usize, place: usize) -> Option<usize> {
        if self.is_tso() { self.memory.buffers.newest(cpu, place) } else { None }
    }

    /// A store of `value` to `place`: true if it went into the buffer, false if it is to go to memory at once.
    pub(crate) fn buffer(
        &mut self,
        place: usize,
        value: usize,
        releases: bool,
        at: &'static Location<'static>,
    ) -> bool {
        if !self.is_tso() || !self.step.inside || !self.phase.branching {
            return false;
        }
        let cpu = self.cpu;
        if self.stacks.slots[self.thread].holds(place) {
            return false;
        }
        let late = self.step.budget.is_some() || self.reduction.classes.is_foreign(place, cpu);
        let buffer = &mut self.memory.buffers.0[cpu];
        let index = (buffer.first + buffer.len) % ROOM;
        // SAFETY: a place in the world, which lives until the exploration ends.
        unsafe {
            self.undo.memory(&raw const buffer.passed as usize, size_of::<u32>());
            self.undo.memory(&raw const buffer.len as usize, size_of::<usize>());
            self.undo.memory(&raw const buffer.entries[index] as usize, size_of::<Entry>());
        }
        if !late {
            buffer.passed += 1;
            return false;
        }
        assert!(buffer.len < ROOM, "a CPU has more stores on their way than the model has room for");
        buffer.entries[index] = Entry { place, value, passed: buffer.passed, at };
        buffer.len += 1;
        buffer.passed = 0;
        if self.memory.tracks {
            let entry = self.memory.clocks.on_its_way(cpu, index);
            let from = if releases { clocks::cpu(cpu) } else { clocks::fenced(cpu) };
            self.memory.clocks.assign(&mut self.undo, entry, from);
        }
        self.tell_clocks(cpu);
        true
    }

    fn tell_clocks(&mut self, cpu: usize) {
        let way = &mut self.memory.clocks.on_their_way[cpu];
        clocks::keep(&mut self.undo, way);
        *way = (self.memory.buffers.0[cpu].first, self.memory.buffers.0[cpu].len);
    }

    /// The oldest entry of the buffer of `cpu` reaches memory. Returns how many stores this makes, those that went at once before it
    /// included.
    pub(crate) fn flush(&mut self, cpu: usize) -> u32 {
        let buffer = &mut self.memory.buffers.0[cpu];
        let index = buffer.first;
        let entry = buffer.entries[index];
        // SAFETY: as in `buffer`.
        unsafe {
            self.undo.memory(&raw const buffer.first as usize, size_of::<usize>());
            self.undo.memory(&raw const buffer.len as usize, size_of::<usize>());
        }
        buffer.first = (buffer.first + 1) % ROOM;
        buffer.len -= 1;
        if self.memory.tracks {
            let classes = &self.reduction.classes;
            let word = self.memory.clocks.word(entry.place, || classes.is_shared(entry.place));
            let (message, from) = (self.memory.clocks.message(word, 0), self.memory.clocks.on_its_way(cpu, index));
            self.memory.clocks.assign(&mut self.undo, message, from);
        }
        self.tell_clocks(cpu);
        let word = entry.place as *mut usize;
        // SAFETY: a word that was alive when it was stored to; memory that is shared between CPUs is not given back.
        unsafe { self.undo.memory(entry.place, size_of::<usize>()) };
        // SAFETY: as above; one OS thread runs all.
        let old = unsafe { *word };
        self.wrote_word(entry.place, old, entry.value);
        // SAFETY: as above.
        unsafe { *word = entry.value };
        // No context does that: it is told with the one that its CPU runs.
        let running = (self.cpu, self.thread);
        let current = usize::from(self.cpus[cpu].current);
        (self.cpu, self.thread) = (cpu, if self.threads[current].is_some() { current } else { running.1 });
        self.note(
            || StepWhat::Drain { cell: crate::machine::symbolize::noted(entry.place), value: entry.value as u64 },
            entry.at,
        );
        (self.cpu, self.thread) = running;
        entry.passed + 1
    }

    /// All that is in the buffer of `cpu` reaches memory.
    pub(crate) fn drain(&mut self, cpu: usize) {
        if !self.is_tso() {
            return;
        }
        while !self.memory.buffers.is_empty(cpu) {
            self.flush(cpu);
        }
        let buffer = &mut self.memory.buffers.0[cpu];
        if buffer.passed != 0 {
            // SAFETY: as in `buffer`.
            unsafe { self.undo.memory(&raw const buffer.passed as usize, size_of::<u32>()) };
            buffer.passed = 0;
        }
    }

    /// The choice of a flush: in a replay, of as many stores as were flushed when the schedule was made.
    pub(crate) fn flush_by_choice(&mut self, cpu: usize) {
        match self.step.budget {
            None => self.step.passed = self.flush(cpu),
            Some(stores) => {
                for _ in 0..stores {
                    if self.memory.buffers.is_empty(cpu) {
                        break;
                    }
                    self.flush(cpu);
                }
                self.step.passed = stores;
            }
        }
    }
}

/// All that is on its way anywhere reaches memory.
pub(crate) fn drain_all(world: *mut World) {
    with_ptr(world, |w| {
        for cpu in 0..MAX_CPUS {
            w.drain(cpu);
        }
    });
    settle(world);
}
