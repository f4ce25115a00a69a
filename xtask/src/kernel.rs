//! What is tested on the reference kernel in QEMU.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::bench;
use crate::hotadd;
use crate::image::{self, Presets};
use crate::lints;
use crate::rollback;
use crate::run::{Outcome, Steps, cargo, command, fail, output, root, show, succeed, target_dir};
use crate::script;
use crate::tools::{self, BARE};

/// How long a console may be open.
const CONSOLE_SECONDS: &str = "180";
/// How soon a machine that hangs is to notice it. A CPU may have to wait for so long until it runs, on a machine that is busy.
const WATCHDOG: &str = "watchdog 8";
/// How often each CPU but the first goes and comes back, however long that takes.
const CYCLES: &str = "100";
/// What a machine that was told to exit leaves.
pub(crate) const DONE: i32 = 0;

/// Runs all steps. The command was built.
pub(crate) fn all(steps: &mut Steps, quick: bool) {
    steps.run("kernel: formatting", || {
        succeed(&mut in_kernel(cargo(&["fmt", "--check"]))).map(|_| String::new())
    });
    steps.run("kernel: clippy, warnings are errors", || {
        let clippy = ["clippy", "--release", "--target", BARE];
        lints::clippy(in_kernel(tools::bare_clippy(&clippy)?))
    });
    steps.run("kernel: an image without study presets knows none", no_study);
    steps.run("kernel: image for the torture", || image::build(Presets::Study));
    if let Err(not) = tools::EMULATOR.needed() {
        steps.run("kernel: in QEMU", || Err(not));
        return;
    }
    let seconds = if quick { "3" } else { "10" };
    for (cpus, preset, cycles, code) in [
        ("2", "standstill", CYCLES, 0),
        ("4", "standstill", CYCLES, 0),
        ("2", "linux-3.14", "0", 1),
        ("4", "linux-6.12", "0", 0),
    ] {
        steps.run(&format!("kernel: torture of {cpus} CPUs: {preset}"), || {
            torture(&[cpus, "--protocol", preset, "--seconds", seconds, "--cycles", cycles], code)
        });
    }
    script::all(steps);
    steps.run("kernel: a failure in each state that can fail is undone in reverse order", rollback::all);
    steps.run("kernel: the last CPU online is asked for back", hotadd::last_online);
    hot_adds(steps, if quick { 1 } else { 3 }, hotadd::COUNT);
    steps.run("kernel: the bench, for a moment", bench::smoke);
    for (name, line, headline, wanted) in [
        ("a panic stops all CPUs and fails", "panic", "CPU ", &["somebody typed `panic`"][..]),
        (
            "a CPU that hangs with its interrupts off is found",
            "hang 2",
            "CPU 2, seen by",
            &["CPU 2 does not answer"],
        ),
        (
            "a stop in which a CPU hangs is found",
            "freeze 2",
            "CPU 2, seen by CPU 0",
            &["CPU 2 hangs, and CPU 0 waits for it", "and CPU 2 does not answer"],
        ),
        (
            "a stop in which the CPU that keeps the time hangs is found",
            "freeze 0",
            "CPU 0",
            &["CPU 0 hangs, and maybe all", "and CPU 0 does not answer"],
        ),
        ("a thread that waits for what never comes is found", "lost", "CPU ", &["nothing happens any more"]),
    ] {
        steps.run(&format!("kernel: {name}"), || crash(line, headline, wanted));
    }
}

/// So many fresh machines, each of which gets `count` CPUs and gives them back.
pub(crate) fn hot_adds(steps: &mut Steps, rounds: usize, count: usize) {
    for round in 1..=rounds {
        steps.run(
            &format!("kernel: {count} CPUs are plugged in and out under torture, machine {round}"),
            || hotadd::round(round, count),
        );
    }
}

fn in_kernel(mut cargo: std::process::Command) -> std::process::Command {
    cargo.current_dir(root().join("kernel")).env("CARGO_TARGET_DIR", target_dir());
    cargo
}

