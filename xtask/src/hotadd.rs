//! CPUs that are plugged in and out of a machine under torture: QEMU is told so through its machine protocol, QMP.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::image;
use crate::run::{Not, Outcome, command, fail, target_dir};
use crate::tools::QEMU;

/// How many CPUs come and go.
const COUNT: usize = 20;
/// How many there are at first.
const FIRST: usize = 2;
/// Until when a wait for the machine is given up: no part of it takes so long.
const PATIENCE: Duration = Duration::from_secs(180);

/// A QEMU that ends with this value.
struct Machine {
    child: Child,
    lines: Receiver<String>,
    /// What it printed so far.
    said: Vec<String>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Machine {
    fn start(socket: &std::path::Path, round: usize) -> Result<Self, Not> {
        let smp = format!("{FIRST},maxcpus={}", FIRST + COUNT + 2);
        let line = format!("torture protocol=standstill ms=600000 seed={round} slots ejects={COUNT}");
        let qmp = format!("unix:{},server=on,wait=off", socket.display());
        let args = [
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-m",
            "512",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=4",
            "-device",
            "edu",
            "-smp",
            &smp,
            "-append",
            &line,
            "-qmp",
            &qmp,
        ];
        let mut qemu = command(QEMU, &args);
        qemu.arg("-kernel").arg(image::path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match qemu.spawn() {
            Ok(mut child) => {
                let lines = child.stdout.take().map_or_else(|| channel().1, listen);
                Ok(Machine { child, lines, said: Vec::new() })
            }
            Err(error) => fail(format!("{QEMU}: {error}")),
        }
    }

    /// Waits for a line with `wanted` in it.
    fn hear(&mut self, wanted: &str) -> Result<String, Not> {
        let until = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.said.push(line.clone());
            if line.contains(wanted) {
                return Ok(line);
            }
            if line.contains(" stays: ") {
                break;
            }
        }
        let said: Vec<_> = self.said.iter().filter(|line| !line.starts_with('@')).cloned().collect();
        fail(format!("the machine did not say '{wanted}', but this:\n{}", said.join("\n")))
    }
}

fn listen(serial: ChildStdout) -> Receiver<String> {
    let (send, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(serial).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A connection to QEMU.
struct Qmp(BufReader<UnixStream>);

impl Qmp {
    fn connect(socket: &std::path::Path) -> Result<Self, Not> {
        let until = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => {
                    let mut qmp = Qmp(BufReader::new(stream));
                    qmp.tell(r#"{"execute":"qmp_capabilities"}"#)?;
                    return Ok(qmp);
                }
                Err(error) if Instant::now() > until => return fail(format!("QEMU's socket: {error}")),
                // QEMU makes the socket when it is ready.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Tells QEMU something and waits for its answer; events in between are passed over.
    fn tell(&mut self, what: &str) -> Result<(), Not> {
        if let Err(error) = writeln!(self.0.get_mut(), "{what}") {
            return fail(format!("QEMU does not listen: {error}"));
        }
        let mut line = String::new();
        loop {
            line.clear();
            match self.0.read_line(&mut line) {
                Ok(1..) if line.starts_with(r#"{"return""#) => return Ok(()),
                Ok(1..) if line.starts_with(r#"{"error""#) => {
                    return fail(format!("{what}: {}", line.trim()));
                }
                Ok(1..) => {}
                _ => return fail(format!("QEMU went away at {what}")),
            }
        }
    }
}

/// One fresh machine: twenty CPUs come one by one, are cycled by the torture, and go one by one.
pub(crate) fn round(round: usize) -> Outcome {
    let socket = target_dir().join(format!("hotadd-{}-{round}.qmp", std::process::id()));
    let outcome = play(&socket, round);
    // It may never have been made.
    let _ = std::fs::remove_file(&socket);
    outcome
}

fn play(socket: &std::path::Path, round: usize) -> Outcome {
    let mut machine = Machine::start(socket, round)?;
    let mut qmp = Qmp::connect(socket)?;
    machine.hear("@progress")?;
    for cpu in FIRST..FIRST + COUNT {
        let place = format!(r#""socket-id":0,"core-id":{cpu},"thread-id":0"#);
        let what = format!(
            r#"{{"execute":"device_add","arguments":{{"driver":"max-x86_64-cpu","id":"c{cpu}",{place}}}}}"#
        );
        qmp.tell(&what)?;
        machine.hear(&format!("CPU {cpu} is present"))?;
    }
    let (before, mut after) = (downs(&machine.hear("@progress")?), 0);
    // Until each has been down once on average.
    while after < before + COUNT {
        after = downs(&machine.hear("@progress")?);
    }
    for cpu in FIRST..FIRST + COUNT {
        qmp.tell(&format!(r#"{{"execute":"device_del","arguments":{{"id":"c{cpu}"}}}}"#))?;
        machine.hear(&format!("CPU {cpu} is ejected"))?;
    }
    let report = machine.hear("@report")?;
    let code = machine.child.wait().ok().and_then(|status| status.code());
    if code != Some(33) {
        let mut errors = String::new();
        if let Some(stderr) = &mut machine.child.stderr {
            let _ = stderr.read_to_string(&mut errors);
        }
        return fail(format!("QEMU ended with {code:?}: {errors}"));
    }
    match wrong(&report) {
        None => Ok(format!("{COUNT} CPUs came and went, {} times down", after)),
        Some(what) => fail(format!("{what}\n{report}")),
    }
}

/// How many times CPUs were taken down, in a line of progress.
fn downs(line: &str) -> usize {
    number(line, "\"down\":").unwrap_or(0)
}

fn number(line: &str, name: &str) -> Option<usize> {
    let rest = &line[line.find(name)? + name.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

/// What is wrong in a report, if anything is.
fn wrong(report: &str) -> Option<String> {
    for property in ["late", "lost", "spurious", "outside"] {
        // The calls of each form have a `lost`, too: it is 0 if this one is.
        if number(&report[report.find("\"late\"")?..], &format!("\"{property}\":")) != Some(0) {
            return Some(format!("{property} is not 0"));
        }
    }
    let broken =
        report.match_indices("\"broken\":").find(|(at, _)| number(&report[*at..], "\"broken\":") != Some(0));
    broken.map(|(at, _)| format!("a rule is broken: {}", &report[at.saturating_sub(80)..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"@report {"calls":[{"lost":0}],"late":0,"lost":0,"spurious":0,"outside":0,"rules":[{"id":"1","broken":0},{"id":"2","broken":0}]}"#;

    #[test]
    fn a_good_report_has_nothing_wrong() {
        assert_eq!(wrong(GOOD), None);
    }

    #[test]
    fn what_is_wrong_is_found() {
        assert!(wrong(&GOOD.replace(r#""late":0"#, r#""late":3"#)).is_some());
        assert!(wrong(&GOOD.replace(r#""2","broken":0"#, r#""2","broken":10"#)).is_some());
    }

    #[test]
    fn downs_are_read() {
        assert_eq!(downs(r#"@progress {"t_ns":1,"down":42,"up":7}"#), 42);
    }
}
