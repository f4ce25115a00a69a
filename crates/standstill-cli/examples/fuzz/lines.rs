//! Command lines, from what clap knows of the command: each option, with good values and bad ones.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Arg, Command, CommandFactory};
use standstill::Protocol;
use standstill_cli::args::Cli;

use crate::damage::{NUMBERS, strange};
use crate::rng::Rng;

/// Names of files in the folder where the lines are tried, and elsewhere: good outputs, bad ones, and inputs.
const PATHS: [&str; 20] = [
    "new.out",
    "new2.out",
    "./new.out",
    "there.out",
    "link.out",
    "hard.out",
    "folder",
    "folder/x.replay",
    "none/x",
    "there.out/x",
    "",
    "/",
    "..",
    "/dev/null",
    "/dev/full",
    "/dev/zero",
    "/proc/self/status",
    "seed.replay",
    "seed.part",
    "seed.matrix",
];

/// Good values of an option, by its name.
fn good(name: &str, rng: &mut Rng) -> String {
    let presets: Vec<_> = Protocol::ALL.iter().map(Protocol::name).collect();
    let scenarios: Vec<_> = standstill_model::scenarios().iter().map(|scenario| scenario.name).collect();
    let from: &[&str] = match name {
        "protocol" => &presets,
        "scenario" => &scenarios,
        "cpus" => &["1", "2", "2", "2", "3", "4"],
        "irqs" => &["0", "1", "2"],
        "ipi" => &["instant", "delayed"],
        "memory" => &["sc", "tso", "tso-unfenced", "ra"],
        "engine" => &["stateful", "dpor", "random", "pct", "bounded"],
        "on" => &["hosted", "qemu"],
        "shard" => &["1/1", "1/2", "2/2", "3/7"],
        "runs" => &["1", "10", "100"],
        "depth" | "preemptions" => &["1", "2", "3"],
        "threads" => &["0", "1", "2"],
        "seconds" => &["0.05", "0.1"],
        "stall_after" => &["1", "5"],
        "checkpoint_every" => &["0.1", "1"],
        "max_memory" => &["1G", "500M"],
        "max_states" => &["1", "50", "1000"],
        "max_seconds" => &["1"],
        "audit" => &["1", "5"],
        "seed" => &["1", "0x10"],
        "file" | "files" => &["seed.replay", "seed.part", "seed.matrix", "there.out"],
        _ => &PATHS,
    };
    (*rng.pick(from)).to_string()
}

fn value(arg: &Arg, rng: &mut Rng) -> OsString {
    let name = arg.get_id().as_str();
    match rng.below(100) {
        0..70 => good(name, rng).into(),
        70..85 => (*rng.pick(&NUMBERS)).into(),
        85..90 => (*rng.pick(&PATHS)).into(),
        90..94 => {
            (*rng.pick(&["NaN", "inf", "1e-300", "1e300", "0x", "1/0", "0/0", "a,b", ",", "--", "-"])).into()
        }
        _ => word(rng),
    }
}

/// Any word: the system ends each at a byte 0.
fn word(rng: &mut Rng) -> OsString {
    let mut bytes = strange(rng);
    bytes.retain(|byte| *byte != 0);
    OsString::from_vec(bytes)
}

/// The words of a command line, the program's name included.
pub(crate) fn line(rng: &mut Rng) -> Vec<OsString> {
    let cli = Cli::command();
    let mut words: Vec<OsString> = vec!["standstill".into()];
    if rng.chance(3) {
        (0..rng.below(6)).for_each(|_| words.push(word(rng)));
        return words;
    }
    let commands: Vec<&Command> = cli.get_subcommands().collect();
    let mut command = *rng.pick(&commands);
    // Most of what there is to get wrong is there.
    if rng.chance(60) {
        command = commands.iter().find(|command| command.get_name() == "check").unwrap_or(&command);
    }
    words.push(command.get_name().into());
    let below: Vec<&Command> = command.get_subcommands().collect();
    if !below.is_empty() && rng.chance(15) {
        command = *rng.pick(&below);
        words.push(command.get_name().into());
    }
    let args: Vec<&Arg> = command.get_arguments().collect();
    if args.is_empty() {
        if rng.chance(30) {
            words.push(word(rng));
        }
        return words;
    }
    let all: Vec<&Arg> = args.iter().copied().filter(|arg| arg.is_required_set()).collect();
    let more = rng.below(5);
    let some = (0..more).map(|_| *rng.pick(&args)).collect::<Vec<_>>();
    let needed = if rng.chance(95) { all } else { Vec::new() };
    for arg in needed.into_iter().chain(some) {
        option(arg, rng, &mut words);
    }
    if rng.chance(3) {
        words.push(word(rng));
    }
    if rng.chance(3) {
        let at = 1 + rng.below(words.len());
        words.truncate(at);
    }
    words
}

fn option(arg: &Arg, rng: &mut Rng, words: &mut Vec<OsString>) {
    let takes = arg.get_action().takes_values();
    match arg.get_long() {
        Some(long) if takes && rng.chance(20) => {
            let mut word = OsString::from(format!("--{long}="));
            word.push(value(arg, rng));
            words.push(word);
        }
        Some(long) => {
            words.push(format!("--{long}").into());
            if takes && rng.chance(98) {
                words.push(value(arg, rng));
            }
        }
        None => words.push(value(arg, rng)),
    }
}
