//! Release/acquire views: a load returns any message that its orderings allow.
//!
//! Each word has a row of *messages*, in modification order; each knower (see `clock.rs`) has a *view*: for each word, the newest
//! message that it knows of. A load may read any message that is not older than its CPU's view, and moves the view there. A store may put its
//! message anywhere behind what its CPU knows of, not only at the end. A read-modify-write puts it right behind the one that it read,
//! and nothing comes between the two later. An acquire joins the message's view, a release publishes the CPU's; a read-modify-write
//! goes on with the view of what it read (a release sequence). Sequentially consistent fences join one view that all of them share. This is RC11
//! for relaxed, acquire and release accesses and sequentially consistent fences, without load buffering.
//!
//! **Age.** The messages that an access may read (or the places where a store may go) are counted from the newest: that number is part of the
//! choice, and does not change when old messages are forgotten. No access reaches further back than the 16 newest messages. An access that has more than one possibility is a scheduling point, also
//! where it would have been part of the step before.
//!
//! **Forgetting.** A message that is older than the views of all CPUs that use the word can't be read again, and is dropped. What counts in
//! the fingerprint is the order of the messages that are left, and of the views among them.
//!
//! **Waiting.** A condition that reads one such word may be true with some messages and false with others: each that makes it true is a
//! choice. If the newest does not, there is one more, to look at that in vain: no old message can be waited for for ever. Who compares another word before it sleeps
//! ([`sleepers`](crate::Options::sleepers)) may look at any message in vain.
//!
//! **IPIs and starts** carry their sender's view, as the port promises (`Irq` 4, `Cpus` 4). A moved thread takes its view along. Nothing else
//! is synchronised that the library does not synchronise itself.

use crate::base::arena::steady;
use crate::memory::clocks::{Clocks, FENCES, Knower, WORDS, cpu, fenced, ipi, keep, seen};
use crate::base::hash::Hash128;
use crate::machine::state::{Power, Wants, Watch};
use crate::vocab::limits::MAX_CPUS;
use crate::machine::undo::Undo;
use crate::machine::world::World;

/// So many messages of one word can be told apart.
pub(crate) const KEPT: usize = 16;
/// The distance of two messages in time, so that others fit between.
const GAP: u32 = 1 << 12;

/// The messages of a word.
#[derive(Clone, Copy)]
struct Row {
    count: u8,
    /// In modification order.
    slots: [u8; KEPT],
    /// By slot: it was read by the read-modify-write whose message follows.
    sealed: u16,
    values: [usize; KEPT],
    stamps: [u32; KEPT],
}

const EMPTY: Row = Row { count: 0, slots: [0; KEPT], sealed: 0, values: [0; KEPT], stamps: [0; KEPT] };

impl Row {
    fn slot(&self, index: usize) -> usize {
        usize::from(self.slots[index])
    }

    fn len(&self) -> usize {
        usize::from(self.count)
    }

    fn newest(&self) -> usize {
        self.values[self.slot(self.len() - 1)]
    }

    fn is_sealed(&self, index: usize) -> bool {
        self.sealed & 1 << self.slots[index] != 0
    }

    /// The index of the newest message that is not newer than `stamp`.
    fn position(&self, stamp: u32) -> usize {
        (1..self.len()).take_while(|index| self.stamps[self.slot(*index)] <= stamp).last().unwrap_or(0)
    }
}

/// The messages of all words, and all views.
pub(crate) struct Messages {
    rows: Box<[Row]>,
    /// By knower and word.
    views: Box<[u32]>,
}

impl Messages {
    pub(crate) fn new(knowers: usize) -> Messages {
        Messages {
            rows: vec![EMPTY; WORDS].into_boxed_slice(),
            views: vec![0; knowers * WORDS].into_boxed_slice(),
        }
    }

    fn view(&self, knower: Knower, words: usize) -> &[u32] {
        &self.views[knower * WORDS..][..words]
    }

