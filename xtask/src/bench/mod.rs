//! `cargo xtask bench-linux`: Linux and the reference kernel do the same operations in the same machine, in turn.
//!
//! | file | what |
//! |---|---|
//! | `plan.rs` | which machines, and how often each thing is measured |
//! | `linux.rs`, `cpio.rs`, `delay.rs` | Debian's kernel, our module in it, what it boots, and what it is told |
//! | `boot.rs` | one machine: booted, heard, and ended whatever happens |
//! | `results.rs` | what the machines said, medians and ratios, JSON |
//! | `table.rs`, `page.rs` | the table, and the part of docs/benchmarks.md that is made from the results |
//! | `plot.rs`, `bars.rs` | the drawings |

mod bars;
mod boot;
mod cpio;
mod delay;
mod linux;
mod page;
mod plan;
mod plot;
mod results;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::image::{self, Presets};
use crate::progress::Progress;
use crate::run::{Not, Outcome, fail};
use crate::tools;
use boot::System;
pub(crate) use linux::COMPILER;
use plan::{Counts, Turn};
use results::{Heard, Results, Run};

/// Options of `cargo xtask bench-linux`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many CPUs the machines have
    #[arg(long, value_name = "N,N", default_value = "2,4,8,16", value_delimiter = ',', value_parser = cpus)]
    cpus: Vec<usize>,

    /// How many times each machine runs; with 32 CPUs and more it runs once
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// No machine is started after so many minutes, and none runs on; what was measured until then counts
    #[arg(long, value_name = "N", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,

    /// Writes the results as one JSON object to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Measures for a moment only, and leaves docs/benchmarks.md alone
    #[arg(long)]
    quick: bool,

    /// Measures the reference kernel alone, and leaves docs/benchmarks.md alone
    #[arg(long)]
    only_standstill: bool,
}

fn cpus(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (2..=64).contains(&n) => Ok(n),
        _ => Err("a machine of the bench has 2 to 64 CPUs".into()),
    }
}

/// How often Linux may try to boot.
const BOOTS: usize = 3;

/// Somebody pressed Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// As a test: the reference kernel alone, for a moment, without rules and with all of them. Says what the rules did.
pub(crate) fn smoke() -> Outcome {
    let args = Args { cpus: vec![2], rounds: 1, minutes: 10, json: None, quick: true, only_standstill: true };
    let results = Results { cores: cores(), runs: measure(&args, None)? };
    if let Some(broken) = results.broken() {
        return fail(broken);
    }
    let missing = results::OPS.iter().find(|(op, _)| results.middle(System::Standstill, 2, op).is_none());
    match (missing, results.rules().next()) {
        (Some((op, _)), _) => fail(format!("{op} was not measured")),
        (None, None) => fail("there was no run with rules"),
        (None, Some((_, rules))) => Ok(format!("{} checks of rules, {} calls", rules.asked, rules.ran)),
    }
}

/// Runs the bench; the exit code is that of the command.
pub(crate) fn main(args: &Args) -> ExitCode {
    if let Err(error) = ctrlc::set_handler(|| STOP.store(true, Relaxed)) {
        eprintln!("Ctrl-C will not stop QEMU: {error}");
    }
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Not::Passed(why)) => {
            eprintln!("bench-linux: {why}");
            ExitCode::FAILURE
        }
        Err(Not::Run(why)) => {
            eprintln!("bench-linux: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<(), Not> {
    tools::EMULATOR.needed()?;
    eprintln!("building the reference kernel");
    image::build(Presets::Safe)?;
    let linux = if args.only_standstill {
        None
    } else {
        eprintln!("getting Debian's kernel, and building the module for it");
        Some(linux::prepare()?)
    };
    let results = Results { cores: cores(), runs: measure(args, linux.as_ref())? };
    println!("{}", table::render(&results));
    if let Some(file) = &args.json {
        write(file, &results.json()?)?;
    }
    if !args.quick && !args.only_standstill {
        page::write(&results)?;
    }
    results.broken().map_or(Ok(()), fail)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// All machines, one after the other.
fn measure(args: &Args, linux: Option<&linux::Linux>) -> Result<Vec<Run>, Not> {
    let turns = plan::turns(&args.cpus, args.rounds as usize, linux.is_some());
    let bar = Progress::new("machines", turns.len());
    let end = Instant::now() + Duration::from_secs(60 * args.minutes);
    let mut runs = Vec::new();
    for Turn { cpus, round, rules, system } in turns {
        let with = if rules { ", every rule on" } else { "" };
        let name = format!("{}, {cpus} CPUs, round {round}{with}", system.name());
        let counts = Counts::of(cpus, cores(), args.quick, rules);
        let machine = match (system, linux) {
            (System::Linux, Some(linux)) => linux.machine(cpus, &counts),
            _ => boot::standstill(cpus, &counts, rules),
        };
        let mut tries = 0;
        let (heard, ended) = loop {
            tries += 1;
            let mut heard = Heard::default();
            let limit = end.saturating_duration_since(Instant::now()).min(boot::LIMIT);
            let ended = if limit.is_zero() {
                Err("it was not started".to_string())
            } else {
                boot::run(&machine, limit, &STOP, &mut heard, |op, seconds| {
                    bar.show(&format!("{name}: {op}, {seconds} s"));
                })
            };
            if STOP.load(Relaxed) {
                return fail("stopped by Ctrl-C: nothing was written");
            }
            match &ended {
                // With many CPUs the emulator sometimes runs code of Linux that another CPU patches at this moment.
                Err(why) if system == System::Linux && !heard.began && tries < BOOTS && !limit.is_zero() => {
                    bar.say(&format!("{name}: it did not boot, once more: {why}"));
                }
                _ => break (heard, ended),
            }
        };
        let ended = ended.map_err(|why| match Instant::now() < end {
            true => why,
            false => format!("the {} minutes were over: {why}", args.minutes),
        });
        if let Err(why) = &ended {
            // What it measured counts all the same, and the others go on.
            bar.say(&format!("{name}: {why}"));
        }
        let version = match (system, linux) {
            (System::Linux, Some(linux)) => linux.version.clone(),
            _ => env!("CARGO_PKG_VERSION").into(),
        };
        runs.push(Run { system, version, cpus, round, rules, heard, failed: ended.err() });
        bar.step();
    }
    bar.clear();
    Ok(runs)
}

pub(crate) fn write(file: &std::path::Path, text: &str) -> Result<(), Not> {
    fs::write(file, text).or_else(|error| fail(format!("{}: {error}", file.display())))
}
