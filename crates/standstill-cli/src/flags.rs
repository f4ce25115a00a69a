//! Where each flag works: one table for all commands. A flag that would do nothing is refused, in
//! one line that says where it does something.
//!
//! A flag that is not in the table is refused everywhere, and a test goes over all flags that clap
//! knows: so a new one can't be forgotten, and none can be ignored silently.

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::args::{Cli, Command, Port};
use crate::check_args::{CheckArgs, Instead};

/// What decides which flags of a command line do something.
#[derive(Clone, Debug)]
pub enum Mode {
    /// `torture`.
    Torture {
        /// Where.
        on: Port,
        /// How many CPUs.
        cpus: usize,
    },
    /// `console`.
    Console,
    /// `check`.
    Check(CheckMode),
    /// `check merge`. Of what the parts are is known once they were read.
    Merge {
        /// They are the parts of a matrix.
        matrix: Option<bool>,
    },
    /// `replay`.
    Replay,
    /// `scenarios`, `presets`.
    List,
}

/// What decides about the flags of `check`.
#[derive(Clone, Debug)]
pub struct CheckMode {
    engine: String,
    matrix: bool,
    part: bool,
    audit: bool,
    checkpoint: bool,
}

/// Where a flag works, in words and as a question.
struct Place {
    words: &'static str,
    fits: fn(&Mode) -> bool,
}

/// In each mode of its command.
const ALWAYS: Place = Place { words: "always", fits: |_| true };
const HOSTED: Place =
    Place { words: "with --on hosted", fits: |mode| matches!(mode, Mode::Torture { on: Port::Hosted, .. }) };
const IN_QEMU: Place =
    Place { words: "with --on qemu", fits: |mode| matches!(mode, Mode::Torture { on: Port::Qemu, .. }) };
const SEVERAL_CPUS: Place = Place {
    words: "with --cpus 2 or more, as the first CPU stays online",
    fits: |mode| matches!(mode, Mode::Torture { cpus: 2.., .. }),
};
const STATEFUL: Place = Place {
    words: "with --engine stateful, which remembers and merges states",
    fits: |mode| of_check(mode, |check| check.is("stateful")),
};
const RANDOM: Place = Place {
    words: "with --engine random or pct",
    fits: |mode| of_check(mode, |check| check.is("random") || check.is("pct")),
};
const CHANCE: Place = Place {
    words: "with --engine random or pct, or with --audit",
    fits: |mode| of_check(mode, |check| check.is("random") || check.is("pct") || check.audit),
};
const PCT: Place = Place { words: "with --engine pct", fits: |mode| of_check(mode, |check| check.is("pct")) };
const BOUNDED: Place =
    Place { words: "with --engine bounded", fits: |mode| of_check(mode, |check| check.is("bounded")) };
const COUNTS_STATES: Place = Place {
    words: "with --engine stateful, dpor or bounded; random and pct make --runs schedules",
    fits: |mode| of_check(mode, |check| !check.is("random") && !check.is("pct")),
};
const THREADS: Place = Place {
    words: "with --matrix, or with --engine stateful without --audit",
    fits: |mode| of_check(mode, |check| check.matrix || check.is("stateful") && !check.audit),
};
const ONE_SEARCH: Place =
    Place { words: "without --matrix, which makes both", fits: |mode| of_check(mode, |check| !check.matrix) };
const PICTURE: Place = Place {
    words: "without --matrix and without --shard",
    fits: |mode| of_check(mode, |check| !check.matrix && !check.part),
};
const WHOLE: Place = Place {
    words: "without --shard; `standstill check merge` has it for a matrix",
    fits: |mode| of_check(mode, |check| !check.part),
};
const GOES_ON: Place = Place {
    words: "with --engine stateful, without --matrix",
    fits: |mode| of_check(mode, |check| check.is("stateful") && !check.matrix),
};
const KEPT: Place =
    Place { words: "with --checkpoint", fits: |mode| of_check(mode, |check| check.checkpoint) };
const CUT: Place = Place {
    words: "with --engine dpor, or with --matrix",
    fits: |mode| of_check(mode, |check| check.is("dpor") || check.matrix),
};
const WITH_PART: Place = Place { words: "with --shard", fits: |mode| of_check(mode, |check| check.part) };
const PARTS_OF_MATRIX: Place = Place {
    words: "with the parts of a matrix, and these are the parts of a search",
    fits: |mode| !matches!(mode, Mode::Merge { matrix: Some(false) }),
};

