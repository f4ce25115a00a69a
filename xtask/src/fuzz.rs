//! Feeds the command with command lines, files and console input that nobody would think of: see
//! `crates/standstill-cli/examples/fuzz/`.

use std::process::ExitCode;

use crate::run::{Outcome, cargo, fail, skip, succeed, works};

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Ends after so many seconds; without it each class of input is tried in full
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seconds: Option<u64>,
    /// Where all cases come from
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    seed: u64,
    /// One class, or one case of it again, and what it is
    #[arg(long, value_name = "CLASS[:NUMBER]")]
    only: Option<String>,
    /// Plants each kind of error, and sees whether it is noticed
    #[arg(long)]
    self_test: bool,
}

/// With overflow checks and debug assertions, and built by `cargo test` already.
const RUN: [&str; 7] = ["run", "--quiet", "-p", "standstill-cli", "--example", "fuzz", "--"];

pub(crate) fn main(args: &Args) -> ExitCode {
    let mut fuzz = cargo(&RUN);
    fuzz.args(["--seed", &args.seed.to_string()]);
    if let Some(seconds) = args.seconds {
        fuzz.args(["--seconds", &seconds.to_string()]);
    }
    if args.self_test {
        fuzz.arg("--self-test");
    }
    if let Some(case) = &args.only {
        fuzz.args(["--only", case]);
    }
    match fuzz.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// A step of the tests: as much as fits into `seconds`.
pub(crate) fn short(seconds: u64) -> Outcome {
    if !works("sh", &["-c", "exit 0"]) {
        return skip("there is no shell to stand in for QEMU");
    }
    succeed(cargo(&RUN).arg("--self-test"))?;
    let out = succeed(cargo(&RUN).args(["--seconds", &seconds.to_string()]))?.stdout;
    let cases: u64 =
        out.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum();
    if cases == 0 { fail("nothing was tried") } else { Ok(format!("{cases} cases")) }
}
