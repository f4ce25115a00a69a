//! What the command understands, and the one line that it says about everything else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use standstill::Protocol;
use standstill_io::words::quote;

use crate::check_args::{CheckArgs, ReplayArgs};
use crate::flags;

/// The largest machine that the command is built for.
pub const MAX_CPUS: usize = 1024;
/// The longest run: a week.
const MAX_SECONDS: f64 = 7.0 * 24.0 * 3600.0;
/// The shortest: what is shorter has not begun when it ends.
const MIN_SECONDS: f64 = 0.001;
/// More than any machine makes in a week.
const MAX_CYCLES: u64 = 1_000_000_000;

/// CPU hotplug, stop-machine and cross-CPU calls for kernels: tortured on this computer's threads.
#[derive(Parser, Debug)]
#[command(name = "standstill", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Takes CPUs offline and online under a storm of calls, and accounts for each call
    Torture(TortureArgs),
    /// Boots the reference kernel in QEMU and opens its serial console
    Console(ConsoleArgs),
    /// Runs the library's own code over all interleavings, and shows how it breaks
    Check(Box<CheckArgs>),
    /// Runs a schedule that a check saved again
    Replay(ReplayArgs),
    /// Lists what `check` can run
    Scenarios,
    /// Lists the protocols by which a CPU can leave, and what each promises
    Presets,
}

/// Options of `standstill torture`.
#[derive(clap::Args, Clone, Debug)]
pub struct TortureArgs {
    /// Where the machine runs: hosted (a CPU is a thread, an IPI is a signal) or qemu (the reference kernel)
    #[arg(long, default_value = "hosted", value_parser = port)]
    pub on: Port,

    /// How many CPUs the machine has
    #[arg(long, value_name = "N", default_value = "4", value_parser = cpus, allow_hyphen_values = true)]
    pub cpus: usize,

    /// For how long the workloads run
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds, allow_hyphen_values = true)]
    pub seconds: Duration,

    /// Goes on after that time until each CPU but the first was taken offline and brought back N times
    #[arg(long, value_name = "N", default_value = "0", value_parser = cycles, allow_hyphen_values = true)]
    pub cycles: u64,

    /// How a CPU leaves; `standstill presets` lists the presets
    #[arg(long, value_name = "PRESET", default_value = "standstill", value_parser = preset)]
    pub protocol: Protocol,

    /// Where all random choices come from [default: a new one each time; it is printed]
    #[arg(long, value_name = "X", value_parser = seed, allow_hyphen_values = true)]
    pub seed: Option<u64>,

    /// Prints one JSON object on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,

    /// On threads: reports a wait that is longer than this many seconds
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds, allow_hyphen_values = true)]
    pub stall_after: Duration,

    /// Ends as soon as something is wrong
    #[arg(long)]
    pub fail_fast: bool,

    /// QEMU, for `--on qemu`
    #[command(flatten)]
    pub qemu: QemuArgs,
}

/// Which QEMU, and which kernel.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct QemuArgs {
    /// QEMU's program [default: qemu-system-x86_64]
    #[arg(long = "qemu", value_name = "PATH")]
    pub qemu: Option<PathBuf>,

    /// The kernel's image [default: it is built]
    #[arg(long, value_name = "PATH")]
    pub image: Option<PathBuf>,
}

/// Options of `standstill console`.
#[derive(clap::Args, Clone, Debug)]
pub struct ConsoleArgs {
    /// How many CPUs the machine has
    #[arg(long, value_name = "N", default_value = "4", value_parser = cpus, allow_hyphen_values = true)]
    pub cpus: usize,

    /// How a CPU leaves; `standstill presets` lists the presets
    #[arg(long, value_name = "PRESET", default_value = "standstill", value_parser = preset)]
    pub protocol: Protocol,

    /// QEMU and the kernel
    #[command(flatten)]
    pub qemu: QemuArgs,
}

/// Where the machine runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// On this computer's threads.
    Hosted,
    /// In QEMU.
    Qemu,
}

