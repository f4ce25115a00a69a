//! Ctrl-C and SIGTERM end a run cleanly, with its result.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use rustix::process::Signal;
use standstill_cli::check_json::CheckJson;
use standstill_cli::json::{TortureJson, Verdict};

/// Starts the command, sends it `signal` once its progress says `started`, and waits: its exit code, and what it printed.
fn interrupted(args: &[&str], started: &str, signal: Signal) -> (Option<i32>, String) {
    let mut child = Command::cargo_bin("standstill")
        .expect("cargo builds it")
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut progress = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    progress.read_line(&mut line).expect("there is a line");
    assert!(line.contains(started), "{line}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, signal).expect("it is ours");
    let mut text = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut text).expect("it is text");
    (child.wait().expect("it ends").code(), text)
}

#[test]
fn a_signal_ends_it_with_what_was_found_so_far() {
    for signal in [Signal::INT, Signal::TERM] {
        let (code, text) = interrupted(&["torture", "--seconds", "3600", "--json"], "of 3600 s", signal);
        let json: TortureJson = serde_json::from_str(&text).expect("one object");
        assert_eq!((code, json.verdict), (Some(0), Verdict::Incomplete), "{json:#?}");
        assert!(json.seconds < 3600.0);
    }
}

#[test]
fn ctrl_c_ends_a_search_with_what_was_seen_so_far() {
    let args = ["check", "--scenario", "down-and-up", "--cpus", "4", "--irqs", "2", "--json"];
    let (code, text) = interrupted(&args, " states, ", Signal::INT);
    let json: CheckJson = serde_json::from_str(&text).expect("one object");
    assert_eq!((code, json.verdict), (Some(0), Verdict::Incomplete), "{json:#?}");
    assert_eq!(json.coverage.bound.as_deref(), Some("stopped"));
}
