//! The `standstill` command, as a library, so that its tests and its readers can use its types: most of all
//! [`json::TortureJson`].
//!
//! It prints through `standstill_io` alone: the macros of the standard library panic where a stream can't be written.

#![deny(clippy::print_stdout, clippy::print_stderr)]

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
mod ends;
pub mod flags;
pub mod json;
pub mod judge;
pub mod layout;
mod limits;
pub mod plan;
mod presets;
pub mod progress;
pub mod qemu;
pub mod replay;
pub mod run;
pub mod table;
pub mod verdict;
pub mod watch;

use std::ffi::OsString;

use args::{Command, Parsed, Port};

/// Runs a command line, and returns the exit code: 0 for a pass, 1 for a failure, 2 if it could not be tried.
#[must_use]
pub fn run(line: impl IntoIterator<Item = OsString>) -> u8 {
    let parsed = args::parse(line);
    if let Parsed::Refuse(error) = parsed {
        return standstill_io::refuse(&error);
    }
    if let Err(error) = standstill_io::probe() {
        return standstill_io::refuse(&error);
    }
    match parsed {
        Parsed::Print(text) => standstill_io::answer(&layout::Sheet::of_output().fit(&text), None, 0),
        Parsed::Refuse(error) => standstill_io::refuse(&error),
        Parsed::Run(cli) => match cli.command {
            Command::Torture(args) if args.on == Port::Qemu => qemu::torture(&args),
            Command::Torture(args) => run::torture(&args),
            Command::Console(args) => qemu::console(&args),
            Command::Check(args) => check::check(&args),
            Command::Replay(args) => replay::replay_file(&args),
            Command::Scenarios => standstill_io::answer(&check::list(), None, 0),
            Command::Presets => standstill_io::answer(&presets::list(layout::Sheet::of_output()), None, 0),
        },
    }
}

/// A part of a search or of a matrix, or a checkpoint, with a sum that fits what is in it: for the fuzzer, whose damage
/// would be noticed there and get no further. Anything else is as it was.
#[doc(hidden)]
#[must_use]
pub fn resealed(file: &[u8]) -> Vec<u8> {
    check_matrix_parts::resealed(file).unwrap_or_else(|| standstill_model::resealed(file))
}

/// The command line, for the reports; what is no text in it is shown as such.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// The example of the project's README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
