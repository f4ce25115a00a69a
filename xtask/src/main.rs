//! Set-up and tests of this repository: `cargo xtask setup`, `cargo xtask test`.
//!
//! | file | what |
//! |---|---|
//! | `cargo_test.rs` | `cargo test` as a step |
//! | `checkers.rs` | the model checker beside others |
//! | `fresh.rs` | the README's commands on a machine that has nothing yet |
//! | `layers/` | which file imports which, against the table of layers |
//! | `lints.rs` | Clippy and rustdoc, with compilers that are known and with newer ones |
//! | `mutants/` | the library with something wrong in it, and who notices |
//! | `fuzz.rs` | bad input for the command |
//! | `proofs.rs` | the checker's long proofs |
//! | `progress.rs` | how far a command is |
//! | `run.rs` | commands, and steps with their outcome |
//! | `image.rs`, `kernel.rs`, `rollback.rs`, `hotadd.rs` | the reference kernel's image, and what is tested on it in QEMU |
//! | `bench/` | Linux and the reference kernel, side by side |
//! | `tools.rs` | what this machine has, and how to install what it lacks |
//! | `steps.rs` | what is tested |

mod bench;
mod cargo_test;
mod checkers;
mod fresh;
mod fuzz;
mod hotadd;
mod image;
mod kernel;
mod layers;
mod lints;
mod mutants;
mod progress;
mod proofs;
mod rollback;
mod run;
mod script;
mod steps;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use run::Steps;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up and tests of Standstill")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what the tests need and this machine lacks
    Setup,
    /// Builds the reference kernel for QEMU, and prints where it is
    Image,
    /// Tests the reference kernel in QEMU, and nothing else
    Kernel {
        /// Tortures for a moment only
        #[arg(long)]
        quick: bool,
    },
    /// Plugs CPUs into the reference kernel in QEMU and out of it, under torture, in fresh machines
    Hotadd {
        /// How many machines
        #[arg(long, default_value = "3", value_parser = hotadd::rounds, allow_hyphen_values = true)]
        rounds: usize,
        /// How many CPUs come and go in each
        #[arg(long, default_value_t = hotadd::COUNT, value_parser = hotadd::cpus, allow_hyphen_values = true)]
        cpus: usize,
    },
    /// Measures Linux and the reference kernel in the same machine, in turn, and writes docs/benchmarks.md
    BenchLinux(bench::Args),
    /// Runs the model checker beside Spin, stateright, shuttle and loom, and prints a table
    BenchCheckers {
        /// How many CPUs: one run for each number
        #[arg(long, value_delimiter = ',', default_value = "2,3,4", value_parser = clap::value_parser!(u8).range(2..=6))]
        cpus: Vec<u8>,
        /// Medians of so many rounds
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
        rounds: u8,
        /// Writes all times to this file, too
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Runs the README's commands on a machine that has nothing yet: a folder, filled by debootstrap
    Fresh(fresh::Args),
    /// Looks whether the files of each crate import each other in one direction only
    Layers,
    /// Takes things out of the library, one at a time, and looks which rule of the checker notices
    Mutants(mutants::Args),
    /// Runs the checker's long proofs, which the tests leave out, and prints a table
    Proofs(proofs::Args),
    /// Feeds the command with command lines, files and console input that nobody would think of
    Fuzz(fuzz::Args),
    /// Installs what is missing, then tests everything
    Test {
        /// Leaves out Miri and aarch64, and tortures for a moment only
        #[arg(long, conflicts_with = "full")]
        quick: bool,
        /// Also runs what takes more than some minutes: hotplug under Miri
        #[arg(long)]
        full: bool,
    },
}

fn main() -> ExitCode {
    let mut steps = Steps::default();
    match Cli::parse().command {
        Command::Setup => tools::setup(&mut steps, false),
        Command::Image => {
            return match image::build(image::Presets::Study) {
                Ok(path) => {
                    println!("{path}");
                    ExitCode::SUCCESS
                }
                Err(run::Not::Passed(why) | run::Not::Run(why)) => {
                    eprintln!("{why}");
                    ExitCode::FAILURE
                }
            };
        }
        Command::BenchLinux(args) => return bench::main(&args),
        Command::Fresh(args) => fresh::all(&mut steps, &args),
        Command::Layers => steps.run("imports go one way", layers::check),
        Command::Mutants(args) => return mutants::main(&args),
        Command::Proofs(args) => return proofs::main(&args),
        Command::Fuzz(args) => return fuzz::main(&args),
        Command::BenchCheckers { cpus, rounds, json } => {
            let cpus: Vec<_> = cpus.into_iter().map(usize::from).collect();
            return match checkers::bench(&cpus, usize::from(rounds), json.as_deref()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(run::Not::Passed(why) | run::Not::Run(why)) => {
                    eprintln!("{why}");
                    ExitCode::FAILURE
                }
            };
        }
        Command::Kernel { quick } => {
            steps::build_command(&mut steps);
            kernel::all(&mut steps, quick);
        }
        Command::Hotadd { rounds, cpus } => {
            steps.run("kernel: image for the torture", || image::build(image::Presets::Study));
            steps.run("kernel: the last CPU online is asked for back", hotadd::last_online);
            kernel::hot_adds(&mut steps, rounds, cpus);
        }
        Command::Test { quick, full } => {
            let extent = match (quick, full) {
                (true, _) => steps::Extent::Quick,
                (_, true) => steps::Extent::Full,
                _ => steps::Extent::Usual,
            };
            tools::setup(&mut steps, quick);
            steps::all(&mut steps, extent);
        }
    }
    if steps.summary() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Cli;

    /// No number makes a run that does nothing: 0 is refused, or its help says what it means.
    #[test]
    fn every_number_has_a_range() {
        let mut numbers = 0;
        for command in Cli::command().get_subcommands() {
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long() else { continue };
                let takes = |value: &str| {
                    let flag = format!("--{long}={value}");
                    Cli::try_parse_from(["cargo xtask", command.get_name(), &flag]).is_ok()
                };
                // A text may be any number.
                if !arg.get_action().takes_values() || !takes("2") || takes("x") {
                    continue;
                }
                numbers += 1;
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    !takes("0") || help.contains("0: "),
                    "--{long} takes 0, and nobody says what it means"
                );
                for value in ["-1", "NaN", "1e300", "18446744073709551616", ""] {
                    assert!(!takes(value), "--{long} {value}");
                }
                let most = "18446744073709551615";
                assert!(!takes(most) || help.contains("0: "), "--{long} {most}");
            }
        }
        assert!(numbers >= 5, "{numbers} numbers are not all");
    }
}
