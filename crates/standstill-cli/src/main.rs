//! The `standstill` command.

use std::process::ExitCode;

/// Where memory ends, a search ends with its verdict, and anything else with one line.
#[global_allocator]
static ALLOCATOR: standstill_model::Reserve = standstill_model::Reserve::or(standstill_io::out_of_memory);

fn main() -> ExitCode {
    ExitCode::from(standstill_cli::run(std::env::args_os()))
}
