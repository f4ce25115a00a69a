//! Accesses that are carried out early: the reduction that merges neighbouring points of a context into one step.
//!
//! [`Classes`](crate::reduction::visibility::Classes) finds the accesses that nobody can ever notice. Most of the others can't be noticed *where they
//! are* either: a csd is written by its sender and later by its receiver, but nobody else looks at it between the sender's claim and its push.
//! So the search starts with no access as a scheduling point at all: each is *moved left*, next to the point before it in its context, and carried
//! out in the same step. What was moved is kept in a **window** until the context goes on. If another context then makes a conflicting
//! access, the order mattered: the place in the code is *learnt* to be a point, and the search starts again.
//!
//! # Why that is sound
//! Take a run of the program, each access on its own, and the shortest beginning of it that no run of the search is equivalent to. All but
//! its last access `A` are equivalent to such a run, if each context that is in the middle of a step finishes it at once: what is left of those
//! steps are accesses that were moved left over what other contexts did in between, and would have been noticed there if one conflicted.
//! If `A` continues such a step, it is done already. Otherwise `A` is a point, its context has finished its last step, and the search makes
//! `A` too, in a state where some moved accesses come before it. If `A` conflicts with one of them, they are in its context's window still
//! (in the run that context has not come to its next point), so the search has noticed; if not, the two runs are equivalent. That holds for handlers, too: one may come between two accesses of the context
//! below it while interrupts are on, so their accesses meet the windows below them; where interrupts are closed is always a point.
//!
//! Two accesses that conflict need no order of their own if the first *enabled* the second: a wait that was blocked until this one write,
//! an interrupt that was not pending until this one send. And what its CPU does after that comes after, too.
//!
//! A wait that one place decides is moved left as well, to where it can end ([`World::eager`]): it reads only what the write that woke it left
//! there. If that is written again before the waiter goes on, its place in the code is learnt like any other.
//!
//! Events are fed to the rules where their accesses are carried out; the parts of the rules' memory that an event reads and changes
//! ([`crate::monitor::footprint`]) are met like places of memory, so that what a rule says does not depend on what was moved.
//!
//! A state that is reached again is searched again if its windows hold something that they did not hold before: see [`crate::reduction::explored`].

use std::collections::HashSet;
use std::panic::Location;

use crate::base::arena::steady;
use crate::base::hash::{BuildHashed, Hash128};
use crate::config::options::{Ipi, MemoryModel, Options};
use crate::vocab::choice::Choice;
use crate::machine::state::{OpKind, PENDING_CALL, PENDING_HALT, PENDING_STOP};
use crate::vocab::limits::MAX_CPUS;
use crate::machine::world::World;

#[cfg(test)]
mod tests;

/// How a place is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    Read,
    /// It changes in a way that commutes with others of this kind.
    Add,
    Write,
}

impl Use {
    pub(crate) fn conflicts(self, other: Use) -> bool {
        !(self == other && self != Use::Write)
    }
}

/// A place in the code, in a kind of context.
pub(crate) type Key = u64;

/// The accesses at a point are no moved ones: they are kept only because they, too, may have woken somebody.
const AT_A_POINT: Key = 0;

/// One access that was carried out since its context's last point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    place: usize,
    key: Key,
    how: Use,
    cpu: u8,
    thread: u8,
    depth: u8,
    irqs_on: bool,
    /// The CPUs that wait for what this changed.
    enables: u16,
    /// The CPUs that have gone on because of it.
    after: u16,
}

/// What a loop with cuts has done in this turn.
#[derive(Clone, Copy, Default, Debug)]
enum Head {
    #[default]
    Elsewhere,
    /// Nothing that anybody can notice. It remembers the `same` as at the turn before.
    Turned { same: bool },
    /// It read this place, moved left.
    Looked { place: usize, same: bool },
}

impl Entry {
    fn hash(&self) -> Hash128 {
        let mut hash = Hash128::of_cell(steady(self.place), self.key);
        hash.mix(
            self.how as u64
                | u64::from(self.cpu) << 8
                | u64::from(self.thread) << 16
                | u64::from(self.depth) << 24
                | u64::from(self.irqs_on) << 31
                | u64::from(self.enables) << 32
                | u64::from(self.after) << 48,
        );
        hash
    }
}

