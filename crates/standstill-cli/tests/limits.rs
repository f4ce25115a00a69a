//! What the system refuses is one line and exit code 2, wherever it is refused: memory, threads, descriptors.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::{Resource, Rlimit, geteuid, setrlimit};

/// A folder of a test's own, which is removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("standstill-limits-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        Dir(dir)
    }

    /// Files that the commands read.
    fn seeds(&self) {
        for line in [
            "check --protocol linux-3.14 --save a.replay",
            "check --matrix --protocol linux-3.14 --cpus 2 --shard 1/1 --part-file a.part",
        ] {
            let out = self.command(line).output().expect("it starts");
            assert!(matches!(out.status.code(), Some(0 | 1)), "{out:?}");
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
        command.args(line.split(' ')).current_dir(&self.0).stdin(Stdio::null());
        command
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const LINES: [&str; 6] = [
    "torture --seconds 0.1 --cpus 2",
    "check --protocol linux-3.14 --save new.replay --html new.html",
    "check --threads 3",
    "check --matrix --protocol linux-3.14 --cpus 2 --html new.html",
    "check merge a.part --html new.html",
    "replay a.replay --svg new.svg --html new.html",
];

/// Runs it where there is so much of something, at most.
fn within(command: &mut Command, what: Resource, most: u64) -> Output {
    // SAFETY: one system call, between fork and exec, that allocates nothing.
    unsafe {
        command.pre_exec(move || {
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            Ok(setrlimit(
                match what {
                    Resource::As => Resource::As,
                    Resource::Nproc => Resource::Nproc,
                    _ => Resource::Nofile,
                },
                limit,
            )?)
        });
    }
    command.output().expect("it starts")
}

/// It ended as a command does, and said at most one thing on the way; was it refused?
fn is_refused(line: &str, out: &Output) -> bool {
    let stderr = String::from_utf8_lossy(&out.stderr);
    // The system's loader comes before the command.
    if out.status.code() == Some(127) && stderr.contains("shared libraries") {
        return true;
    }
    let code = out.status.code().unwrap_or_else(|| panic!("{line}: {}: {stderr}", out.status));
    assert!(code <= 2, "{line}: {code}: {stderr}");
    // A busy computer may take long enough for a line of progress.
    let errors: Vec<_> = stderr.lines().filter(|line| !line.contains("steps/s")).collect();
    assert!(errors.len() <= 1 && errors.iter().all(|error| error.len() < 300), "{line}: {stderr}");
    if code == 2 {
        assert!(errors.first().is_some_and(|error| error.starts_with("standstill: ")), "{line}: {stderr}");
    }
    code == 2
}

/// Goes through the amounts: the smallest is refused, the largest is not.
fn sweep(name: &str, what: impl Fn() -> Resource, amounts: &[u64]) {
    let dir = Dir::new(name);
    dir.seeds();
    for line in LINES {
        let refused =
            amounts.iter().map(|most| is_refused(line, &within(&mut dir.command(line), what(), *most)));
        let refused: Vec<bool> = refused.collect();
        assert_eq!(refused.last(), Some(&false), "{line}: {refused:?}");
    }
}

#[test]
fn memory_that_is_refused_is_one_line() {
    sweep("memory", || Resource::As, &[28 << 20, 44 << 20, 76 << 20, 4 << 30]);
}

#[test]
fn descriptors_that_are_refused_are_one_line() {
    sweep("descriptors", || Resource::Nofile, &[3, 4, 5, 6, 64]);
}

#[test]
fn threads_that_are_refused_are_one_line() {
    // The first user has no limit.
    if geteuid().is_root() {
        return;
    }
    let dir = Dir::new("threads");
    for line in ["torture --seconds 0.1 --cpus 2", "check --threads 3", "check --matrix --cpus 2"] {
        let out = within(&mut dir.command(line), Resource::Nproc, 1);
        assert!(is_refused(line, &out), "{out:?}");
    }
}
