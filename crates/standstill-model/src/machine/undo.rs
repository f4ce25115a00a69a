//! The way back: what each step changed, so that it can be undone.

use crate::base::fibre::Slot;
use crate::machine::marks::Mark;
use crate::machine::state::Thread;
use crate::machine::world::World;

impl World {
    /// A step begins that runs the fibre of `thread`, if any.
    pub(crate) fn mark(&mut self, thread: Option<usize>) {
        let undo = &mut self.undo;
        let (bytes, olds, threads) = (undo.bytes.len(), undo.log.len(), undo.threads.len());
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
            rules: self.subject.monitor.now(),
            moved,
        });
        undo.touched = 0;
        undo.log.switch(true);
        if let Some(thread) = thread {
            undo.touch(thread, &self.threads[thread]);
        }
        undo.peak = undo.peak.max(
            undo.bytes.capacity()
                + undo.log.capacity()
                + undo.threads.capacity() * size_of::<(usize, Option<Thread>)>()
                + self.subject.monitor.bytes()
                + undo.marks.capacity() * size_of::<Mark>(),
        );
    }

    /// Undoes the last step.
    pub(crate) fn undo(&mut self) {
        let Some(mark) = self.undo.marks.pop() else { return };
        self.undo.log.switch(!self.undo.marks.is_empty());
        self.undo.log.undo_to(mark.olds);
        while self.undo.threads.len() > mark.threads {
            if let Some((index, thread)) = self.undo.threads.pop() {
                self.threads[index] = thread;
            }
        }
        self.subject.monitor.set(mark.rules);
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
        if depth == 0 && self.subject.monitor.bytes() > 1 << 28 {
            self.subject.monitor.forget();
        }
    }
}
