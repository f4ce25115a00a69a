//! What another program says, of which only a little is wanted: bounded in length and in time, whatever the program is.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use standstill_io::words::quote;

/// What is longer is cut.
const MOST: usize = 64 << 10;
/// A program that is asked for its version answers in this time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// A place for what a program says on standard error. A program that says more than fits gets an error, and no memory.
pub(super) struct Said(File);

impl Said {
    pub(super) fn new() -> io::Result<Said> {
        let file = memfd_create("standard error", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, MOST as u64)?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
        Ok(Said(file.into()))
    }

    pub(super) fn stderr(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// The first line that says something, for an error; what was not written is 0.
    pub(super) fn line(&self) -> Option<String> {
        let mut bytes = vec![0; MOST];
        let read = self.0.read_at(&mut bytes, 0).ok()?;
        let end = bytes[..read].iter().position(|byte| *byte == 0).unwrap_or(read);
        let text = String::from_utf8_lossy(&bytes[..end]);
        text.lines().map(str::trim).find(|line| !line.is_empty()).map(quote)
    }
}

/// What a program answers, on both streams, and how it ended; `None`: it did not end, and was killed.
pub(super) fn answer(command: &mut Command) -> io::Result<(Vec<u8>, Option<ExitStatus>)> {
    answer_by(command, Instant::now() + ANSWERS_WITHIN)
}

fn answer_by(command: &mut Command, until: Instant) -> io::Result<(Vec<u8>, Option<ExitStatus>)> {
    let (reader, writer) = io::pipe()?;
    let other = writer.try_clone()?;
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(other).spawn()?;
    // The command keeps both ends for another start.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let answer = read(reader.into(), until);
    let status = ended(&mut child, if answer.is_ok() { until } else { Instant::now() });
    Ok((answer?, status))
}

/// Reads to the end, or as far as is wanted.
fn read(from: OwnedFd, until: Instant) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    let mut from = File::from(from);
    while answer.len() < MOST {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        if poll(&mut [PollFd::new(&from.as_fd(), PollFlags::IN)], left.as_ref())? == 0 {
            break;
        }
        match from.read(&mut piece)? {
            0 => break,
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
    Ok(answer)
}

/// How it ended, by itself and in time.
fn ended(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
            _ => {
                // It may have ended just now.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> (Vec<u8>, Option<ExitStatus>) {
        answer(Command::new("sh").args(["-c", script])).expect("it starts")
    }

    #[test]
    fn an_answer_is_both_streams_and_the_end() {
        let (text, status) = sh("echo one; echo two >&2");
        assert_eq!(text, b"one\ntwo\n");
        assert!(status.is_some_and(|status| status.success()));
    }

    #[test]
    fn an_answer_without_end_is_cut_and_its_program_ended() {
        let (text, status) = sh("exec yes");
        assert!((MOST..MOST + 4096).contains(&text.len()));
        assert!(status.is_none_or(|status| !status.success()), "{status:?}");
    }

    #[test]
    fn who_does_not_end_is_ended() {
        for script in ["echo before; exec sleep 1000", "echo before; exec >&- 2>&-; exec sleep 1000"] {
            let soon = Instant::now() + Duration::from_millis(500);
            let (text, status) = answer_by(Command::new("sh").args(["-c", script]), soon).expect("it starts");
            // A busy computer may not have run it yet.
            assert!(matches!(text.as_slice(), b"before\n" | b"") && status.is_none(), "{text:?} {status:?}");
        }
    }

    #[test]
    fn what_is_said_is_bounded_and_its_first_line_is_kept() {
        let said = Said::new().expect("memory");
        let script = "echo >&2; printf '  wrong: \\033 \\n' >&2; head -c 1000000 /dev/zero | tr '\\0' x >&2";
        let status = Command::new("sh").args(["-c", script]).stderr(said.stderr().expect("a copy")).status();
        assert!(status.is_ok());
        assert_eq!(said.line().as_deref(), Some("wrong: \\u{1b}"));
        assert_eq!(Said::new().expect("memory").line(), None);
    }
}
