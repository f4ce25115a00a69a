//! Under `ra`: what of the messages and views counts in the fingerprint.

use crate::base::arena::steady;
use crate::base::hash::Hash128;
use crate::memory::knowers::{FENCES, Knower, WORDS, ipi, seen};

use super::Clocks;

impl Clocks {
    /// For the fingerprint: the messages of the words that have several, and the views of these words. All of it is sums: words are numbered in the order in
    /// which they were met, and each thread of a search has met them in an order of its own.
    pub(crate) fn hash_messages(&self, hash: &mut Hash128) {
        let Some(messages) = &self.messages else { return };
        let mut several = [0_u16; WORDS];
        let mut count = 0;
        let mut rows = Hash128::ZERO;
        for (word, (place, shared)) in self.places.iter().enumerate() {
            let row = &messages.rows[word];
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
                let position = messages.rows[word].position(messages.views[knower * WORDS + word]);
                // Zero for the oldest message.
                view.add(Hash128::of_cell(steady(self.places[word].0), position as u64));
            }
            view
        };
        let known = if self.fences { FENCES + 1 } else { seen(0) };
        for knower in (0..known).chain(ipi(0, 0)..FENCES) {
            let view = of_view(knower);
            if view != Hash128::ZERO {
                hash.mix(knower as u64);
                hash.mix_hash(view);
            }
        }
        let mut all = Hash128::ZERO;
        for (word, (place, shared)) in self.places.iter().enumerate() {
            let row = &messages.rows[word];
            if !*shared {
                continue;
            }
            for index in 0..row.len() {
                let message = self.message(word, row.slot(index));
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
