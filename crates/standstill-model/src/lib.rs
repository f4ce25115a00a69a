//! The port in which an explorer owns every shared access, every interrupt and every IPI: it runs the library's own code over all
//! interleavings.
//!
//! # Vocabulary
//! A **choice** says which CPU does what next; a **schedule** is a row of choices; a **run** is what happens under one. A **step** is a
//! choice with all that follows from it until the next place where somebody else could notice a difference. A **scenario** is the
//! machine, its tasks and its interrupts. The **set-up** leads, by one fixed schedule, to where the **branching** begins.
//!
//! # Layers
//! Each folder may use those above it in this table, and nothing below (`cargo xtask layers` looks at that).
//! Only tests may.
//!
//! | layer | what |
//! |---|---|
//! | `vocab` | the words that all share: limits, choices, steps, faults, how far a search is |
//! | `base` | hashes, the arena, fibres, the log of changes, the memory that there is |
//! | `config` | what is to be checked, and how; mutants |
//! | `program` | the seam: the code that runs, and who judges it |
//! | `memory` | what memory remembers beside its values: clocks, messages, store buffers |
//! | `reduction` | which accesses are points, what is moved left, what a state was searched with |
//! | `machine` | the simulated machine: its state, its contexts, what they do, and one step of it |
//! | `engine` | the searches: every state, every trace, a bound, random schedules |
//! | `result` | verdicts, schedules, replays, files, and the audit of the checker |
//! | `check` | the entry |
//!
//! What is not the checker but the port of Standstill to it stands beside the layers:
//!
//! | folder | what |
//! |---|---|
//! | `port` | the library's platform, over `machine` |
//! | `monitor` | the library's rules, fed with its events |
//! | `scenario` | what is explored, from where |
//! | `transfers` | apart from all that: what a stop costs in transfers of cache lines |

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
mod program;
mod reduction;
mod result;
mod scenario;
pub mod transfers;
mod vocab;

pub use base::room::{Reserve, Room};
pub use check::check;
pub use config::mutant::{Begins, CALLER, Change, Mutant, NoMutant, Sites};
pub use config::options::{Audit, BadOptions, Engine, Ipi, Limits, MemoryModel, Options};
pub use machine::access::{ModelCell, ModelPtr, ModelWord};
pub use machine::session::past_setup;
pub use port::Model;
pub use result::audit::Audited;
pub use result::file_error::FileError;
pub use result::replay::replay;
#[doc(hidden)]
pub use result::resealed::resealed;
pub use result::retarget::follow;
pub use result::schedule_file::{Saved, load, save};
pub use result::shard::{Merged, PartResult, check_part, merge};
pub use result::shrink::{counterexample, critical_pair};
pub use result::verdict::{PropertyResult, ReplayError, Run, Verdict, Violation};
pub use scenario::{
    Plain, Scenario, ScenarioInfo, Setup, all_up, branch, branch_at_stop, litmus, require, scenarios,
};
pub use vocab::limits::MAX_CPUS;
pub use vocab::progress::{Bound, Coverage, Progress};
pub use vocab::step::{Access, Context, Event, Interrupt, IpiKind, Step, StepWhat};
