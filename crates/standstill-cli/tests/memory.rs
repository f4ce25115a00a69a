//! Work is not lost: not by a kill, not where memory ends, and not where an allocation fails.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use standstill_cli::check_json::CheckJson;
use standstill_cli::json::Verdict;

/// Of so many states.
const SEARCH: [&str; 5] = ["check", "--cpus", "3", "--json", "--checkpoint"];
const STATES: u64 = 2_932;

fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("standstill-memory-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn command(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
    command.args(SEARCH).arg(path);
    command
}

fn json(out: &Output) -> CheckJson {
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{stderr}");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

/// Goes on to the end, and comes to what one search comes to.
fn goes_on(path: &Path) {
    let end = json(&command(path).output().expect("it starts"));
    assert_eq!((end.coverage.kind.as_str(), end.coverage.states), ("exhausted", STATES));
    assert!(end.verdict == Verdict::Pass && !path.exists());
}

/// Kills a search once it was kept; false if it came to its end before.
fn killed(path: &Path) -> bool {
    let mut child = command(path)
        .args(["--checkpoint-every", "0.001"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    while !path.exists() && child.try_wait().expect("it is ours").is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    path.exists()
}

#[test]
fn a_killed_search_goes_on() {
    let path = file("killed");
    let hit = (0..50).any(|_| killed(&path));
    assert!(hit, "a search of a moment was not hit once");
    goes_on(&path);
}

#[test]
fn a_search_without_memory_ends_with_its_verdict_and_goes_on() {
    let path = file("limit");
    let cut = json(&command(&path).args(["--max-memory", "1M"]).output().expect("it starts"));
    assert_eq!((cut.coverage.bound.as_deref(), cut.verdict), (Some("bytes"), Verdict::Incomplete));
    assert!(cut.coverage.states < STATES && path.exists());
    goes_on(&path);
}

/// As `ulimit -v` has it.
fn with_addresses(command: &mut Command, bytes: u64) -> &mut Command {
    // SAFETY: one system call, between fork and exec, that allocates nothing.
    unsafe {
        command.pre_exec(move || {
            let limit = rustix::process::Rlimit { current: Some(bytes), maximum: Some(bytes) };
            Ok(rustix::process::setrlimit(rustix::process::Resource::As, limit)?)
        })
    }
}

#[test]
fn a_limit_of_the_system_ends_a_search_or_refuses_it() {
    let path = file("ulimit");
    // The least that the program starts with, and little more; the search has far more states than fit.
    let cut = (28..200).step_by(4).find_map(|mebibytes| {
        let mut large = command(&path);
        large.args(["--irqs", "4", "--threads", "1", "--max-seconds", "60"]);
        let out = with_addresses(&mut large, mebibytes << 20).output().expect("it starts");
        (out.status.code() == Some(0)).then(|| json(&out))
    });
    let cut = cut.expect("it starts with less than 200 MiB");
    assert_eq!((cut.coverage.bound.as_deref(), cut.verdict), (Some("bytes"), Verdict::Incomplete));
    assert!(path.exists(), "{:?}", cut.coverage);
    std::fs::remove_file(&path).expect("it is this test's own");

    // Where not even a machine fits, there is one line; a program that can't be loaded is the system's affair.
    for mebibytes in [24, 28, 32, 48] {
        let mut small = command(&path);
        let out = with_addresses(&mut small, mebibytes << 20).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(!stderr.contains("panicked"), "{mebibytes} MiB: {stderr}");
        assert!(out.status.code().is_some(), "{mebibytes} MiB: {}: {stderr}", out.status);
        let _ = std::fs::remove_file(&path);
    }
}
