//! Stoppers and stop-machine.
//!
//! # Vocabulary
//! The **stopper** of a CPU runs *works* before anything else there but interrupt handlers. A **stop** brings the stoppers of
//! several CPUs into one loop and moves them together through the **stages**; each CPU **acknowledges** a stage when it has done
//! what the stage asks for, and the one that comes last moves the stop on. The **active** CPUs run the stop's function in RUN, the others
//! spin with interrupts off. An **epoch** is the number of a stop.
//!
//! # The stages
//! ```text
//!   NONE ── all works queued ──> PREPARE ──> DISABLE_IRQ_INACTIVE ──> DISABLE_IRQ_ACTIVE ──> (SEAL) ──> RUN ──> EXIT
//!                                   └────────── deadline, or cancelled ──┴──> abandoned
//! ```
//! A **pass** has PREPARE and EXIT only: a CPU that has acknowledged PREPARE goes its way, and the last one moves the pass on to EXIT. So a
//! pass that is abandoned is none, however many CPUs have passed: one compare-and-swap on the stage word decides.
//! The table of what a CPU does in each stage is `act` in `machine.rs`; what follows a stage is `advance`. A protocol with a single
//! disable stage has no DISABLE_IRQ_INACTIVE.
//!
//! # Ordering argument
//! The stage word moves by compare-and-swap only (release), from the word that the mover saw. Acknowledgements are read-modify-writes (acquire-release) of
//! one word, or of the words of a tree from the leaf to the root, so the last one has seen all that the others did before theirs, and whoever sees the
//! next stage (acquire), in the stage word or in a copy that was passed on (release), has seen it too: in RUN, that every other CPU has closed its interrupts, and every call that those sent is in its queue. Who moves the stage away from
//! what it saw before RUN, to RUN or to abandoned, is one CPU: so the function runs, or the caller gets an error, never both.
//!
//! | file | what |
//! |---|---|
//! | `stage.rs` | the stages and the stage word |
//! | `machine.rs` | the loop that every CPU of a stop runs |
//! | `control.rs` | the side that starts a stop and waits for it |
//! | `forms.rs` | the public functions |
//! | `stopper.rs`, `work.rs` | the stopper, its FIFO, works |
//! | `slot.rs` | the work that can be taken back |
//! | `tree.rs` | which CPUs share a cache line |
//! | `acks.rs` | the way up: who came last |
//! | `relay.rs` | the way down: the stage word and its copies |
//! | `brief.rs` | what waiting CPUs have to know |
//! | `lock.rs` | stops take turns |
//! | `receipts.rs` | what the caller gets |

mod acks;
mod brief;
mod control;
mod forms;
mod lock;
mod machine;
mod receipts;
mod relay;
mod slot;
mod stage;
mod stopper;
#[cfg(feature = "study")]
mod study;
mod tree;
mod work;

pub use receipts::{Receipt, Receipts, StopError};
pub use stage::Stage;
pub use work::{StopWork, WorkState};

pub(crate) use acks::{Acks, MAX as MAX_CPUS};
pub(crate) use brief::Brief;
pub(crate) use control::Plan;
pub(crate) use lock::TicketLock;
pub(crate) use machine::{Body as StopBody, Stop, StopCpu};
pub(crate) use relay::Copied;
pub(crate) use slot::{Slot, Use as SlotUse};
pub(crate) use stage::is_later_epoch;
pub(crate) use work::Body as WorkBody;