/// Each flag of each command, by its name in clap, and where it works.
type Flags = &'static [(&'static str, Place)];
const TABLE: &[(&str, Flags)] = &[
    (
        "torture",
        &[
            ("on", ALWAYS),
            ("cpus", ALWAYS),
            ("seconds", ALWAYS),
            ("cycles", SEVERAL_CPUS),
            ("protocol", ALWAYS),
            ("fail_fast", HOSTED),
            ("seed", ALWAYS),
            ("json", ALWAYS),
            ("stall_after", HOSTED),
            ("qemu", IN_QEMU),
            ("image", IN_QEMU),
        ],
    ),
    ("console", &[("cpus", ALWAYS), ("protocol", ALWAYS), ("qemu", ALWAYS), ("image", ALWAYS)]),
    (
        "check",
        &[
            ("protocol", ALWAYS),
            ("cpus", ALWAYS),
            ("irqs", ALWAYS),
            ("ipi", ONE_SEARCH),
            ("memory", ALWAYS),
            ("scenario", ALWAYS),
            ("engine", ALWAYS),
            ("runs", RANDOM),
            ("seed", CHANCE),
            ("depth", PCT),
            ("preemptions", BOUNDED),
            ("threads", THREADS),
            ("max_states", COUNTS_STATES),
            ("max_seconds", ALWAYS),
            ("max_memory", ALWAYS),
            ("checkpoint", GOES_ON),
            ("checkpoint_every", KEPT),
            ("audit", STATEFUL),
            ("matrix", ALWAYS),
            ("shard", CUT),
            ("part_file", WITH_PART),
            ("json", WHOLE),
            ("save", WHOLE),
            ("html", WHOLE),
            ("svg", PICTURE),
            ("trace", PICTURE),
        ],
    ),
    (
        "check merge",
        &[("files", ALWAYS), ("json", PARTS_OF_MATRIX), ("save", PARTS_OF_MATRIX), ("html", PARTS_OF_MATRIX)],
    ),
    ("replay", &[("file", ALWAYS), ("svg", ALWAYS), ("trace", ALWAYS), ("html", ALWAYS)]),
    ("scenarios", &[]),
    ("presets", &[]),
];

fn of_check(mode: &Mode, fits: fn(&CheckMode) -> bool) -> bool {
    matches!(mode, Mode::Check(check) if fits(check))
}

impl CheckMode {
    pub(crate) fn of(args: &CheckArgs) -> CheckMode {
        CheckMode {
            engine: args.engine.clone(),
            matrix: args.matrix,
            part: args.shard.is_some(),
            audit: args.audit > 0,
            checkpoint: args.checkpoint.is_some(),
        }
    }

    fn is(&self, engine: &str) -> bool {
        self.engine == engine
    }
}

impl Mode {
    /// Of a command line.
    #[must_use]
    pub fn of(cli: &Cli) -> Mode {
        match &cli.command {
            Command::Torture(args) => Mode::Torture { on: args.on, cpus: args.cpus },
            Command::Console(_) => Mode::Console,
            Command::Check(args) => match &args.instead {
                Some(Instead::Merge(_)) => Mode::Merge { matrix: None },
                None => Mode::Check(CheckMode::of(args)),
            },
            Command::Replay(_) => Mode::Replay,
            Command::Scenarios | Command::Presets => Mode::List,
        }
    }
}

/// Does the flag do something in this mode of the command?
pub(crate) fn works(command: &str, flag: &str, mode: &Mode) -> bool {
    place(command, flag).is_some_and(|place| (place.fits)(mode))
}

fn place(command: &str, flag: &str) -> Option<&'static Place> {
    let (_, flags) = TABLE.iter().find(|(name, _)| *name == command)?;
    flags.iter().find(|(name, _)| *name == flag).map(|(_, place)| place)
}

/// The first of these flags that would do nothing, in one line that says where it works.
pub(crate) fn refuse<'a>(
    command: &str,
    given: impl IntoIterator<Item = &'a str>,
    mode: &Mode,
) -> Option<String> {
    given.into_iter().find_map(|flag| {
        let name = format!("--{}", flag.replace('_', "-"));
        match place(command, flag) {
            Some(place) if (place.fits)(mode) => None,
            Some(place) => {
                Some(format!("{name} works {}; here it would change nothing, so leave it out", place.words))
            }
            None => Some(format!("{name} works nowhere: it is missing in the table of flags")),
        }
    })
}

/// As [`refuse`], for all that the command line says.
pub(crate) fn refuse_any(cli: &Cli, matches: &ArgMatches) -> Option<String> {
    let (mut command, mut matches) = (String::new(), matches);
    while let Some((name, deeper)) = matches.subcommand() {
        command = if command.is_empty() { name.into() } else { format!("{command} {name}") };
        matches = deeper;
    }
    let said = |id: &&str| {
        // Groups of flags have names, too.
        matches.value_source(id) == Some(ValueSource::CommandLine)
            && (place(&command, id).is_some() || matches.try_contains_id(id).is_ok() && !is_group(id))
    };
    let given: Vec<&str> = matches.ids().map(clap::Id::as_str).filter(said).collect();
    refuse(&command, given, &Mode::of(cli))
}

/// Clap's derive names a group of flags by its type.
fn is_group(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_uppercase())
}
