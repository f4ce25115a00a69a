//! What a check does about mutants.

use crate::config::mutant::Begins;
use crate::config::mutant::Change;
use crate::config::mutant::Mutant;
use crate::config::mutant::Sites;
use std::collections::HashSet;
use std::panic::Location;

/// What a world does about mutants.
pub(crate) struct Mutation {
    mutant: Option<Mutant>,
    begins: Begins,
    sites: Option<Sites>,
    /// What was noted already, by the address of its place, and the part of the check.
    noted: HashSet<(Change, usize, Begins)>,
}

impl Mutation {
    /// None, if the options ask for nothing: it costs one look then.
    pub(crate) fn of(options: &crate::config::options::Options) -> Option<Box<Mutation>> {
        let (mutant, begins) = (options.mutant.clone(), options.mutant_begins);
        let sites = options.sites.clone();
        (mutant.is_some() || sites.is_some())
            .then(|| Box::new(Mutation { mutant, begins, sites, noted: HashSet::new() }))
    }

    #[cold]
    pub(crate) fn hits(&mut self, change: Change, at: &'static Location<'static>, part: Begins) -> bool {
        if let Some(sites) = &self.sites
            && self.noted.insert((change, std::ptr::from_ref(at).addr(), part))
        {
            sites.add(Mutant::of(change, at), part);
        }
        part >= self.begins
            && self.mutant.as_ref().is_some_and(|mutant| mutant.change == change && mutant.is_at(at))
    }
}
