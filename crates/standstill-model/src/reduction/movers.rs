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
//! A wait that one place decides is moved left as well, to where it can end (`World::eager` in `machine/meet.rs`): it reads only what the write that woke it left
//! there. If that is written again before the waiter goes on, its place in the code is learnt like any other.
//!
//! Events are fed to the rules where their accesses are carried out; the parts of the rules' memory that an event reads and changes
//! ([`crate::monitor::footprint`]) are met like places of memory, so that what a rule says does not depend on what was moved.
//!
//! A state that is reached again is searched again if its windows hold something that they did not hold before: see [`crate::reduction::explored`].

use std::collections::HashSet;

use crate::base::arena::steady;
use crate::base::hash::{BuildHashed, Hash128};
use crate::config::options::{MemoryModel, Options};
use crate::vocab::limits::MAX_CPUS;

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
pub(crate) const AT_A_POINT: Key = 0;

/// One access that was carried out since its context's last point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) place: usize,
    pub(crate) key: Key,
    pub(crate) how: Use,
    pub(crate) cpu: u8,
    pub(crate) thread: u8,
    pub(crate) depth: u8,
    pub(crate) irqs_on: bool,
    /// The CPUs that wait for what this changed.
    pub(crate) enables: u16,
    /// The CPUs that have gone on because of it.
    pub(crate) after: u16,
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
pub(crate) const MOST: usize = 128;

/// What was moved, and what can't be.
#[derive(Default)]
pub(crate) struct Movers {
    pub(crate) on: bool,
    pub(crate) points: HashSet<Key, BuildHashed>,
    pub(crate) entries: Vec<Entry>,
    /// Where the access belongs that is carried out now.
    pub(crate) unit: Key,
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

    pub(crate) fn learn(&mut self, key: Key) {
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
    pub(crate) fn looks(&mut self, place: usize, how: Use) {
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

const _: () = assert!(MAX_CPUS <= 16, "a CPU is a bit of `Entry::after`");
