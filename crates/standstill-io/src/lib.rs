//! What Standstill's commands read and write.
//!
//! | file | what |
//! |---|---|
//! | `stream.rs` | the two standard streams: a reader that leaves, a disk that is full |
//! | `words.rs` | one short line from any text, without control characters |
//! | `outputs.rs` | the files that a command is asked for: probed before the work, replaced as a whole |
//! | `input.rs` | files that are read: regular ones, of the right kind, of a bounded size |
//!
//! A command that uses it denies `clippy::print_stdout` and `clippy::print_stderr`: those macros panic when the
//! stream can't be written.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod input;
pub mod outputs;
pub mod stream;
pub mod words;

pub use input::Kind;
pub use outputs::{Outputs, replace, replace_by};
pub use stream::{answer, note, out_of_memory, probe, refuse, stop};