    fn keep_view(&self, undo: &mut Undo, knower: Knower, words: usize) {
        let view = self.view(knower, words);
        // SAFETY: as in `keep`: a part of a boxed slice that lives as long as the exploration.
        unsafe { undo.memory(view.as_ptr().addr(), size_of_val(view)) };
    }

    pub(crate) fn join(&mut self, undo: &mut Undo, to: Knower, from: Knower, words: usize) {
        let news = self.view(to, words).iter().zip(self.view(from, words)).any(|(old, new)| new > old);
        if news {
            self.keep_view(undo, to, words);
            for word in 0..words {
                let stamp = self.views[from * WORDS + word];
                let old = &mut self.views[to * WORDS + word];
                *old = stamp.max(*old);
            }
        }
    }

    pub(crate) fn assign(&mut self, undo: &mut Undo, to: Knower, from: Knower, words: usize) {
        self.keep_view(undo, to, words);
        self.views.copy_within(from * WORDS..from * WORDS + words, to * WORDS);
    }

    pub(crate) fn clear(&mut self, undo: &mut Undo, to: Knower, words: usize) {
        self.keep_view(undo, to, words);
        self.views[to * WORDS..][..words].fill(0);
    }

    /// The messages of a word, in modification order: calls `f` with the number and the slot of each.
    pub(crate) fn each(&self, word: usize, mut f: impl FnMut(usize, usize)) {
        let row = &self.rows[word];
        for index in 0..row.len() {
            f(index, row.slot(index));
        }
    }

    /// The slots of a word that are in use.
    pub(crate) fn live(&self, word: usize) -> u64 {
        let row = &self.rows[word];
        row.slots[..row.len()].iter().fold(0, |slots, slot| slots | 1 << slot)
    }

    /// The view of `knower` of `word` moves forward to the message in `slot`.
    fn advance(&mut self, undo: &mut Undo, knower: Knower, word: usize, slot: usize) {
        let stamp = self.rows[word].stamps[slot];
        let view = &mut self.views[knower * WORDS + word];
        if stamp > *view {
            keep(undo, view);
            *view = stamp;
        }
    }

    /// For the fingerprint: the messages of the words that have several, and the views of these words. All of it is sums: words are numbered in the order in
    /// which they were met, and each thread of a search has met them in an order of its own.
    pub(crate) fn hash_into(&self, clocks: &Clocks, hash: &mut Hash128) {
        let mut several = [0_u16; WORDS];
        let mut count = 0;
        let mut rows = Hash128::ZERO;
        for (word, (place, shared)) in clocks.places.iter().enumerate() {
            let row = &self.rows[word];
            if !*shared || row.len() < 2 {
                continue;
            }
            several[count] = word as u16;
            count += 1;
            let mut name = Hash128::of_cell(steady(*place), 1);
            for index in 0..row.len() {
                name.mix(steady(row.values[row.slot(index)]) as u64);
                name.mix(u64::from(row.is_sealed(index)));
            }
            rows.add(name);
        }
        hash.mix_hash(rows);
        let several = &several[..count];
        let of_view = |knower: Knower| {
            let mut view = Hash128::ZERO;
            for word in several {
                let word = usize::from(*word);
                let position = self.rows[word].position(self.views[knower * WORDS + word]);
                // Zero for the oldest message.
                view.add(Hash128::of_cell(steady(clocks.places[word].0), position as u64));
            }
            view
        };
        let known = if clocks.fences { FENCES + 1 } else { seen(0) };
        for knower in (0..known).chain(ipi(0, 0)..FENCES) {
            let view = of_view(knower);
            if view != Hash128::ZERO {
                hash.mix(knower as u64);
                hash.mix_hash(view);
            }
        }
        let mut all = Hash128::ZERO;
        for (word, (place, shared)) in clocks.places.iter().enumerate() {
            let row = &self.rows[word];
            if !*shared {
                continue;
            }
            for index in 0..row.len() {
                let message = clocks.message(word, row.slot(index));
                let view = of_view(message);
                if view != Hash128::ZERO {
                    let mut name = view;
                    name.mix(steady(*place) as u64);
                    name.mix(index as u64);
                    all.add(name);
                }
            }
        }
        hash.mix_hash(all);
    }
}

