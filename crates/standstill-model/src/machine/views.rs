//! Release/acquire views: what an access of the machine finds, and what it leaves. See [`crate::memory::messages`].
use crate::base::log::keep;
use crate::machine::state::Power;
use crate::machine::state::Wants;
use crate::machine::state::Watch;
use crate::machine::world::World;
use crate::memory::knowers::FENCES;
use crate::memory::knowers::WORDS;
use crate::memory::knowers::cpu;
use crate::memory::knowers::fenced;
use crate::memory::knowers::seen;
use crate::memory::messages::EMPTY;
use crate::memory::messages::GAP;
use crate::memory::messages::KEPT;
use crate::memory::messages::Picked;
use crate::memory::messages::Row;
use crate::vocab::limits::MAX_CPUS;

impl World {
    pub(crate) fn is_ra(&self) -> bool {
        self.memory.clocks.messages.is_some()
    }

    /// The ages that an access of a context on `on` to `place` may choose from, as bits.
    pub(crate) fn ages(&self, on: usize, place: usize, wants: Wants) -> u16 {
        let (Some(messages), Some(word)) =
            (&self.memory.clocks.messages, self.memory.clocks.known_word(place))
        else {
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
        let Some(messages) = &mut self.memory.clocks.messages else {
            return Picked { word, index: 0, value: raw };
        };
        let row = &mut messages.rows[word];
        if row.len() == 0 || row.newest() != raw {
            keep(&mut self.undo.log, row);
            // Newer than all that anybody knows of a word that was here before.
            let stamp =
                row.slots[..row.len()].last().map_or(0, |slot| row.stamps[usize::from(*slot)] + 2 * GAP);
            *row = Row { count: 1, ..EMPTY };
            (row.values[0], row.stamps[0]) = (raw, stamp);
            self.memory.clocks.clear(&mut self.undo.log, message);
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
        messages.advance(&mut self.undo.log, cpu(on), picked.word, slot);
        let message = self.memory.clocks.message(picked.word, slot);
        self.memory.clocks.join(&mut self.undo.log, if acquires { cpu(on) } else { seen(on) }, message);
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
        keep(&mut self.undo.log, row);
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
        messages.advance(&mut self.undo.log, cpu(on), picked.word, slot);
        self.memory.written.push(self.memory.clocks.places[picked.word].0);
        let (message, read) =
            (self.memory.clocks.message(picked.word, slot), self.memory.clocks.message(picked.word, read));
        self.memory.clocks.assign(&mut self.undo.log, message, if releases { cpu(on) } else { fenced(on) });
        if modifies {
            self.memory.clocks.join(&mut self.undo.log, message, read);
        }
        if let Some(messages) = &mut self.memory.clocks.messages {
            messages.advance(&mut self.undo.log, message, picked.word, slot);
        }
        last
    }

    /// A fence that all others agree on.
    pub(crate) fn join_fences(&mut self) {
        let (on, words) = (self.cpu, self.memory.clocks.places.len());
        if let Some(messages) = &mut self.memory.clocks.messages {
            messages.join(&mut self.undo.log, cpu(on), FENCES, words);
            messages.join(&mut self.undo.log, FENCES, cpu(on), words);
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
                self.cpus[*on].power == Power::On
                    && (self.step.budget.is_some() || self.reduction.classes.uses(place, *on))
            })
            .map(|on| row.position(messages.views[cpu(on) * WORDS + word]))
            .min();
        let oldest = oldest.unwrap_or(row.len() - 1);
        if oldest > 0 { self.drop_oldest(word, oldest) } else { 0 }
    }

    fn drop_oldest(&mut self, word: usize, count: usize) -> usize {
        if let Some(messages) = &mut self.memory.clocks.messages {
            let row = &mut messages.rows[word];
            keep(&mut self.undo.log, row);
            row.slots.copy_within(count.., 0);
            row.count -= count as u8;
        }
        count
    }
}
