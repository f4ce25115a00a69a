//! The stop that takes a CPU out, as other checkers see it.
//!
//! None of them runs an interrupt handler on top of the code that it interrupts, so each gets what it can express: stateright a
//! hand-written model of the whole (the same as `stop.pml` for Spin), shuttle threads that play the interrupts under a lock for
//! each CPU, loom the meeting of the stoppers alone. One run, one line of JSON.

mod loom;
mod shuttle;
mod stateright;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

#[derive(Parser)]
#[command(about = "Runs one checker on the stop that takes a CPU out, and prints one line of JSON")]
struct Cli {
    /// Which checker
    tool: Tool,
    /// How the CPU leaves
    #[arg(long, default_value = "standstill")]
    protocol: Protocol,
    /// CPUs; the last one leaves
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=6))]
    cpus: u8,
    /// When to give up
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tool {
    Loom,
    Shuttle,
    Stateright,
}

/// The two ends of the table: the mail's race, and what cures it.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// One stage, no drain, interrupts come back at EXIT.
    #[value(name = "linux-3.14")]
    Linux314,
    /// Two stages, a drain before the mask is left, no interrupts any more.
    Standstill,
}

impl Protocol {
    const fn split(self) -> bool {
        matches!(self, Protocol::Standstill)
    }

    const fn cured(self) -> bool {
        matches!(self, Protocol::Standstill)
    }

    /// The stage in which `cpu` closes its interrupts, RUN, and EXIT. PREPARE is 1.
    const fn stages(self, leaver: bool) -> (usize, usize, usize) {
        match (self.split(), leaver) {
            (true, true) => (3, 4, 5),
            (true, false) => (2, 4, 5),
            (false, _) => (2, 3, 4),
        }
    }
}

/// What came out.
#[derive(Serialize)]
struct Found {
    /// States, where the checker remembers them.
    states: Option<u64>,
    /// Executions, where it does not.
    runs: Option<u64>,
    /// All of it was looked at.
    exhausted: bool,
    /// A promise was broken.
    violation: bool,
    time_ns: u64,
}

impl Found {
    fn new(time: Duration) -> Found {
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Found { states: None, runs: None, exhausted: false, violation: false, time_ns }
    }
}

fn main() {
    let cli = Cli::parse();
    let (cpus, limit) = (usize::from(cli.cpus), Duration::from_secs(cli.seconds));
    let found = match cli.tool {
        Tool::Loom => loom::run(cli.protocol, cpus, limit),
        Tool::Shuttle => shuttle::run(cli.protocol, cpus, limit),
        Tool::Stateright => stateright::run(cli.protocol, cpus, limit),
    };
    match serde_json::to_string(&found) {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("the result can't be written: {error}");
            std::process::exit(1);
        }
    }
}