/// What an access found.
#[derive(Clone, Copy)]
pub(crate) struct Picked {
    word: usize,
    /// The message that it reads, or behind which it puts its own.
    index: usize,
    pub(crate) value: usize,
}

impl World {
    pub(crate) fn is_ra(&self) -> bool {
        self.memory.clocks.messages.is_some()
    }

    /// The ages that an access of a context on `on` to `place` may choose from, as bits.
    pub(crate) fn ages(&self, on: usize, place: usize, wants: Wants) -> u16 {
        let (Some(messages), Some(word)) = (&self.memory.clocks.messages, self.memory.clocks.known_word(place)) else {
            return 1;
        };
        let row = &messages.rows[word];
        // A word that changed without an access is a new one, on a stack.
        if row.len() < 2 || row.newest() != self.value_of(place) {
            return 1;
        }
        let known = row.position(messages.views[cpu(on) * WORDS + word]);
        (known..row.len())
            .filter(|index| match wants {
                Wants::Load => true,
                Wants::Guess | Wants::Modify | Wants::Store => !row.is_sealed(*index),
                Wants::Swap(expected) => row.values[row.slot(*index)] != expected || !row.is_sealed(*index),
            })
            .fold(0, |ages, index| ages | 1 << (row.len() - 1 - index))
    }

    /// The ages that a look of a context on `on` may choose from. One place of `watch` at most has several.
    pub(crate) fn ages_of(&self, on: usize, watch: &Watch) -> u16 {
        let words = watch.iter().filter(|(place, _)| *place >= 128);
        words.map(|(place, _)| self.ages(on, place, Wants::Load)).max().unwrap_or(1)
    }

    /// Chooses what an access to `place` reads.
    pub(crate) fn pick(&mut self, place: usize, wants: Wants) -> Picked {
        let (on, raw) = (self.cpu, self.value_of(place));
        let ages = self.ages(on, place, wants);
        let mut age = 0;
        if ages != 1 {
            if self.look.peeking.is_some() {
                age = self.look.age;
                self.look.vain |= ages & 1 << age == 0;
            } else {
                age = match self.look.aged {
                    Some((aged, age)) if aged == place => age,
                    _ => std::mem::take(&mut self.look.age),
                };
                if self.look.polling {
                    self.look.aged = Some((place, age));
                }
            }
            if ages & 1 << age == 0 {
                age = ages.trailing_zeros();
            }
        }
        if wants == Wants::Guess {
            self.look.guessed = age;
        }
        let classes = &self.reduction.classes;
        let word = self.memory.clocks.word(place, || classes.is_shared(place));
        let message = self.memory.clocks.message(word, 0);
        let Some(messages) = &mut self.memory.clocks.messages else { return Picked { word, index: 0, value: raw } };
        let row = &mut messages.rows[word];
        if row.len() == 0 || row.newest() != raw {
            keep(&mut self.undo, row);
            // Newer than all that anybody knows of a word that was here before.
            let stamp =
                row.slots[..row.len()].last().map_or(0, |slot| row.stamps[usize::from(*slot)] + 2 * GAP);
            *row = Row { count: 1, ..EMPTY };
            (row.values[0], row.stamps[0]) = (raw, stamp);
            self.memory.clocks.clear(&mut self.undo, message);
            return Picked { word, index: 0, value: raw };
        }
        let index = row.len() - 1 - age as usize;
        Picked { word, index, value: row.values[row.slot(index)] }
    }

    /// The picked message was read.
    pub(crate) fn read_message(&mut self, picked: Picked, acquires: bool) {
        let on = self.cpu;
        let Some(messages) = &mut self.memory.clocks.messages else { return };
        let slot = messages.rows[picked.word].slot(picked.index);
        messages.advance(&mut self.undo, cpu(on), picked.word, slot);
        let message = self.memory.clocks.message(picked.word, slot);
        self.memory.clocks.join(&mut self.undo, if acquires { cpu(on) } else { seen(on) }, message);
    }

