//! Each output, on terminals of several widths and in a pipe.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What people read. The torture's figures differ from run to run.
const LINES: [&[&str]; 12] = [
    &["--help"],
    &["torture", "--help"],
    &["check", "--help"],
    &["check", "merge", "--help"],
    &["replay", "--help"],
    &["console", "--help"],
    &["presets"],
    &["scenarios"],
    &["check"],
    &["check", "--protocol", "linux-3.14", "--ipi", "instant"],
    &["check", "--matrix", "--cpus", "2", "--protocol", "linux-3.14,standstill"],
    &["torture", "--seconds", "0.2", "--cpus", "2"],
];

fn command(line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
    command.args(line).env_remove("COLUMNS").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Standard output on a terminal of this width.
fn on_terminal(line: &[&str], columns: u16) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the system has terminals");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let theirs: OwnedFd = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it is there");
    let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size).expect("it has a size");
    let mut child = command(line).stdout(theirs).stderr(Stdio::null()).spawn().expect("it is built");
    let mut text = Vec::new();
    // When nobody has the other side any more, reading ends with an error.
    let _ = File::from(ours).read_to_end(&mut text);
    child.wait().expect("it was started");
    String::from_utf8(text).expect("what is printed is text").replace("\r\n", "\n")
}

fn in_a_pipe(line: &[&str]) -> String {
    let output = command(line).output().expect("it is built");
    String::from_utf8(output.stdout).expect("what is printed is text")
}

/// The text without what a terminal acts on.
fn visible(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\x1b' {
            let _ = rest.find(char::is_ascii_alphabetic);
        } else {
            out.push(c);
        }
    }
    out
}

fn words(text: &str) -> Vec<String> {
    let signs = |c: char| !c.is_alphanumeric();
    visible(text).split(signs).filter(|word| !word.is_empty()).map(str::to_string).collect()
}

#[test]
fn no_line_is_wider_than_its_terminal() {
    for line in LINES {
        for columns in [20, 40, 80, 200] {
            let text = on_terminal(line, columns);
            assert!(text.lines().count() > 1, "{line:?}: {text}");
            // Narrower than 40, it only has to be there.
            for row in text.lines().map(visible).filter(|_| columns >= 40) {
                let width = textwrap::core::display_width(&row);
                // A word that can't be parted.
                let one = row.split_whitespace().count() == 1;
                assert!(width <= usize::from(columns) || one, "{line:?}, {columns} columns: {row}");
            }
        }
    }
}

#[test]
fn a_pipe_gets_whole_lines_and_nothing_for_terminals() {
    for line in LINES {
        let text = in_a_pipe(line);
        let bad = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(bad, None, "{line:?}: {text}");
    }
    // Nothing is lost on a narrow terminal, whatever is where.
    for line in [&["presets"][..], &["scenarios"]] {
        let (mut narrow, mut whole) = (words(&on_terminal(line, 40)), words(&in_a_pipe(line)));
        // A table that is told row by row repeats its titles.
        narrow.sort();
        narrow.dedup();
        whole.sort();
        whole.dedup();
        assert_eq!(narrow, whole, "{line:?}");
    }
}

#[test]
fn as_it_looks() {
    for columns in [40, 80, 200] {
        insta::assert_snapshot!(format!("presets_{columns}"), on_terminal(&["presets"], columns));
    }
}
