//! The plain cells: an access sets a mark, and looks for those that it races with.

use std::panic::Location;

use super::{Cell, Clocks, MARKS, NO_MARK, cpu, has, keep, name};
use crate::base::log::Log;
use crate::vocab::limits::MAX_CPUS;

/// An access to a plain cell that races with an earlier one.
pub(crate) struct Race {
    /// The CPU of the other one, if it only read.
    pub(crate) reader: Option<usize>,
    pub(crate) other: &'static Location<'static>,
}

impl Clocks {
    fn new_mark(&mut self, place: usize, role: usize, users: u8) -> u16 {
        let mark = self.names.len();
        assert!(mark < MARKS, "a machine has more plain cells than the model can watch");
        self.names.push(name(place, role, users));
        self.users.push(users);
        mark as u16
    }

    /// The plain cell at `place` is used by `who`. `fresh`: nobody has written it yet, what was there before is another cell. Returns a race,
    /// and whether it is known only now that several CPUs use the cell: then what was merged before does not count.
    pub(crate) fn plain(
        &mut self,
        log: &mut Log,
        (place, fresh): (usize, bool),
        who: usize,
        writes: bool,
        at: &'static Location<'static>,
    ) -> (Option<Race>, bool) {
        let cell =
            self.cells.entry(place).or_insert(Cell { users: 0, write: NO_MARK, reads: [NO_MARK; MAX_CPUS] });
        let before = cell.users;
        cell.users |= 1 << who;
        let (mut write, mut reads) = (cell.write, cell.reads);
        let shared = cell.users.count_ones() > 1;
        let (users, late) = (cell.users, shared && cell.users != before);
        let begins = late && before.count_ones() == 1;
        // The names of its marks begin to count.
        for mark in std::iter::once(write).chain(reads).filter(|mark| *mark != NO_MARK) {
            self.users[usize::from(mark)] = users;
        }
        if begins {
            for (role, mark) in std::iter::once(write).chain(reads).enumerate() {
                if mark != NO_MARK {
                    self.names[usize::from(mark)] = name(place, role, users);
                }
            }
        }
        if fresh {
            for mark in std::iter::once(write).chain(reads).filter(|mark| *mark != NO_MARK) {
                self.forget(log, usize::from(mark));
            }
        }
        let unknown = |clocks: &Clocks, mark: u16| {
            let mark = usize::from(mark);
            mark != usize::from(NO_MARK) && has(&clocks.live, mark) && !has(&clocks.clocks[cpu(who)], mark)
        };
        let mut race =
            unknown(self, write).then(|| Race { reader: None, other: self.at[usize::from(write)] });
        if writes {
            let reader = (0..MAX_CPUS).find(|reader| unknown(self, reads[*reader]));
            if let (Some(reader), None) = (reader, &race) {
                race = Some(Race { reader: Some(reader), other: self.at[usize::from(reads[reader])] });
            }
            // Who knows of this write knows of the reads before it.
            for mark in reads.into_iter().filter(|mark| *mark != NO_MARK) {
                self.forget(log, usize::from(mark));
            }
            if write == NO_MARK {
                write = self.new_mark(place, 0, users);
            }
        } else if reads[who] == NO_MARK {
            reads[who] = self.new_mark(place, 1 + who, users);
        }
        self.cells.insert(place, Cell { users: before | 1 << who, write, reads });
        let mark = usize::from(if writes { write } else { reads[who] });
        self.renew(log, mark, who);
        keep(log, &self.at[mark]);
        self.at[mark] = at;
        (race, late)
    }

    /// The CPUs that were seen to use each plain cell.
    pub(crate) fn cell_users(&self) -> impl Iterator<Item = (usize, u8)> {
        self.cells.iter().map(|(place, cell)| (*place, cell.users))
    }

    /// Somebody else has seen these CPUs use the plain cell at `place`.
    pub(crate) fn add_cell_users(&mut self, place: usize, users: u8) {
        let none = Cell { users: 0, write: NO_MARK, reads: [NO_MARK; MAX_CPUS] };
        self.cells.entry(place).or_insert(none).users |= users;
    }
}
