//! The command as a user meets it: exit codes, one line for bad input, JSON and nothing else, a short torture of each preset.

use std::process::Output;

use assert_cmd::Command;
use standstill_cli::json::{TORTURE, TortureJson, Verdict};

fn standstill(args: &[&str]) -> Output {
    Command::cargo_bin("standstill").expect("cargo builds it").args(args).output().expect("it starts")
}

fn torture(args: &[&str]) -> (i32, TortureJson) {
    let out = standstill(&[&["torture", "--json"], args].concat());
    let text = String::from_utf8(out.stdout).expect("JSON is UTF-8");
    assert_eq!(text.trim_end().lines().count(), 1, "one object and nothing else: {text}");
    let json = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}\n{text}\n{}", String::from_utf8_lossy(&out.stderr));
    });
    (out.status.code().expect("no signal ended it"), json)
}

/// The form, with how often it was sent.
fn sent(json: &TortureJson, form: &str) -> u64 {
    json.calls.iter().find(|calls| calls.form == form).expect("all forms are listed").sent
}

#[test]
fn bad_input_gets_one_line_and_exit_code_2() {
    let cases: [(&[&str], &str); 6] = [
        (&["torture", "--cpus", "0"], "a machine has 1 to 1024 CPUs"),
        (&["torture", "--cpus", "100000"], "a machine has 1 to 1024 CPUs"),
        (&["torture", "--protocol", "hope"], "the presets are: standstill, single-deaf, refuse, linux-3.14"),
        (&["torture", "--seconds", "-1"], "a time is 0.001 to 604800 seconds"),
        (&["torture", "--seconds", "soon"], "a time is 0.001 to 604800 seconds"),
        (&["levitate"], "there is no command 'levitate'"),
    ];
    for (args, expected) in cases {
        let out = standstill(args);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        assert!(out.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn the_presets_are_listed_with_their_promises() {
    let out = standstill(&["presets"]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0));
    for preset in ["standstill", "single-deaf", "refuse", "linux-3.14", "seed-v6", "linux-6.12", "no-stop"] {
        assert!(text.lines().any(|line| line.starts_with(preset)), "{preset}: {text}");
    }
    assert!(
        text.lines().any(|line| line.starts_with("standstill") && line.trim_end().ends_with("WLSO")),
        "{text}"
    );
}

#[test]
fn the_default_passes_and_its_books_balance() {
    let (exit, json) = torture(&["--seconds", "1", "--seed", "3"]);
    assert_eq!((exit, json.exit, json.verdict), (0, 0, Verdict::Pass), "{json:#?}");
    assert_eq!((json.schema.as_str(), json.port.as_str(), json.seed, json.cpus), (TORTURE, "hosted", 3, 4));
    assert_eq!((json.late, json.lost, json.spurious, json.outside), (0, 0, 0, 0));
    for calls in &json.calls {
        assert_eq!(calls.sent, calls.ran + calls.refused + calls.lost, "{calls:?}");
        assert!(calls.ran > 0, "{calls:?}");
    }
    assert!(json.hotplug.down.ok > 0 && json.stop.frozen.n > 0, "{json:#?}");
    assert!(json.rules.iter().all(|rule| rule.broken == 0));
    let silent = |id: &str| json.rules.iter().any(|rule| rule.id == id && rule.checked == 0);
    for id in [
        "exactly-once",
        "right-cpu",
        "order",
        "memory-in",
        "memory-out",
        "ran-set",
        "masks",
        "books",
        "lines",
    ] {
        assert!(!silent(id), "rule {id} was never asked");
    }
}

#[test]
fn every_preset_ends_with_a_verdict_that_fits_its_counts() {
    for preset in ["single-deaf", "refuse", "linux-6.12", "linux-3.14", "seed-v6", "no-stop"] {
        let (exit, json) = torture(&["--seconds", "1", "--protocol", preset]);
        assert_eq!(json.protocol.preset, preset);
        let bad = json.late + json.lost;
        assert_eq!(exit, i32::from(bad > 0), "{json:#?}");
        if ["single-deaf", "refuse", "linux-6.12"].contains(&preset) {
            assert_eq!(bad, 0, "{json:#?}");
        }
        if bad > 0 {
            let first = json.first_failure.as_ref().expect("a failure is named");
            assert!(first.func.is_some() && first.sender.is_some(), "{first:?}");
        }
    }
}

#[test]
fn one_cpu_and_seventy_work_too() {
    let (exit, json) = torture(&["--seconds", "0.3", "--cpus", "1"]);
    assert_eq!((exit, json.cpus, json.hotplug.down.tried), (0, 1, 0), "{json:#?}");
    let (exit, json) = torture(&["--seconds", "0.5", "--cpus", "70"]);
    assert_eq!((exit, json.cpus), (0, 70), "{json:#?}");
    assert!(sent(&json, "all") > 0);
}

#[test]
fn the_table_names_the_seed_and_the_verdict() {
    let out = standstill(&["torture", "--seconds", "0.3", "--seed", "0x2a"]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{text}");
    for expected in ["seed 42", "late (W)", "machine stopped", "single_wait", "verdict: pass"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}
