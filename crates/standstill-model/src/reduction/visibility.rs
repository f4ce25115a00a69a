//! Which accesses somebody else can notice: the reduction that keeps the state space small.
//!
//! An access is a scheduling point only if it *conflicts* with one of another context that can come in between: one of the two writes,
//! and the other context is on another CPU, or on this one, above it, while interrupts are on. All other accesses are *quiet*: they
//! are carried out together with the point before them. Who uses a place is not declared but observed: the search starts with
//! what earlier runs have seen, and starts again if an access that it took to be quiet turns out to conflict.
//!
//! Why that is sound: look at the first access, in any run of the program, that conflicts with one that the last (complete) search took
//! to be quiet. Nothing before it does, so all quiet accesses before it commute with what other contexts do in between, and
//! the run up to there is equivalent to one that the search has seen. So is the access itself: the search would have started again.
//!
//! A context is the threads of a CPU (they take turns where they wait, and waits are scheduling points), its stopper, or its
//! handlers: each may interrupt the one before. It counts twice: with interrupts on, and off.

use std::collections::HashMap;

use crate::base::hash::{BuildHashed, Hash128};
use crate::vocab::limits::MAX_CPUS;

/// A context, and whether its interrupts are on: a number below 36.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Who(u32);

const PER_CPU: u32 = 6;

impl Who {
    /// `level` is 0 for threads, 1 for the stopper, 2 for handlers.
    pub(crate) const fn new(cpu: usize, level: u32, irqs_on: bool) -> Who {
        Who(cpu as u32 * PER_CPU + level * 2 + irqs_on as u32)
    }

    const fn bit(self) -> u64 {
        1 << self.0
    }

    const fn cpu(self) -> usize {
        (self.0 / PER_CPU) as usize
    }

    /// All that can come in between two steps of this one.
    const fn intruders(self) -> u64 {
        let (cpu, local) = (self.0 / PER_CPU, self.0 % PER_CPU);
        let own = ((1 << PER_CPU) - 1) << (cpu * PER_CPU);
        let others = !own;
        if local & 1 == 0 {
            return others;
        }
        // Both forms of every level above this one.
        let below = (1 << ((local / 2 + 1) * 2)) - 1;
        others | own & !(below << (cpu * PER_CPU))
    }

    /// All that this one can come in between two steps of, on its own CPU.
    const fn interrupted(self) -> u64 {
        let (cpu, local) = (self.0 / PER_CPU, self.0 % PER_CPU);
        // The levels below it, with interrupts on.
        let below = (1 << (local / 2 * 2)) - 1;
        (below & 0b10_1010) << (cpu * PER_CPU)
    }
}

/// The contexts of a CPU.
const fn of_cpu(cpu: usize) -> u64 {
    ((1 << PER_CPU) - 1) << (cpu as u32 * PER_CPU)
}

/// Who reads and who writes a place.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Users {
    readers: u64,
    writers: u64,
    /// It is stored to between a guess and its compare-and-swap.
    prepared: bool,
}

/// The bit of `prepared` where the users are two numbers: no context has it.
const PREPARED: u64 = 1 << 63;

impl Users {
    /// Does another CPU than this use it?
    const fn foreign(self, cpu: usize) -> bool {
        (self.readers | self.writers) & !of_cpu(cpu) != 0
    }

    /// One CPU alone was seen to use the place, and to write to it, and `others` show that it is not alone.
    fn comes_out_by(self, others: Users) -> bool {
        self.writers != 0
            && (0..MAX_CPUS)
                .any(|cpu| self.writers & of_cpu(cpu) != 0 && !self.foreign(cpu) && others.foreign(cpu))
    }

    /// As two numbers, and back.
    pub(crate) const fn to_words(self) -> [u64; 2] {
        [self.readers, self.writers | if self.prepared { PREPARED } else { 0 }]
    }

    pub(crate) const fn of_words([readers, writers]: [u64; 2]) -> Users {
        Users { readers, writers: writers & !PREPARED, prepared: writers & PREPARED != 0 }
    }

    /// The users of both.
    pub(crate) const fn and(self, other: Users) -> Users {
        Users {
            readers: self.readers | other.readers,
            writers: self.writers | other.writers,
            prepared: self.prepared | other.prepared,
        }
    }

    const fn conflicts(self, who: Who, writes: bool) -> bool {
        self.opposed(writes) & who.intruders() != 0
    }

    /// As [`conflicts`](Self::conflicts), with contexts of the same CPU.
    const fn conflicts_here(self, who: Who, writes: bool) -> bool {
        self.opposed(writes) & who.intruders() & of_cpu(who.cpu()) != 0
    }

    /// Is an access of this CPU one that others of it can notice with the users that are known `now`, and was not before?
    fn becomes_a_point(self, now: Users, cpu: usize) -> bool {
        (0..PER_CPU).map(|local| Who(cpu as u32 * PER_CPU + local)).any(|who| {
            let later = |users: u64, writes: bool| {
                users & who.bit() != 0 && now.conflicts_here(who, writes) && !self.conflicts_here(who, writes)
            };
            later(self.readers, false) || later(self.writers, true)
        })
    }

    /// Those whose accesses have an order with this one.
    const fn opposed(self, writes: bool) -> u64 {
        if writes { self.readers | self.writers } else { self.writers }
    }

    /// Which accesses are points: those of readers, those of writers.
    fn points(self) -> (u64, u64) {
        let of = |users: u64, writes: bool| {
            (0..u64::BITS)
                .filter(|bit| users & 1 << bit != 0 && self.conflicts(Who(*bit), writes))
                .fold(0, |points, bit| points | 1 << bit)
        };
        (of(self.readers, false), of(self.writers, true))
    }
}