/// When more than this is kept, what is moved next is learnt to be a point.
const MOST: usize = 128;

/// What was moved, and what can't be.
#[derive(Default)]
pub(crate) struct Movers {
    pub(crate) on: bool,
    points: HashSet<Key, BuildHashed>,
    pub(crate) entries: Vec<Entry>,
    /// Where the access belongs that is carried out now.
    unit: Key,
    /// What the loop that runs has done in this turn.
    head: Head,
    /// The wait that ended just now reads what it waited for.
    pub(crate) going: bool,
    /// The wait that is carried out was moved left.
    pub(crate) eager: bool,
    /// Something was learnt: what was searched so far does not count.
    pub(crate) changed: bool,
    /// For the test that shows what learning is for.
    #[cfg(test)]
    pub(crate) blind: bool,
}

impl Movers {
    /// Moves accesses from now on, if that is known to be sound for these options.
    pub(crate) fn switch_on(&mut self, options: &Options) {
        self.on = options.memory == MemoryModel::Sc && !options.sleepers && options.reduce;
    }

    /// What was learnt to be a point.
    pub(crate) fn points(&self) -> impl Iterator<Item = Key> {
        self.points.iter().copied()
    }

    /// Somebody else has learnt these points.
    pub(crate) fn add_points(&mut self, points: &[Key]) {
        self.points.extend(points);
    }

    /// Forgets what was learnt since there were these points.
    pub(crate) fn set_points(&mut self, points: &[Key]) {
        self.points.clear();
        self.add_points(points);
        self.changed = false;
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// What is carried out from here on was announced: nothing was moved.
    pub(crate) const fn at_point(&mut self) {
        self.unit = AT_A_POINT;
        self.head = Head::Elsewhere;
    }

    fn learn(&mut self, key: Key) {
        #[cfg(test)]
        if self.blind {
            return;
        }
        if key != AT_A_POINT {
            self.changed |= self.points.insert(key);
        }
    }

    /// A context takes a step of its own: what was carried out on its CPU is over, but not what is below `depth` on its own stack.
    pub(crate) fn step(&mut self, cpu: usize, thread: usize, depth: usize) {
        self.entries.retain(|e| {
            let own = usize::from(e.thread) == thread;
            own && usize::from(e.depth) < depth || !own && usize::from(e.cpu) != cpu
        });
    }

    /// A loop begins its next turn; `same` is whether it remembers the same as at the turn before.
    pub(crate) const fn turn(&mut self, same: bool) {
        self.head = Head::Turned { same };
    }

    /// An access that somebody can notice begins.
    fn looks(&mut self, place: usize, how: Use) {
        self.head = match self.head {
            Head::Turned { same } if how == Use::Read && self.unit != AT_A_POINT => {
                Head::Looked { place, same }
            }
            _ => Head::Elsewhere,
        };
    }

    /// The context blocks in a wait for `place` alone. If all that it has done in this turn of its loop was to look there, it is as if it had not
    /// looked yet: it will look again, at what is there then, and forget this look.
    pub(crate) fn blocks(&mut self, place: usize, cpu: usize, thread: usize, depth: u8) {
        let Head::Looked { place: looked, same } = std::mem::take(&mut self.head) else { return };
        if looked != place {
            return;
        }
        let here = |e: &Entry| {
            let own = usize::from(e.cpu) == cpu && usize::from(e.thread) == thread && e.depth == depth;
            own && e.place == place && e.how == Use::Read
        };
        if same {
            self.entries.retain(|e| !here(e));
        } else if let Some(last) = self.entries.iter().rposition(here) {
            self.entries.remove(last);
        }
    }

    /// The condition of `cpu` did not hold before this step, and holds now: because of the one change to `place`, if it is one.
    pub(crate) fn woke(&mut self, place: usize, by: usize, cpu: usize) {
        let mut last = None;
        for (index, e) in self.entries.iter().enumerate() {
            if e.place == place && e.how != Use::Read {
                if last.is_some() || usize::from(e.cpu) != by {
                    return;
                }
                last = Some(index);
            }
        }
        if let Some(index) = last {
            self.entries[index].enables |= 1 << cpu;
        }
    }

    /// What was moved: a hash for each entry, and their sum.
    pub(crate) fn moved(&self) -> (Hash128, impl Iterator<Item = Hash128>) {
        let moved = || self.entries.iter().filter(|e| e.key != AT_A_POINT).map(Entry::hash);
        let mut all = Hash128::ZERO;
        for entry in moved() {
            all.add(entry);
        }
        (all, moved())
    }
}

/// The pending bit of an interrupt, as a place.
pub(crate) const fn pending_place(cpu: usize, bit: u8) -> usize {
    0x1000 + cpu * 8 + bit as usize
}

const _: () = assert!(MAX_CPUS <= 16, "a CPU is a bit of `Entry::after`");

impl World {
    fn key(&self, code: u64, place: usize, at: &'static Location<'static>) -> Key {
        let level = self.thread_ref().level().kind.context();
        let mut hash = Hash128::of_cell(steady(std::ptr::from_ref(at).addr()), code + 1);
        hash.mix(u64::from(level) | u64::from(self.cpu_ref().irqs_on) << 8);
        hash.mix(steady(place) as u64);
        hash.0 | 1
    }

