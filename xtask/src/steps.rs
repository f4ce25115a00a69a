//! What is tested.

use std::fs;

use crate::cargo_test::{count_tests, tests};
use crate::lints;
use crate::run::{
    Not, Outcome, Steps, cargo, command, fail, nightly, output, show, skip, succeed, target_dir,
};
use crate::tools::{self, AARCH64, AARCH64_LIBS, AARCH64_LINKER, AARCH64_QEMU, BARE};

/// What exit code a short torture of a preset has to end with.
enum Expect {
    /// Every promise is kept, and no call is late or lost.
    Pass,
    /// The race shows.
    Fail,
    /// Either: the preset promises too little for a short run to be sure.
    Any,
}

/// The presets, with what a short torture of each has to show.
const PRESETS: [(&str, Expect); 7] = [
    ("standstill", Expect::Pass),
    ("single-deaf", Expect::Pass),
    ("refuse", Expect::Pass),
    ("linux-6.12", Expect::Pass),
    ("linux-3.14", Expect::Fail),
    ("seed-v6", Expect::Any),
    ("no-stop", Expect::Any),
];

/// How much is tested.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What a change needs while it is made.
    Quick,
    /// What must hold before a change goes in: under 20 minutes on two cores.
    Usual,
    /// What takes longer, too.
    Full,
}

/// Runs all steps.
pub(crate) fn all(steps: &mut Steps, extent: Extent) {
    let quick = extent == Extent::Quick;
    steps.run("formatting", || quiet(&mut cargo(&["fmt", "--all", "--check"])));
    steps.run("clippy: everything, warnings are errors", || {
        lints::clippy(cargo(&["clippy", "--workspace", "--all-targets", "--all-features"]))
    });
    steps.run("clippy: the library as kernels build it", || {
        lints::clippy(cargo(&["clippy", "-p", "standstill", "--all-targets"]))
    });
    steps.run("unit, doc and UI tests", || {
        tests(&["test", "--workspace", "--all-features", "--no-fail-fast"])
    });
    steps.run("bad input for the command", || crate::fuzz::short(20));
    steps.run("unit tests of the library as kernels build it", || {
        tests(&["test", "-p", "standstill", "--lib"])
    });
    steps.run("documentation, warnings are errors", lints::doc);
    if !quick {
        steps.run("instructions of the library's short ways", || {
            tools::VALGRIND.needed()?;
            let table = succeed(&mut cargo(&["bench", "-p", "standstill", "--bench", "counts"]))?.stdout;
            let rows = table.lines().filter(|line| line.starts_with("| ")).count();
            Ok(format!("{} operations counted", rows.saturating_sub(1)))
        });
    }
    steps.run("build without std", || {
        quiet(&mut tools::bare_cargo(&["build", "-p", "standstill", "--target", BARE])?)
    });
    steps.run("imports go one way", crate::layers::check);
    steps.run("kernels get no study preset", no_study);
    steps.run("the library has no dependencies outside the workspace", no_dependencies);
    if !quick {
        miri(steps, extent);
    }
    tortures(steps, quick);
    crate::kernel::all(steps, quick);
    if !quick {
        steps.run("aarch64: build, and torture under QEMU", aarch64);
    }
}

fn quiet(command: &mut std::process::Command) -> Outcome {
    succeed(command).map(|_| String::new())
}

/// The feature is off unless somebody asks for it: what the bare build made knows no study preset, and the same build with the
/// feature does (so that this look can tell).
fn no_study() -> Outcome {
    let look = |features: &[&str]| -> Result<bool, Not> {
        let build = ["build", "-p", "standstill", "--target", BARE];
        succeed(&mut tools::bare_cargo(&[&build, features].concat())?)?;
        let file = target_dir().join(BARE).join("debug/libstandstill.rlib");
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) => return fail(format!("{}: {error}", file.display())),
        };
        let name = b"LINUX_3_14";
        Ok(bytes.windows(name.len()).any(|window| window == name))
    };
    if !look(&["--features", "study"])? {
        return fail("a build with the feature does not name its presets: this test is blind");
    }
    if look(&[])? { fail("a build without the feature knows a study preset") } else { Ok(String::new()) }
}

