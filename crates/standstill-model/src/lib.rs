//! The port in which an explorer owns every shared access, every interrupt and every IPI: it runs the library's own code over all
//! interleavings.
//!
//! # Vocabulary
//! A **choice** says which CPU does what next; a **schedule** is a row of choices; a **run** is what happens under one. A **step** is a
//! choice with all that follows from it until the next place where somebody else could notice a difference. A **scenario** is the
//! machine, its tasks and its interrupts. The **set-up** leads, by one fixed schedule, to where the **branching** begins.
//!
//! | file | what |
//! |---|---|
//! | `port.rs`, `port/`, `memory.rs`, `memory/` | the platform |
//! | `arena.rs`, `fibre.rs`, `state.rs`, `world.rs`, `world/`, `undo.rs` | the simulated machine, and the way back |
//! | `class.rs`, `movers.rs`, `places.rs`, `covers.rs` | which accesses are scheduling points |
//! | `tso.rs` | store buffers |
//! | `ra.rs` | release/acquire views |
//! | `clock.rs`, `clock/` | what happened before what, and data races |
//! | `rules.rs` | the state of the library's rules |
//! | `sched.rs` | what can happen next |
//! | `search.rs`, `table.rs`, `parallel.rs` | every state once, by all cores |
//! | `bounded.rs` | every state within a bound on preemptions |
//! | `dpor.rs`, `touch.rs` | every trace once |
//! | `shard.rs` | that in several processes |
//! | `random.rs` | random schedules |
//! | `scenario/`, `setup.rs` | what is explored, from where |
//! | `counter.rs` | what the engines are measured by |
//! | `shrink.rs` | the cheapest run to a goal |
//! | `mutate.rs` | the library with one thing left out |
//! | `file.rs` | schedules as text |
//! | `follow.rs` | a schedule under other options |
//! | `audit.rs` | what was merged, continued from both sides |
//! | `checkpoint.rs`, `keep.rs` | a search that was stopped, to go on later |
//! | `room.rs` | the memory that there is |
//! | `check.rs` | the entries |
//! | `transfers/` | apart from all that: what a stop costs in transfers of cache lines |

mod base;
mod check;
mod config;
mod engine;
#[cfg(test)]
mod litmus;
mod machine;
mod memory;
mod monitor;
mod port;
mod reduction;
mod result;
mod scenario;
pub mod transfers;
mod vocab;

pub use result::audit::Audited;
pub use check::check;
pub use result::replay::replay;
#[doc(hidden)]
pub use result::schedule_file::resealed;
pub use result::schedule_file::{FileError, Saved, load, save};
pub use result::retarget::follow;
pub use machine::access::{ModelCell, ModelPtr, ModelWord};
pub use config::mutant::{Begins, CALLER, Change, Mutant, NoMutant, Sites};
pub use config::options::{Audit, BadOptions, Engine, Ipi, Limits, MemoryModel, Options};
pub use port::Model;
pub use base::room::{Reserve, Room};
pub use scenario::{
    Plain, Scenario, ScenarioInfo, Setup, all_up, branch, branch_at_stop, litmus, require, scenarios,
};
pub use machine::session::past_setup;
pub use result::shard::{Merged, PartResult, check_part, merge};
pub use result::shrink::{counterexample, critical_pair};
pub use vocab::limits::MAX_CPUS;
pub use result::verdict::{PropertyResult, ReplayError, Run, Verdict, Violation};
pub use vocab::progress::{Bound, Coverage, Progress};
pub use vocab::step::{Access, Context, Interrupt, Step, StepWhat};
