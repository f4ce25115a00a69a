//! A kernel's own hotplug callback is checked over all interleavings: with a bug, and without.
//!
//! `cargo run --release -p standstill-model --example own_callback`

mod driver;

use driver::Frees;

fn main() {
    for (what, frees) in [
        ("the buffer is freed in the ONLINE callback", Frees::OnTheWayDown),
        ("the buffer is freed in the DEAD callback", Frees::WhenDead),
    ] {
        let verdict = driver::check(frees);
        match verdict.story() {
            Ok(()) => println!("{what}: nothing is wrong in {} states", verdict.states),
            Err(story) => println!("{what}: {story}"),
        }
    }
}
