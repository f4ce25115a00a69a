//! The machine in QEMU: the same torture on real interrupt controllers, and the kernel's console.
//!
//! The kernel prints lines for people, and lines that begin with `@` for this command: `@progress` and `@report`, each with an object of
//! JSON.

mod image;
mod machine;
mod report;

use std::io::{Write, stdout};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::args::{ConsoleArgs, Port, QemuArgs, TortureArgs};
use crate::progress::Progress;
use machine::Machine;
use report::{Heard, Outcome};

/// QEMU runs, and nobody hears of it for so long: it hangs. The kernel's own watchdog barks long before.
const HANGS_AFTER: Duration = Duration::from_secs(120);
/// Between two looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);
/// It could not even be tried.
const CANNOT: u8 = 2;

/// Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Runs the torture in QEMU, prints its result and returns the exit code.
#[must_use]
pub fn torture(args: &TortureArgs) -> u8 {
    let seed = args.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros() as u64)
    });
    let line = line(args, seed);
    // Without the handler, Ctrl-C ends this program, and the kernel of the computer below ends QEMU.
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, SeqCst));
    let began = Instant::now();
    match machine(&args.qemu, args.cpus, &line, Stdio::null()) {
        Ok((machine, lines)) => {
            let mut progress = Progress::new(args.seconds);
            let (heard, outcome) = listen(&machine, &lines, &mut progress);
            progress.clear();
            let ended = machine.end();
            let outcome = outcome.unwrap_or_else(|| Outcome::of(ended, heard.report.is_some()));
            report::conclude(args, seed, began.elapsed(), &heard, &outcome)
        }
        Err(why) => {
            eprintln!("standstill: {why}");
            CANNOT
        }
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

/// Opens the kernel's console: what is typed goes there.
#[must_use]
pub fn console(args: &ConsoleArgs) -> u8 {
    match machine(&args.qemu, args.cpus, &format!("protocol={}", args.protocol.name()), Stdio::inherit()) {
        Ok((machine, lines)) => {
            // The prompt has no end of line, so pieces are passed on as they come, until nobody reads them.
            let mut out = stdout();
            for piece in lines {
                if out.write_all(piece.as_bytes()).and_then(|()| out.flush()).is_err() {
                    machine.kill();
                    break;
                }
            }
            match machine.end() {
                Some(machine::DONE) => 0,
                _ => 1,
            }
        }
        Err(why) => {
            eprintln!("standstill: {why}");
            CANNOT
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
        Some(image) => image.clone(),
        None => image::build()?,
    };
    Machine::start(&qemu, &image, cpus, line, stdin)
}

/// Hears the machine out. `None`: its output ended.
fn listen(machine: &Machine, lines: &Receiver<String>, progress: &mut Progress) -> (Heard, Option<Outcome>) {
    let mut heard = Heard::default();
    let mut rest = String::new();
    let mut last_word = Instant::now();
    let (started, mut began) = (last_word, false);
    loop {
        if INTERRUPTED.load(SeqCst) {
            machine.kill();
            return (heard, Some(Outcome::Interrupted));
        }
        match lines.recv_timeout(LOOK) {
            Ok(piece) => {
                last_word = Instant::now();
                rest += &piece;
                while let Some((line, after)) = rest.split_once('\n') {
                    if !began && line.starts_with("@progress") {
                        began = true;
                        let ms = started.elapsed().as_millis();
                        progress.say(&format!("booted: the torture began {ms} ms after QEMU"));
                    }
                    heard.line(line.trim_end(), progress);
                    rest = after.to_string();
                }
            }
            Err(RecvTimeoutError::Timeout) if last_word.elapsed() > HANGS_AFTER => {
                machine.kill();
                return (heard, Some(Outcome::Hangs));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return (heard, None),
        }
    }
}
