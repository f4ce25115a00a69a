//! What the searches of several threads tell each other of who shares what.
use crate::base::arena::address;
use crate::base::arena::steady;
use crate::base::hash::BuildHashed;
use crate::machine::world::World;
use crate::reduction::movers::Key;
use crate::reduction::visibility::Users;
use std::collections::HashMap;

/// Who shares what, as far as a thread knows, without its addresses.
#[derive(Clone, Default)]
pub(crate) struct Learned {
    pub(crate) users: HashMap<usize, Users, BuildHashed>,
    pub(crate) cells: HashMap<usize, u8, BuildHashed>,
    pub(crate) points: Vec<Key>,
    pub(crate) fences: bool,
}

impl Learned {
    /// What somebody else knows, too.
    pub(crate) fn add(&mut self, other: &Learned) {
        for (place, users) in &other.users {
            let known = self.users.entry(*place).or_default();
            *known = known.and(*users);
        }
        for (place, users) in &other.cells {
            *self.cells.entry(*place).or_default() |= users;
        }
        self.points.extend(&other.points);
        self.fences |= other.fences;
    }
}

/// What `w` has learnt.
pub(crate) fn learned(w: &World) -> Learned {
    Learned {
        users: w.reduction.classes.all().map(|(place, users)| (steady(place), users)).collect(),
        cells: w.memory.clocks.cell_users().map(|(place, users)| (steady(place), users)).collect(),
        points: w.reduction.movers.points().collect(),
        fences: w.memory.clocks.fences,
    }
}

/// Learns what another thread knows; nothing has been searched yet.
pub(crate) fn teach(w: &mut World, learned: &Learned) {
    for (place, users) in &learned.users {
        w.reduction.classes.add(address(*place), *users);
    }
    for (place, users) in &learned.cells {
        w.memory.clocks.add_cell_users(address(*place), *users);
    }
    w.reduction.movers.add_points(&learned.points);
    w.memory.clocks.fences |= learned.fences;
}

/// Would somebody who knows only `one` have searched in another way, had he known `all`?
pub(crate) fn outdated(w: &World, one: &Learned, all: &Learned) -> bool {
    let users = all.users.iter().any(|(place, all)| {
        let known = one.users.get(place).copied().unwrap_or_default();
        w.reduction.classes.outdated(known, *all) || w.is_ra() && known != Users::default() && known != *all
    });
    let cells = all.cells.iter().any(|(place, all)| {
        let known = one.cells.get(place).copied().unwrap_or_default();
        known != 0 && known != *all
    });
    users || cells || one.fences != all.fences
}
