//! Store buffers: what goes into them, and when it reaches memory. See [`crate::memory::buffers`].
use crate::base::log::keep;
use crate::config::options::MemoryModel;
use crate::machine::state::Op;
use crate::machine::state::OpKind;
use crate::machine::world::World;
use crate::memory::buffers::ROOM;
use crate::memory::knowers;
use crate::vocab::step::Access;
use crate::vocab::step::StepWhat;
use std::panic::Location;

/// Does this operation wait until the buffer of its CPU is empty?
pub(crate) fn drains(op: &Op, memory: MemoryModel) -> bool {
    match op.kind {
        OpKind::Access(access, writes) => writes && !matches!(access, Access::Store | Access::CellWrite),
        OpKind::Send => memory == MemoryModel::Tso { fenced: true },
        _ => false,
    }
}

use crate::memory::buffers::Entry;

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
            self.undo.log.memory(&raw const buffer.passed as usize, size_of::<u32>());
            self.undo.log.memory(&raw const buffer.len as usize, size_of::<usize>());
            self.undo.log.memory(&raw const buffer.entries[index] as usize, size_of::<Entry>());
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
            let from = if releases { knowers::cpu(cpu) } else { knowers::fenced(cpu) };
            self.memory.clocks.assign(&mut self.undo.log, entry, from);
        }
        self.tell_clocks(cpu);
        true
    }

    fn tell_clocks(&mut self, cpu: usize) {
        let way = &mut self.memory.clocks.on_their_way[cpu];
        keep(&mut self.undo.log, way);
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
            self.undo.log.memory(&raw const buffer.first as usize, size_of::<usize>());
            self.undo.log.memory(&raw const buffer.len as usize, size_of::<usize>());
        }
        buffer.first = (buffer.first + 1) % ROOM;
        buffer.len -= 1;
        if self.memory.tracks {
            let classes = &self.reduction.classes;
            let word = self.memory.clocks.word(entry.place, || classes.is_shared(entry.place));
            let (message, from) =
                (self.memory.clocks.message(word, 0), self.memory.clocks.on_its_way(cpu, index));
            self.memory.clocks.assign(&mut self.undo.log, message, from);
        }
        self.tell_clocks(cpu);
        let word = entry.place as *mut usize;
        // SAFETY: a word that was alive when it was stored to; memory that is shared between CPUs is not given back.
        unsafe { self.undo.log.memory(entry.place, size_of::<usize>()) };
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
            || StepWhat::Drain {
                cell: crate::machine::symbolize::noted(entry.place),
                value: entry.value as u64,
            },
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
            unsafe { self.undo.log.memory(&raw const buffer.passed as usize, size_of::<u32>()) };
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