/// As for the library: the name of a study preset is in the one image and not in the other, so the look can tell.
fn no_study() -> Outcome {
    for (presets, wanted) in [(Presets::Study, true), (Presets::Safe, false)] {
        image::build(presets)?;
        let name = b"linux-3.14";
        let found = match fs::read(image::path()) {
            Ok(bytes) => bytes.windows(name.len()).any(|window| window == name),
            Err(error) => return fail(format!("{}: {error}", image::path().display())),
        };
        if found != wanted {
            return fail(format!("study presets asked for: {wanted}; in the image: {found}"));
        }
    }
    Ok(String::new())
}

fn standstill(args: &[&str]) -> std::process::Command {
    let mut command = command(target_dir().join("release/standstill"), args);
    command.arg("--image").arg(image::path());
    command
}

fn torture(args: &[&str], code: i32) -> Outcome {
    let out = output(&mut standstill(&[&["torture", "--on", "qemu", "--cpus"], args].concat()))?;
    if out.code != code {
        show(&out);
        return fail(format!("ended with {}, not with {code}", out.code));
    }
    let cycles =
        out.stdout.lines().find(|line| line.contains("offline and online again")).unwrap_or_default();
    Ok(format!("exit {code}, {cycles}"))
}

/// What follows the last line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The end of the input.
    Follows,
    /// Nothing.
    Stays,
}

/// Types `lines` on the console of a machine and returns its exit code and what it printed.
pub(crate) fn console(lines: &[&str], end: End) -> Result<(i32, String), crate::run::Not> {
    let mut console = command("timeout", &[CONSOLE_SECONDS]);
    console
        .arg(target_dir().join("release/standstill"))
        .args(["console", "--cpus", "4", "--image"])
        .arg(image::path());
    let mut child = match console.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    {
        Ok(child) => child,
        Err(error) => return fail(format!("standstill: {error}")),
    };
    if let Some(stdin) = &mut child.stdin {
        for line in lines {
            // A machine that has ended reads nothing more; its output tells.
            let _ = writeln!(stdin, "{line}");
        }
    }
    // The end of what is typed is the end of the machine; one that is to hang stays.
    let stays = (end == End::Stays).then(|| child.stdin.take());
    drop(child.stdin.take());
    let out = child.wait_with_output();
    drop(stays);
    match out {
        Ok(out) => Ok((out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned())),
        Err(error) => fail(format!("standstill: {error}")),
    }
}

/// A machine that breaks ends by itself, with a failing code, a headline that names the CPU, one of the `wanted` reasons,
/// and what each CPU did.
fn crash(line: &str, headline: &str, wanted: &[&str]) -> Outcome {
    let (code, text) = console(&[WATCHDOG, line], End::Stays)?;
    let complete = text.contains(&format!("\nPANIC on {headline}"))
        && wanted.iter().any(|words| text.contains(words))
        && (0..4).all(|cpu| told(&text, cpu));
    if code == DONE || !complete {
        return fail(format!("ended with {code}, and this:\n{text}"));
    }
    Ok(format!("exit {code}"))
}

/// Does the report of a crash say what `cpu` was, and what it did last?
fn told(report: &str, cpu: usize) -> bool {
    let Some((_, about)) = report.split_once(&format!("\nCPU {cpu}: ")) else { return false };
    let mut lines = about.lines();
    let state = lines.next().is_some_and(|line| line.contains("(online), ") && line.contains("runs "));
    let events = lines.take_while(|line| line.starts_with("  "));
    state
        && events
            .filter(|line| line.ends_with('}') || line.chars().all(|c| c.is_alphanumeric() || c == ' '))
            .count()
            > 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_state_or_events_is_noticed() {
        let events = "  WriteLocked\n  UpBegin { who: CPU 2, target: active (67) }\n  WriteUnlocked\n";
        let report = format!(
            "\nCPU 0: active (online), Halted, runs idle\n{events}CPU 1: active (online), Thread, runs main\n  it did not take the interrupt\n"
        );
        assert!(told(&report, 0));
        assert!(!told(&report, 1), "no events");
        assert!(!told(&report, 2), "not there");
        assert!(!told(&report.replace("(online), Halted, runs idle", ""), 0), "no state");
    }
}
