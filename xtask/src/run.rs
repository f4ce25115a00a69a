//! Commands, and steps with their outcome.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many lines of a failed command are shown.
const TAIL: usize = 60;

/// How a step ended, if it did not pass: why it failed, or why it was skipped.
pub(crate) enum Not {
    Passed(String),
    Run(String),
}

/// What a step returns: a remark for the list, or why not.
pub(crate) type Outcome = Result<String, Not>;

/// A step that failed.
pub(crate) fn fail<T>(why: impl Into<String>) -> Result<T, Not> {
    Err(Not::Passed(why.into()))
}

/// A step that can't run here.
pub(crate) fn skip<T>(why: impl Into<String>) -> Result<T, Not> {
    Err(Not::Run(why.into()))
}

/// The steps that ran.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration, Outcome)>,
}

impl Steps {
    /// Runs a step and says how it went.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Outcome) {
        println!("-- {name}");
        let began = Instant::now();
        let outcome = step();
        let took = began.elapsed();
        println!("{}", line(name, took, &outcome));
        self.done.push((name.into(), took, outcome));
    }

    /// Prints all steps and the totals; true if none failed.
    pub(crate) fn summary(&self) -> bool {
        println!("\nsummary");
        for (name, took, outcome) in &self.done {
            println!("{}", line(name, *took, outcome));
        }
        let count = |f: fn(&Outcome) -> bool| self.done.iter().filter(|(_, _, o)| f(o)).count();
        let failed = count(|o| matches!(o, Err(Not::Passed(_))));
        let skipped = count(|o| matches!(o, Err(Not::Run(_))));
        println!("   took {:>8}", minutes(self.done.iter().map(|(_, took, _)| *took).sum()));
        println!("{} passed, {failed} failed, {skipped} skipped", self.done.len() - failed - skipped);
        failed == 0
    }
}

/// Minutes and seconds, e.g. `12:04.5`.
pub(crate) fn minutes(took: Duration) -> String {
    let tenths = took.as_millis() / 100;
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

fn line(name: &str, took: Duration, outcome: &Outcome) -> String {
    let (word, remark) = match outcome {
        Ok(remark) => ("pass", remark),
        Err(Not::Passed(why)) => ("FAIL", why),
        Err(Not::Run(why)) => ("skip", why),
    };
    let colon = if remark.is_empty() { "" } else { ": " };
    format!("   {word} {:>8}  {name}{colon}{remark}", minutes(took))
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where cargo builds to.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A command in the root of the repository.
pub(crate) fn command(program: impl AsRef<OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// Cargo, as it runs this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
}

/// Cargo of the nightly toolchain. Through rustup's `cargo`, as the one that runs this program knows only its own toolchain.
pub(crate) fn nightly(args: &[&str]) -> Command {
    let mut command = command("cargo", &[&["+nightly"], args].concat());
    command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// What a command wrote, and its exit code (-1 if it has none).
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command and takes what it writes.
pub(crate) fn output(command: &mut Command) -> Result<Output, Not> {
    match command.output() {
        Ok(output) => Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Err(error) => fail(format!("{}: {error}", command.get_program().display())),
    }
}

/// Runs a command that has to succeed. What it wrote is shown if it does not.
pub(crate) fn succeed(command: &mut Command) -> Result<Output, Not> {
    let output = output(command)?;
    if output.code == 0 {
        return Ok(output);
    }
    show(&output);
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    fail(format!("`{} {}` ended with {}", command.get_program().display(), args.join(" "), output.code))
}

/// Shows the end of what a command wrote.
pub(crate) fn show(output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        let lines: Vec<_> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            println!("   | {line}");
        }
    }
}

/// Does this command exist, and succeed?
pub(crate) fn works(program: &str, args: &[&str]) -> bool {
    matches!(output(&mut command(program, args)), Ok(Output { code: 0, .. }))
}
