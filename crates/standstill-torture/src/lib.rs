//! Workloads that take CPUs offline and online under a storm of calls, and account for each call.
//!
//! The same torture runs on every port: it is generic over [`Ground`], which is a port that can start threads, sleep and raise
//! device interrupts. It is `no_std`; it allocates when it is built, and never after.
//!
//! What runs together:
//!
//! - an **invoker** for each CPU sends calls in all seven forms to random targets, offline ones included;
//! - **device** handlers send async calls from interrupt context, most of all to a CPU that is about to leave;
//! - one thread takes random CPUs **down and up**, and runs the rare paths in between;
//! - two threads **read**: they hold the hotplug lock, stop and pass with deadlines;
//! - one thread **stops** the machine, one CPU or two, for reasons of its own.
//!
//! What is checked is in [`Rule`]; `docs/torture.md` explains it.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod algebra;
mod bounds;
mod calm;
mod counts;
mod dances;
mod device;
// Miri does not run the assembly that switches stacks.
#[cfg(all(test, not(miri)))]
mod firing;
mod frozen;
mod ground;
mod hist;
mod invoke;
mod kit;
mod last_act;
mod latest;
mod once;
mod onoff;
mod pulse;
mod readers;
mod record;
mod relay;
mod report;
mod rng;
mod rules;
mod send;
mod settings;
mod shared;
mod states;
mod stops;
mod torture;
mod works;

pub use counts::{Calls, Ops};
pub use ground::{Body, Ground, LineHandler};
pub use hist::{Dist, Histogram};
pub use pulse::{Hang, HangWait, Patience};
pub use report::{Progress, Report, RuleCount};
pub use rng::Rng;
pub use rules::{Failure, Rule, Rules};
pub use settings::{Settings, Weights};
pub use torture::Torture;
