//! Streams that can't be written, and outputs that can't: the verdict is never lost, and nothing panics.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Every command that ends soon, with its exit code and its verdict if it has one.
const COMMANDS: [(&[&str], i32, Option<&str>); 9] = [
    (&["presets"], 0, None),
    (&["scenarios"], 0, None),
    (&["--help"], 0, None),
    (&["check", "--help"], 0, None),
    (&["check", "--protocol", "linux-3.14"], 1, Some("verdict: fail")),
    (&["check", "--protocol", "linux-3.14", "--json"], 1, Some("verdict: fail")),
    (&["check", "--irqs", "0"], 0, Some("verdict: pass")),
    (&["check", "--matrix", "--protocol", "linux-3.14", "--cpus", "2"], 0, Some("verdict: pass")),
    (&["torture", "--seconds", "0.2", "--cpus", "2", "--json"], 0, Some("verdict: pass")),
];

fn standstill(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
    command.args(args).stdin(Stdio::null());
    command
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("Linux has it").into()
}

/// A pipe that nobody reads.
fn gone() -> Stdio {
    std::io::pipe().expect("two descriptors").1.into()
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (stdout, stderr) = (text(stdout), text(stderr));
    (status.code().unwrap_or_else(|| panic!("{status}: {stderr}")), stdout, stderr)
}

/// One line of at most 300 bytes, and nothing of a panic.
fn one_line(error: &str) {
    assert!(error.ends_with('\n') && error.lines().count() == 1 && error.len() <= 300, "{error:?}");
    assert!(error.starts_with("standstill: "), "{error:?}");
}

#[test]
fn a_reader_that_leaves_ends_each_command_quietly_with_its_own_exit_code() {
    for (args, exit, _) in COMMANDS {
        let (code, _, stderr) = run(standstill(args).stdout(gone()));
        assert_eq!((code, stderr.as_str()), (exit, ""), "{args:?}");
    }
}

#[test]
fn a_full_disk_is_noticed_before_the_work() {
    for (args, ..) in COMMANDS {
        let (code, _, stderr) = run(standstill(args).stdout(full()));
        assert_eq!(code, 2, "{args:?}: {stderr}");
        one_line(&stderr);
        assert!(stderr.contains("standard output can't be written: No space left"), "{stderr}");
    }
}

#[test]
fn a_standard_error_that_takes_nothing_changes_nothing() {
    for (args, exit, verdict) in COMMANDS {
        for stderr in [full(), gone()] {
            let (code, stdout, _) = run(standstill(args).stderr(stderr));
            assert_eq!(code, exit, "{args:?}");
            let json = args.contains(&"--json");
            assert!(json || stdout.contains(verdict.unwrap_or_default()), "{args:?}: {stdout}");
        }
    }
    let (code, ..) = run(standstill(&["dance"]).stderr(full()));
    assert_eq!(code, 2);
    let (code, ..) = run(standstill(&["check", "--protocol", "linux-3.14"]).stdout(gone()).stderr(gone()));
    assert_eq!(code, 1);
}

#[test]
fn closed_streams_are_as_good_as_none() {
    for (args, exit, _) in COMMANDS {
        let line = format!("'{}' {} >&- 2>&-", env!("CARGO_BIN_EXE_standstill"), args.join(" "));
        let (code, ..) = run(Command::new("sh").args(["-c", &line]));
        assert_eq!(code, exit, "{line}");
    }
}

#[test]
fn a_disk_that_fills_while_it_works_takes_the_report_and_not_the_verdict() {
    // Files may be 4 kB long: the probe fits, the report does not.
    let out = std::env::temp_dir().join(format!("standstill-fills-{}", std::process::id()));
    for (args, expected) in [
        ("check --protocol linux-3.14", (1, "fail")),
        ("check --matrix --protocol linux-3.14 --cpus 2 --json", (2, "pass")),
    ] {
        let line = format!(
            "ulimit -f 8 && exec '{}' {args} > '{}'",
            env!("CARGO_BIN_EXE_standstill"),
            out.display()
        );
        let (code, _, stderr) = run(Command::new("sh").args(["-c", &line]));
        assert_eq!(code, expected.0, "{line}: {stderr}");
        one_line(&stderr);
        assert!(stderr.contains(&format!("verdict: {}; standard output", expected.1)), "{stderr}");
    }
    std::fs::remove_file(out).expect("it is ours");
}

/// A folder of the test's own, which is removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("standstill-streams-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        Dir(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Each option that names an output, with the command that has it. `REPLAY` is a schedule, `PART` a part.
const OUTPUTS: [(&[&str], &str); 14] = [
    (&["check", "--cpus", "4"], "--save"),
    (&["check", "--cpus", "4"], "--html"),
    (&["check", "--cpus", "4"], "--svg"),
    (&["check", "--cpus", "4"], "--trace"),
    (&["check", "--cpus", "4"], "--checkpoint"),
    (&["check", "--cpus", "4", "--engine", "dpor", "--shard", "1/2"], "--part-file"),
    (&["check", "--cpus", "4", "--matrix", "--shard", "1/2"], "--part-file"),
    (&["check", "--cpus", "4", "--matrix"], "--save"),
    (&["check", "--cpus", "4", "--matrix"], "--html"),
    (&["check", "merge", "PART"], "--save"),
    (&["check", "merge", "PART"], "--html"),
    (&["replay", "REPLAY"], "--svg"),
    (&["replay", "REPLAY"], "--trace"),
    (&["replay", "REPLAY"], "--html"),
];

