//! The policy of a small SMP scheduler: which threads of a CPU can run, in which order, when a
//! sleep ends, and on which CPU a thread is put.
//!
//! The hosted port and the bare-metal kernel use it. Locks, contexts and interrupts are theirs.
//!
//! | file | what |
//! |---|---|
//! | `entry.rs` | what the scheduler knows of one thread |
//! | `queue.rs` | the run queue of one CPU, with its timers |
//! | `place.rs` | the choice of a CPU |

#![no_std]

extern crate alloc;

mod entry;
mod place;
mod queue;

pub use entry::{Entry, State};
pub use place::place;
pub use queue::Queue;
