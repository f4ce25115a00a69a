//! `standstill check --shard` and `standstill check merge`: eight processes are one.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use standstill_cli::check_json::MatrixJson;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(out: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().expect("no signal ended it"), text(&out.stdout), text(&out.stderr))
}

fn dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("standstill-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    dir
}

/// A search of the library, with two final states.
const SEARCH: &[&str] = &["check", "--engine", "dpor", "--irqs", "0", "--scenario", "late-cpu"];

fn start(part: &str, file: &str) -> Child {
    command(&[SEARCH, &["--shard", part, "--part-file", file]].concat()).spawn().expect("it starts")
}

#[test]
fn eight_processes_are_one() {
    let dir = dir("parts");
    let file = |name: &str| dir.join(name).display().to_string();
    let whole = file("whole");
    let (exit, stdout, stderr) = text(&start("1/1", &whole).wait_with_output().expect("it ends"));
    assert_eq!(exit, 0, "{stdout}{stderr}");
    let files: Vec<String> = (1..=8).map(|index| file(&format!("part{index}"))).collect();
    let running: Vec<Child> =
        files.iter().zip(1..).map(|(file, index)| start(&format!("{index}/8"), file)).collect();
    for child in running {
        let (exit, stdout, stderr) = text(&child.wait_with_output().expect("it ends"));
        assert_eq!(exit, 0, "{stdout}{stderr}");
    }
    let merge = |files: &[&str]| {
        let out = command(&[&["check", "merge"], files].concat()).output().expect("it starts");
        text(&out)
    };
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let (exit, merged, stderr) = merge(&names);
    assert_eq!(exit, 0, "{merged}{stderr}");
    assert!(merged.contains("8 parts: ") && merged.contains("in more than one part: 0 traces"), "{merged}");
    assert!(merged.ends_with("verdict: pass\n"), "{merged}");
    // The sets themselves, not only how large they are.
    let hashes = |files: &[&str], set: &str| {
        let mut all: Vec<String> = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(file).expect("it was written");
            let lines = text.lines().skip_while(|line| !line.starts_with(set)).skip(1);
            all.extend(lines.take_while(|line| !line.contains(' ')).map(str::to_string));
        }
        all.sort();
        all.dedup();
        all
    };
    for set in ["traces ", "ends "] {
        let one = hashes(&[&whole], set);
        assert!(one.len() > 1);
        assert_eq!(hashes(&names, set), one, "{set}");
    }
    // What is no whole is refused, in one line.
    let (exit, stdout, stderr) = merge(&names[1..]);
    assert_eq!((exit, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{stderr}");
    assert!(stderr.contains("part 1 of 8 is missing"), "{stderr}");
    let (exit, _, stderr) = merge(&[names[0], names[0]]);
    assert!(exit == 2 && stderr.contains("part 1 is there twice"), "{stderr}");
    let (exit, _, stderr) = merge(&[names[0], &whole]);
    assert!(exit == 2 && stderr.lines().count() == 1, "{stderr}");
    let (exit, _, stderr) = merge(&[&file("nowhere")]);
    assert!(exit == 2 && stderr.contains("can't be read"), "{stderr}");
    std::fs::remove_dir_all(&dir).expect("it is this test's own");
}

const MATRIX: &[&str] = &["check", "--matrix", "--cpus", "2", "--protocol", "linux-3.14,standstill"];

#[test]
fn the_parts_of_a_matrix_are_the_matrix() {
    let dir = dir("matrix-parts");
    let file = |name: &str| dir.join(name).display().to_string();
    let run = |args: &[&[&str]]| text(&command(&args.concat()).output().expect("it starts"));
    let files: Vec<String> = (1..=3).map(|index| file(&format!("part{index}"))).collect();
    for (file, index) in files.iter().zip(1..) {
        let (exit, stdout, stderr) =
            run(&[MATRIX, &["--shard", &format!("{index}/3"), "--part-file", file.as_str()]]);
        assert_eq!(exit, 0, "{stdout}{stderr}");
        assert!(stdout.starts_with(&format!("part {index} of 3: ")), "{stdout}");
    }
    // Times are what they are, and the command and the host are not the matrix's.
    let normal = |stdout: &str| {
        let mut json: MatrixJson = serde_json::from_str(stdout).expect("an object of the schema");
        (json.time_ns, json.command) = (0, Vec::new());
        json.cells.iter_mut().for_each(|cell| cell.time_ns = 0);
        json
    };
    let (exit, whole, stderr) = run(&[MATRIX, &["--json"]]);
    assert_eq!(exit, 0, "{stderr}");
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let (exit, merged, stderr) = run(&[&["check", "merge", "--json"], &names]);
    assert_eq!(exit, 0, "{stderr}");
    let (whole, merged) = (normal(&whole), normal(&merged));
    assert_eq!(whole.cells.len(), 4 * 5);
    assert!(whole.cells.iter().any(|cell| cell.replay.is_some()));
    assert_eq!(whole, merged);
    // In another order, as a table.
    let (exit, stdout, stderr) = run(&[&["check", "merge"], &[names[2], names[0], names[1]]]);
    assert_eq!(exit, 0, "{stderr}");
    assert!(stdout.contains("4 searches in ") && stdout.ends_with("verdict: pass\n"), "{stdout}");

    let refused = |files: &[&str], why: &str| {
        let (exit, stdout, stderr) = run(&[&["check", "merge"], files]);
        assert_eq!((exit, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{stderr}");
        assert!(stderr.contains(why), "{why}: {stderr}");
    };
    refused(&names[1..], "part 1 of 3 is missing (2 of 3 are there)");
    refused(&[names[0], names[0]], "part 1 is there twice: file 1 has it, too");
    let (other, damaged, search) = (file("other"), file("damaged"), file("search"));
    run(&[&["check", "--matrix", "--cpus", "2", "--shard", "3/3", "--part-file", &other, "--irqs", "0"]]);
    refused(&[names[0], names[1], &other], "it is of another matrix: ");
    let part = std::fs::read_to_string(names[2]).expect("it was written");
    std::fs::write(&damaged, part.replace("\"states\":", "\"states\":1")).expect("it is this test's own");
    refused(&[names[0], names[1], &damaged], "the file is damaged: its sum is another one");
    std::fs::write(&damaged, &part[..part.len() / 2]).expect("it is this test's own");
    refused(&[names[0], names[1], &damaged], "the file is damaged: ");
    std::fs::write(&damaged, part.replace("matrix-part/1", "matrix-part/9")).expect("it is this test's own");
    refused(
        &[&damaged],
        "it is `standstill.matrix-part/9`, and this program reads `standstill.matrix-part/1`",
    );
    let (exit, ..) = text(&start("1/1", &search).wait_with_output().expect("it ends"));
    assert_eq!(exit, 0);
    refused(&[names[0], &search], "is not a part of a matrix");
    refused(&[&search, names[0]], "is not a part of a search");
    std::fs::remove_dir_all(&dir).expect("it is this test's own");
}

#[test]
fn what_cannot_be_cut_is_refused() {
    for args in [
        &["check", "--shard", "1/2", "--part-file", "x"][..],
        &["check", "--engine", "dpor", "--shard", "3/2", "--part-file", "x"],
        &["check", "--engine", "dpor", "--shard", "1/2"],
        &["check", "merge"],
    ] {
        let (exit, stdout, stderr) = text(&command(args).output().expect("it starts"));
        assert_eq!((exit, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        assert!(!stderr.is_empty());
    }
}
