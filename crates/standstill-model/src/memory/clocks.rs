//! What happened before what: who knows of which access to a plain cell.
//!
//! Two accesses to a plain cell race if one of them writes, they are on different CPUs, and neither *happened before* the other: no chain
//! of release and acquire (or of an IPI, a start, a moved thread) leads from one to the other. It does not matter which came first in the
//! run, so plain accesses need not be scheduling points.
//!
//! A *mark* is the last write to a cell, or the last read of it by one CPU. A *clock* is a set of marks: those that its owner knows
//! to have happened before. CPUs have clocks; so does every word, for who acquires it, every store on its way and every pending IPI.
//! A fresh access takes its mark out of all clocks but its own CPU's, so a clock says nothing of what is over.
//!
//! # Why clocks are no part of a state
//! Who knows of a mark decides what a later access finds (a race, or none), and nothing else: no step depends on it. And each mark goes its own way: a
//! release, an acquire, a fence, an IPI hands on each mark by itself, a fresh access forgets marks whatever others there are, and whether an access races with a
//! mark depends on who knows of that one. So what can come of a state and a mark with its knowers (an *item*) does not depend on the other items. A
//! state that was searched with the items `A` and is reached again with `B` is searched again only if an item of `B` is not in `A`, and counts as searched with both from then
//! on ([`crate::reduction::explored`]). If a run has a race, take the state that its mark is set in: the search was there, with that item, and at each state
//! after it with what became of it, up to the access that races. (A race must not keep what comes after it from being searched, if the search goes on at all: see
//! `StepState::race` in `machine/parts.rs`.) With clocks in the fingerprint, each combination of items would be a state.
//!
//! | knower | its clock |
//! |---|---|
//! | a CPU | what its threads, stopper and handlers know: they take turns on it |
//! | `seen` of a CPU | what its relaxed loads would have told it: a fence makes it known |
//! | `fenced` of a CPU | what it knew at its last fence: its relaxed stores publish that |
//! | an IPI | what its senders knew, until it is taken |
//! | a word (under `ra`: each message) | what its last store or read-modify-write published; the latter adds to what was there |
//!
//! Under `ra` a knower has a *view*, too: for each word the newest message that it knows of; see `messages.rs`.

use crate::base::log::keep;
use crate::memory::knowers::FENCES;
use crate::memory::knowers::FIRST_WORD;
use crate::memory::knowers::Knower;
use crate::memory::knowers::WORDS;
use crate::memory::knowers::cpu;
use crate::memory::knowers::ipi;
use crate::memory::knowers::seen;
use std::collections::HashMap;
use std::panic::Location;

use crate::base::arena::steady;
use crate::base::hash::{BuildHashed, Hash128};
use crate::base::log::Log;
use crate::memory::buffers::ROOM;
use crate::memory::messages::{KEPT, Messages};
use crate::vocab::limits::MAX_CPUS;

mod cells;
mod views;

const LANES: usize = 8;
const MARKS: usize = LANES * 64;

type Set = [u64; LANES];

const NOTHING: Set = [0; LANES];

/// All clocks.
pub(crate) struct Clocks {
    /// Under `ra`: the messages of each word, and a view for each knower.
    pub(crate) messages: Option<Messages>,
    clocks: Box<[Set]>,
    /// Who each knower is, if it counts and stays the same: see [`items`](Self::items). Up to the last word that is known.
    who: Vec<Hash128>,
    /// By mark: the sum of `who` knows of it.
    held: Box<[Hash128; MARKS]>,
    /// As `held`, of the knowers that are told anew in each state.
    passing: Box<[Hash128; MARKS]>,
    items: Vec<Hash128>,
    words: HashMap<usize, u32, BuildHashed>,
    /// The place of each word, and whether several CPUs use it: others make no difference.
    pub(crate) places: Vec<(usize, bool)>,
    cells: HashMap<usize, Cell, BuildHashed>,
    names: Vec<Hash128>,
    /// The CPUs that use the cell of each mark, as far as is known.
    users: Vec<u8>,
    /// A mark that all who use the cell know of is forgotten. A replay does not know who they are.
    pub(crate) settles: bool,
    /// The marks that are set.
    live: Box<Set>,
    /// The marks that somebody else than their CPU knows.
    spread: Box<Set>,
    /// Where each mark was set last.
    at: Box<[&'static Location<'static>]>,
    /// The stores on their way from each CPU: the first, and how many.
    pub(crate) on_their_way: Box<[(usize, usize); MAX_CPUS]>,
    /// Somebody uses fences.
    pub(crate) fences: bool,
    slots: usize,
}

