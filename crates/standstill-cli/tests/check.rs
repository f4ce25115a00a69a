//! `standstill check` and `standstill replay` as a user meets them.

use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;
use standstill_cli::check_json::{CHECK, CheckJson, MATRIX, MatrixJson};
use standstill_cli::json::Verdict;

fn standstill(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("standstill").expect("cargo builds it");
    command.args(args).env("COLUMNS", "110").env("LC_ALL", "C.UTF-8").output().expect("it starts")
}

fn text(out: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().expect("no signal ended it"), text(&out.stdout), text(&out.stderr))
}

/// A directory of this test's own, empty.
fn dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("standstill-check-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    dir
}

/// What each object that a command prints begins with.
const FRAME: [&str; 8] = ["schema", "version", "command", "host", "protocol", "seed", "exit", "verdict"];

/// The object has these fields; some may be null.
fn has(value: &serde_json::Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some(), "{field} is missing: {value}");
    }
}

#[test]
fn the_default_passes_and_says_what_was_covered() {
    let (exit, stdout, stderr) = text(&standstill(&["check"]));
    assert_eq!(exit, 0, "{stdout}{stderr}");
    for words in [
        "exhausted: ",
        "assumed:",
        "W late never",
        "L lost never",
        "S spurious never",
        "O outside never",
        "verdict: pass",
    ] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
}

#[test]
fn the_race_is_found_and_drawn_with_the_cure_beside_it() {
    let (exit, stdout, stderr) =
        text(&standstill(&["check", "--protocol", "linux-3.14", "--ipi", "instant"]));
    assert_eq!(exit, 1, "{stdout}{stderr}");
    for words in [
        "broken: W (late): CPU 1 finds ",
        "0 preemptions, 1 device interrupt, ",
        "The pair that decides: [1] CPU 1 closes its interrupts",
        "════ DISABLE_IRQ ═",
        "┌─┴ device interrupt ─",
        "sends an IPI ─",
        "<== W",
        "The same schedule under standstill. Nothing breaks",
        "════ DISABLE_IRQ_ACTIVE ═",
        "verdict: fail",
    ] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    let longest = stdout.lines().filter(|line| line.contains('│')).map(|line| line.chars().count()).max();
    assert!(longest <= Some(110), "{stdout}");
}

/// A drawing without the numbers of lines and of steps: what anybody changes in the library moves them.
fn unnumbered(svg: &str) -> String {
    let mut out = String::new();
    let mut rest = svg;
    while let Some(at) = [".rs:", "data-from=\"", "data-steps=\""]
        .iter()
        .filter_map(|mark| Some(rest.find(mark)? + mark.len()))
        .min()
    {
        out.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    }
    out + rest
}

/// The first picture of `docs/checker.md`, by the command that stands beside it.
#[test]
fn the_picture_in_the_docs_is_what_the_command_draws() {
    let dir = dir("picture");
    let path = dir.join("race.svg").to_string_lossy().into_owned();
    let args = ["check", "--protocol", "linux-3.14", "--ipi", "instant", "--svg", &path];
    let (exit, stdout, stderr) = text(&standstill(&args));
    assert_eq!(exit, 1, "{stdout}{stderr}");
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/");
    let page = std::fs::read_to_string(format!("{docs}checker.md")).expect("the page");
    let command = "standstill check --protocol linux-3.14 --ipi instant --svg race.svg";
    assert!(page.contains(command), "the page has another command now");
    let [drawn, kept] = [path, format!("{docs}race.svg")]
        .map(|path| unnumbered(&std::fs::read_to_string(path).expect("a drawing")));
    assert!(drawn.contains(".rs:") && !drawn.contains(".rs:1"));
    assert!(drawn == kept, "docs/race.svg is out of date: `{command}`");
    std::fs::remove_dir_all(&dir).expect("it is ours");
}

