//! CPUs that are plugged in and out of a machine under torture: QEMU is told so through its machine protocol, QMP.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::image;
use crate::run::{Not, Outcome, command, fail, target_dir};
use crate::tools::QEMU;

/// How many CPUs come and go in the whole test.
pub(crate) const COUNT: usize = 20;
/// How many there are at first.
const FIRST: usize = 2;
/// The most that a machine has room for.
const ROOM: usize = 64;

/// A number of machines.
pub(crate) fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1000).contains(&n) => Ok(n),
        _ => Err("a test takes 1 to 1000 machines".into()),
    }
}

/// A number of CPUs that come and go.
pub(crate) fn cpus(text: &str) -> Result<usize, String> {
    let most = ROOM - FIRST - 2;
    match text.parse() {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => Err(format!("1 to {most} CPUs come and go")),
    }
}
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
    fn start(socket: &Path, line: &str, count: usize) -> Result<Self, Not> {
        let smp = format!("{FIRST},maxcpus={}", FIRST + count + 2);
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
            line,
            "-qmp",
            &qmp,
        ];
        let mut qemu = command(QEMU, &args);
        qemu.arg("-kernel")
            .arg(image::path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        match qemu.spawn() {
            Ok(mut child) => {
                let lines = child.stdout.take().map_or_else(|| channel().1, listen);
                Ok(Machine { child, lines, said: Vec::new() })
            }
            Err(error) => fail(format!("{QEMU}: {error}")),
        }
    }

    /// Types a line on its console.
    fn type_line(&mut self, line: &str) -> Result<(), Not> {
        match self.child.stdin.as_mut().map(|stdin| writeln!(stdin, "{line}")) {
            Some(Ok(())) => Ok(()),
            _ => fail(format!("nobody reads '{line}'")),
        }
    }

    /// Its end, which has to be a good one.
    fn ends(&mut self) -> Result<(), Not> {
        match self.child.wait().ok().and_then(|status| status.code()) {
            Some(33) => Ok(()),
            code => fail(format!("QEMU ended with {code:?}")),
        }
    }

    /// Waits for a line with `wanted` in it.
    fn hear(&mut self, wanted: &str) -> Result<String, Not> {
        let until = Instant::now() + PATIENCE;
        let why = loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(wanted) {
                        return Ok(line);
                    }
                    if line.contains(" stays: ") {
                        break "refused";
                    }
                }
                Err(RecvTimeoutError::Timeout) => break "said nothing more",
                Err(RecvTimeoutError::Disconnected) => break "ended",
            }
        };
        fail(format!("before '{wanted}' the machine {why}"))
    }

    /// Ends it if it runs still; how it ended, what QEMU complained about, and all that the machine said: in a file, and the file's name.
    fn autopsy(&mut self, socket: &Path) -> String {
        let had_ended = self.child.try_wait().ok().flatten();
        if had_ended.is_none() {
            // It may end right now.
            let _ = self.child.kill();
        }
        let ended = match (had_ended, self.child.wait()) {
            (Some(status), _) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("QEMU had ended with {code}"),
                (_, signal) => format!("QEMU had died of signal {}", signal.unwrap_or(0)),
            },
            (None, _) => "QEMU still ran, and was killed".into(),
        };
        let mut errors = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            // What can't be read is not shown.
            let _ = stderr.read_to_string(&mut errors);
        }
        self.said.extend(self.lines.iter());
        let log = socket.with_extension("log");
        let text = format!(
            "{ended}\n--- QEMU's complaints\n{errors}--- the serial port\n{}\n",
            self.said.join("\n")
        );
        match fs::write(&log, text) {
            Ok(()) => format!("{ended}: {}; see {}", errors.trim(), log.display()),
            Err(error) => format!("{ended}: {}; {}: {error}", errors.trim(), log.display()),
        }
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
    fn connect(socket: &Path) -> Result<Self, Not> {
        let until = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => {
                    if let Err(error) = stream.set_read_timeout(Some(PATIENCE)) {
                        return fail(format!("QEMU's socket: {error}"));
                    }
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

    /// Plugs a CPU in.
    fn add(&mut self, cpu: usize) -> Result<(), Not> {
        let place = format!(r#""socket-id":0,"core-id":{cpu},"thread-id":0"#);
        self.tell(&format!(
            r#"{{"execute":"device_add","arguments":{{"driver":"max-x86_64-cpu","id":"c{cpu}",{place}}}}}"#
        ))
    }

    /// Asks for it back.
    fn remove(&mut self, cpu: usize) -> Result<(), Not> {
        self.tell(&format!(r#"{{"execute":"device_del","arguments":{{"id":"c{cpu}"}}}}"#))
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

/// One fresh machine: `count` CPUs come one by one, are cycled by the torture, and go one by one.
pub(crate) fn round(round: usize, count: usize) -> Outcome {
    let line = format!("torture protocol=standstill ms=600000 seed={round} slots ejects={count}");
    on_fresh_machine(&round.to_string(), &line, count, |machine, qmp| play(machine, qmp, count))
}

/// The last CPU online is asked for back, while two others are there that are offline: one of them comes up, and it goes.
pub(crate) fn last_online() -> Outcome {
    on_fresh_machine("last", "protocol=standstill slots", 1, |machine, qmp| {
        machine.hear("type `help`")?;
        // What is typed before the kernel sets the port up may be lost.
        machine.type_line("")?;
        qmp.add(FIRST)?;
        machine.hear("CPU 2 is present")?;
        for (line, answer) in [
            ("up 2", "CPU 2 is active (active)"),
            ("down 0", "CPU 0 is offline (present)"),
            ("down 1", "CPU 1 is offline (present)"),
        ] {
            machine.type_line(line)?;
            machine.hear(answer)?;
        }
        qmp.remove(FIRST)?;
        machine.hear("CPU 2 is ejected")?;
        machine.type_line("cpus")?;
        machine.hear("CPU 0: active")?;
        machine.hear("CPU 2: not there")?;
        machine.type_line("exit")?;
        machine.ends()?;
        Ok(String::new())
    })
}

/// Starts a machine with room for `count` CPUs more, and plays with it.
fn on_fresh_machine(
    name: &str,
    line: &str,
    count: usize,
    play: impl FnOnce(&mut Machine, &mut Qmp) -> Outcome,
) -> Outcome {
    let socket = target_dir().join(format!("hotadd-{}-{name}.qmp", std::process::id()));
    let mut machine = Machine::start(&socket, line, count)?;
    let outcome = Qmp::connect(&socket).and_then(|mut qmp| play(&mut machine, &mut qmp));
    // It may never have been made.
    let _ = fs::remove_file(&socket);
    match outcome {
        Ok(what) => Ok(what),
        Err(Not::Run(why)) => Err(Not::Run(why)),
        Err(Not::Passed(why)) => fail(format!("{why}; {}", machine.autopsy(&socket))),
    }
}

fn play(machine: &mut Machine, qmp: &mut Qmp, count: usize) -> Outcome {
    machine.hear("@progress")?;
    for cpu in FIRST..FIRST + count {
        qmp.add(cpu)?;
        machine.hear(&format!("CPU {cpu} is present"))?;
    }
    // Until each has been down and up again.
    let downs = loop {
        let line = machine.hear("@progress")?;
        if number(&line, "\"cycles\":").is_some_and(|cycles| cycles > 0) {
            break number(&line, "\"down\":").unwrap_or(0);
        }
    };
    for cpu in FIRST..FIRST + count {
        qmp.remove(cpu)?;
        machine.hear(&format!("CPU {cpu} is ejected"))?;
    }
    let report = machine.hear("@report")?;
    machine.ends()?;
    match wrong(&report) {
        None => Ok(format!("{count} CPUs came, were cycled, and went; {downs} times down meanwhile")),
        Some(what) => fail(what),
    }
}

/// The number after `name`.
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
    fn numbers_are_read() {
        let line = r#"@progress {"t_ns":1,"down":42,"up":7}"#;
        assert_eq!(
            ["\"down\":", "\"up\":", "\"cycles\":"].map(|name| number(line, name)),
            [Some(42), Some(7), None]
        );
    }
}