/// A plain cell.
struct Cell {
    /// The CPUs that were seen to use it, in all runs.
    users: u8,
    write: u16,
    reads: [u16; MAX_CPUS],
}

const NO_MARK: u16 = u16::MAX;

fn bits(set: u64) -> impl Iterator<Item = usize> {
    std::iter::successors((set != 0).then_some(set), |set| {
        let rest = set & (set - 1);
        (rest != 0).then_some(rest)
    })
    .map(|set| set.trailing_zeros() as usize)
}

const fn has(set: &Set, mark: usize) -> bool {
    set[mark / 64] & 1 << (mark % 64) != 0
}

/// Does `more` say anything that `known` does not?
fn adds(known: &Set, more: &Set) -> bool {
    known.iter().zip(more).fold(0, |new, (known, more)| new | more & !known) != 0
}

/// The name of the mark of a cell: none as long as one CPU alone uses it.
fn name(place: usize, role: usize, users: u8) -> Hash128 {
    let mut name = Hash128::ZERO;
    if users.count_ones() > 1 {
        name.mix(steady(place) as u64);
        name.mix(role as u64);
    }
    name
}

/// A knower that is no word; what nobody uses does not count.
fn own_name(knower: Knower, fences: bool) -> Hash128 {
    let only_fences = (seen(0)..ipi(0, 0)).contains(&knower) || knower == FENCES;
    if only_fences && !fences { Hash128::ZERO } else { Hash128::of_cell(1 + knower, 1) }
}

impl Clocks {
    #[track_caller]
    pub(crate) fn new(views: bool, buffers: bool) -> Clocks {
        let slots = if views { KEPT } else { 1 };
        let knowers = FIRST_WORD + WORDS * slots + if buffers { MAX_CPUS * ROOM } else { 0 };
        Clocks {
            messages: views.then(|| Messages::new(FIRST_WORD + WORDS * slots)),
            clocks: vec![NOTHING; knowers].into_boxed_slice(),
            who: (0..FIRST_WORD).map(|knower| own_name(knower, false)).collect(),
            held: Box::new([Hash128::ZERO; MARKS]),
            passing: Box::new([Hash128::ZERO; MARKS]),
            items: Vec::new(),
            words: HashMap::default(),
            places: Vec::new(),
            cells: HashMap::default(),
            names: Vec::new(),
            users: Vec::new(),
            settles: true,
            live: Box::new([0; LANES]),
            spread: Box::new([0; LANES]),
            at: vec![Location::caller(); MARKS].into_boxed_slice(),
            on_their_way: Box::new([(0, 0); MAX_CPUS]),
            fences: false,
            slots,
        }
    }

    /// The number of the word at `place`; `shared` says whether several CPUs use it.
    pub(crate) fn word(&mut self, place: usize, shared: impl Fn() -> bool) -> usize {
        let (places, who) = (&mut self.places, &mut self.who);
        let index = *self.words.entry(place).or_insert_with(|| {
            assert!(places.len() < WORDS, "a machine has more words than the model can watch");
            places.push((place, false));
            who.push(Hash128::ZERO);
            places.len() as u32 - 1
        }) as usize;
        if !self.places[index].1 && shared() {
            self.share(index);
        }
        index
    }

    /// Several CPUs use the word: what it says counts. (If it said something before, the search starts again.)
    fn share(&mut self, word: usize) {
        self.places[word].1 = true;
        if self.messages.is_none() {
            self.who[FIRST_WORD + word] = Hash128::of_cell(steady(self.places[word].0), 1);
        }
    }

    pub(crate) fn known_word(&self, place: usize) -> Option<usize> {
        self.words.get(&place).map(|index| *index as usize)
    }

