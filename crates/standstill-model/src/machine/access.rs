//! Shared memory: every access of the library comes through here.
//!
//! A word holds its value inline, so that it can be `const`, and is known by its address: a machine lies at the same place in each
//! run of an exploration.

use std::cell::UnsafeCell;
use std::panic::Location;
use std::sync::atomic::Ordering;

use crate::base::arena::steady;
use crate::base::hash::Hash128;
use crate::config::mutant::Change;
use crate::machine::announce::rest_for_ever;
use crate::machine::condition;
use crate::machine::point::point;
use crate::machine::state::{Op, OpKind, Wants};
use crate::machine::world::{World, with};
use crate::memory::knowers;
use crate::reduction::guess::Part;
use crate::reduction::movers::Use;
use crate::vocab::step::{Access, StepWhat};

mod cells;
mod words;

pub use cells::ModelCell;

/// A word of the model's memory.
pub struct ModelWord(UnsafeCell<usize>);

impl ModelWord {
    /// What it holds before the machine begins.
    pub(crate) fn preset(&self, value: usize) {
        // SAFETY: one OS thread runs all, and no simulated code yet.
        unsafe { *self.0.get() = value };
    }

    /// What it is known by.
    pub(crate) fn place(&self) -> usize {
        self.0.get().addr()
    }
}

/// A pointer of the model's memory.
pub struct ModelPtr<T>(UnsafeCell<*mut T>);

// SAFETY: an exploration and all that it simulates run on one OS thread.
unsafe impl Send for ModelWord {}
// SAFETY: as above.
unsafe impl Sync for ModelWord {}
// SAFETY: as above.
unsafe impl<T> Send for ModelPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for ModelPtr<T> {}

const RELAXED: (Ordering, Ordering) = (Ordering::Relaxed, Ordering::Relaxed);

/// The place where sequentially consistent fences meet.
const FENCE: usize = 127;

fn acquires(order: Ordering) -> bool {
    matches!(order, Ordering::Acquire | Ordering::AcqRel | Ordering::SeqCst)
}

fn releases(order: Ordering) -> bool {
    matches!(order, Ordering::Release | Ordering::AcqRel | Ordering::SeqCst)
}

fn order_name(order: Ordering) -> &'static str {
    match order {
        Ordering::Relaxed => "relaxed",
        Ordering::Acquire => "acquire",
        Ordering::Release => "release",
        Ordering::AcqRel => "acq_rel",
        _ => "seq_cst",
    }
}

/// A scheduling point, if anybody else can notice the access.
fn before(place: usize, access: Access, writes: bool, wants: Wants, at: &'static Location<'static>) {
    if std::thread::panicking() {
        return;
    }
    let (mut broken, mut prepared, mut interrupts, mut writes_in_condition) = (false, false, false, false);
    let noticed = with(|w| {
        if !w.step.inside {
            return Some((false, false));
        }
        if w.look.peeking.is_some() {
            // A compare-and-swap is looked at, too: would it succeed?
            writes_in_condition = writes && access != Access::CompareExchange;
            return None;
        }
        if !w.phase.branching {
            return Some((true, false));
        }
        w.look.waited = 0;
        let reload = std::mem::take(&mut w.look.reload);
        let who = w.context();
        let conflicts = w.reduction.classes.note(place, who, writes);
        let part = w.part_of_guess(place, access, wants, at);
        (prepared, interrupts) = (w.reduction.classes.is_prepared(), w.reduction.classes.interrupts());
        match part {
            Part::Swapped => {
                w.look.age = w.look.guessed;
                return Some((false, conflicts));
            }
            Part::Broken => {
                broken = true;
                return None;
            }
            Part::None | Part::Stored => {}
        }
        // Under `ra` the scheduler says what an access finds, if there is a choice.
        if !w.look.polling && w.ages(w.cpu, place, wants) != 1 {
            w.thread_mut().wants = wants;
            w.step.fused = false;
            // A point of its own: the guess was a load.
            w.reduction.guess = None;
            return Some((true, conflicts));
        }
        let joined = part == Part::Stored || reload == place && access == Access::Load;
        let code = OpKind::Access(access, writes).code();
        Some((conflicts && !joined && (w.step.fused || w.is_point(code, 0, at)), conflicts))
    });
    if broken {
        crate::machine::announce::rest_for_ever();
    }
    if writes_in_condition {
        condition::does_more("writes to memory", at);
    }
    if let Some((noticed, conflicts)) = noticed {
        point(Op { kind: OpKind::Access(access, writes), place, at }, noticed);
        let how = if writes { Use::Write } else { Use::Read };
        if conflicts {
            with(|w| w.meet(place, how));
        } else if interrupts {
            with(|w| w.meet_below(place, how));
        }
        // Only now: handlers may have run in there.
        with(|w| {
            w.reduction.touches.shared = conflicts;
            if prepared && w.recorder.steps < w.look.watches_until {
                w.use_prepared(place, at);
            }
        });
    }
}

