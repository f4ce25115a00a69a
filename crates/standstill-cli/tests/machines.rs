//! A machine in QEMU that can't be started breaks no rule: it is one line and exit code 2.
//!
//! One test: a program that is written while another thread starts one can't be run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Files that are executable or not.
struct Dir(PathBuf);

impl Dir {
    fn write(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, text.as_bytes());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(what: &str, qemu: &Path, image: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
    command.args(what.split(' ')).arg("--qemu").arg(qemu).arg("--image").arg(image);
    command.stdin(Stdio::null()).output().expect("it starts")
}

#[track_caller]
fn says(out: &Output, words: &str) {
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(2), b"".as_slice()), "{words}: {stderr}");
    assert!(stderr.starts_with("standstill: ") && stderr.contains(words), "{words}: {stderr}");
    assert!(stderr.lines().count() == 1 && stderr.len() <= 300, "{stderr}");
}

#[test]
fn a_machine_that_cannot_be_started_breaks_no_rule() {
    let dir = Dir(std::env::temp_dir().join(format!("standstill-machines-{}", std::process::id())));
    std::fs::create_dir_all(&dir.0).expect("a folder");
    let image = dir.write("image", b"\x7fELF @progress ");
    // It says its version, and does as it is told instead of running a machine.
    let qemu = |name: &str, does: &str| {
        let version = "[ \"$1\" = --version ] && { echo 'QEMU emulator version 0'; exit; }";
        dir.program(name, &format!("#!/bin/sh\n{version}\n{does}\n"))
    };
    let good = qemu("good", "exit 0");
    let programs = [
        (qemu("long", "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1"), "and said `xxx"),
        (qemu("dies", "kill -9 $$"), "QEMU ended with signal: 9"),
        (qemu("escapes", "printf 'no: \\033[31m\\n' >&2; exit 1"), "said `no: \\u{1b}[31m`"),
        (dir.program("other", "#!/bin/sh\necho other\n"), "`--version` says `other`"),
        (dir.program("endless", "#!/bin/sh\nexec yes 'QEMU emulator version'\n"), "is no QEMU that runs"),
        (dir.write("text", b"text"), "can't be run"),
        (dir.0.join("none"), "can't be run"),
        (dir.0.clone(), "can't be run"),
    ];
    let images = [
        (dir.write("short", b"\x7fELF"), "is no image of the reference kernel"),
        (dir.write("words", b"words"), "does not begin with"),
        (dir.0.clone(), "is a directory"),
        (dir.0.join("none"), "No such file"),
        ("/dev/zero".into(), "is a device"),
    ];
    for what in ["torture --on qemu --seconds 1", "console"] {
        programs.iter().for_each(|(program, words)| says(&run(what, program, &image), words));
        images.iter().for_each(|(bad, words)| says(&run(what, &good, bad), words));
    }
    let silent = qemu("silent", "exit 33");
    says(&run("torture --on qemu --seconds 1", &silent, &image), "the machine said nothing");
}

/// What a machine prints, without an end of line or without end, is cut.
#[test]
#[ignore = "it writes a gigabyte: `cargo test -p standstill-cli --test machines -- --ignored`"]
fn a_machine_that_prints_without_end_takes_little_memory() {
    let dir = Dir(std::env::temp_dir().join(format!("standstill-machine-{}", std::process::id())));
    std::fs::create_dir_all(&dir.0).expect("a folder");
    let image = dir.write("image", b"\x7fELF @progress ");
    let program = "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'QEMU emulator version 0'; exit; }\n\
                   head -c 1000000000 /dev/zero | tr '\\0' x\n";
    let qemu = dir.program("qemu", program);
    let line = format!(
        "ulimit -v 200000 && exec '{}' torture --on qemu --seconds 1 --qemu '{}' --image '{}'",
        env!("CARGO_BIN_EXE_standstill"),
        qemu.display(),
        image.display()
    );
    let out = Command::new("sh").args(["-c", &line]).output().expect("it starts");
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("lines-are-understood"), "{out:?}");
}