impl Port {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Port::Hosted => "hosted",
            Port::Qemu => "qemu",
        }
    }
}

fn port(text: &str) -> Result<Port, String> {
    match text {
        "hosted" => Ok(Port::Hosted),
        "qemu" => Ok(Port::Qemu),
        _ => Err("there is no such port; this build has: hosted, qemu".into()),
    }
}

fn cpus(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=MAX_CPUS).contains(&n) => Ok(n),
        _ => Err(format!("a machine has 1 to {MAX_CPUS} CPUs")),
    }
}

fn cycles(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(n) if n <= MAX_CYCLES => Ok(n),
        _ => Err(format!("a number of cycles is a whole number from 0 to {MAX_CYCLES}, e.g. 100")),
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(s) if (MIN_SECONDS..=MAX_SECONDS).contains(&s) => Ok(Duration::from_secs_f64(s)),
        _ => Err(format!("a time is {MIN_SECONDS} to {MAX_SECONDS} seconds, e.g. 10 or 0.5")),
    }
}

pub(crate) fn preset(text: &str) -> Result<Protocol, String> {
    Protocol::by_name(text).ok_or_else(|| {
        let names: Vec<_> = Protocol::ALL.iter().map(Protocol::name).collect();
        format!("there is no such preset; the presets are: {}", names.join(", "))
    })
}

pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| "a seed is a whole number from 0 to 2^64 - 1, decimal or 0x and hexadecimal".into())
}

/// What to do with the command line.
#[derive(Debug)]
pub enum Parsed {
    /// Run this.
    Run(Cli),
    /// Print this on standard output and succeed: help, version.
    Print(String),
    /// Say this one line and fail: it says what is wrong and what is allowed.
    Refuse(String),
}

/// Reads the command line.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Parsed {
    let parsed = Cli::command()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    match parsed {
        Ok((cli, matches)) => match flags::refuse_any(&cli, &matches) {
            None => Parsed::Run(cli),
            Some(why) => Parsed::Refuse(format!("standstill: {why}")),
        },
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Parsed::Print(error.to_string()),
            _ => Parsed::Refuse(one_line(&error)),
        },
    }
}

