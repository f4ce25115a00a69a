//! Feeds the command with command lines, files and console input that nobody would think of.
//!
//! `cargo xtask fuzz [--seconds N] [--seed X]` runs it. A driver starts workers, which are this program again: a worker
//! that dies or hangs is noticed, its case is named, and another one goes on behind it. Each case is made of the seed, its class
//! and its number, so it can be made again: `--only CLASS:NUMBER`.
//!
//! | class | a case is | must end |
//! |---|---|---|
//! | `line` | a command line, and where its output goes | with 0, 1 or 2, and at most one error of one line |
//! | `replay`, `checkpoint`, `part`, `matrix` | a damaged file, read by the command that reads it | as above |
//! | `serial` | what a machine in QEMU prints, damaged | as above |
//! | `console` | a kilobyte that is typed on the kernel's console | with lines that are commands, or refused in one line |

#![expect(clippy::disallowed_methods, reason = "a fuzzer that gets no thread may panic")]

mod console;
mod damage;
mod lines;
mod planted;
mod rng;
mod seeds;
mod trial;
mod work;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Parser;

use work::{CLASSES, Class};

/// A case that takes longer hangs: Ctrl-C came long before.
const HANGS_AFTER: Duration = Duration::from_secs(60);
/// A class that goes wrong so often need not be tried further.
const ENOUGH: usize = 20;

#[derive(Parser)]
struct Args {
    /// Ends after so many seconds, whatever was tried; without it each class is tried in full
    #[arg(long)]
    seconds: Option<u64>,
    /// Where all cases come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One class, or one case of it again, and what it is
    #[arg(long, value_name = "CLASS[:NUMBER]")]
    only: Option<String>,
    /// Plants each kind of error, and sees whether it is noticed
    #[arg(long)]
    self_test: bool,
    #[arg(long, hide = true, num_args = 3)]
    worker: Option<Vec<String>>,
    #[arg(long, hide = true)]
    seeds: Option<String>,
}

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.nth(1).is_some_and(|word| word == "--as-command") {
        let line = std::iter::once("standstill".into()).chain(std::env::args_os().skip(2));
        return ExitCode::from(standstill_cli::run(line));
    }
    let args = Args::parse();
    if let Some(worker) = &args.worker {
        // What starts the tests may have it ignored, and Ctrl-C ends what is long here.
        // SAFETY: no other thread runs, and nobody has installed a handler.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        work::work(args.seed, worker);
        return ExitCode::SUCCESS;
    }
    if let Some(dir) = &args.seeds {
        return if seeds::make(dir.as_ref()) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match drive(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            standstill_io::note(&format!("fuzz: {error}"));
            ExitCode::from(2)
        }
    }
}

/// When a case, and when all of them, take too long.
#[derive(Clone, Copy)]
struct Limits {
    deadline: Option<Instant>,
    hangs_after: Duration,
}

/// Tries what is planted: all of it must be noticed, in the right words, but for what is good.
fn self_test(exe: &std::path::Path, dir: &std::path::Path) -> Result<bool, String> {
    let limits = Limits { deadline: None, hangs_after: Duration::from_secs(5) };
    let mut all = true;
    for (case, (what, words)) in (0..).zip(planted::PLANTED) {
        let mut tally = Tally::new(&work::PLANTED_CLASS);
        (tally.next, tally.quiet) = (case, true);
        run(exe, dir, 1, &mut tally, case + 1, limits)?;
        let noticed = match tally.wrong.as_slice() {
            [] => words.is_empty(),
            [wrong] => !words.is_empty() && wrong.contains(words),
            _ => false,
        };
        if !noticed {
            print(&format!("{what} is planted, and noticed is {:?}\n", tally.wrong));
            all = false;
        }
    }
    let verdict = if all { "pass" } else { "fail" };
    print(&format!("{} kinds of errors were planted\nverdict: {verdict}\n", planted::PLANTED.len() - 1));
    Ok(all)
}

/// What became of a class.
struct Tally {
    class: &'static Class,
    next: u64,
    done: u64,
    /// Exit codes 0, 1, 2.
    exits: [u64; 3],
    in_process: u64,
    parsed: u64,
    wrong: Vec<String>,
    seconds: f64,
    /// What goes wrong is not printed.
    quiet: bool,
}