    /// Who knows what the message in `slot` of a word says; without views there is one slot.
    pub(crate) const fn message(&self, word: usize, slot: usize) -> Knower {
        FIRST_WORD + word * self.slots + slot
    }

    /// Who knows what a store on its way says.
    pub(crate) const fn on_its_way(&self, cpu: usize, index: usize) -> Knower {
        FIRST_WORD + WORDS * self.slots + cpu * ROOM + index
    }

    /// `to` learns what `from` knows.
    pub(crate) fn join(&mut self, log: &mut Log, to: Knower, from: Knower) {
        let (old, more) = (self.clocks[to], self.clocks[from]);
        // Few joins tell anything new.
        if adds(&old, &more) {
            let new = std::array::from_fn(|lane| old[lane] | more[lane]);
            self.set(log, to, new);
            if to < MAX_CPUS {
                for (lane, old) in old.into_iter().enumerate() {
                    for bit in bits(new[lane] & !old) {
                        self.settle(log, lane * 64 + bit);
                    }
                }
            }
        }
        let words = self.places.len();
        if let Some(messages) = &mut self.messages {
            messages.join(log, to, from, words);
        }
    }

    /// `to` knows what `from` knows, and nothing else.
    pub(crate) fn assign(&mut self, log: &mut Log, to: Knower, from: Knower) {
        let (old, new) = (self.clocks[to], self.clocks[from]);
        if adds(&old, &new) || adds(&new, &old) {
            self.set(log, to, new);
        }
        let words = self.places.len();
        if let Some(messages) = &mut self.messages {
            messages.assign(log, to, from, words);
        }
    }

    /// `to` knows nothing.
    pub(crate) fn clear(&mut self, log: &mut Log, to: Knower) {
        if adds(&NOTHING, &self.clocks[to]) {
            self.set(log, to, NOTHING);
        }
        let words = self.places.len();
        if let Some(messages) = &mut self.messages {
            messages.clear(log, to, words);
        }
    }

    /// Replaces a clock; what it knows is its owner's own, or known to be spread.
    fn put(&mut self, log: &mut Log, to: Knower, new: Set) {
        keep(log, &self.clocks[to]);
        let old = std::mem::replace(&mut self.clocks[to], new);
        let who = self.who.get(to).copied().unwrap_or(Hash128::ZERO);
        if who != Hash128::ZERO {
            for lane in 0..LANES {
                for bit in bits(old[lane] ^ new[lane]) {
                    let held = &mut self.held[lane * 64 + bit];
                    keep(log, held);
                    if new[lane] & 1 << bit != 0 { held.add(who) } else { held.sub(who) }
                }
            }
        }
    }

    fn set(&mut self, log: &mut Log, to: Knower, new: Set) {
        self.put(log, to, new);
        if (0..LANES).any(|lane| new[lane] & !self.spread[lane] != 0) {
            keep(log, &*self.spread);
            for (spread, known) in self.spread.iter_mut().zip(new) {
                *spread |= known;
            }
        }
    }

    /// Nobody knows of `mark` any more.
    fn forget(&mut self, log: &mut Log, mark: usize) {
        if !has(&self.live, mark) {
            return;
        }
        for cpu in 0..MAX_CPUS {
            self.take_from(log, cpu, mark);
        }
        if has(&self.spread, mark) {
            for knower in MAX_CPUS..FIRST_WORD {
                self.take_from(log, knower, mark);
            }
            for word in 0..self.places.len() {
                let slots = self.messages.as_ref().map_or(1, |messages| messages.live(word));
                for slot in bits(slots) {
                    self.take_from(log, self.message(word, slot), mark);
                }
            }
            for on in 0..MAX_CPUS {
                let (first, len) = self.on_their_way[on];
                for index in 0..len {
                    self.take_from(log, self.on_its_way(on, (first + index) % ROOM), mark);
                }
            }
        }
        let (lane, bit) = (mark / 64, 1 << (mark % 64));
        keep(log, &self.live[lane]);
        keep(log, &self.spread[lane]);
        self.live[lane] &= !bit;
        self.spread[lane] &= !bit;
    }

