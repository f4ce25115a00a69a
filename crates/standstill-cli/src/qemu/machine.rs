//! One QEMU: started, heard, and ended whatever happens.

use std::cell::RefCell;
use std::io::{ErrorKind, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use standstill_io::words;

use super::said::{Said, answer};
use crate::limits::no_thread;

/// The most CPUs that the kernel has room for.
pub(super) const MAX_CPUS: usize = 64;
/// QEMU's exit code when the kernel has done what it was told: twice 16 and one.
pub(super) const DONE: i32 = 33;
/// When a line of the console was refused: twice 19 and one.
pub(super) const REFUSED: i32 = 39;

/// When QEMU itself fails. The kernel's codes are larger.
const FAILED: i32 = 1;
/// Pieces of the serial port's output that wait for somebody to look at them; QEMU waits when there are more.
const PIECES: usize = 64;

const NAME: &str = "qemu-system-x86_64";
/// How QEMU begins what it says of its version.
const VERSION: &[u8] = b"QEMU emulator version ";

/// Where QEMU is.
pub(super) fn find(path: Option<&Path>) -> Result<PathBuf, String> {
    let program = path.unwrap_or(Path::new(NAME));
    let shown = words::path(program);
    match (answer(Command::new(program).arg("--version")), path) {
        // Any program can end well: this one says what it is.
        (Ok((said, Some(status))), _) if status.success() && says_version(&said) => Ok(program.into()),
        (Err(error), None) if error.kind() == ErrorKind::NotFound => {
            Err(format!("there is no {NAME}: `cargo xtask setup` installs it"))
        }
        (Err(error), _) => Err(format!("{shown} can't be run: {error}")),
        (Ok((_, None)), _) => Err(format!("{shown} is no QEMU that runs: `--version` does not end")),
        (Ok((said, Some(status))), _) => {
            let said = String::from_utf8_lossy(&said);
            let first = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing");
            Err(format!(
                "{shown} is no QEMU that runs: `--version` says `{}` ({status})",
                words::quote(first)
            ))
        }
    }
}

/// There may be warnings before.
fn says_version(said: &[u8]) -> bool {
    said.split(|byte| *byte == b'\n').any(|line| line.starts_with(VERSION))
}

/// A QEMU that is killed when this is dropped, or when this program ends in any way.
pub(super) struct Machine {
    child: RefCell<Child>,
    said: Said,
}

/// How QEMU ended, and what it said of that itself.
pub(super) struct Ended {
    status: Option<ExitStatus>,
    said: Option<String>,
}

impl Ended {
    /// The exit code, which the kernel chooses; or QEMU, if that fails.
    pub(super) fn code(&self) -> Option<i32> {
        self.status?.code()
    }

    /// Why QEMU itself ended the machine, in words, if it did: the kernel is not to blame.
    pub(super) fn failure(&self) -> Option<String> {
        let status = self.status?;
        if status.signal().is_none() && status.code() != Some(FAILED) {
            return None;
        }
        let said = self.said.as_ref().map_or_else(String::new, |said| format!(", and said `{said}`"));
        Some(format!("QEMU ended with {status}{said}"))
    }
}

impl Machine {
    /// Starts it; its serial port comes in pieces.
    pub(super) fn start(
        qemu: &Path,
        image: &Path,
        cpus: usize,
        line: &str,
        stdin: Stdio,
    ) -> Result<(Self, Receiver<String>), String> {
        let cannot = |error| format!("{} can't be run: {error}", words::path(qemu));
        let said = Said::new().map_err(cannot)?;
        let mut command = Command::new(qemu);
        command
            .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device", "edu", "-device", "edu"])
            .args(["-smp", &cpus.to_string(), "-append", line])
            .arg("-kernel")
            .arg(image)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(said.stderr().map_err(cannot)?)
            // A terminal's Ctrl-C is for this command, which asks the machine for its report.
            .process_group(0);
        let parent = getpid();
        // SAFETY: two system calls, between fork and exec, that allocate nothing.
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                // It may have died before.
                if getppid() == Some(parent) { Ok(()) } else { Err(ErrorKind::BrokenPipe.into()) }
            });
        }
        let mut child = command.spawn().map_err(cannot)?;
        let mut serial = child.stdout.take().ok_or("QEMU has no output")?;
        let (send, pieces) = sync_channel(PIECES);
        let pass_on = move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = serial.read(&mut bytes) {
                if send.send(String::from_utf8_lossy(&bytes[..n]).into_owned()).is_err() {
                    return;
                }
            }
        };
        if let Err(error) = thread::Builder::new().spawn(pass_on) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(no_thread("hear QEMU", &error));
        }
        Ok((Machine { child: RefCell::new(child), said }, pieces))
    }

    /// Where its serial port hears, once, if it was started with a pipe there.
    pub(super) fn typed(&self) -> Option<ChildStdin> {
        self.child.borrow_mut().stdin.take()
    }

    /// Switches it off.
    pub(super) fn kill(&self) {
        // It may have ended by itself.
        let _ = self.child.borrow_mut().kill();
    }

    /// Waits for its end.
    pub(super) fn end(self) -> Ended {
        let status = self.child.borrow_mut().wait().ok();
        Ended { status, said: self.said.line() }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.borrow_mut().wait();
    }
}
