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

mod arena;
mod assumptions;
mod audit;
mod bounded;
mod check;
mod checkpoint;
mod class;
mod clock;
mod counter;
mod covers;
mod dpor;
mod fibre;
mod file;
mod follow;
mod guess;
mod hash;
mod keep;
#[cfg(test)]
mod litmus;
mod memory;
mod movers;
mod mutate;
mod names;
mod options;
mod parallel;
mod places;
mod port;
mod ra;
mod random;
mod room;
mod rules;
mod scenario;
mod sched;
mod search;
mod setup;
mod shard;
mod shrink;
mod state;
mod story;
mod table;
mod touch;
pub mod transfers;
mod tso;
mod undo;
mod verdict;
mod world;

pub use audit::Audited;
pub use check::{check, replay};
#[doc(hidden)]
pub use file::resealed;
pub use file::{FileError, Saved, load, save};
pub use follow::follow;
pub use memory::{ModelCell, ModelPtr, ModelWord};
pub use mutate::{Begins, CALLER, Change, Mutant, NoMutant, Sites};
pub use options::{Audit, BadOptions, Engine, Ipi, Limits, MemoryModel, Options};
pub use port::Model;
pub use room::{Reserve, Room};
pub use scenario::{
    Plain, Scenario, ScenarioInfo, Setup, all_up, branch, branch_at_stop, litmus, require, scenarios,
};
pub use setup::past_setup;
pub use shard::{Merged, PartResult, check_part, merge};
pub use shrink::{counterexample, critical_pair};
pub use state::MAX_CPUS;
pub use verdict::{
    Access, Bound, Context, Coverage, Interrupt, Progress, PropertyResult, ReplayError, Run, Step, StepWhat,
    Verdict, Violation,
};