    /// Does the operation that begins here have to be a point? If not, it is moved left.
    pub(crate) fn is_point(&mut self, code: u64, place: usize, at: &'static Location<'static>) -> bool {
        if !self.reduction.movers.on || !self.phase.branching {
            return true;
        }
        let key = self.key(code, place, at);
        if self.reduction.movers.entries.len() >= MOST {
            self.reduction.movers.learn(key);
        }
        if self.reduction.movers.points.contains(&key) {
            return true;
        }
        self.reduction.movers.unit = key;
        false
    }

    /// A send is moved left only if nothing on the target depends on its instant.
    pub(crate) fn is_point_to_send(&mut self, at: &'static Location<'static>) -> bool {
        self.options.ipi == Ipi::Instant || self.is_point(OpKind::Send.code(), 0, at)
    }

    /// An access is carried out by the context that runs: does it meet one that was moved?
    pub(crate) fn meet(&mut self, place: usize, how: Use) {
        if !self.reduction.movers.on || !self.phase.branching {
            return;
        }
        self.reduction.movers.looks(place, how);
        if crate::monitor::footprint::is_private(place) && !self.cpu_ref().irqs_on {
            // Nobody else uses it, and nothing comes in between.
            return;
        }
        let (cpu, thread, depth, irqs_on) =
            (self.cpu, self.thread, self.thread_ref().depth, self.cpu_ref().irqs_on);
        let movers = &mut self.reduction.movers;
        let bit = 1 << cpu;
        let mut learnt = AT_A_POINT;
        let mut because = None;
        for (index, e) in movers.entries.iter_mut().enumerate() {
            if e.place != place {
                continue;
            }
            let own = usize::from(e.cpu) == cpu;
            if !e.how.conflicts(how) {
                // A second change: what waits is not waiting for the first alone.
                if how == Use::Add && !own {
                    e.enables = 0;
                }
                continue;
            }
            if own && !(usize::from(e.thread) == thread && e.depth < depth && e.irqs_on) || e.after & bit != 0
            {
                continue;
            }
            if movers.going && e.enables & bit != 0 {
                because = Some((index, *e));
                continue;
            }
            if how != Use::Read {
                e.enables = 0;
            }
            // Only the last one is learnt: with a point there, those before it may not be met any more.
            if e.key != AT_A_POINT {
                learnt = e.key;
            }
        }
        movers.learn(learnt);
        // What comes before it on its own stack comes before this, too.
        if let Some((index, cause)) = because {
            for e in &mut movers.entries[..=index] {
                let before = e.cpu == cause.cpu && e.thread == cause.thread && e.depth >= cause.depth;
                e.after |= if before { bit } else { 0 };
            }
        }
        if movers.unit != AT_A_POINT || how != Use::Read {
            let key = movers.unit;
            movers.entries.push(Entry {
                place,
                key,
                how,
                cpu: cpu as u8,
                thread: thread as u8,
                depth,
                irqs_on,
                enables: 0,
                after: 0,
            });
        }
    }

