//! Plain memory: no points, but data races.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::panic::Location;

use standstill::platform::{DataCell, Datum};

use crate::base::hash::Hash128;
use crate::machine::condition;
use crate::machine::point::point;
use crate::machine::state::{Op, OpKind};
use crate::machine::world::{World, with};
use crate::reduction::footprint::How;
use crate::reduction::movers::Use;
use crate::vocab::fault::Fault;
use crate::vocab::step::{Access, StepWhat};

/// Plain memory, with the hash of what it holds.
pub struct ModelCell<T> {
    value: UnsafeCell<MaybeUninit<T>>,
    hash: UnsafeCell<u64>,
}

/// Whose accesses that were moved may a plain one meet?
#[derive(Clone, Copy)]
enum Meets {
    Nobody,
    /// Those of a context that it interrupts.
    Below,
    All,
}

// SAFETY: as for words.
unsafe impl<T> Send for ModelCell<T> {}

// SAFETY: as above.
unsafe impl<T> Sync for ModelCell<T> {}

impl World {
    /// A plain cell is about to be used: is that a point, and can handlers on this CPU notice when it is? Whether other CPUs can is a matter of races.
    fn notices_cell(
        &mut self,
        place: usize,
        access: Access,
        writes: bool,
        at: &'static Location<'static>,
    ) -> (bool, Meets) {
        if !self.step.inside || !self.phase.branching {
            return (!self.phase.branching, Meets::Nobody);
        }
        let who = self.context();
        let conflicts = self.reduction.classes.note_plain(place, who, writes);
        let code = OpKind::Access(access, writes).code();
        let meets = match (conflicts, self.reduction.classes.interrupts()) {
            (true, _) => Meets::All,
            (false, true) => Meets::Below,
            (false, false) => Meets::Nobody,
        };
        (conflicts && (self.step.fused || self.is_point(code, 0, at)), meets)
    }

    /// Memory is used that `what` says is plain: is that a data race? `fresh`: nobody has written it yet.
    pub(crate) fn use_plainly(
        &mut self,
        does: &str,
        what: &str,
        (place, fresh): (usize, bool),
        writes: bool,
        at: &'static Location<'static>,
    ) {
        if !(self.options.races && self.step.inside && self.phase.branching && self.look.peeking.is_none()) {
            return;
        }
        let on = self.cpu;
        let (race, late) = self.memory.clocks.plain(&mut self.undo.log, (place, fresh), on, writes, at);
        self.reduction.classes.changed |= late;
        if let Some(race) = race {
            let who = race
                .reader
                .map_or_else(|| "the last write".to_string(), |reader| format!("a read by CPU {reader}"));
            let other = race.other;
            let text = format!(
                "CPU {on} {does} {what} at {}:{}, and {who} at {}:{} did not happen before",
                at.file(),
                at.line(),
                other.file(),
                other.line()
            );
            let location = format!("{}:{}", at.file(), at.line());
            if self.options.keep_going {
                self.step.race.get_or_insert(Fault { rule: "race".to_string(), cpu: on, text, location });
            } else {
                self.fail("race", text, location);
            }
        }
    }
}

impl<T> ModelCell<T> {
    /// Nobody else can notice the access, or it is a data race.
    fn plain(&self, writes: bool, at: &'static Location<'static>) {
        if std::thread::panicking() {
            return;
        }
        let place = self.hash.get().addr();
        // SAFETY: the cell is alive.
        let fresh = unsafe { *self.hash.get() } == 0;
        let access = if writes { Access::CellWrite } else { Access::CellRead };
        if with(|w| w.look.peeking.is_none()) {
            let (noticed, meets) = with(|w| w.notices_cell(place, access, writes, at));
            point(Op { kind: OpKind::Access(access, writes), place, at }, noticed);
            let how = if writes { Use::Write } else { Use::Read };
            match meets {
                Meets::All => with(|w| w.meet(place, how)),
                Meets::Below => with(|w| w.meet_below(place, how)),
                Meets::Nobody => {}
            }
        }
        let does = if writes { "writes" } else { "reads" };
        with(|w| w.use_plainly(does, "a plain cell", (place, fresh), writes, at));
    }
}

// SAFETY: plain memory; one OS thread runs all.
unsafe impl<T: Datum> DataCell<T> for ModelCell<T> {
    const EMPTY: Self = ModelCell { value: UnsafeCell::new(MaybeUninit::uninit()), hash: UnsafeCell::new(0) };

    #[track_caller]
    unsafe fn read(&self) -> T {
        let place = self.hash.get().addr();
        let at = Location::caller();
        self.plain(false, at);
        // SAFETY: as for words.
        let hash = unsafe { *self.hash.get() };
        assert!(hash != 0 || std::thread::panicking(), "a plain cell is read that nobody has written");
        if !std::thread::panicking() {
            with(|w| {
                if w.step.inside && w.look.peeking.is_none() {
                    w.reduction.touches.add(place, How::Reads);
                    w.learn(hash);
                    w.note(
                        || StepWhat::Access {
                            op: Access::CellRead,
                            cell: crate::machine::symbolize::noted(place),
                            value: hash,
                            written: None,
                            order: "plain",
                        },
                        at,
                    );
                }
            });
        }
        // SAFETY: written, as the hash shows.
        unsafe { (*self.value.get()).assume_init() }
    }

    #[track_caller]
    unsafe fn write(&self, value: T) {
        let place = self.hash.get().addr();
        let at = Location::caller();
        condition::only_looks("writes to plain memory", at);
        self.plain(true, at);
        let hash = Hash128::of(&value).0 | 1;
        if !std::thread::panicking() {
            with(|w| {
                // SAFETY: the cell is alive.
                unsafe { w.undo.log.memory(self.value.get().addr(), size_of::<T>()) };
                // SAFETY: as above.
                unsafe { w.undo.log.memory(place, size_of::<u64>()) };
                // SAFETY: as for words.
                let old = unsafe { *self.hash.get() };
                w.wrote(place, old, hash);
                if w.step.inside {
                    w.thread_mut().level_mut().changed();
                    w.reduction.touches.add(place, How::Writes);
                    w.note(
                        || StepWhat::Access {
                            op: Access::CellWrite,
                            cell: crate::machine::symbolize::noted(place),
                            value: hash,
                            written: None,
                            order: "plain",
                        },
                        at,
                    );
                }
            });
        }
        // SAFETY: as for words.
        unsafe { *self.hash.get() = hash };
        // SAFETY: as for words.
        unsafe { *self.value.get() = MaybeUninit::new(value) };
    }
}