    /// A message is put behind the picked one; true if it is the newest.
    pub(crate) fn write_message(
        &mut self,
        picked: Picked,
        value: usize,
        releases: bool,
        modifies: bool,
    ) -> bool {
        let on = self.cpu;
        let Some(messages) = &mut self.memory.clocks.messages else { return true };
        let live = messages.live(picked.word);
        let row = &mut messages.rows[picked.word];
        if row.len() == KEPT {
            let before = self.drop_messages_of(picked.word);
            // The oldest is out of reach, if need be; who puts its own behind that one puts it behind the next.
            let dropped = if before == 0 { self.drop_oldest(picked.word, 1) } else { before };
            let picked = Picked { index: picked.index.saturating_sub(dropped), ..picked };
            return self.write_message(picked, value, releases, modifies);
        }
        keep(&mut self.undo, row);
        let slot = (!live).trailing_zeros() as usize;
        let (read, last) = (row.slot(picked.index), picked.index + 1 == row.len());
        let before = row.stamps[read];
        let after = if last { before + 2 * GAP } else { row.stamps[row.slot(picked.index + 1)] };
        assert!(after - before > 1, "more messages between two others than the model can tell apart");
        row.stamps[slot] = before + (after - before) / 2;
        row.values[slot] = value;
        row.slots.copy_within(picked.index + 1..KEPT - 1, picked.index + 2);
        row.slots[picked.index + 1] = slot as u8;
        row.count += 1;
        row.sealed &= !(1 << slot);
        if modifies {
            row.sealed |= 1 << read;
        }
        messages.advance(&mut self.undo, cpu(on), picked.word, slot);
        self.memory.written.push(self.memory.clocks.places[picked.word].0);
        let (message, read) =
            (self.memory.clocks.message(picked.word, slot), self.memory.clocks.message(picked.word, read));
        self.memory.clocks.assign(&mut self.undo, message, if releases { cpu(on) } else { fenced(on) });
        if modifies {
            self.memory.clocks.join(&mut self.undo, message, read);
        }
        if let Some(messages) = &mut self.memory.clocks.messages {
            messages.advance(&mut self.undo, message, picked.word, slot);
        }
        last
    }

    /// A fence that all others agree on.
    pub(crate) fn join_fences(&mut self) {
        let (on, words) = (self.cpu, self.memory.clocks.places.len());
        if let Some(messages) = &mut self.memory.clocks.messages {
            messages.join(&mut self.undo, cpu(on), FENCES, words);
            messages.join(&mut self.undo, FENCES, cpu(on), words);
        }
    }

    /// Drops the messages that nobody can read any more.
    pub(crate) fn drop_messages(&mut self) {
        if self.is_ra() {
            for word in 0..self.memory.clocks.places.len() {
                self.drop_messages_of(word);
            }
        }
    }

    /// Drops those of one word, and says how many.
    fn drop_messages_of(&mut self, word: usize) -> usize {
        let Some(messages) = &self.memory.clocks.messages else { return 0 };
        let (row, place) = (&messages.rows[word], self.memory.clocks.places[word].0);
        if row.len() < 2 {
            return 0;
        }
        let oldest = (0..MAX_CPUS)
            .filter(|on| {
                self.cpus[*on].power == Power::On && (self.step.budget.is_some() || self.reduction.classes.uses(place, *on))
            })
            .map(|on| row.position(messages.views[cpu(on) * WORDS + word]))
            .min();
        let oldest = oldest.unwrap_or(row.len() - 1);
        if oldest > 0 { self.drop_oldest(word, oldest) } else { 0 }
    }

    fn drop_oldest(&mut self, word: usize, count: usize) -> usize {
        if let Some(messages) = &mut self.memory.clocks.messages {
            let row = &mut messages.rows[word];
            keep(&mut self.undo, row);
            row.slots.copy_within(count.., 0);
            row.count -= count as u8;
        }
        count
    }
}
