//! The reduction is seen to fail when it is kept from learning.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::config::options::Options;
use crate::engine::parallel::search;
use crate::engine::search::{End, Found};
use crate::machine::session::Ready;
use crate::machine::world::with_ptr;

/// How many end states a search finds.
fn ends(scenario: &'static str, blind: bool) -> usize {
    let options = Options { scenario, ..Options::default() };
    let ready = Ready::new(&options).expect("the scenario can be set up");
    with_ptr(ready.world, |w| w.reduction.movers.blind = blind);
    loop {
        let mut found = Found::new();
        let end = search(&ready, &options, Instant::now(), &mut found, &mut |_| ControlFlow::Continue(()));
        match end {
            End::Again => with_ptr(ready.world, |w| {
                w.undo_to(0);
                w.reduction.classes.changed = false;
                w.reduction.movers.changed = false;
            }),
            End::Exhausted => return found.ends.len(),
            End::Bounded(_) => panic!("there is no bound"),
        }
    }
}

#[test]
fn without_learning_something_is_overlooked() {
    for scenario in ["late-cpu", "halt"] {
        let (seeing, blind) = (ends(scenario, false), ends(scenario, true));
        assert!(blind < seeing, "{scenario}: what conflicts was moved all the same, and nothing is missing");
    }
}