    /// An access is carried out that nobody can come in between of, but which comes in between of those of a context that it interrupted: was one of those
    /// moved over it?
    pub(crate) fn meet_below(&mut self, place: usize, how: Use) {
        if !self.reduction.movers.on || !self.phase.branching {
            return;
        }
        let (thread, depth) = (self.thread, self.thread_ref().depth);
        let met = self.reduction.movers.entries.iter().rev().find(|e| {
            e.place == place
                && usize::from(e.thread) == thread
                && e.depth < depth
                && e.irqs_on
                && e.key != AT_A_POINT
                && e.how.conflicts(how)
        });
        let key = met.map_or(AT_A_POINT, |e| e.key);
        self.reduction.movers.learn(key);
    }

    /// The key of the wait that `thread` has announced.
    fn key_of_wait(&self, thread: usize) -> Option<Key> {
        let t = self.threads[thread].as_ref()?;
        let irqs_on = self.cpus[usize::from(t.cpu)].irqs_on;
        let mut hash = Hash128::of_cell(steady(std::ptr::from_ref(t.op.at).addr()), OpKind::Wait.code() + 1);
        hash.mix(u64::from(t.level().kind.context()) | u64::from(irqs_on) << 8);
        hash.mix(steady(t.op.place) as u64);
        Some(hash.0 | 1)
    }

    /// A wait among `enabled` that can end and is moved left, to here: then nothing else has to be tried. Not one of a thread that lets
    /// others run meanwhile.
    pub(crate) fn eager(&self, enabled: &[u32]) -> Option<u32> {
        if !self.reduction.movers.on {
            return None;
        }
        enabled.iter().copied().find(|choice| {
            let Some((_, Choice::Thread(thread))) = Choice::decode(*choice) else { return false };
            let Some(t) = &self.threads[thread] else { return false };
            t.op.kind == OpKind::Wait
                && !t.yields
                && t.watch.is_one()
                && self.key_of_wait(thread).is_some_and(|key| !self.reduction.movers.points.contains(&key))
        })
    }

    /// The wait of the current thread goes on.
    pub(crate) fn begin_going(&mut self) {
        self.reduction.movers.unit = AT_A_POINT;
        if self.reduction.movers.eager {
            self.reduction.movers.unit = self.key_of_wait(self.thread).unwrap_or(AT_A_POINT);
        }
        self.reduction.movers.eager = false;
        self.reduction.movers.going = true;
    }

    /// `thread` waited, and was looked at again after the step of the current CPU.
    pub(crate) fn woken(&mut self, thread: usize) {
        let Some(t) = &self.threads[thread] else { return };
        if !t.blocked && t.watch.is_one() {
            self.reduction.movers.woke(t.watch.first(), self.cpu, usize::from(t.cpu));
        }
    }

    /// An interrupt is sent: it becomes pending, or is already.
    pub(crate) fn meet_send(&mut self, to: usize, bit: u8, raises: bool) {
        let place = pending_place(to, bit);
        self.meet(place, Use::Add);
        if raises
            && let Some(e) = self.reduction.movers.entries.last_mut()
            && e.place == place
        {
            e.enables = 1 << to;
        }
    }

    /// A CPU starts or dies: what was pending there is gone.
    pub(crate) fn meet_power(&mut self, cpu: usize) {
        for bit in [PENDING_CALL, PENDING_STOP, PENDING_HALT] {
            self.meet(pending_place(cpu, bit), Use::Write);
        }
    }

    /// An interrupt is taken.
    pub(crate) fn meet_deliver(&mut self, bit: u8) {
        self.reduction.movers.at_point();
        self.reduction.movers.going = true;
        let place = pending_place(self.cpu, bit);
        self.meet(place, Use::Write);
        self.reduction.movers.going = false;
        // What came before this can't conflict any more: only this CPU takes what is pending here, or dies with it.
        let me = 1 << self.cpu;
        self.reduction.movers.entries.retain(|e| e.place != place || e.after & me == 0 && e.key != AT_A_POINT);
    }
}
