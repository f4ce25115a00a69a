//! The long proofs of the checker: what the everyday tests leave out, one after the other, with a table.
//!
//! They are the tests of `standstill-model` that are ignored. Each runs in a process of its own, in release. A proof says what it covered in
//! lines `proof: N states ...` (or traces); the table has their sum.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::run::{Not, Output, cargo, command, fail, show, succeed};

/// Options of `cargo xtask proofs`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Only the proofs whose name has this in it
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,

    /// Gives a proof up after so many seconds; 0: never
    #[arg(long, value_name = "S", default_value_t = 0)]
    max_seconds: u64,
}

/// How long nobody looks whether a proof is over.
const NAP: Duration = Duration::from_millis(50);
/// Where there is no terminal: between two lines that say that it goes on.
const PLAIN: Duration = Duration::from_secs(10);

/// One ignored test.
struct Proof {
    file: String,
    name: String,
    executable: PathBuf,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Proved,
    Failed,
    GivenUp,
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            End::Proved => "proved",
            End::Failed => "FAILED",
            End::GivenUp => "given up",
        }
    }
}

/// Runs the proofs, prints the table and returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    match try_main(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Not::Passed(why) | Not::Run(why)) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn try_main(args: &Args) -> Result<bool, Not> {
    eprintln!("building the tests");
    let proofs: Vec<Proof> = all()?
        .into_iter()
        .filter(|proof| format!("{} {}", proof.file, proof.name).contains(&args.only))
        .collect();
    if proofs.is_empty() {
        return fail(format!("there is no proof with `{}` in its name", args.only));
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["proof", "", "covered", "time"]);
    let mut all_proved = true;
    for (index, proof) in proofs.iter().enumerate() {
        let (end, covered, took) = run(proof, &format!("[{}/{}]", index + 1, proofs.len()), args)?;
        all_proved &= end == End::Proved;
        let name = format!("{} {}", proof.file, proof.name);
        table.add_row([name, end.name().to_string(), covered, format!("{:.1} s", took.as_secs_f64())]);
    }
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    Ok(all_proved)
}

/// All ignored tests of the model.
fn all() -> Result<Vec<Proof>, Not> {
    let build = ["test", "--release", "-p", "standstill-model", "--no-run", "--message-format=json"];
    let built = succeed(&mut cargo(&build))?;
    let mut proofs = Vec::new();
    for line in built.stdout.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let (Some(executable), Some(file)) =
            (message["executable"].as_str(), message["target"]["name"].as_str())
        else {
            continue;
        };
        if message["profile"]["test"] != true {
            continue;
        }
        let listed = succeed(&mut command(executable, &["--ignored", "--list", "--format", "terse"]))?;
        for name in names(&listed.stdout) {
            proofs.push(Proof {
                file: file.to_string(),
                name: name.to_string(),
                executable: executable.into(),
            });
        }
    }
    Ok(proofs)
}

/// The tests in a list of the test harness.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| line.strip_suffix(": test"))
}

/// Runs one proof.
fn run(proof: &Proof, nth: &str, args: &Args) -> Result<(End, String, Duration), Not> {
    let began = Instant::now();
    let mut command = command(&proof.executable, &["--ignored", "--exact", &proof.name, "--nocapture"]);
    // Into files: a proof that writes more than a pipe holds would wait for ever.
    let dir = crate::run::target_dir().join("proofs");
    let file = |name: &str| dir.join(format!("{}-{}.{name}", proof.file, proof.name.replace(':', "-")));
    let open = |name: &str| std::fs::File::create(file(name));
    let opened = std::fs::create_dir_all(&dir).and_then(|()| Ok((open("out")?, open("err")?)));
    let (out, err) = match opened {
        Ok(files) => files,
        Err(error) => return fail(format!("{} can't be written to: {error}", dir.display())),
    };
    let mut child = match command.stdout(Stdio::from(out)).stderr(Stdio::from(err)).spawn() {
        Ok(child) => child,
        Err(error) => return fail(format!("{}: {error}", proof.executable.display())),
    };
    let in_time = wait(&mut child, &format!("{nth} {} {}", proof.file, proof.name), args.max_seconds)?;
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap_or_default();
    let (stdout, stderr) = (read("out"), read("err"));
    let end = match in_time {
        None => End::GivenUp,
        Some(true) if stdout.contains("test result: ok. 1 passed") => End::Proved,
        Some(_) => End::Failed,
    };
    let covered = covered(&stdout);
    if end == End::Failed {
        show(&Output { code: 1, stdout, stderr });
    }
    Ok((end, covered, began.elapsed()))
}

/// Waits for the end: did it succeed? `None`: it was given up.
fn wait(child: &mut Child, name: &str, max_seconds: u64) -> Result<Option<bool>, Not> {
    let began = Instant::now();
    let plain = !std::io::stderr().is_terminal();
    let bar = if plain { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.set_message(name.to_string());
    let mut next = Duration::ZERO;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                bar.finish_and_clear();
                return Ok(Some(status.success()));
            }
            Ok(None) => {}
            Err(error) => return fail(format!("{name}: {error}")),
        }
        let elapsed = began.elapsed();
        if max_seconds != 0 && elapsed.as_secs() >= max_seconds {
            // It may have ended just now: then there is nothing left to kill.
            let _ = child.kill();
            let _ = child.wait();
            bar.finish_and_clear();
            return Ok(None);
        }
        if plain && elapsed >= next {
            eprintln!("{name}: {} s", elapsed.as_secs());
            next = elapsed + PLAIN;
        }
        bar.tick();
        std::thread::sleep(NAP);
    }
}

/// What a proof says that it covered: the sum of its lines.
fn covered(stdout: &str) -> String {
    let (mut states, mut traces) = (0_u64, 0_u64);
    for line in stdout.lines() {
        // The harness begins the line of a test without ending it.
        let Some((_, said)) = line.split_once("proof: ") else { continue };
        let mut words = said.split(' ');
        let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
            continue;
        };
        match what.trim_end_matches([',', ';']) {
            "states" => states += number,
            "traces" => traces += number,
            _ => {}
        }
    }
    let some = |number: u64, what: &str| (number > 0).then(|| format!("{} {what}", thousands(number)));
    [some(states, "states"), some(traces, "traces")].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_listed_and_benchmarks_are_not() {
        let list = "a::b: test\nc: benchmark\nd: test\n";
        assert_eq!(names(list).collect::<Vec<_>>(), ["a::b", "d"]);
    }

    #[test]
    fn what_was_covered_is_the_sum_of_what_is_said() {
        let out = "\nrunning 1 test\ntest x ... proof: 1000 states, of late-cpu\nproof: 234 states\nproof: 16 traces\nproof: many states\nok\n";
        assert_eq!(covered(out), "1,234 states, 16 traces");
        assert_eq!(covered("ok\n"), "");
    }
}
