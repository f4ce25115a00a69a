//! `cargo test` as a step: how long each program took, which tests fail, and an end for those that hang.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::run::{Not, Outcome, cargo, command, fail, minutes, output};

/// After so long without a line, something hangs: a program is built and each test runs in less.
const SILENCE: Duration = Duration::from_secs(15 * 60);
/// A program that takes longer than this gets a line of its own.
const LONG: Duration = Duration::from_secs(20);
/// How much is shown of a failure.
const LINES: usize = 60;
const COLUMNS: usize = 300;

enum Line {
    Out(String),
    Err(String),
}

/// Runs tests and says how many there were.
pub(crate) fn tests(args: &[&str]) -> Outcome {
    let mut command = cargo(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().or_else(|error| fail(format!("cargo: {error}")))?;
    let (to, from) = channel();
    let out = child.stdout.take().map(|stream| reader(stream, Line::Out, to.clone()));
    let err = child.stderr.take().map(|stream| reader(stream, Line::Err, to));
    let mut watched = Watched::default();
    if let Err(Not::Passed(why)) = watched.follow(&from) {
        // The tests are children of cargo's, in its group.
        let _ = output(&mut command_to_end(child.id()));
        let _ = child.wait();
        return fail(why);
    }
    let status = child.wait().or_else(|error| fail(format!("cargo: {error}")))?;
    for thread in [out, err].into_iter().flatten() {
        let _ = thread.join();
    }
    watched.next(None);
    if status.success() {
        return Ok(format!("{} tests", count(&watched.out)));
    }
    watched.show();
    fail(format!("`cargo {}` ended with {}", args.join(" "), status.code().unwrap_or(-1)))
}

fn command_to_end(group: u32) -> std::process::Command {
    command("kill", &["-KILL", "--", &format!("-{group}")])
}

fn reader(
    stream: impl Read + Send + 'static,
    kind: fn(String) -> Line,
    to: Sender<Line>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if to.send(kind(String::from_utf8_lossy(&line).into_owned())).is_err() {
                return;
            }
        }
    })
}

/// What the tests have written.
#[derive(Default)]
struct Watched {
    out: Vec<String>,
    err: Vec<String>,
    /// The program that runs.
    runs: Option<(String, Instant)>,
}

impl Watched {
    /// Until both streams have ended.
    fn follow(&mut self, lines: &Receiver<Line>) -> Result<(), Not> {
        loop {
            match lines.recv_timeout(SILENCE) {
                Ok(Line::Out(line)) => {
                    if line.contains("has been running for over") {
                        println!("   | {line}");
                    }
                    self.out.push(line);
                }
                Ok(Line::Err(line)) => {
                    let name = line.trim_start();
                    if name.starts_with("Running ") || name.starts_with("Doc-tests ") {
                        self.next(Some(name.to_string()));
                    }
                    self.err.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    let runs = self.runs.as_ref().map_or("cargo", |(name, _)| name);
                    let silence = minutes(SILENCE);
                    self.show();
                    return fail(format!("nothing was written for {silence} ({runs}): a test hangs"));
                }
            }
        }
    }

    fn next(&mut self, name: Option<String>) {
        let now = Instant::now();
        if let Some((name, began)) = self.runs.take() {
            let took = now - began;
            if took >= LONG {
                println!("   | {:>8}  {name}", minutes(took));
            }
        }
        self.runs = name.map(|name| (name, now));
    }

    /// The failures, and the end of what cargo itself had to say.
    fn show(&self) {
        let mut shown = 0;
        let mut inside = false;
        for line in &self.out {
            if line == "failures:" {
                (inside, shown) = (true, 0);
            }
            if line.starts_with("test result: ") {
                inside = false;
            }
            if inside && shown < LINES {
                print_cut(line);
                shown += 1;
            }
        }
        for line in &self.err[self.err.len().saturating_sub(LINES)..] {
            print_cut(line);
        }
    }
}

fn print_cut(line: &str) {
    println!("   | {}", line.chars().take(COLUMNS).collect::<String>());
}

/// Adds up the lines that each program ends with.
fn count(stdout: &[String]) -> usize {
    let passed = stdout.iter().filter_map(|line| line.strip_prefix("test result: ok. "));
    passed.filter_map(|line| line.split(' ').next()?.parse::<usize>().ok()).sum()
}

/// As [`count`], of a text.
pub(crate) fn count_tests(stdout: &str) -> usize {
    count(&stdout.lines().map(str::to_string).collect::<Vec<_>>())
}
