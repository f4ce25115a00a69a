//! Ctrl-C ends a run cleanly, with its result.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use standstill_cli::check_json::CheckJson;
use standstill_cli::json::{TortureJson, Verdict};

#[test]
fn ctrl_c_ends_it_with_what_was_found_so_far() {
    let mut child = Command::cargo_bin("standstill")
        .expect("cargo builds it")
        .args(["torture", "--seconds", "3600", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // The first line of progress: the workloads run.
    let mut progress = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    progress.read_line(&mut line).expect("there is a line");
    assert!(line.contains("of 3600 s"), "{line}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is ours");
    let mut text = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut text).expect("it is text");
    let status = child.wait().expect("it ends");
    let json: TortureJson = serde_json::from_str(&text).expect("one object");
    assert_eq!((status.code(), json.verdict), (Some(0), Verdict::Incomplete), "{json:#?}");
    assert!(json.seconds < 3600.0);
}

#[test]
fn ctrl_c_ends_a_search_with_what_was_seen_so_far() {
    let mut child = Command::cargo_bin("standstill")
        .expect("cargo builds it")
        .args(["check", "--scenario", "down-and-up", "--cpus", "4", "--irqs", "2", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut progress = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    progress.read_line(&mut line).expect("there is a line");
    assert!(line.contains(" states, "), "{line}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is ours");
    let mut text = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut text).expect("it is text");
    let status = child.wait().expect("it ends");
    let json: CheckJson = serde_json::from_str(&text).expect("one object");
    assert_eq!((status.code(), json.verdict), (Some(0), Verdict::Incomplete), "{json:#?}");
    assert_eq!(json.coverage.bound.as_deref(), Some("stopped"));
}
