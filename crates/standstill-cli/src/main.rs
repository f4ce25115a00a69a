//! The `standstill` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(standstill_cli::run(std::env::args_os()))
}