#[test]
fn an_output_that_cannot_be_written_is_noticed_before_the_work() {
    let dir = Dir::new("outputs");
    let (replay, part) = (dir.path("a.replay"), dir.path("a.part"));
    let save = ["check", "--protocol", "linux-3.14", "--save", &replay];
    assert_eq!(run(&mut standstill(&save)).0, 1);
    let matrix = ["check", "--matrix", "--protocol", "linux-3.14", "--cpus", "2", "--shard", "1/1"];
    assert_eq!(run(standstill(&matrix).args(["--part-file", &part])).0, 0);
    for (args, option) in OUTPUTS {
        let args: Vec<_> =
            args.iter().map(|arg| arg.replace("REPLAY", &replay).replace("PART", &part)).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        for place in ["/proc/none/x", "/dev/full", "/proc/x", "", &format!("{replay}/x")] {
            let began = std::time::Instant::now();
            let (code, stdout, stderr) = run(standstill(&args).args([option, place]));
            assert_eq!((code, stdout.as_str()), (2, ""), "{args:?} {option} {place}: {stderr}");
            one_line(&stderr);
            assert!(stderr.contains(option), "{args:?} {option} {place}: {stderr}");
            // Four CPUs take minutes.
            assert!(
                began.elapsed().as_secs() < 20,
                "{args:?} {option} {place}: it was noticed after the work"
            );
        }
        for input in [&replay, &part].into_iter().filter(|input| args.contains(&input.as_str())) {
            if option == "--save" {
                continue;
            }
            let before = std::fs::read(input).expect("it was written");
            let link = dir.path("link");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(input, &link).expect("a link");
            for name in [input, &link] {
                let (code, stdout, stderr) = run(standstill(&args).args([option, name]));
                assert_eq!((code, stdout.as_str()), (2, ""), "{args:?} {option} {name}: {stderr}");
                assert!(stderr.contains("is the input"), "{stderr}");
            }
            assert_eq!(std::fs::read(input).expect("it is there"), before);
        }
    }
    let (code, _, stderr) =
        run(standstill(&["replay", &replay, "--svg"]).args([&dir.path("x"), "--html", &dir.path("x")]));
    assert!(code == 2 && stderr.contains("is --svg"), "{stderr}");
    assert!(!Path::new(&dir.path("x")).exists());
    // Standard output is an output, too.
    let file = File::create(dir.path("report")).expect("a file");
    let (code, _, stderr) = run(standstill(&["replay", &replay, "--svg", &dir.path("report")]).stdout(file));
    assert!(code == 2 && stderr.contains("is standard output, too"), "{stderr}");
}

#[test]
fn a_name_that_is_no_text_is_as_good_as_any() {
    use std::os::unix::ffi::OsStringExt;
    let dir = Dir::new("names");
    let mut name = dir.path("x").into_bytes();
    name.extend(b"\xff\x1b[31m");
    let name = std::ffi::OsString::from_vec(name);
    let (code, stdout, stderr) =
        run(standstill(&["check", "--protocol", "linux-3.14", "--json", "--save"]).arg(&name));
    assert_eq!((code, stderr.as_str()), (1, ""));
    assert!(!stdout.contains('\x1b') && Path::new(&name).exists(), "{stdout}");
    let (code, stdout, stderr) = run(standstill(&["check", "--irqs", "0", "--save"]).arg(&name));
    assert!(code == 0 && stdout.contains("verdict: pass"), "{stdout}");
    assert!(stderr.contains("nothing to put into") && !stderr.contains('\x1b'), "{stderr:?}");
}

/// A hole behind the right beginning: it takes no room on the disk, and is not read to its end.
#[test]
fn an_input_that_only_begins_well_takes_no_memory() {
    let dir = Dir::new("inputs");
    let matrix = "{\"schema\":\"standstill.matrix-part/1\"";
    for (begin, size, line) in [
        ("standstill-checkpoint 2\n", 1_u64 << 35, "check --max-seconds 1 --checkpoint"),
        ("standstill-checkpoint 2\nprogram 0\n", 1 << 35, "check --max-seconds 1 --checkpoint"),
        ("standstill-part 1\n", 1 << 30, "check merge"),
        (matrix, 1 << 26, "check merge"),
        (matrix, 1 << 35, "check merge"),
        ("standstill-replay 1\n", 1 << 26, "replay"),
        ("\x7fELF", 1 << 28, "torture --on qemu --seconds 1 --qemu /bin/true --image"),
    ] {
        let path = dir.path("hole");
        std::fs::write(&path, begin).expect("a file");
        File::options().write(true).open(&path).expect("a file").set_len(size).expect("a hole");
        let exe = env!("CARGO_BIN_EXE_standstill");
        // In kilobytes: an image is looked at as a whole, a search wants some to begin with.
        let line = format!("ulimit -v 700000 && exec '{exe}' {line} '{path}'");
        let (code, stdout, stderr) = run(Command::new("sh").args(["-c", &line]));
        assert_eq!((code, stdout.as_str()), (2, ""), "{line}: {stderr}");
        one_line(&stderr);
        assert!(!stderr.contains("memory"), "{line}: {stderr}");
    }
}