#[test]
fn files_are_written_and_replayed() {
    let dir = dir("files");
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let (exit, stdout, stderr) = text(&standstill(&[
        "check",
        "--protocol",
        "linux-3.14",
        "--ipi",
        "instant",
        "--save",
        &path("w.replay"),
        "--svg",
        &path("w.svg"),
        "--html",
        &path("w.html"),
        "--trace",
        &path("w.json"),
    ]));
    assert_eq!(exit, 1, "{stdout}{stderr}");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).expect(name);
    assert!(read("w.svg").starts_with("<svg ") && read("w.html").starts_with("<!doctype html>"));
    let trace: serde_json::Value = serde_json::from_str(&read("w.json")).expect("it is JSON");
    assert!(trace["traceEvents"].as_array().is_some_and(|events| events.len() > 50));

    let (exit, stdout, stderr) =
        text(&standstill(&["replay", &path("w.replay"), "--svg", &path("again.svg")]));
    assert_eq!(exit, 1, "{stdout}{stderr}");
    assert!(
        stdout.contains("step by step") && stderr.is_empty() && stdout.contains("broken: W (late)"),
        "{stdout}"
    );
    assert_eq!(read("w.svg"), read("again.svg"), "the same run has the same picture");

    // A file that says that its run breaks something else is no good, and is told what the run breaks.
    for rule in ["L", "F", "20", "deadlock", "livelock"] {
        let other = read("w.replay").replace("\nrule W\n", &format!("\nrule {rule}\n"));
        std::fs::write(dir.join("other.replay"), other).expect("writable");
        let (exit, stdout, stderr) = text(&standstill(&["replay", &path("other.replay")]));
        assert_eq!((exit, stdout.as_str()), (2, ""), "{stderr}");
        assert!(stderr.contains(&format!("its schedule breaks W, and should break {rule}")), "{stderr}");
    }

    let whole = read("w.replay");
    let begin: Vec<_> = whole.lines().take_while(|line| !line.starts_with("00009 ")).collect();
    let choices = whole.lines().find(|line| line.starts_with("choices ")).expect("it says how many");
    let harmless = (begin.join("\n") + "\nend\n").replace(choices, "choices 9");
    let terminal = format!("\x1b]0;title\x07{}\n", "x".repeat(4_000));
    let long = "x".repeat(100_000) + "\n";
    for (damaged, why) in [
        (whole[..900].to_string(), ", line "),
        (whole.replace("\nrule W\n", "\nrule S-0\n"), "there is no rule `S-0`"),
        (whole.replace("\nrule W\n", &format!("\nrule {terminal}")), "there is no rule `\\u{1b}]0;"),
        (whole.replace("\nend\n", &format!("\n{terminal}end\n")), "is no line of a schedule"),
        (whole.replace("\nrule W\n", &format!("\nrule {long}")), "line 8: it is longer than"),
        (whole.clone() + "more\n", "and there is more: `more`"),
        (whole.clone() + &whole, "and there is more: `standstill-replay 1`"),
        (harmless, "its schedule breaks nothing, and should break W"),
        ("hello".into(), "it does not begin with `standstill-replay`"),
    ] {
        std::fs::write(dir.join("damaged.replay"), damaged).expect("writable");
        let (exit, stdout, stderr) = text(&standstill(&["replay", &path("damaged.replay")]));
        assert_eq!((exit, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{stderr}");
        assert!(stderr.contains("damaged.replay") && stderr.contains(why), "{why}: {stderr:?}");
        assert!(stderr.len() <= 300 && !stderr.contains('\x1b'), "{why}: {stderr:?}");
    }
    std::fs::remove_dir_all(&dir).expect("it is ours");
}

#[test]
fn an_audit_says_what_it_did() {
    let (exit, stdout, stderr) = text(&standstill(&["check", "--audit", "20"]));
    assert_eq!(exit, 0, "{stdout}{stderr}");
    assert!(stdout.contains("audited: 20 merges of states went on alike from both sides: "), "{stdout}");
    let (_, stdout, _) = text(&standstill(&["check", "--audit", "10", "--json"]));
    let json: CheckJson = serde_json::from_str(&stdout).expect("an object of the schema");
    assert!(json.audited.is_some_and(|done| done.merges == 10 && done.steps > done.schedules));
    let (exit, stdout, stderr) = text(&standstill(&["check", "--audit", "20", "--engine", "dpor"]));
    assert_eq!((exit, stdout.as_str()), (2, ""));
    assert!(stderr.contains("--audit works with --engine stateful"), "{stderr}");
}

#[test]
fn json_is_one_object_of_the_schema() {
    let out = standstill(&["check", "--protocol", "linux-3.14", "--json"]);
    let (exit, stdout, _) = text(&out);
    assert_eq!(stdout.trim_end().lines().count(), 1, "{stdout}");
    let json: CheckJson = serde_json::from_str(&stdout).expect("it is the object");
    assert_eq!((json.schema.as_str(), json.exit, json.verdict, exit), (CHECK, 1, Verdict::Fail, 1));
    assert_eq!(
        (json.cpus, json.irqs_per_cpu, json.ipi.as_str(), json.memory.as_str()),
        (2, 1, "delayed", "sc")
    );
    let violation = json.violation.expect("it was found");
    assert!(violation.replay.starts_with("standstill-replay ") && violation.steps > 10);
    assert!(json.coverage.states > 100 && !json.assumptions.is_empty());
    let value: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    has(&value, &FRAME);
    has(&value, &["scenario", "cpus", "irqs_per_cpu", "ipi", "memory", "engine", "coverage", "time_ns"]);
    has(&value, &["peak_bytes", "assumptions", "violation"]);
    has(&value["coverage"], &["kind", "bound", "runs", "states", "steps", "depth"]);
    has(&value["protocol"], &["preset", "stages", "drain", "deaf"]);
    has(&value["host"], &["cpus", "model", "accel"]);
    has(&value["violation"], &["rule", "cpu", "location", "interrupts", "preemptions", "steps"]);
    has(&value["violation"], &["critical_pair", "replay"]);
}

#[test]
fn the_matrix_of_two_cpus_is_the_design_s_and_answers_the_mail() {
    let dir = dir("matrix");
    let page = dir.join("matrix.html").to_string_lossy().into_owned();
    let save = dir.join("replays").to_string_lossy().into_owned();
    // The two presets without a stop have many more states, and are the model's own tests' affair.
    let presets = "linux-3.14,seed-v6,linux-6.12,single-deaf,standstill";
    let mut args = vec!["check", "--matrix", "--protocol", presets, "--cpus", "2", "--json"];
    args.extend(["--html", &page, "--save", &save]);
    let out = standstill(&args);
    let (exit, stdout, stderr) = text(&out);
    let json: MatrixJson =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    assert_eq!(
        (json.schema.as_str(), json.exit, exit, json.verdict),
        (MATRIX, 0, 0, Verdict::Pass),
        "{:?}",
        json.wrong
    );
    let row = |preset: &str, ipi: &str| -> String {
        let cells = json.cells.iter().filter(|cell| cell.preset == preset && cell.ipi == ipi);
        cells.filter(|cell| cell.result == "found").map(|cell| cell.property.as_str()).collect()
    };
    for (preset, instant, delayed) in [
        ("linux-3.14", "WSO", "WLSO"),
        ("seed-v6", "", "WLSO"),
        ("linux-6.12", "SOF", "SOF"),
        ("single-deaf", "F", "F"),
        ("standstill", "", "F"),
    ] {
        assert_eq!(
            (row(preset, "instant").as_str(), row(preset, "delayed").as_str()),
            (instant, delayed),
            "{preset}"
        );
    }
    assert!(json.cells.iter().all(|cell| cell.result != "unknown"));
    assert!(json.answer.iter().any(|line| line.starts_with("For calls, no:")), "{:?}", json.answer);

    let value: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    has(&value, &FRAME);
    has(&value, &["properties", "cells", "answer"]);
    for cell in value["cells"].as_array().expect("a list") {
        has(cell, &["preset", "ipi", "cpus", "property", "result", "states", "time_ns", "replay"]);
        assert_eq!(cell["replay"].is_null(), cell["result"] != "found", "{cell}");
    }

    // Each broken cell can be replayed, and the page shows it.
    let html = std::fs::read_to_string(&page).expect("it was written");
    for cell in json.cells.iter().filter(|cell| cell.result == "found") {
        assert!(cell.replay.as_ref().is_some_and(|file| file.starts_with("standstill-replay")), "{cell:?}");
        let name =
            format!("{}-{}-2-{}", cell.preset.replace('.', "-"), cell.ipi, cell.property.to_lowercase());
        assert!(html.contains(&format!("<section id=\"{name}\">")), "{name}");
        let file = PathBuf::from(&save).join(format!("{name}.replay"));
        let (exit, stdout, stderr) = text(&standstill(&["replay", &file.to_string_lossy()]));
        assert_eq!(exit, 1, "{name}: {stdout}{stderr}");
    }
    std::fs::remove_dir_all(&dir).expect("it is ours");
}

#[test]
fn bad_input_gets_one_line_and_exit_code_2() {
    let cases: [(&[&str], &str); 9] = [
        (&["check", "--matrix", "--cpus", "1,2"], "`offline-vs-device-irq` runs on 2 CPUs or more"),
        (&["check", "--cpus", "0"], "the checker has 1 to"),
        (&["check", "--cpus", "99"], "the checker has 1 to"),
        (&["check", "--irqs", "many"], "0 to 8 device interrupts"),
        (&["check", "--ipi", "late"], "instant, delayed"),
        (&["check", "--memory", "leaky"], "sc, tso"),
        (&["check", "--scenario", "dance"], "`standstill scenarios` lists what there is"),
        (&["check", "--svg", "/nonexistent/x.svg", "--protocol", "linux-3.14"], "can't be written"),
        (&["replay", "/nonexistent/x.replay"], "can't be read"),
    ];
    for (args, expected) in cases {
        let (exit, stdout, stderr) = text(&standstill(args));
        assert_eq!((exit, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
}

#[test]
fn a_limit_is_said_and_leaves_the_verdict_open() {
    let (exit, stdout, _) = text(&standstill(&["check", "--cpus", "4", "--max-states", "20000", "--json"]));
    let json: CheckJson = serde_json::from_str(&stdout).expect("it is the object");
    assert_eq!((exit, json.verdict), (0, Verdict::Incomplete));
    assert_eq!((json.coverage.kind.as_str(), json.coverage.bound.as_deref()), ("bounded", Some("states")));
}

#[test]
fn scenarios_are_listed() {
    let (exit, stdout, _) = text(&standstill(&["scenarios"]));
    assert!(exit == 0 && stdout.lines().any(|line| line.starts_with("offline-vs-device-irq ")), "{stdout}");
}
