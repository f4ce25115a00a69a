//! The `standstill` command.

use std::process::ExitCode;

/// Where memory ends, a search ends with its verdict.
#[global_allocator]
static ALLOCATOR: standstill_model::Reserve = standstill_model::Reserve;

fn main() -> ExitCode {
    ExitCode::from(standstill_cli::run(std::env::args_os()))
}