fn no_dependencies() -> Outcome {
    let tree = ["tree", "-p", "standstill", "--edges", "normal,build", "--target", "all", "--prefix", "none"];
    let out = succeed(&mut cargo(&[&tree[..], &["--format", "{lib} [{f}]"]].concat()))?;
    match out.stdout.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>()[..] {
        ["standstill []", "smpmem []"] => Ok(String::new()),
        _ => fail(format!(
            "the library depends on something outside the workspace, or has a feature on by default:\n{}",
            out.stdout
        )),
    }
}

/// What needs no signals, in an interpreter that knows undefined behaviour. It is some hundred times slower than the
/// machine, so the long tests are for `--full`.
fn miri(steps: &mut Steps, extent: Extent) {
    // The tests on the polled port end with a power cut: machines and the CPUs in the middle of them are leaked, and a dying CPU
    // hands the address of its last store to another thread as a number.
    const STRICT: &str = "-Zmiri-strict-provenance";
    const POWER_CUT: &str = "-Zmiri-permissive-provenance -Zmiri-ignore-leaks";
    let mut parts = vec![
        ("the library's units", "standstill", vec!["--lib"], STRICT),
        ("the torture's units", "standstill-torture", vec!["--lib"], STRICT),
        ("calls and stops", "standstill", vec!["--test", "basics"], POWER_CUT),
    ];
    if extent == Extent::Full {
        parts.push(("hotplug", "standstill", vec!["--test", "hotplug", "--test", "hotplug_late"], POWER_CUT));
    }
    for (name, package, which, flags) in parts {
        steps.run(&format!("Miri: {name}"), || {
            tools::miri_works()?;
            let mut miri = nightly(&[&["miri", "test", "-p", package], &which[..]].concat());
            miri.env("CARGO_TARGET_DIR", target_dir().join("miri")).env("MIRIFLAGS", flags);
            Ok(format!("{} tests", count_tests(&succeed(&mut miri)?.stdout)))
        });
    }
}

/// Builds the `standstill` command; says whether it is there.
pub(crate) fn build_command(steps: &mut Steps) -> bool {
    let mut built = false;
    steps.run("build the command", || {
        let outcome = quiet(&mut cargo(&["build", "--release", "-p", "standstill-cli"]));
        built = outcome.is_ok();
        outcome
    });
    built
}

fn tortures(steps: &mut Steps, quick: bool) {
    let built = build_command(steps);
    let seconds = if quick { "1" } else { "5" };
    for (preset, expect) in PRESETS {
        steps.run(&format!("torture: {preset}"), || {
            if !built {
                return skip("the command was not built");
            }
            let program = target_dir().join("release/standstill");
            torture(&mut command(program, &["torture", "--protocol", preset, "--seconds", seconds]), &expect)
        });
    }
}

fn torture(command: &mut std::process::Command, expect: &Expect) -> Outcome {
    let out = output(command)?;
    let as_expected = match expect {
        Expect::Pass => out.code == 0,
        Expect::Fail => out.code == 1,
        Expect::Any => matches!(out.code, 0 | 1),
    };
    let first = out.stdout.lines().find(|line| line.starts_with("first ")).unwrap_or_default();
    if as_expected {
        return Ok(format!("exit {}{}{first}", out.code, if first.is_empty() { "" } else { ", " }));
    }
    show(&out);
    fail(format!("ended with {}", out.code))
}

fn aarch64() -> Outcome {
    tools::AARCH64_TOOLS.needed()?;
    let build = ["build", "--release", "-p", "standstill-cli", "--target", AARCH64];
    succeed(cargo(&build).env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", AARCH64_LINKER))?;
    let program = target_dir().join(AARCH64).join("release/standstill");
    let program = program.to_string_lossy();
    let args = ["-L", AARCH64_LIBS, &program, "torture", "--cpus", "2", "--seconds", "3"];
    torture(&mut command(AARCH64_QEMU, &args), &Expect::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_added_up() {
        let text =
            "running 2 tests\ntest result: ok. 2 passed; 0 failed\n\ntest result: ok. 40 passed; 0 failed\n";
        assert_eq!(count_tests(text), 42);
    }
}
