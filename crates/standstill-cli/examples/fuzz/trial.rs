//! One command line, tried: in this process, with its standard streams put elsewhere, and looked at afterwards.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use standstill_cli::args::{Cli, Command as What, Parsed, Port, parse};

use crate::planted;
use crate::rng::Rng;

/// After so long a command gets Ctrl-C, once: a search ends then, with what it has.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Larger machines than this are not tortured: their boot takes longer than anything else here.
const LARGE: usize = 16;
/// An error is no longer.
const LONGEST: usize = 300;
/// The addresses that a worker may use, in bytes.
const MEMORY: u64 = 4 << 30;

/// Where a stream goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stream {
    /// Into a file, which is looked at.
    Kept,
    Full,
    Gone,
    ReadOnly,
}

impl Stream {
    pub(crate) fn any(rng: &mut Rng) -> Stream {
        match rng.below(100) {
            0..85 => Stream::Kept,
            85..90 => Stream::Full,
            90..95 => Stream::Gone,
            _ => Stream::ReadOnly,
        }
    }

    fn open(self) -> io::Result<OwnedFd> {
        Ok(match self {
            Stream::Kept => {
                let name = format!(".fuzz-stream-{}", std::process::id());
                let file = File::options().read(true).write(true).create(true).truncate(true).open(&name)?;
                std::fs::remove_file(&name)?;
                file.into()
            }
            Stream::Full => File::options().write(true).open("/dev/full")?.into(),
            Stream::Gone => io::pipe()?.1.into(),
            Stream::ReadOnly => File::open("/dev/null")?.into(),
        })
    }
}

/// How a line was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Here,
    /// In a process of its own.
    Process,
    /// It was only understood: it would boot QEMU, or torture a large machine.
    Parsed,
}

/// What became of it.
pub(crate) struct Done {
    pub(crate) how: How,
    pub(crate) exit: i32,
    /// What must not be.
    pub(crate) wrong: Option<String>,
}

/// The commands that Ctrl-C ends: when the one that runs began, in milliseconds since the start; 0: none runs.
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// No command of these needs more: one that reads without end would take all of the computer's memory.
pub(crate) fn limit_memory() {
    let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    // Without it the cases are the same.
    let _ = setrlimit(Resource::As, limit);
}

/// Presses Ctrl-C for what takes too long.
pub(crate) fn interrupt_what_is_long() {
    let start = Instant::now();
    BEGAN.store(0, SeqCst);
    START.get_or_init(|| start);
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(50));
            let began = BEGAN.load(SeqCst);
            let long = began != 0 && start.elapsed().as_millis() as u64 > began + PATIENCE.as_millis() as u64;
            if long && BEGAN.compare_exchange(began, 0, SeqCst, SeqCst).is_ok() {
                let _ = kill_process(getpid(), Signal::INT);
            }
        }
    });
}

static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();

fn now() -> u64 {
    START.get().map_or(1, |start| start.elapsed().as_millis() as u64).max(1)
}

/// Tries `line`.
pub(crate) fn try_line(line: &[OsString], out: Stream, err: Stream, sample: bool) -> io::Result<Done> {
    let parsed = parse(line.iter().cloned());
    let how = match &parsed {
        Parsed::Run(cli) => how(cli, sample),
        _ => How::Here,
    };
    let (mut kept_out, mut kept_err) = (String::new(), String::new());
    let exit = match how {
        How::Parsed => return Ok(Done { how, exit: 0, wrong: None }),
        How::Here => here(line, [(out, 1, &mut kept_out), (err, 2, &mut kept_err)])?,
        How::Process => process(line, (out, &mut kept_out), (err, &mut kept_err))?,
    };
    let wrong = look(exit, &kept_out, &kept_err, err);
    Ok(Done { how, exit, wrong })
}

fn how(cli: &Cli, sample: bool) -> How {
    match &cli.command {
        // A machine on threads stays in memory, as the threads of a kernel do.
        What::Torture(args) if args.on == Port::Hosted && args.cpus <= LARGE && sample => How::Process,
        What::Torture(args) if args.on == Port::Hosted => {
            let _ = args;
            How::Parsed
        }
        // What is no QEMU, or no image, is refused before anything starts.
        What::Torture(args) if args.qemu.image.is_some() || args.qemu.qemu.is_some() => How::Here,
        What::Console(args) if args.qemu.image.is_some() || args.qemu.qemu.is_some() => How::Here,
        What::Torture(_) | What::Console(_) => How::Parsed,
        What::Check(_) | What::Replay(_) | What::Scenarios | What::Presets => How::Here,
    }
}