/// The users of each place.
#[derive(Clone, Default)]
pub(crate) struct Classes {
    users: HashMap<usize, Users, BuildHashed>,
    /// It matters who uses a place before anybody else does: stores may be late, or publish what their CPU knows.
    early: bool,
    /// An access that was taken to be quiet conflicts with another one: what was searched so far does not count.
    pub(crate) changed: bool,
    /// The place that was noted last is [prepared](Self::prepare).
    prepared: bool,
    /// The access that was noted last may come in between two of a context that it interrupts.
    interrupts: bool,
    /// A place was prepared that was not known to be.
    pub(crate) learnt_prepared: bool,
}

impl Classes {
    /// Nobody uses anything yet. `early`: it matters who uses a place before anybody else does.
    pub(crate) fn new(early: bool) -> Classes {
        Classes { early, ..Classes::default() }
    }

    /// The users of all places.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, Users)> {
        self.users.iter().map(|(place, users)| (*place, *users))
    }

    /// Somebody else has seen these users.
    pub(crate) fn add(&mut self, place: usize, users: Users) {
        let known = self.users.entry(place).or_default();
        *known = known.and(users);
    }

    /// Would `known`, all that somebody knew of a place, have been taken in another way by who knew `all`?
    pub(crate) fn outdated(&self, known: Users, all: Users) -> bool {
        let ((readers, writers), (all_readers, all_writers)) = (known.points(), all.points());
        all_readers & known.readers & !readers != 0
            || all_writers & known.writers & !writers != 0
            || self.early && known.comes_out_by(all)
            || known != Users::default() && known.prepared != all.prepared
    }

    /// Says the same for two processes that know the same, wherever they have their memory.
    pub(crate) fn hash(&self) -> u64 {
        let mut all = Hash128::ZERO;
        for users in self.users.values() {
            let mut hash = Hash128::ZERO;
            let [readers, writers] = users.to_words();
            hash.mix(readers);
            hash.mix(writers);
            all.add(hash);
        }
        all.0
    }

    /// Notes an access and says whether it is a scheduling point.
    #[inline]
    pub(crate) fn note(&mut self, place: usize, who: Who, writes: bool) -> bool {
        let users = self.users.entry(place).or_default();
        let known = if writes { users.writers } else { users.readers };
        if known & who.bit() == 0 {
            let (readers, writers) = users.points();
            let (old_readers, old_writers) = (users.readers, users.writers);
            // Stores went to memory at once, as nobody else was there to see them come late, and what they published did not count.
            let one = Users { readers: who.bit(), ..Users::default() };
            self.changed |= self.early && users.comes_out_by(one);
            if writes {
                users.writers |= who.bit();
            } else {
                users.readers |= who.bit();
            }
            let (now_readers, now_writers) = users.points();
            // Those that were there before and have become points.
            self.changed |=
                now_readers & old_readers & !readers != 0 || now_writers & old_writers & !writers != 0;
        }
        self.prepared = users.prepared;
        self.interrupts = users.opposed(writes) & who.interrupted() != 0;
        users.conflicts(who, writes)
    }

    /// As [`note`](Self::note), of plain memory: that two CPUs meet there is a data race, and no matter of order.
    pub(crate) fn note_plain(&mut self, place: usize, who: Who, writes: bool) -> bool {
        let users = self.users.entry(place).or_default();
        let known = if writes { users.writers } else { users.readers };
        if known & who.bit() == 0 {
            let before = *users;
            if writes {
                users.writers |= who.bit();
            } else {
                users.readers |= who.bit();
            }
            self.changed |= before.becomes_a_point(*users, who.cpu());
        }
        self.interrupts = users.opposed(writes) & who.interrupted() != 0;
        users.conflicts_here(who, writes)
    }

    /// Is the access that was noted last one that some context below, on the same CPU, can notice, as it is interrupted by it?
    #[inline]
    pub(crate) const fn interrupts(&self) -> bool {
        self.interrupts
    }

    /// The word at `place` is stored to between a guess and its compare-and-swap. If somebody has used it before that was known, who looked at it was not
    /// looked at.
    pub(crate) fn prepare(&mut self, place: usize) {
        let users = self.users.entry(place).or_default();
        self.changed |= !users.prepared;
        self.learnt_prepared |= !users.prepared;
        users.prepared = true;
        self.prepared = true;
    }

    /// Is the place that was noted last stored to between a guess and its compare-and-swap?
    #[inline]
    pub(crate) const fn is_prepared(&self) -> bool {
        self.prepared
    }

    /// Do several CPUs use the place, as far as is known?
    pub(crate) fn is_shared(&self, place: usize) -> bool {
        self.users.get(&place).is_some_and(|users| (0..MAX_CPUS).all(|cpu| users.foreign(cpu)))
    }

    /// Does this CPU use the place, as far as is known?
    pub(crate) fn uses(&self, place: usize, cpu: usize) -> bool {
        self.users.get(&place).is_some_and(|users| (users.readers | users.writers) & of_cpu(cpu) != 0)
    }

    /// Does another CPU than this use the place, as far as is known?
    pub(crate) fn is_foreign(&self, place: usize, cpu: usize) -> bool {
        self.users.get(&place).is_some_and(|users| users.foreign(cpu))
    }

    /// Can anybody change what is read at this place, as far as is known?
    pub(crate) fn is_open(&self, place: usize, who: Who) -> bool {
        self.users.get(&place).is_some_and(|users| users.conflicts(who, false))
    }
}