fn drive(args: &Args) -> Result<bool, String> {
    let dir = std::env::temp_dir().join(format!("standstill-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let made = Command::new(&exe).arg("--seeds").arg(&dir).stdout(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        return Err("the files that are damaged could not be made".into());
    }
    let began = Instant::now();
    let mut tallies: Vec<Tally> = CLASSES.iter().map(Tally::new).collect();
    if let Some(only) = &args.only {
        let (class, case) = only.split_once(':').map_or((only.as_str(), None), |(c, n)| (c, Some(n)));
        tallies.retain(|tally| tally.class.name == class);
        let tally = tallies.first_mut().ok_or("there is no such class")?;
        let mut until = tally.class.cases;
        if let Some(case) = case {
            tally.next = case.parse().map_err(|_| "a case is CLASS:NUMBER")?;
            until = tally.next + 1;
            print(&format!("{only}: {}\n", work::describe(class, args.seed, tally.next)));
        }
        let deadline = args.seconds.map(|seconds| began + Duration::from_secs(seconds));
        run(&exe, &dir, args.seed, tally, until, Limits { deadline, hangs_after: HANGS_AFTER })?;
    } else if args.self_test {
        let result = self_test(&exe, &dir);
        let _ = std::fs::remove_dir_all(&dir);
        return result;
    } else {
        // In turns, so that whatever the time every class has its share.
        let rounds = if args.seconds.is_some() { u64::MAX } else { 1 };
        for round in 1..=rounds {
            let all = args.seconds.is_none();
            for tally in &mut tallies {
                let until = if all { tally.class.cases } else { (tally.class.cases / 200).max(1) * round };
                let deadline = args.seconds.map(|seconds| began + Duration::from_secs(seconds));
                run(&exe, &dir, args.seed, tally, until, Limits { deadline, hangs_after: HANGS_AFTER })?;
            }
            if args.seconds.is_some_and(|seconds| began.elapsed().as_secs() >= seconds) {
                break;
            }
        }
    }
    let _ = std::fs::remove_dir_all(&dir);
    print(&report(&tallies, args.seed, began.elapsed()));
    Ok(tallies.iter().all(|tally| tally.wrong.is_empty()))
}

fn print(text: &str) {
    // The exit code says how it went, whoever reads.
    let _ = standstill_io::answer(text, None, 0);
}

impl Tally {
    fn new(class: &'static Class) -> Tally {
        let (next, done, in_process, parsed) = (0, 0, 0, 0);
        Tally {
            class,
            next,
            done,
            exits: [0; 3],
            in_process,
            parsed,
            wrong: Vec::new(),
            seconds: 0.0,
            quiet: false,
        }
    }

    /// A line of a worker: the case that begins, or how it ended.
    fn hear(&mut self, line: &str, seed: u64) {
        let mut words = line.splitn(4, ' ');
        let (what, case) = (words.next(), words.next().and_then(|case| case.parse::<u64>().ok()));
        let Some(case) = case else { return };
        match (what, words.next(), words.next()) {
            (Some("end"), Some(exit), how) => {
                self.done += 1;
                self.next = case + 1;
                match how {
                    Some("parsed") => self.parsed += 1,
                    Some("process") => self.in_process += 1,
                    _ => {}
                }
                if let Some(count) = exit.parse::<usize>().ok().and_then(|exit| self.exits.get_mut(exit)) {
                    *count += u64::from(how != Some("parsed"));
                }
            }
            (Some("bad"), one, two) => {
                let why = format!("{} {}", one.unwrap_or_default(), two.unwrap_or_default());
                self.bad(seed, case, &why);
            }
            _ => {}
        }
    }

    fn bad(&mut self, seed: u64, case: u64, why: &str) {
        let name = self.class.name;
        let what = work::describe(name, seed, case);
        let wrong = format!("{name}:{case}: {why}\n    {what}");
        if !self.quiet {
            print(&format!("{wrong}\n"));
        }
        self.wrong.push(wrong);
    }
}

/// Runs the cases of a class up to `until`, in as many workers as it takes.
fn run(
    exe: &std::path::Path,
    dir: &std::path::Path,
    seed: u64,
    tally: &mut Tally,
    until: u64,
    limits: Limits,
) -> Result<(), String> {
    let deadline = limits.deadline;
    let began = Instant::now();
    while tally.next < until && tally.wrong.len() < ENOUGH {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
        let (from, to) = (tally.next.to_string(), until.to_string());
        let mut command = Command::new(exe);
        command.args(["--seed", &seed.to_string(), "--worker", tally.class.name, &from, &to]);
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let lines = listen(&mut child);
        let died = hear(&mut child, &lines, tally, seed, limits);
        if let Some(why) = died {
            let case = tally.next;
            let kept = work::keep(dir, seed, tally.class.name, case);
            tally.bad(seed, case, &format!("{why}{kept}"));
            (tally.next, tally.done) = (case + 1, tally.done + 1);
        }
    }
    tally.seconds += began.elapsed().as_secs_f64();
    Ok(())
}

/// The lines of a worker, as they come; its standard error too, whose end is kept for a death.
fn listen(child: &mut Child) -> Receiver<Result<String, String>> {
    let (send, lines) = channel();
    if let Some(stderr) = child.stderr.take() {
        let send = send.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = send.send(Err(line));
            }
        });
    }
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(Ok(line));
            }
        });
    }
    lines
}

/// Hears a worker out. Why it did not come to its end, if so.
fn hear(
    child: &mut Child,
    lines: &Receiver<Result<String, String>>,
    tally: &mut Tally,
    seed: u64,
    Limits { deadline, hangs_after }: Limits,
) -> Option<String> {
    let mut last = String::new();
    loop {
        match lines.recv_timeout(hangs_after) {
            Ok(Ok(line)) => tally.hear(&line, seed),
            Ok(Err(line)) => last = line,
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                return Some(format!("hangs for {} s", hangs_after.as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait().ok()?;
                return (!status.success()).then(|| format!("the process ended with {status}: {last}"));
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
    }
}

fn report(tallies: &[Tally], seed: u64, took: Duration) -> String {
    let mut out = format!(
        "{:<12} {:>7} {:>7} {:>7} {:>7} {:>9} {:>7} {:>6} {:>8}\n",
        "class", "cases", "exit 0", "exit 1", "exit 2", "processes", "parsed", "wrong", "seconds"
    );
    for tally in tallies {
        let [pass, fail, refused] = tally.exits;
        out.push_str(&format!(
            "{:<12} {:>7} {pass:>7} {fail:>7} {refused:>7} {:>9} {:>7} {:>6} {:>8.1}\n",
            tally.class.name,
            tally.done,
            tally.in_process,
            tally.parsed,
            tally.wrong.len(),
            tally.seconds
        ));
    }
    let wrong: usize = tallies.iter().map(|tally| tally.wrong.len()).sum();
    let verdict = if wrong == 0 { "pass" } else { "fail" };
    out.push_str(&format!("seed {seed}, {:.0} s\nverdict: {verdict}\n", took.as_secs_f64()));
    out
}
