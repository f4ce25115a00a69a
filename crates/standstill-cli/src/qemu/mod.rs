//! The machine in QEMU: the same torture on real interrupt controllers, and the kernel's console.
//!
//! The kernel prints lines for people, and lines that begin with `@` for this command: `@progress` and `@report`, each with an object of
//! JSON.

mod image;
mod machine;
mod report;
mod said;
mod typed;

use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use standstill_io::stream::{USAGE, pass_on};

use crate::args::{ConsoleArgs, Port, QemuArgs, TortureArgs};
use crate::limits::no_thread;
use crate::progress::Progress;
use machine::Machine;
use report::{Heard, Outcome};
use standstill_console::END_OF_INPUT;
use typed::Keys;

/// QEMU runs, and nobody hears of it for so long: it hangs. The kernel's own watchers bark before.
const HANGS_AFTER: Duration = Duration::from_secs(45);
/// What says much and never begins to torture hangs, too. Many CPUs on a busy computer take a minute.
const BOOTS_WITHIN: Duration = Duration::from_secs(180);
/// No line is longer.
const LONGEST_LINE: usize = 1 << 20;
/// A torture that a signal is to end makes its report in this time, or none.
const LET_GO_AFTER: Duration = Duration::from_secs(8);
/// Between two looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);
/// Ended by a signal, as shells say it of Ctrl-C.
const SIGNALLED: u8 = 130;

/// Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Runs the torture in QEMU, prints its result and returns the exit code.
#[must_use]
pub fn torture(args: &TortureArgs) -> u8 {
    let seed = args.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros() as u64)
    });
    let line = line(args, seed);
    INTERRUPTED.store(false, SeqCst);
    // Without the handler, Ctrl-C ends this program, and the kernel of the computer below ends QEMU.
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, SeqCst));
    let began = Instant::now();
    match machine(&args.qemu, args.cpus, &line, Stdio::piped()) {
        Ok((machine, lines)) => {
            let mut progress = Progress::new(args.seconds);
            let (heard, outcome) = listen(&machine, &lines, &mut progress, limit(args));
            progress.clear();
            let ended = machine.end();
            if let (None, None, Some(why)) = (outcome, &heard.report, ended.failure()) {
                return standstill_io::refuse(&format!("the machine made no report: {why}"));
            }
            let outcome = outcome.unwrap_or_else(|| Outcome::of(ended.code(), heard.report.is_some()));
            if heard.is_nothing() && outcome != Outcome::Interrupted {
                // No rule of the library was tried.
                return standstill_io::refuse(
                    "the machine said nothing: the image is damaged, or no kernel for it",
                );
            }
            report::conclude(args, seed, began.elapsed(), &heard, &outcome)
        }
        Err(why) => standstill_io::refuse(&why),
    }
}

/// The kernel's command line.
fn line(args: &TortureArgs, seed: u64) -> String {
    let mut line = format!(
        "torture protocol={} ms={} cycles={} seed={seed}",
        args.protocol.name(),
        args.seconds.as_millis(),
        args.cycles
    );
    if args.cpus > 16 {
        // As on threads: each operation keeps up to all CPUs busy, and each CPU operates.
        line += &format!(" rest_ns={}", args.cpus * args.cpus * 4_000);
    }
    line
}

/// What a torture in QEMU is made of, in words.
pub(crate) fn effective(args: &TortureArgs) -> String {
    format!("{:?} -smp {} {}", args.qemu, args.cpus, line(args, args.seed.unwrap_or(0)))
}

/// What the console prints when it takes commands.
const PROMPT: &str = "\n> ";

/// Opens the kernel's console: what is typed goes there, and its end ends the machine.
#[must_use]
pub fn console(args: &ConsoleArgs) -> u8 {
    let line = format!("protocol={}", args.protocol.name());
    let (machine, lines) = match machine(&args.qemu, args.cpus, &line, Stdio::piped()) {
        Ok(machine) => machine,
        Err(why) => {
            return standstill_io::refuse(&why);
        }
    };
    // Without the handler, a signal leaves the terminal as it is now: no reason not to run.
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, SeqCst));
    let keys = Keys::pass();
    let (ready, wait) = channel();
    if let Some(serial) = machine.typed()
        && let Err(error) = typed::forward(serial, wait, keys.are_typed())
    {
        return standstill_io::refuse(&no_thread("read the input", &error));
    }
    let shown = show(&machine, &lines, &ready);
    let by_keys = keys.are_typed();
    drop(keys);
    let ended = machine.end();
    match (shown, ended.code()) {
        (Shown::Interrupted, _) => SIGNALLED,
        (Shown::Unread, _) => 0,
        (Shown::All, Some(machine::DONE)) => 0,
        // Somebody who types sees it.
        (Shown::All, Some(machine::REFUSED)) => {
            if by_keys {
                0
            } else {
                USAGE
            }
        }
        (Shown::All, _) => ended.failure().map_or(1, |why| standstill_io::refuse(&why)),
    }
}

