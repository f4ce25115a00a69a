//! One machine of the bench: booted, heard, and ended whatever happens. Both systems get the same one: what differs is what is loaded.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::plan::Counts;
use super::results::Heard;
use crate::image;
use crate::run::command;
use crate::tools::QEMU;

/// How long one machine may run. Linux with 64 CPUs takes about four minutes on a quiet computer.
pub(super) const LIMIT: Duration = Duration::from_secs(600);
/// How long it may take until it measures. Linux with 64 CPUs takes half a minute on a quiet computer.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// Between two lines that say that it goes on.
const STILL: Duration = Duration::from_secs(10);
/// How long a CPU of ours may be silent: where 64 CPUs send calls as fast as they can, the emulator's own thread for timers may wait long for its turn.
const PATIENCE_MS: u64 = 300_000;
/// Between two looks whether somebody pressed Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);
/// How much of what a machine said is shown when it failed.
const TAIL: usize = 12;

pub(crate) const ACCELERATOR: &str = "tcg,thread=multi";
pub(crate) const MODEL: &str = "max";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum System {
    Standstill,
    Linux,
}

impl System {
    pub(super) const fn name(self) -> &'static str {
        match self {
            System::Standstill => "Standstill",
            System::Linux => "Linux",
        }
    }
}

/// What is booted.
pub(super) struct Machine {
    pub(super) cpus: usize,
    pub(super) kernel: PathBuf,
    pub(super) archive: Option<PathBuf>,
    pub(super) line: String,
}

/// The reference kernel.
pub(super) fn standstill(cpus: usize, counts: &Counts, rules: bool) -> Machine {
    let rules = if rules { " bench.rules" } else { "" };
    Machine {
        cpus,
        kernel: image::path(),
        archive: None,
        line: format!("bench{}{rules} watchdog_ms={PATIENCE_MS}", counts.words("bench")),
    }
}

/// A QEMU that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a machine to its end. `progress` gets the name of each operation that was measured, and of the last one now and then, with the seconds since it
/// was booted; `heard` gets all that it said, also if it did not come to its end or not in time.
pub(super) fn run(
    machine: &Machine,
    limit: Duration,
    stop: &AtomicBool,
    heard: &mut Heard,
    progress: impl Fn(&str, u64),
) -> Result<(), String> {
    let mut qemu = command(QEMU, &["-machine", "q35", "-accel", ACCELERATOR, "-cpu", MODEL, "-m", "1024"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device", "edu", "-device", "edu"])
        .args(["-smp", &machine.cpus.to_string(), "-append", &machine.line])
        .arg("-kernel")
        .arg(&machine.kernel)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(archive) = &machine.archive {
        qemu.arg("-initrd").arg(archive);
    }
    let mut qemu = Running(qemu.spawn().map_err(|error| format!("{QEMU}: {error}"))?);
    let serial = qemu.0.stdout.take().ok_or("QEMU has no output")?;
    let (send, lines) = channel();
    thread::spawn(move || {
        // Firmware prints what is no text.
        for line in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let (began, mut said) = (Instant::now(), Vec::new());
    let (mut last, mut told) = ("boots".to_string(), began);
    progress(&last, 0);
    loop {
        if stop.load(Relaxed) {
            return Err("stopped by Ctrl-C".into());
        }
        let limit = if heard.began { limit } else { limit.min(BOOT_LIMIT) };
        if began.elapsed() > limit {
            let what = if heard.began { "it took" } else { "its boot took" };
            return Err(format!(
                "{what} longer than {} s; its last words:\n{}",
                limit.as_secs(),
                tail(&said)
            ));
        }
        if told.elapsed() > STILL {
            told = Instant::now();
            progress(&format!("after {last}"), began.elapsed().as_secs());
        }
        let line = match lines.recv_timeout(LOOK) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let Some(op) = heard.take(&line)? {
            last = op.to_string();
            told = Instant::now();
            progress(op, began.elapsed().as_secs());
        }
        said.push(line);
    }
    if heard.ended && !heard.dists.is_empty() {
        Ok(())
    } else {
        Err(format!("it ended before it was done; its last words:\n{}", tail(&said)))
    }
}

fn tail(said: &[String]) -> String {
    said[said.len().saturating_sub(TAIL)..].join("\n")
}