impl World {
    /// The value at `place` changes from `old` to `new`.
    pub(crate) fn wrote(&mut self, place: usize, old: u64, new: u64) {
        let place = steady(place);
        self.memory.hash.sub(Hash128::of_cell(place, old));
        self.memory.hash.add(Hash128::of_cell(place, new));
    }

    /// As [`wrote`](Self::wrote), of a word: its value may be an address.
    pub(crate) fn wrote_word(&mut self, place: usize, old: usize, new: usize) {
        self.wrote(place, steady(old) as u64, steady(new) as u64);
    }

    /// An access to a word told its CPU, or others, what happened before.
    fn synchronise(&mut self, place: usize, reads: bool, writes: bool, order: Ordering) {
        if !(self.memory.tracks && self.step.inside && self.phase.branching) {
            return;
        }
        let classes = &self.reduction.classes;
        let word = self.memory.clocks.word(place, || classes.is_shared(place));
        let (on, message) = (self.cpu, self.memory.clocks.message(word, 0));
        let publishes = if releases(order) { knowers::cpu(on) } else { knowers::fenced(on) };
        if reads {
            let learns = if acquires(order) { knowers::cpu(on) } else { knowers::seen(on) };
            self.memory.clocks.join(&mut self.undo.log, learns, message);
            if writes {
                self.memory.clocks.join(&mut self.undo.log, message, publishes);
            }
        } else {
            self.memory.clocks.assign(&mut self.undo.log, message, publishes);
        }
    }

    /// A word is read that the port itself looks at, with acquire: its newest value is one that this CPU may see.
    pub(crate) fn acquire_newest(&mut self, place: usize) {
        if !(self.memory.tracks && self.phase.branching) || self.buffered(self.cpu, place).is_some() {
            return;
        }
        if self.is_ra() {
            let (age, polling) = (std::mem::take(&mut self.look.age), std::mem::take(&mut self.look.polling));
            let picked = self.pick(place, Wants::Load);
            self.read_message(picked, true);
            (self.look.age, self.look.polling) = (age, polling);
        } else {
            self.synchronise(place, true, false, Ordering::Acquire);
        }
    }

    /// This CPU gets to know all that `other` did, in a way that is no access to memory.
    pub(crate) fn learn_all_of(&mut self, other: usize) {
        if self.memory.tracks && self.phase.branching {
            self.drain(other);
            self.memory.clocks.join(&mut self.undo.log, knowers::cpu(self.cpu), knowers::cpu(other));
        }
    }

    fn fence(&mut self, order: Ordering) {
        if !(self.memory.tracks && self.phase.branching) || order == Ordering::Relaxed {
            return;
        }
        let on = self.cpu;
        // What relaxed loads saw did not count so far.
        self.reduction.classes.changed |= !self.memory.clocks.fences;
        self.memory.clocks.fences = true;
        self.memory.clocks.join(&mut self.undo.log, knowers::cpu(on), knowers::seen(on));
        if order == Ordering::SeqCst {
            self.join_fences();
        }
        self.memory.clocks.assign(&mut self.undo.log, knowers::fenced(on), knowers::cpu(on));
    }

    /// A condition read `value`: what it waits for can change with it.
    pub(crate) fn watch(&mut self, place: usize, value: usize) -> bool {
        let context = self.context();
        let open = if self.phase.branching && place >= 128 && self.step.budget.is_none() {
            self.reduction.classes.note(place, context, false);
            self.reduction.classes.is_open(place, context)
        } else {
            true
        };
        match &mut self.look.peeking {
            Some(watch) => {
                watch.add(place, value, open);
                true
            }
            None => false,
        }
    }
}

