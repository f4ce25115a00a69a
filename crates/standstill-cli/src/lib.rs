//! The `standstill` command, as a library, so that its tests and its readers can use its types: most of all
//! [`json::TortureJson`].

pub mod args;
pub mod check;
pub mod check_answer;
pub mod check_args;
pub mod check_json;
mod check_matrix;
mod check_matrix_parts;
pub mod check_parts;
mod check_progress;
pub mod check_trace;
pub mod check_words;
mod conclude;
pub mod flags;
pub mod json;
pub mod judge;
pub mod plan;
pub mod progress;
pub mod qemu;
pub mod run;
pub mod table;
pub mod verdict;
pub mod watch;

/// The example of the project's README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