    /// If all CPUs that use its cell know of the mark, nobody can race with it any more.
    fn settle(&mut self, log: &mut Log, mark: usize) {
        let known = |on: usize| self.users[mark] & 1 << on == 0 || has(&self.clocks[cpu(on)], mark);
        if self.settles && (0..MAX_CPUS).all(known) {
            self.forget(log, mark);
        }
    }

    fn take_from(&mut self, log: &mut Log, knower: Knower, mark: usize) {
        if has(&self.clocks[knower], mark) {
            let mut new = self.clocks[knower];
            new[mark / 64] &= !(1 << (mark % 64));
            self.put(log, knower, new);
        }
    }

    /// The mark is set by `owner` at this moment: only it knows.
    fn renew(&mut self, log: &mut Log, mark: usize, owner: usize) {
        let alone = has(&self.live, mark) && !has(&self.spread, mark);
        if !(alone && has(&self.clocks[owner], mark)) {
            self.forget(log, mark);
            let (lane, bit) = (mark / 64, 1 << (mark % 64));
            let mut new = self.clocks[owner];
            new[lane] |= bit;
            self.put(log, owner, new);
            keep(log, &self.live[lane]);
            self.live[lane] |= bit;
            self.settle(log, mark);
        }
    }

    /// A search begins with all that was learnt before, also of what happened in the set-up.
    pub(crate) fn refresh(&mut self, shared: impl Fn(usize) -> bool) {
        for (place, is_shared) in &mut self.places {
            *is_shared |= shared(*place);
        }
        for (place, cell) in &self.cells {
            for (role, mark) in std::iter::once(cell.write).chain(cell.reads).enumerate() {
                if mark != NO_MARK {
                    self.users[usize::from(mark)] = cell.users;
                    self.names[usize::from(mark)] = name(*place, role, cell.users);
                }
            }
        }
        for word in 0..self.places.len() {
            if self.places[word].1 {
                self.share(word);
            }
        }
        let fences = self.fences;
        for (knower, who) in self.who[..FIRST_WORD].iter_mut().enumerate() {
            *who = own_name(knower, fences);
        }
        self.held.fill(Hash128::ZERO);
        for (clock, who) in self.clocks.iter().zip(&self.who) {
            for (lane, known) in clock.iter().enumerate() {
                for bit in bits(*known) {
                    self.held[lane * 64 + bit].add(*who);
                }
            }
        }
    }

    /// Who knows of each mark that counts: a hash for each, and their sum.
    pub(crate) fn items(&mut self) -> (Hash128, &[Hash128]) {
        let (clocks, passing) = (&self.clocks, &mut self.passing);
        let mut touched = NOTHING;
        let mut pass = |knower: Knower, who: Hash128| {
            for (lane, known) in clocks[knower].iter().enumerate() {
                touched[lane] |= known;
                for bit in bits(*known) {
                    passing[lane * 64 + bit].add(who);
                }
            }
        };
        for (on, (first, len)) in self.on_their_way.iter().enumerate() {
            for index in 0..*len {
                let knower = FIRST_WORD + WORDS * self.slots + on * ROOM + (first + index) % ROOM;
                pass(knower, Hash128::of_cell(1 + on, 1 + index as u64));
            }
        }
        if let Some(messages) = &self.messages {
            for (word, (place, shared)) in self.places.iter().enumerate() {
                if *shared {
                    messages.each(word, |index, slot| {
                        let who = Hash128::of_cell(steady(*place), 1 + index as u64);
                        pass(FIRST_WORD + word * self.slots + slot, who);
                    });
                }
            }
        }
        self.items.clear();
        let mut all = Hash128::ZERO;
        for (lane, live) in self.live.iter().enumerate() {
            for bit in bits(*live) {
                let mark = lane * 64 + bit;
                let mut item = self.names[mark];
                if item != Hash128::ZERO {
                    item.mix_hash(self.held[mark]);
                    item.mix_hash(self.passing[mark]);
                    all.add(item);
                    self.items.push(item);
                }
            }
        }
        for (lane, touched) in touched.into_iter().enumerate() {
            for bit in bits(touched) {
                self.passing[lane * 64 + bit] = Hash128::ZERO;
            }
        }
        (all, &self.items)
    }
}
