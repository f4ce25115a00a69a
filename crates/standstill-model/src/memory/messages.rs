//! Release/acquire views: a load returns any message that its orderings allow.
//!
//! Each word has a row of *messages*, in modification order; each knower (see `memory/clocks.rs`) has a *view*: for each word, the newest
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

use crate::base::log::Log;
use crate::base::log::keep;
use crate::memory::knowers::{Knower, WORDS};

/// So many messages of one word can be told apart.
pub(crate) const KEPT: usize = 16;
/// The distance of two messages in time, so that others fit between.
pub(crate) const GAP: u32 = 1 << 12;

/// The messages of a word.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) count: u8,
    /// In modification order.
    pub(crate) slots: [u8; KEPT],
    /// By slot: it was read by the read-modify-write whose message follows.
    pub(crate) sealed: u16,
    pub(crate) values: [usize; KEPT],
    pub(crate) stamps: [u32; KEPT],
}

pub(crate) const EMPTY: Row =
    Row { count: 0, slots: [0; KEPT], sealed: 0, values: [0; KEPT], stamps: [0; KEPT] };

impl Row {
    pub(crate) fn slot(&self, index: usize) -> usize {
        usize::from(self.slots[index])
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.count)
    }

    pub(crate) fn newest(&self) -> usize {
        self.values[self.slot(self.len() - 1)]
    }

    pub(crate) fn is_sealed(&self, index: usize) -> bool {
        self.sealed & 1 << self.slots[index] != 0
    }

    /// The index of the newest message that is not newer than `stamp`.
    pub(crate) fn position(&self, stamp: u32) -> usize {
        (1..self.len()).take_while(|index| self.stamps[self.slot(*index)] <= stamp).last().unwrap_or(0)
    }
}

/// The messages of all words, and all views.
pub(crate) struct Messages {
    pub(crate) rows: Box<[Row]>,
    /// By knower and word.
    pub(crate) views: Box<[u32]>,
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

    fn keep_view(&self, log: &mut Log, knower: Knower, words: usize) {
        let view = self.view(knower, words);
        // SAFETY: as in `keep`: a part of a boxed slice that lives as long as the exploration.
        unsafe { log.memory(view.as_ptr().addr(), size_of_val(view)) };
    }

    pub(crate) fn join(&mut self, log: &mut Log, to: Knower, from: Knower, words: usize) {
        let news = self.view(to, words).iter().zip(self.view(from, words)).any(|(old, new)| new > old);
        if news {
            self.keep_view(log, to, words);
            for word in 0..words {
                let stamp = self.views[from * WORDS + word];
                let old = &mut self.views[to * WORDS + word];
                *old = stamp.max(*old);
            }
        }
    }

    pub(crate) fn assign(&mut self, log: &mut Log, to: Knower, from: Knower, words: usize) {
        self.keep_view(log, to, words);
        self.views.copy_within(from * WORDS..from * WORDS + words, to * WORDS);
    }

    pub(crate) fn clear(&mut self, log: &mut Log, to: Knower, words: usize) {
        self.keep_view(log, to, words);
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
    pub(crate) fn advance(&mut self, log: &mut Log, knower: Knower, word: usize, slot: usize) {
        let stamp = self.rows[word].stamps[slot];
        let view = &mut self.views[knower * WORDS + word];
        if stamp > *view {
            keep(log, view);
            *view = stamp;
        }
    }
}

/// What an access found.
#[derive(Clone, Copy)]
pub(crate) struct Picked {
    pub(crate) word: usize,
    /// The message that it reads, or behind which it puts its own.
    pub(crate) index: usize,
    pub(crate) value: usize,
}
