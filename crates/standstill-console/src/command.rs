//! [`Command`], and how a line becomes one.

use core::fmt::{self, Write};
use core::str::SplitAsciiWhitespace;

use standstill::CpuId;
use standstill::hotplug::StateId;

use crate::refusal::Refusal;

/// The longest time that a command takes: a week, as for `standstill torture`.
pub const MAX_SECONDS: u64 = 7 * 24 * 3600;
/// How often a CPU is taken down and up by one command at most.
pub const MAX_TIMES: u64 = 1_000_000;
/// How often it is, if nothing is said.
const TIMES: u64 = 100;

/// What a line asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// An empty line.
    Nothing,
    /// The list of commands.
    Help,
    /// The CPUs, and what each does.
    Cpus,
    /// Takes a CPU online.
    Up(CpuId),
    /// Takes a CPU offline.
    Down(CpuId),
    /// Takes a CPU offline and online so many times.
    Cycle {
        /// Which one.
        cpu: CpuId,
        /// How often.
        times: u64,
    },
    /// The callbacks that are installed.
    States,
    /// A callback in each state that has none.
    Fill,
    /// A walk of a CPU is to fail.
    Fail {
        /// Whose walk.
        cpu: CpuId,
        /// Where.
        state: StateId,
    },
    /// The last events of a CPU.
    Log(CpuId),
    /// The torture.
    Torture {
        /// For how long.
        seconds: u64,
        /// The protocol that the machine is thought to run.
        preset: Option<&'a str>,
    },
    /// The bench.
    Bench,
    /// A panic.
    Panic,
    /// A CPU hangs with its interrupts off.
    Hang(CpuId),
    /// A CPU hangs in a stop.
    Freeze(CpuId),
    /// A wait that never ends.
    Lost,
    /// What hangs is noticed after a while.
    Watchdog {
        /// After how long.
        seconds: u64,
    },
    /// The end.
    Exit,
}

/// A command's name, how it is typed, and what it does.
struct Form(&'static str, &'static str, &'static str);

const FORMS: &[Form] = &[
    Form("cpus", "cpus", "the CPUs, and what each does"),
    Form("up", "up N", "takes a CPU online"),
    Form("down", "down N", "takes a CPU offline"),
    Form("cycle", "cycle N [TIMES]", "takes it offline and online so many times (100)"),
    Form("states", "states", "the callbacks that are installed, and their states"),
    Form("fill", "fill", "installs a callback in each state that has none"),
    Form(
        "fail",
        "fail N STATE",
        "the next walk of CPU N fails once in that state (prepare/0, online/1, ...)",
    ),
    Form("log", "log N", "the last events of CPU N"),
    Form("torture", "torture S [PRESET]", "the torture for S seconds"),
    Form("bench", "bench", "how long calls, stops and hotplug take"),
    Form("panic", "panic", "a panic, to see what happens then"),
    Form("hang", "hang N", "CPU N hangs with its interrupts off"),
    Form("freeze", "freeze N", "CPU N hangs in a stop, so that all do"),
    Form("lost", "lost", "this thread waits for what never comes"),
    Form("watchdog", "watchdog S", "what hangs is noticed after S seconds"),
    Form("exit", "exit", "ends the machine; the end of the input does, too"),
    Form("help", "help", "this"),
];

/// The list of commands, one for each line.
pub fn help() -> impl fmt::Display {
    struct Help;
    impl fmt::Display for Help {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for (i, Form(_, usage, what)) in FORMS.iter().enumerate() {
                write!(f, "{}{usage:<19} {what}", if i == 0 { "" } else { "\n" })?;
            }
            Ok(())
        }
    }
    Help
}

/// What `line` asks a machine of `cpus` CPUs for.
///
/// # Errors
/// The first thing that is wrong with the line.
pub fn parse(line: &str, cpus: usize) -> Result<Command<'_>, Refusal<'_>> {
    let mut words = line.split_ascii_whitespace();
    let Some(name) = words.next() else { return Ok(Command::Nothing) };
    let Some(&Form(command, usage, _)) = FORMS.iter().find(|form| form.0 == name) else {
        return Err(Refusal::Unknown(name));
    };
    let mut args = Args { command, words, cpus };
    let parsed = match command {
        "help" => Command::Help,
        "cpus" => Command::Cpus,
        "up" => Command::Up(args.cpu()?),
        "down" => Command::Down(args.cpu()?),
        "cycle" => {
            let cpu = args.cpu()?;
            Command::Cycle { cpu, times: args.number("times", MAX_TIMES, Some(TIMES))? }
        }
        "states" => Command::States,
        "fill" => Command::Fill,
        "fail" => Command::Fail { cpu: args.cpu()?, state: args.state()? },
        "log" => Command::Log(args.cpu()?),
        "torture" => Command::Torture { seconds: args.seconds()?, preset: args.words.next() },
        "bench" => Command::Bench,
        "panic" => Command::Panic,
        "hang" => Command::Hang(args.cpu()?),
        "freeze" => Command::Freeze(args.cpu()?),
        "lost" => Command::Lost,
        "watchdog" => Command::Watchdog { seconds: args.seconds()? },
        "exit" => Command::Exit,
        _ => return Err(Refusal::Unknown(name)),
    };
    match args.words.next() {
        None => Ok(parsed),
        Some(word) => Err(Refusal::Extra { command, usage, word }),
    }
}

/// What stands behind a command.
struct Args<'a> {
    command: &'static str,
    words: SplitAsciiWhitespace<'a>,
    cpus: usize,
}

impl<'a> Args<'a> {
    fn cpu(&mut self) -> Result<CpuId, Refusal<'a>> {
        let (command, cpus, word) = (self.command, self.cpus, self.words.next());
        let number = word.and_then(number).filter(|number| *number < cpus as u64);
        number.map(|number| CpuId::new(number as usize)).ok_or(Refusal::Cpu { command, word, cpus })
    }

    /// A number from 1 to `most`; the `usual` one if there is no word, and a usual one.
    fn number(&mut self, of: &'static str, most: u64, usual: Option<u64>) -> Result<u64, Refusal<'a>> {
        let word = self.words.next();
        let wanted = match (word, usual) {
            (None, Some(usual)) => Some(usual),
            _ => word.and_then(number).filter(|number| (1..=most).contains(number)),
        };
        wanted.ok_or(Refusal::Number { command: self.command, word, of, most })
    }

    fn seconds(&mut self) -> Result<u64, Refusal<'a>> {
        self.number("seconds", MAX_SECONDS, None)
    }

    fn state(&mut self) -> Result<StateId, Refusal<'a>> {
        let word = self.words.next();
        word.and_then(state).ok_or(Refusal::State { command: self.command, word })
    }
}

/// A number in digits. `parse` would take a plus, too.
fn number(word: &str) -> Option<u64> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

/// A state by its name or its number.
fn state(word: &str) -> Option<StateId> {
    let mut all = (0..StateId::COUNT).filter_map(StateId::from_index);
    all.find(|state| number(word) == Some(state.index() as u64) || is_written(state, word))
}

/// Is `value` written as `text`?
fn is_written(value: &impl fmt::Display, text: &str) -> bool {
    struct Rest<'a>(&'a str);
    impl Write for Rest<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    write!(rest, "{value}").is_ok() && rest.0.is_empty()
}
