//! Every flag of every command, as clap knows them: in each mode a flag either changes what is done,
//! or is refused in one line that says where it works. And no number makes a run that does nothing.

use std::ffi::OsString;

use assert_cmd::Command;
use clap::{Arg, CommandFactory};
use standstill_cli::args::{Cli, Parsed, parse};
use standstill_cli::plan::plan;

/// The modes of each command: what has to be said to be in one.
fn modes(command: &str) -> Vec<Vec<String>> {
    let lines: Vec<String> = match command {
        "torture" => ["", "--on qemu", "--cpus 1"].map(String::from).to_vec(),
        "check" => {
            let mut all = Vec::new();
            for engine in ["stateful", "dpor", "random", "pct", "bounded"] {
                for rest in
                    ["", "--matrix", "--shard 2/3 --part-file p", "--matrix --shard 2/3 --part-file p"]
                {
                    all.push(format!("--engine {engine} {rest}"));
                }
            }
            all.push("--audit 5".into());
            all.push("--matrix --audit 5".into());
            all.push("--checkpoint f".into());
            all
        }
        "check merge" => vec!["a".into()],
        "replay" => vec!["a".into()],
        _ => vec![String::new()],
    };
    lines.iter().map(|line| line.split_whitespace().map(String::from).collect()).collect()
}

/// Values of which a flag understands at least one that is not its default.
const SAMPLES: [&str; 14] = [
    "3",
    "2",
    "0.25",
    "2/4",
    "qemu",
    "hosted",
    "sc",
    "refuse",
    "instant",
    "tso",
    "late-cpu",
    "dpor",
    "bounded",
    "some-file",
];
/// Numbers that a flag may not take, or has to take at its word.
const EXTREMES: [&str; 14] = [
    "0",
    "-1",
    "-0",
    "NaN",
    "inf",
    "-inf",
    "1e-300",
    "1e300",
    "0.0000001",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "",
];

fn commands() -> Vec<(String, Vec<Arg>)> {
    fn walk(name: &str, command: &clap::Command, all: &mut Vec<(String, Vec<Arg>)>) {
        for sub in command.get_subcommands() {
            let name = format!("{name} {}", sub.get_name()).trim().to_string();
            let flags =
                sub.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()));
            all.push((name.clone(), flags.cloned().collect()));
            walk(&name, sub, all);
        }
    }
    let mut all = Vec::new();
    walk("", &Cli::command(), &mut all);
    all
}

fn run(command: &str, mode: &[String], flag: &[String]) -> Parsed {
    let words = std::iter::once("standstill").chain(command.split(' ')).map(String::from);
    parse(words.chain(mode.iter().cloned()).chain(flag.iter().cloned()).map(OsString::from))
}

fn one_line(line: &str, about: &str) {
    assert!(line.lines().count() == 1 && line.len() <= 300, "{about}: {line}");
}

/// What became of a flag in a mode.
#[derive(PartialEq, Eq, Debug)]
enum Fate {
    Changes,
    Refused(String),
}

fn fate(command: &str, mode: &[String], arg: &Arg) -> Fate {
    let Some(long) = arg.get_long() else { return Fate::Changes };
    let name = format!("--{long}");
    let about = format!("{command} {} {name}", mode.join(" "));
    let with = |value: Option<&str>| -> Vec<String> {
        std::iter::once(name.clone()).chain(value.map(String::from)).collect()
    };
    let takes_value = arg.get_action().takes_values();
    let samples: Vec<Option<&str>> =
        if takes_value { SAMPLES.iter().copied().map(Some).collect() } else { vec![None] };
    let Parsed::Run(without) = run(command, mode, &[]) else {
        // The mode itself is refused: another flag of it does not work there.
        return Fate::Refused("the mode".into());
    };
    let mut refused = None;
    for value in samples {
        // A flag that the mode needs is there already: then only its other values are asked for.
        let place = mode.iter().position(|word| *word == name);
        let mut line = mode.to_vec();
        if let Some(at) = place {
            if value.is_none() {
                return Fate::Changes;
            }
            line.drain(at..at + 2);
        }
        match run(command, &line, &with(value)) {
            Parsed::Run(cli) if plan(&cli) != plan(&without) => return Fate::Changes,
            Parsed::Run(_) => {}
            Parsed::Refuse(line) if line.contains(" works ") => {
                one_line(&line, &about);
                assert!(line.contains(&name) || place.is_some(), "{about}: {line}");
                refused = Some(line);
            }
            Parsed::Refuse(line) => one_line(&line, &about),
            Parsed::Print(text) => panic!("{about}: {text}"),
        }
    }
    Fate::Refused(refused.unwrap_or_else(|| {
        panic!("{about}: it is accepted and changes nothing; or SAMPLES has no value for it")
    }))
}

#[test]
fn every_flag_changes_something_or_is_refused() {
    let mut cells = 0;
    for (command, flags) in commands() {
        for arg in &flags {
            let fates: Vec<Fate> = modes(&command).iter().map(|mode| fate(&command, mode, arg)).collect();
            cells += fates.len();
            let name = arg.get_id();
            assert!(fates.contains(&Fate::Changes), "{command}: {name} works nowhere: {fates:?}");
        }
    }
    assert!(cells > 500, "{cells} cells are not all");
}

