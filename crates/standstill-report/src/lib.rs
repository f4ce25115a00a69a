//! Pictures of what happens on several CPUs: stages, interrupts, IPIs, and the step at which it goes wrong.
//!
//! The input is a [`Trace`]: one list of steps in the order in which they happened, each on one CPU. It knows nothing of the library or
//! of a checker, so a log of a live machine can be drawn as well. From it come:
//!
//! | function | makes | for |
//! |---|---|---|
//! | [`text::render`] | lanes of characters, time down | terminals, mails, commit messages |
//! | [`svg::render`] | the same lanes as a drawing | papers, docs |
//! | [`chrome::render`] | a trace in Chrome's JSON format | Perfetto |
//! | [`html::render`] | one page with the matrix and each counterexample, to step through | browsers |
//!
//! The first two and the page share one choice of what is worth drawing: [`rows`]. A *lane* is a CPU's column. Its *spine* is the line in it, which
//! shows whether the CPU's interrupts are open. A *stage* of a stop is a rule across all lanes. A *handler* is a box in its lane.

pub mod chrome;
pub mod html;
pub mod matrix;
pub mod rows;
pub mod svg;
pub mod text;
pub mod trace;
mod wrap;

pub use matrix::{Cell, Finding, Matrix};
pub use trace::{Context, Kind, Lane, Step, Trace};