/// Clap says it in several lines; what is wrong and what is allowed matters. What was typed is quoted: it may be long, or
/// hold what a terminal acts on.
fn one_line(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(|value| quote(&value.to_string())).unwrap_or_default();
    let list = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "say what to do: torture, console, check, replay, scenarios, presets (see `standstill --help`)"
                .into()
        }
        ErrorKind::InvalidSubcommand => {
            let what = context(ContextKind::InvalidSubcommand);
            format!(
                "there is no command '{what}'; the commands are: torture, console, check, replay, scenarios, presets"
            )
        }
        ErrorKind::UnknownArgument => {
            let what = context(ContextKind::InvalidArg);
            let kind = if what.starts_with('-') { "option" } else { "argument" };
            // "Usage: standstill check [OPTIONS]": what is not an option or a value is the command.
            let usage = list(ContextKind::Usage);
            let words = usage.split_whitespace().skip(2);
            let command: String = words
                .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
                .map(|word| format!("{word} "))
                .collect();
            format!("there is no {kind} '{what}'; `standstill {command}--help` lists what there is")
        }
        ErrorKind::MissingRequiredArgument => format!("what is missing: {}", list(ContextKind::InvalidArg)),
        ErrorKind::InvalidValue => {
            let [what, option] = [ContextKind::InvalidValue, ContextKind::InvalidArg].map(context);
            let allowed = list(ContextKind::ValidValue);
            match (what.as_str(), allowed.as_str()) {
                ("", "") => format!("'{option}' wants a value"),
                ("", _) => format!("'{option}' wants a value: {allowed}"),
                _ => format!("invalid value '{what}' for '{option}': there are: {allowed}"),
            }
        }
        ErrorKind::ValueValidation => {
            let [what, option] = [ContextKind::InvalidValue, ContextKind::InvalidArg].map(context);
            let why = std::error::Error::source(error).map_or_else(String::new, |why| format!(": {why}"));
            format!("invalid value '{what}' for '{option}'{why}")
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &[&str]) -> Parsed {
        parse(std::iter::once("standstill").chain(args.iter().copied()).map(OsString::from))
    }

    fn torture(args: &[&str]) -> TortureArgs {
        let all: Vec<_> = std::iter::once("torture").chain(args.iter().copied()).collect();
        match line(&all) {
            Parsed::Run(Cli { command: Command::Torture(args) }) => args,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(args: &[&str]) -> String {
        match line(args) {
            Parsed::Refuse(line) => line,
            other => panic!("{args:?} was accepted: {other:?}"),
        }
    }

    #[test]
    fn the_defaults() {
        let args = torture(&[]);
        assert_eq!((args.cpus, args.seconds.as_secs(), args.seed, args.json), (4, 10, None, false));
        assert_eq!(args.protocol, Protocol::STANDSTILL);
        assert_eq!(args.on, Port::Hosted);
    }

    #[test]
    fn everything_can_be_set() {
        let args = torture(&[
            "--on",
            "hosted",
            "--cpus",
            "64",
            "--seconds",
            "0.5",
            "--protocol",
            "linux-3.14",
            "--seed",
            "0xff",
            "--json",
            "--stall-after",
            "2",
        ]);
        assert_eq!((args.cpus, args.seconds, args.seed), (64, Duration::from_millis(500), Some(255)));
        assert_eq!(args.protocol, Protocol::LINUX_3_14);
        assert!(args.json);
    }

    #[test]
    fn bad_input_gets_one_line_that_says_what_is_allowed() {
        let cases: [(&[&str], &str); 24] = [
            (&["torture", "--cpus", "0"], "1 to 1024"),
            (&["torture", "--cpus", "1025"], "1 to 1024"),
            (&["torture", "--cpus", "-4"], "1 to 1024"),
            (&["torture", "--cpus", "many"], "1 to 1024"),
            (&["torture", "--cpus"], "--cpus"),
            (&["torture", "--seconds", "-3"], "0.001 to 604800"),
            (&["torture", "--seconds", "0"], "0.001 to 604800"),
            (&["torture", "--seconds", "NaN"], "0.001 to 604800"),
            (&["torture", "--seconds", "1e99"], "0.001 to 604800"),
            (&["torture", "--protocol", "linux-9"], "linux-3.14, seed-v6, linux-6.12"),
            (&["torture", "--on", "moon"], "hosted"),
            (&["torture", "--seed", "-1"], "0 to 2^64"),
            (&["torture", "--frobnicate"], "no option '--frobnicate'"),
            (&["torture", "--frobnicate"], "`standstill torture --help`"),
            (&["check", "--frobnicate"], "`standstill check --help`"),
            (&["check", "merge", "--frobnicate"], "`standstill check merge --help`"),
            (&["torture", "extra"], "no argument 'extra'"),
            (&["replay", "one", "two"], "no argument 'two'; `standstill replay --help`"),
            (&["replay"], "<FILE>"),
            (
                &["check", "--engine", "steam"],
                "'--engine <ENGINE>': there are: stateful, dpor, random, pct, bounded",
            ),
            (&["check", "--engine"], "wants a value: stateful, dpor"),
            (&["check", "merge"], "<FILE>"),
            (&["dance"], "torture, console, check, replay, scenarios, presets"),
            (&[], "torture, console, check, replay, scenarios, presets"),
        ];
        for (args, allowed) in cases {
            let line = refusal(args);
            assert!(line.contains(allowed), "{args:?}: {line}");
            assert!(!line.contains('\n'), "{args:?}: {line}");
            assert!(line.len() < 280, "{args:?}: {line}");
        }
    }

    #[test]
    fn help_is_printed() {
        assert!(matches!(line(&["torture", "--help"]), Parsed::Print(text) if text.contains("--protocol")));
        assert!(
            matches!(line(&["--version"]), Parsed::Print(text) if text.contains(env!("CARGO_PKG_VERSION")))
        );
    }
}