/// What the table says, for the flags that were once ignored.
#[test]
fn what_was_ignored_is_refused_by_its_name() {
    for (line, where_it_works) in [
        ("torture --on qemu --stall-after 2", "--stall-after works with --on hosted"),
        ("torture --qemu q", "--qemu works with --on qemu"),
        ("torture --image i", "--image works with --on qemu"),
        ("torture --cpus 1 --cycles 3", "--cycles works with --cpus 2 or more"),
        ("check --runs 5", "--runs works with --engine random or pct"),
        ("check --seed 5", "--seed works with --engine random or pct, or with --audit"),
        ("check --engine random --depth 5", "--depth works with --engine pct"),
        ("check --preemptions 5", "--preemptions works with --engine bounded"),
        ("check --engine dpor --threads 2", "--threads works with --matrix, or with --engine stateful"),
        ("check --audit 3 --threads 2", "--threads works with --matrix, or with --engine stateful"),
        ("check --engine random --max-states 5", "random and pct make --runs schedules"),
        ("check --engine dpor --audit 3", "--audit works with --engine stateful"),
        ("check --engine dpor --checkpoint f", "--checkpoint works with --engine stateful"),
        ("check --matrix --checkpoint f", "--checkpoint works with --engine stateful, without --matrix"),
        ("check --shard 1/2 --part-file f", "--shard works with --engine dpor, or with --matrix"),
        ("check --part-file f", "--part-file works with --shard"),
        ("check --matrix --ipi instant", "--ipi works without --matrix"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let out = Command::cargo_bin("standstill")
            .expect("cargo builds it")
            .args(&words)
            .output()
            .expect("it starts");
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{line}: {stderr}");
        assert!(stderr.contains(where_it_works) && out.stdout.is_empty(), "{line}: {stderr}");
        one_line(&stderr, line);
    }
}

/// A number out of its range is refused; one that is accepted is not taken for another one.
#[test]
fn no_number_is_taken_for_another_one() {
    let mut refused = 0;
    for (command, flags) in commands() {
        for (arg, mode) in
            flags.iter().flat_map(|arg| modes(&command).into_iter().map(move |mode| (arg, mode)))
        {
            let Some(long) = arg.get_long() else { continue };
            let name = format!("--{long}");
            let with = |value: &str| run(&command, &mode, &[format!("{name}={value}")]);
            let is_number = arg.get_action().takes_values()
                && matches!(with("x"), Parsed::Refuse(_))
                && (matches!(with("3"), Parsed::Run(_)) || matches!(with("0.25"), Parsed::Run(_)));
            if !is_number || mode.contains(&name) {
                continue;
            }
            let mut plans: Vec<(&str, String)> = Vec::new();
            for value in EXTREMES {
                match with(value) {
                    Parsed::Refuse(line) => {
                        refused += 1;
                        one_line(&line, &name);
                        assert!(line.contains(&name), "{command} {name}={value}: {line}");
                    }
                    Parsed::Run(cli) => {
                        let plan = plan(&cli);
                        let same = plans.iter().find(|(_, known)| *known == plan);
                        assert!(same.is_none(), "{command} {name}: {value} is as {same:?}");
                        plans.push((value, plan));
                    }
                    Parsed::Print(text) => panic!("{command} {name}={value}: {text}"),
                }
            }
        }
    }
    assert!(refused > 100, "{refused} refusals");
}

/// What is accepted, and is small or large: it is done, or the verdict does not say pass.
#[test]
fn what_did_nothing_does_not_pass() {
    for (line, exit, said) in [
        ("check --runs 0 --engine random", 2, "1 to "),
        ("check --depth 4294967295 --engine pct", 2, "1 to 1000"),
        ("check --depth 0 --engine pct", 2, "1 to 1000"),
        ("torture --seconds 1e-300", 2, "0.001 to 604800"),
        ("torture --stall-after 1e-300", 2, "0.001 to 604800"),
        ("torture --seconds 0.001 --cpus 64", 0, "verdict: incomplete"),
        ("check --runs 1 --engine pct --depth 1000", 0, "1 random schedule,"),
        ("check --max-states 1", 0, "verdict: incomplete"),
        ("check --max-states 9007199254740992", 0, "exhausted: "),
        ("check --max-states 3 --engine dpor", 0, "verdict: incomplete"),
        ("check --max-states 3 --engine bounded", 0, "verdict: incomplete"),
        ("check --preemptions 4294967295 --engine bounded", 0, "exhausted: "),
        ("check --matrix --cpus 2 --protocol standstill --shard 1/3 --part-file f", 2, "no 3 parts"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = Command::cargo_bin("standstill").expect("cargo builds it");
        let out = command.args(&words).output().expect("it starts");
        let text = String::from_utf8_lossy(&[&out.stdout[..], &out.stderr].concat()).into_owned();
        assert_eq!(out.status.code(), Some(exit), "{line}: {text}");
        assert!(text.contains(said), "{line}: {text}");
    }
}