/// How the console's output ended.
enum Shown {
    /// With the machine.
    All,
    /// Nobody reads it any more.
    Unread,
    /// By a signal.
    Interrupted,
}

/// Passes on what the machine prints, in pieces, as the prompt has no end of line; says `ready` when there is one.
fn show(machine: &Machine, lines: &Receiver<String>, ready: &Sender<()>) -> Shown {
    let mut begun = String::new();
    let mut waits = true;
    loop {
        if INTERRUPTED.load(SeqCst) {
            machine.kill();
            return Shown::Interrupted;
        }
        let piece = match lines.recv_timeout(LOOK) {
            Ok(piece) => piece,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Shown::All,
        };
        if !pass_on(piece.as_bytes()) {
            machine.kill();
            return Shown::Unread;
        }
        if waits {
            begun += &piece;
            if begun.contains(PROMPT) {
                waits = false;
                // The other side may have ended: then there is nothing to type.
                let _ = ready.send(());
            }
        }
    }
}

fn machine(
    args: &QemuArgs,
    cpus: usize,
    line: &str,
    stdin: Stdio,
) -> Result<(Machine, Receiver<String>), String> {
    if cpus > machine::MAX_CPUS {
        return Err(format!("a machine in {} has 1 to {} CPUs", Port::Qemu.name(), machine::MAX_CPUS));
    }
    let qemu = machine::find(args.qemu.as_deref())?;
    let image = match &args.image {
        Some(image) => {
            image::look(image)?;
            image.clone()
        }
        None => image::build()?,
    };
    Machine::start(&qemu, &image, cpus, line, stdin)
}

/// How long after its first word the torture may take, if no number of cycles was asked for.
fn limit(args: &TortureArgs) -> Option<Duration> {
    (args.cycles == 0).then(|| args.seconds + crate::ends::ENDS_WITHIN)
}

/// Hears the machine out. `None`: its output ended.
fn listen(
    machine: &Machine,
    lines: &Receiver<String>,
    progress: &mut Progress,
    limit: Option<Duration>,
) -> (Heard, Option<Outcome>) {
    let mut heard = Heard::default();
    let mut rest = String::new();
    let mut last_word = Instant::now();
    let (started, mut began) = (last_word, None);
    let mut keys = machine.typed();
    let mut interrupted: Option<Instant> = None;
    loop {
        if INTERRUPTED.load(SeqCst) {
            let since = *interrupted.get_or_insert_with(Instant::now);
            if let Some(mut keys) = keys.take() {
                // Asks for the report. A machine that has ended has made it.
                let _ = keys.write_all(&[END_OF_INPUT]);
            }
            if since.elapsed() > LET_GO_AFTER {
                machine.kill();
                return (heard, Some(Outcome::Interrupted));
            }
        }
        match lines.recv_timeout(LOOK) {
            Ok(piece) => {
                last_word = Instant::now();
                rest += &piece;
                while let Some((line, after)) = rest.split_once('\n') {
                    if began.is_none() && line.starts_with("@progress") {
                        began = Some(Instant::now());
                        let ms = started.elapsed().as_millis();
                        progress.say(&format!("booted: the torture began {ms} ms after QEMU"));
                    }
                    heard.line(line.trim_end(), progress);
                    rest = after.to_string();
                }
                if rest.len() > LONGEST_LINE {
                    heard.garbled();
                    rest.clear();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let end = interrupted.is_some() && heard.report.is_some();
                return (heard, end.then_some(Outcome::Interrupted));
            }
        }
        let late = limit.zip(began).is_some_and(|(limit, began)| began.elapsed() > limit);
        let boots = began.is_none() && started.elapsed() > BOOTS_WITHIN;
        if late || boots || last_word.elapsed() > HANGS_AFTER {
            machine.kill();
            return (heard, Some(Outcome::Hangs));
        }
    }
}