/// The command, in this process. An exit code of 101 is a panic.
fn here(line: &[OsString], streams: [(Stream, i32, &mut String); 2]) -> io::Result<i32> {
    let mut open = Vec::new();
    for (stream, at, text) in streams {
        let saved = if at == 1 { rustix::io::dup(io::stdout())? } else { rustix::io::dup(io::stderr())? };
        let fd = stream.open()?;
        put(&fd, at)?;
        open.push((stream, at, text, fd, saved));
    }
    BEGAN.store(now(), SeqCst);
    let exit = catch_unwind(AssertUnwindSafe(|| {
        planted::run(line).unwrap_or_else(|| standstill_cli::run(line.iter().cloned()))
    }));
    BEGAN.store(0, SeqCst);
    for (stream, at, text, fd, saved) in open {
        put(&saved, at)?;
        if stream == Stream::Kept {
            let mut file = File::from(fd);
            file.rewind()?;
            let mut bytes = Vec::new();
            file.take(1 << 24).read_to_end(&mut bytes)?;
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    Ok(exit.map_or(101, i32::from))
}

/// What is `fd` becomes standard output (1) or standard error (2).
fn put(fd: &OwnedFd, at: i32) -> io::Result<()> {
    match at {
        1 => rustix::stdio::dup2_stdout(fd)?,
        _ => rustix::stdio::dup2_stderr(fd)?,
    }
    Ok(())
}

/// The command, in a process of its own, which gets Ctrl-C after a while.
fn process(
    line: &[OsString],
    (out, kept_out): (Stream, &mut String),
    (err, kept_err): (Stream, &mut String),
) -> io::Result<i32> {
    let stream = |stream: Stream| -> io::Result<Stdio> {
        if stream == Stream::Kept { Ok(Stdio::piped()) } else { Ok(stream.open()?.into()) }
    };
    let exe = std::env::current_exe()?;
    let mut command = Command::new(exe);
    command.arg("--as-command").args(&line[1..]).stdin(Stdio::null());
    let mut child = command.stdout(stream(out)?).stderr(stream(err)?).spawn()?;
    let pid = Pid::from_child(&child);
    let readers = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let readers = readers.map(|fd| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What can't be read is missing, and that is noticed.
            let _ = fd.map(|fd| File::from(fd).read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
    let began = Instant::now();
    let mut told = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if !told && began.elapsed() > PATIENCE {
            told = true;
            let _ = kill_process(pid, Signal::INT);
        }
        thread::sleep(Duration::from_millis(5));
    };
    let [one, other] = readers.map(|reader| reader.join().unwrap_or_default());
    (*kept_out, *kept_err) = (one, other);
    Ok(status.code().unwrap_or(-1))
}

/// What must not be, if there is any of it.
fn look(exit: i32, out: &str, err: &str, err_goes: Stream) -> Option<String> {
    // A panic says where it is, and why in the line behind.
    let first = |text: &str| {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let panic = text.lines().skip_while(|line| !line.contains("panicked at")).take(2);
        let panic: Vec<&str> = panic.collect();
        let said = if panic.is_empty() { lines.next().unwrap_or_default().into() } else { panic.join(": ") };
        said.chars().take(400).collect::<String>()
    };
    if !matches!(exit, 0..=2) || err.contains("panicked at") {
        return Some(format!("exit {exit}: {}", first(err)));
    }
    if let Some(bad) = out.chars().chain(err.chars()).find(|c| c.is_control() && *c != '\n') {
        return Some(format!(
            "prints the character {bad:?}: {}",
            first(if err.is_empty() { out } else { err })
        ));
    }
    let errors: Vec<&str> = err.lines().filter(|line| line.starts_with("standstill: ")).collect();
    if let Some(long) = errors.iter().find(|line| line.len() >= LONGEST) {
        return Some(format!("an error of {} bytes: {long}", long.len()));
    }
    let expected = usize::from(exit == 2 && err_goes == Stream::Kept);
    if errors.len() > 1 || errors.len() < expected {
        return Some(format!("exit {exit}, and {} errors: {}", errors.len(), first(err)));
    }
    // Progress and remarks may come before; a refused line has neither.
    (exit == 2 && out.is_empty() && err.lines().count() > 1)
        .then(|| err.lines().find(|line| !line.starts_with("standstill: ") && !line.contains("steps/s")))
        .flatten()
        .map(|line| format!("more than the error is said: {line}"))
}

/// Puts the files there that the lines name.
pub(crate) fn furnish(dir: &Path, seeds: &[(String, Vec<u8>)]) -> io::Result<()> {
    for (name, bytes) in seeds {
        std::fs::write(dir.join(name), bytes)?;
    }
    std::fs::write(dir.join("there.out"), "what was there")?;
    std::fs::create_dir_all(dir.join("folder"))?;
    if !dir.join("link.out").exists() {
        std::os::unix::fs::symlink("there.out", dir.join("link.out"))?;
        let _ = std::fs::remove_file(dir.join("hard.out"));
        std::fs::hard_link(dir.join("there.out"), dir.join("hard.out"))?;
    }
    Ok(())
}
