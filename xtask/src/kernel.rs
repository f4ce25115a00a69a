//! What is tested on the reference kernel in QEMU.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::hotadd;
use crate::image::{self, Presets};
use crate::run::{Outcome, Steps, command, fail, output, root, show, skip, succeed, target_dir, works};
use crate::tools::{self, BARE, QEMU};

/// How long a console may be open. The kernel's watchdog takes twenty seconds.
const CONSOLE_SECONDS: &str = "180";
/// What a machine that was told to exit leaves.
const DONE: i32 = 0;

/// Runs all steps. The command was built.
pub(crate) fn all(steps: &mut Steps, quick: bool) {
    steps.run("kernel: formatting", || {
        succeed(&mut in_kernel(tools::bare_cargo(&["fmt", "--check"])?)).map(|_| String::new())
    });
    steps.run("kernel: clippy, warnings are errors", || {
        let clippy = ["clippy", "--release", "--target", BARE, "--", "-D", "warnings"];
        if !tools::has_target(BARE) {
            return skip(format!("the target {BARE} is not installed"));
        }
        succeed(&mut in_kernel(tools::bare_cargo(&clippy)?)).map(|_| String::new())
    });
    steps.run("kernel: an image without study presets knows none", no_study);
    steps.run("kernel: image for the torture", || image::build(Presets::Study));
    if !works(QEMU, &["--version"]) {
        steps.run("kernel: in QEMU", || skip(format!("{QEMU} is not installed")));
        return;
    }
    let seconds = if quick { "3" } else { "10" };
    for (cpus, preset, code) in
        [("2", "standstill", 0), ("4", "standstill", 0), ("2", "linux-3.14", 1), ("4", "linux-6.12", 0)]
    {
        steps.run(&format!("kernel: torture of {cpus} CPUs: {preset}"), || {
            torture(cpus, preset, seconds, code)
        });
    }
    steps.run("kernel: each rollback is in reverse order", rollbacks);
    hot_adds(steps, if quick { 1 } else { 3 }, hotadd::COUNT);
    steps.run("kernel: a panic stops all CPUs and fails", || crash("panic", "PANIC on"));
    steps.run("kernel: a CPU that hangs is found", || crash("hang 2", "CPU 2 does not answer"));
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

fn torture(cpus: &str, preset: &str, seconds: &str, code: i32) -> Outcome {
    let args = ["torture", "--on", "qemu", "--cpus", cpus, "--protocol", preset, "--seconds", seconds];
    let out = output(&mut standstill(&args))?;
    if out.code != code {
        show(&out);
        return fail(format!("ended with {}, not with {code}", out.code));
    }
    let line = out.stdout.lines().find(|line| line.contains("CPU offline")).unwrap_or_default();
    let count = line.split('┆').nth(1).unwrap_or_default().trim();
    Ok(format!("exit {code}, offline {count}"))
}

/// Types `lines` on the console of a machine and returns its exit code and what it printed.
fn console(lines: &[&str]) -> Result<(i32, String), crate::run::Not> {
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
    // What is typed early waits in QEMU until the kernel reads it, all but one byte that the port holds when the kernel sets it up: so the
    // first line is empty. The pipe stays open: its end is no end of the machine.
    if let Some(stdin) = &mut child.stdin {
        for line in [&[""], lines].concat() {
            // A machine that has ended reads nothing more; its output tells.
            let _ = writeln!(stdin, "{line}");
        }
    }
    let stdin = child.stdin.take();
    let out = child.wait_with_output();
    drop(stdin);
    match out {
        Ok(out) => Ok((out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned())),
        Err(error) => fail(format!("standstill: {error}")),
    }
}

/// A failure in each state where a walk may fail, up and down: the callbacks that ran are undone in reverse order.
fn rollbacks() -> Outcome {
    let states = ["prepare/0", "prepare/1", "online/0", "online/1", "online/2"];
    let mut lines = vec!["down 2".to_string()];
    for state in states {
        lines.extend([format!("fail 2 {state}"), "up 2".into()]);
    }
    lines.push("up 2".into());
    for state in &states[2..] {
        lines.extend([format!("fail 2 {state}"), "down 2".into()]);
    }
    lines.push("exit".into());
    let (code, text) = console(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
    match check_rollbacks(&text) {
        Ok(count) if code == DONE && count == states.len() + 3 => Ok(format!("{count} rollbacks")),
        Ok(count) => fail(format!("{count} rollbacks were seen, and the console ended with {code}:\n{text}")),
        Err(why) => fail(format!("{why}:\n{text}")),
    }
}

/// Counts the rollbacks in the console's log, and looks at their order.
fn check_rollbacks(text: &str) -> Result<usize, String> {
    let (mut done, mut undone, mut count) = (Vec::new(), Vec::new(), 0);
    for line in text.lines().map(str::trim) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            // CPU 2: Up online/1 workers
            ["CPU", _, walk @ ("Up" | "Down"), state, ..] => done.push((walk, state)),
            ["CPU", _, walk, state, ..] if walk.starts_with("Rollback") => undone.push(state),
            // The one that failed was not called.
            [_, "Injected"] => drop(done.pop()),
            // Control then takes the CPU down again, which is a walk of its own: only the rollback's order counts.
            _ if line.contains("everything was undone") => {
                let forward = done.first().map(|(walk, _)| *walk).unwrap_or_default();
                let mut expected: Vec<_> =
                    done.iter().filter(|(walk, _)| *walk == forward).map(|(_, state)| *state).collect();
                expected.retain(|state| !state.starts_with("starting"));
                expected.reverse();
                if undone != expected {
                    return Err(format!("{expected:?} ran backwards, and {undone:?} was undone"));
                }
                (done, undone, count) = (Vec::new(), Vec::new(), count + 1);
            }
            [] => {}
            _ if line.contains(" after ") => (done, undone) = (Vec::new(), Vec::new()),
            _ => {}
        }
    }
    Ok(count)
}

/// A machine that breaks ends by itself, with a failing code, and says what each CPU did.
fn crash(line: &str, wanted: &str) -> Outcome {
    let (code, text) = console(&[line])?;
    let complete = text.contains(wanted) && (0..4).all(|cpu| text.contains(&format!("\nCPU {cpu}: ")));
    if code == DONE || !complete {
        return fail(format!("ended with {code}, and this:\n{text}"));
    }
    Ok(format!("exit {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: &str = "  CPU 2: Up prepare/0 memory\n  CPU 2: Up online/0 caches\n  CPU 2: Up online/1 workers\n    online/1 Injected\n";
    const END: &str = "CPU 2: workers refused; everything was undone; CPU 2 is offline\n";

    #[test]
    fn a_rollback_in_reverse_order_is_counted() {
        let log = format!(
            "{UP}  CPU 2: RollbackDown online/0 caches\n  CPU 2: RollbackDown prepare/0 memory\n{END}"
        );
        assert_eq!(check_rollbacks(&log), Ok(1));
    }

    #[test]
    fn a_wrong_order_and_a_missing_step_are_found() {
        let wrong = format!(
            "{UP}  CPU 2: RollbackDown prepare/0 memory\n  CPU 2: RollbackDown online/0 caches\n{END}"
        );
        let missing = format!("{UP}  CPU 2: RollbackDown online/0 caches\n{END}");
        assert!(check_rollbacks(&wrong).is_err());
        assert!(check_rollbacks(&missing).is_err());
    }
}