/// One access to a word: `f` says what to write, if anything, and the old value comes back.
fn access(
    word: *mut usize,
    access: Access,
    wants: Wants,
    (order, on_failure): (Ordering, Ordering),
    at: &'static Location<'static>,
    f: impl FnOnce(usize) -> Option<usize>,
) -> usize {
    let place = word.addr();
    let writes = !matches!(wants, Wants::Load | Wants::Guess);
    before(place, access, writes, wants, at);
    if std::thread::panicking() {
        // SAFETY: the word is alive, as its method was called, and one OS thread runs all.
        let old = unsafe { *word };
        if let Some(new) = f(old) {
            // SAFETY: as above.
            unsafe { *word = new };
        }
        return old;
    }
    with(|w| {
        if writes && access != Access::Store && w.step.inside && w.look.peeking.is_none() {
            w.drain(w.cpu);
        }
        let picked = (w.is_ra() && w.step.inside && w.phase.branching).then(|| w.pick(place, wants));
        let own = w.buffered(w.cpu, place);
        // SAFETY: as above.
        let old = picked.map(|picked| picked.value).or(own).unwrap_or(unsafe { *word });
        let old = if !writes && w.step.inside && w.mutates(Change::ReadZero, at) { 0 } else { old };
        let watched = w.step.inside && w.watch(place, old);
        let new = f(old);
        if new.is_some() && w.step.inside {
            w.thread_mut().level_mut().changed();
        }
        if watched {
            return old;
        }
        let order = w.effective_order(if new.is_none() { on_failure } else { order }, at);
        let drops = w.step.inside && new.is_some() && w.mutates(Change::DropWrite, at);
        let new = new.filter(|_| !drops);
        if w.step.inside {
            w.reduction.touches.word(place, old, new);
        }
        let late =
            access == Access::Store && new.is_some_and(|new| w.buffer(place, new, releases(order), at));
        let reads = access != Access::Store;
        let newest = match picked {
            Some(picked) => {
                if reads {
                    w.read_message(picked, acquires(order));
                }
                new.is_none_or(|new| w.write_message(picked, new, releases(order), reads))
            }
            None => {
                if !late && own.is_none_or(|_| !reads) {
                    w.synchronise(place, reads, new.is_some(), order);
                }
                true
            }
        };
        if let (Some(new), false, true) = (new, late, newest) {
            // SAFETY: as above.
            unsafe { w.undo.log.memory(place, size_of::<usize>()) };
            // SAFETY: as above.
            w.wrote_word(place, unsafe { *word }, new);
            if let Some(words) = &mut w.recorder.words {
                words.insert(place);
            }
            // SAFETY: as above.
            unsafe { *word = new };
        }
        if w.step.inside {
            // A store tells nothing of what was there.
            if reads {
                w.learn(steady(old) as u64);
            }
            w.note(
                || StepWhat::Access {
                    op: access,
                    cell: crate::machine::symbolize::noted(place),
                    value: if access == Access::Store { new.unwrap_or(old) } else { old } as u64,
                    written: if access == Access::Store { None } else { new.map(|new| new as u64) },
                    order: order_name(order),
                },
                at,
            );
        }
        old
    })
}

/// A fence: an access of its own.
pub(crate) fn fence(at: &'static Location<'static>) {
    if std::thread::panicking() {
        return;
    }
    let noticed = with(|w| {
        let meets = w.is_ra() && w.step.inside && w.phase.branching && w.look.peeking.is_none();
        let who = w.context();
        meets.then(|| w.reduction.classes.note(FENCE, who, true))
    });
    if let Some(noticed) = noticed {
        point(Op { kind: OpKind::Access(Access::Fence, true), place: FENCE, at }, noticed);
    }
    with(|w| {
        if w.step.inside && w.look.peeking.is_none() {
            let order = w.fence_order(at);
            if order == Ordering::SeqCst {
                w.drain(w.cpu);
            }
            w.fence(order);
            w.note(
                || StepWhat::Access {
                    op: Access::Fence,
                    cell: String::new(),
                    value: 0,
                    written: None,
                    order: order_name(order),
                },
                at,
            );
        }
    });
}

/// A loop begins its next turn; `state` is all that it remembers.
pub(crate) fn loop_head(state: Hash128, at: &'static Location<'static>) {
    if !with(|w| w.gives_up("a loop begins its next turn", at)) {
        rest_for_ever();
    }
    with(|w| {
        let same = w.thread_mut().level_mut().cut(state);
        w.reduction.movers.turn(same);
        // What the wait before read is forgotten now, so it is as if the wait had ended just before the next reading.
        w.look.reload = std::mem::take(&mut w.look.waited);
    });
}
