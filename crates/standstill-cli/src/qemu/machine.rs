//! One QEMU: started, heard, and ended whatever happens.

use std::cell::RefCell;
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use standstill_io::words;

/// The most CPUs that the kernel has room for.
pub(super) const MAX_CPUS: usize = 64;
/// QEMU's exit code when the kernel has done what it was told: twice 16 and one.
pub(super) const DONE: i32 = 33;
/// When a line of the console was refused: twice 19 and one.
pub(super) const REFUSED: i32 = 39;

const NAME: &str = "qemu-system-x86_64";
/// How QEMU begins what it says of its version.
const VERSION: &[u8] = b"QEMU emulator version ";

/// Where QEMU is.
pub(super) fn find(path: Option<&Path>) -> Result<PathBuf, String> {
    let program = path.unwrap_or(Path::new(NAME));
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    // Any program can end well: this one says what it is.
    let is_qemu = |said: &Output| said.status.success() && said.stdout.starts_with(VERSION);
    match (said, path) {
        (Ok(said), _) if is_qemu(&said) => Ok(program.into()),
        (Err(error), None) if error.kind() == ErrorKind::NotFound => {
            Err(format!("there is no {NAME}: `cargo xtask setup` installs it"))
        }
        (Err(error), _) => Err(format!("{} can't be run: {error}", words::path(program))),
        (Ok(_), _) => Err(format!("{} is no QEMU that runs", words::path(program))),
    }
}

/// A QEMU that is killed when this is dropped, or when this program ends in any way.
pub(super) struct Machine(RefCell<Child>);

impl Machine {
    /// Starts it; its serial port comes in pieces.
    pub(super) fn start(
        qemu: &Path,
        image: &Path,
        cpus: usize,
        line: &str,
        stdin: Stdio,
    ) -> Result<(Self, Receiver<String>), String> {
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
        let mut child =
            command.spawn().map_err(|error| format!("{} can't be run: {error}", words::path(qemu)))?;
        let mut serial = child.stdout.take().ok_or("QEMU has no output")?;
        let (send, pieces) = channel();
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
            return Err(format!("the system gives no thread to hear QEMU: {error}"));
        }
        Ok((Machine(RefCell::new(child)), pieces))
    }

    /// Where its serial port hears, once, if it was started with a pipe there.
    pub(super) fn typed(&self) -> Option<ChildStdin> {
        self.0.borrow_mut().stdin.take()
    }

    /// Switches it off.
    pub(super) fn kill(&self) {
        // It may have ended by itself.
        let _ = self.0.borrow_mut().kill();
    }

    /// Waits for its end; its exit code, if it has one.
    pub(super) fn end(self) -> Option<i32> {
        self.0.borrow_mut().wait().ok()?.code()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        let _ = self.0.borrow_mut().wait();
    }
}
