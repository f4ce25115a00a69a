//! The reduction is seen to fail when it is kept from learning.

use std::ops::ControlFlow;
use std::time::Instant;

use standstill::Protocol;

use crate::options::Options;
use crate::search::{End, Found, search};
use crate::setup::Ready;
use crate::world::with_ptr;

/// What a search finds: how often each property did not hold, and how many end states there are.
fn found(blind: bool) -> ([bool; 5], usize) {
    let options =
        Options { protocol: Protocol::LINUX_3_14, keep_going: true, shrink: false, ..Options::default() };
    let ready = Ready::new(&options).expect("the scenario can be set up");
    with_ptr(ready.world, |w| w.movers.blind = blind);
    loop {
        let mut found = Found::new();
        let end = search(&ready, &options, Instant::now(), &mut found, &mut |_| ControlFlow::Continue(()));
        match end {
            End::Again => with_ptr(ready.world, |w| {
                w.undo_to(0);
                w.classes.changed = false;
                w.movers.changed = false;
            }),
            End::Exhausted => return (found.counts.map(|count| count > 0), found.ends.len()),
            End::Bounded(_) => panic!("there is no bound"),
        }
    }
}

#[test]
fn without_learning_something_is_overlooked() {
    let (seeing, blind) = (found(false), found(true));
    assert_eq!(seeing.0[..2], [true, true], "W and L are there");
    assert_ne!(seeing, blind, "what conflicts was moved all the same, and nothing is missing");
}
