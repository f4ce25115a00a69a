//! Options of `standstill check` and `standstill replay`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standstill::Protocol;
use standstill_model::{Engine, Ipi, Limits, MAX_CPUS, MemoryModel, Options, Room, litmus, scenarios};

use crate::args::preset;
use crate::check_matrix::LARGEST;
use crate::flags;

/// More than any search comes to.
const MOST: u64 = 1 << 53;
/// Bugs that need more places where another one goes on are not found by chance.
const DEEPEST: u64 = 1000;

/// Options of `standstill check`.
#[derive(clap::Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CheckArgs {
    /// Something else than a check.
    #[command(subcommand)]
    pub instead: Option<Instead>,

    /// How a CPU leaves; `standstill presets` lists the presets [default: standstill; with --matrix: all, and a list is understood]
    #[arg(long, value_name = "PRESET", value_parser = preset, value_delimiter = ',')]
    pub protocol: Vec<Protocol>,

    /// How many CPUs there are [default: 2; with --matrix: 2,3,4 (2 for protocols without a stop), and a list is understood]
    #[arg(long, value_name = "N", value_parser = cpus, value_delimiter = ',', allow_hyphen_values = true)]
    pub cpus: Vec<usize>,

    /// How many device interrupts each CPU may get
    #[arg(long, value_name = "K", default_value = "1", value_parser = irqs, allow_hyphen_values = true)]
    pub irqs: usize,

    /// How long IPIs take: instant (taken at the next instruction) or delayed (any time later)
    #[arg(long, value_name = "LATENCY", default_value = "delayed", value_parser = ipi)]
    pub ipi: Ipi,

    /// How memory behaves: sc, tso, tso-unfenced (IPIs overtake stores) or ra
    #[arg(long, value_name = "MODEL", default_value = "sc", value_parser = memory)]
    pub memory: MemoryModel,

    /// What happens; `standstill scenarios` lists them
    #[arg(long, value_name = "NAME", default_value = "offline-vs-device-irq", value_parser = scenario)]
    pub scenario: &'static str,

    /// How to search: stateful (every state once), dpor (every trace once), random, pct, bounded
    #[arg(long, value_name = "ENGINE", default_value = "stateful", value_parser = ["stateful", "dpor", "random", "pct", "bounded"])]
    pub engine: String,

    /// Engines random and pct: how many schedules
    #[arg(long, value_name = "N", default_value = "10000", value_parser = runs, allow_hyphen_values = true)]
    pub runs: u64,

    /// Engines random and pct, and --audit: where the random numbers start
    #[arg(long, value_name = "X", default_value = "1", value_parser = crate::args::seed, allow_hyphen_values = true)]
    pub seed: u64,

    /// Engine pct: the depth of the bugs that are looked for
    #[arg(long, value_name = "D", default_value = "3", value_parser = depth, allow_hyphen_values = true)]
    pub depth: u32,

    /// Engine bounded: how many preemptions at most
    #[arg(long, value_name = "N", default_value = "2", value_parser = preemptions, allow_hyphen_values = true)]
    pub preemptions: u32,

    /// Engine stateful: how many threads search; with --matrix: how many searches run at a time; 0: as many as there are cores
    #[arg(long, value_name = "N", default_value = "0", value_parser = threads, allow_hyphen_values = true)]
    pub threads: usize,

    /// Gives up after N states (dpor: runs); 0: never
    #[arg(long, value_name = "N", default_value = "0", value_parser = limit, allow_hyphen_values = true)]
    pub max_states: u64,

    /// Gives up after S seconds; 0: never
    #[arg(long, value_name = "S", default_value = "0", value_parser = limit, allow_hyphen_values = true)]
    pub max_seconds: u64,

    /// Ends when the process has so much memory: bytes, or with K, M, G, T [default: what the system allows it]
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    pub max_memory: Option<u64>,

    /// A search is kept in this file now and then and if it ends early, and goes on from it the next time (engine stateful)
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,

    /// With --checkpoint: so many seconds are between two times that it is kept; more, if that took over 1 % of the time
    #[arg(long, value_name = "S", default_value = "10", value_parser = crate::args::seconds, allow_hyphen_values = true)]
    pub checkpoint_every: Duration,

    /// Checks the checker: N merges of states are continued from both runs that led there, and must go on alike (engine stateful)
    #[arg(long, value_name = "N", default_value = "0", value_parser = merges, allow_hyphen_values = true)]
    pub audit: u64,

    /// All presets, instant and delayed IPIs, all properties, and the answer to the mail's question
    #[arg(long)]
    pub matrix: bool,

    /// Makes only part I of N of the search (engine dpor), or of the searches of a matrix: `standstill check merge` puts the parts together
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<(u32, u32)>,

    /// Where the part is written
    #[arg(long, value_name = "FILE")]
    pub part_file: Option<PathBuf>,

    /// Prints one JSON object on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,

    /// Writes a violation's schedule to this file, for `standstill replay`; with --matrix a directory, a file for each
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,

    /// Writes one page to look at in a browser
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Writes a violation's picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Writes a violation's trace, for Perfetto
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// What `standstill check` can do instead of a check.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Instead {
    /// Puts the parts of one search together that `check --shard` wrote
    Merge(MergeArgs),
}

/// Options of `standstill check merge`.
#[derive(clap::Args, Clone, Debug)]
pub struct MergeArgs {
    /// The files of all parts
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Of a matrix: prints one JSON object on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,

    /// Of a matrix: a directory, for a schedule of each property that is broken
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,

    /// Of a matrix: writes one page to look at in a browser
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl MergeArgs {
    /// The flags that were given, by their names in clap.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        let given = [("json", self.json), ("save", self.save.is_some()), ("html", self.html.is_some())];
        given.into_iter().filter_map(|(name, given)| given.then_some(name))
    }
}

/// Options of `standstill replay`.
#[derive(clap::Args, Clone, Debug)]
pub struct ReplayArgs {
    /// A file that `standstill check --save` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Writes the picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Writes the trace, for Perfetto
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Writes one page to look at in a browser
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl CheckArgs {
    /// What is wrong with these options together, if anything.
    ///
    /// # Errors
    /// In words.
    pub fn refuse(&self) -> Result<(), String> {
        let lists = [("--protocol", self.protocol.len()), ("--cpus", self.cpus.len())];
        if let Some((name, _)) = lists.into_iter().find(|(_, len)| *len > 1 && !self.matrix) {
            return Err(format!("{name} takes a list only with --matrix"));
        }
        if self.shard.is_some() && self.part_file.is_none() {
            return Err("--shard needs --part-file FILE, where the part is written".into());
        }
        let fewest = self.fewest_cpus();
        if self.matrix && self.cpus.iter().any(|cpus| *cpus < fewest) {
            return Err(format!("`{}` runs on {fewest} CPUs or more", self.scenario));
        }
        if self.matrix && self.cpus.is_empty() && LARGEST < fewest {
            return Err(format!("`{}` runs on {fewest} CPUs or more: say so with --cpus", self.scenario));
        }
        if self.engine == "dpor" && self.memory != MemoryModel::Sc {
            let name = self.memory.name();
            return Err(format!(
                "--engine dpor explores --memory sc only: take another engine for --memory {name}"
            ));
        }
        if let (true, Some((_, of))) = (self.matrix, self.shard) {
            let searches = crate::check_matrix::jobs(self).len();
            if of as usize > searches {
                return Err(format!("the matrix has {searches} searches, so it has no {of} parts"));
            }
        }
        Ok(())
    }

    /// How many CPUs the scenario needs.
    pub(crate) fn fewest_cpus(&self) -> usize {
        let mut all = scenarios().iter().chain(litmus());
        all.find(|scenario| scenario.name == self.scenario).map_or(2, |scenario| scenario.min_cpus)
    }

    /// What the command line says of a matrix, and not of what is to be done with it, in one order.
    pub(crate) fn matrix_line(&self) -> Vec<String> {
        let mode = flags::Mode::Check(flags::CheckMode::of(self));
        let mut line = vec!["--matrix".to_string()];
        let mut add = |name: &str, value: String| {
            // A flag that changes nothing in this mode says nothing of the matrix either.
            if flags::works("check", &name.replace('-', "_"), &mode) {
                line.extend([format!("--{name}"), value]);
            }
        };
        if !self.protocol.is_empty() {
            let names: Vec<_> = self.protocol.iter().map(|protocol| protocol.name()).collect();
            add("protocol", names.join(","));
        }
        if !self.cpus.is_empty() {
            let sizes: Vec<_> = self.cpus.iter().map(usize::to_string).collect();
            add("cpus", sizes.join(","));
        }
        add("irqs", self.irqs.to_string());
        add("memory", self.memory.name().to_string());
        add("scenario", self.scenario.to_string());
        add("engine", self.engine.clone());
        add("runs", self.runs.to_string());
        add("seed", self.seed.to_string());
        add("depth", self.depth.to_string());
        add("preemptions", self.preemptions.to_string());
        add("max-states", self.max_states.to_string());
        add("max-seconds", self.max_seconds.to_string());
        add("audit", self.audit.to_string());
        line
    }

    /// What the model is told.
    #[must_use]
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        options.protocol = self.protocol.first().copied().unwrap_or(Protocol::STANDSTILL);
        options.cpus = self.cpus.first().copied().unwrap_or(2);
        options.irqs = self.irqs;
        options.ipi = self.ipi;
        options.memory = self.memory;
        options.scenario = self.scenario;
        options.engine = match self.engine.as_str() {
            "dpor" => Engine::Dpor,
            "random" => Engine::Random { runs: self.runs, seed: self.seed },
            "pct" => Engine::Pct { runs: self.runs, seed: self.seed, depth: self.depth },
            "bounded" => Engine::Bounded { preemptions: self.preemptions },
            _ => Engine::Stateful,
        };
        options.room = Some(Arc::new(Room::of_process(self.max_memory)));
        options.checkpoint.clone_from(&self.checkpoint);
        options.checkpoint_every = self.checkpoint_every;
        options.audit.merges = self.audit;
        options.audit.seed = self.seed;
        // The matrix makes many searches at a time, and each is made by one thread.
        options.threads = if self.matrix { 1 } else { self.threads };
        options.limits = Limits { states: self.max_states, seconds: self.max_seconds, bytes: 0 };
        options
    }
}

fn cpus(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=MAX_CPUS).contains(&n) => Ok(n),
        _ => Err(format!("the checker has 1 to {MAX_CPUS} CPUs")),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n <= 256 => Ok(n),
        _ => Err("there are 0 (as many as there are cores) to 256 threads".into()),
    }
}

/// The number, if it is in this range.
fn within(text: &str, range: RangeInclusive<u64>, what: &str) -> Result<u64, String> {
    let (least, most) = (*range.start(), *range.end());
    match text.parse() {
        Ok(n) if range.contains(&n) => Ok(n),
        _ => Err(format!("{what} is a whole number from {least} to {most}")),
    }
}

fn runs(text: &str) -> Result<u64, String> {
    within(text, 1..=MOST, "a number of schedules")
}

fn depth(text: &str) -> Result<u32, String> {
    within(text, 1..=DEEPEST, "a depth of bugs").map(|depth| depth as u32)
}

fn preemptions(text: &str) -> Result<u32, String> {
    within(text, 0..=u64::from(u32::MAX), "a number of preemptions").map(|n| n as u32)
}

fn limit(text: &str) -> Result<u64, String> {
    within(text, 0..=MOST, "a limit")
}

/// A size in bytes: with a letter, in units of 1024, and so on.
fn size(text: &str) -> Result<u64, String> {
    let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = units.into_iter().find_map(|(letter, bits)| Some((text.strip_suffix(letter)?, bits)));
    let (number, bits) = unit.unwrap_or((text, 0));
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << bits));
    bytes
        .filter(|bytes| (1..=MOST).contains(bytes))
        .ok_or_else(|| format!("a size is 1 to {MOST} bytes, e.g. 800M or 4G"))
}

fn merges(text: &str) -> Result<u64, String> {
    within(text, 0..=MOST, "a number of merges")
}

fn irqs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n <= 8 => Ok(n),
        _ => Err("each CPU gets 0 to 8 device interrupts".into()),
    }
}

fn shard(text: &str) -> Result<(u32, u32), String> {
    text.split_once('/')
        .and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)))
        .filter(|(index, of)| (1..=*of).contains(index))
        .ok_or_else(|| "a part is I/N, with I from 1 to N".into())
}

fn ipi(text: &str) -> Result<Ipi, String> {
    Ipi::by_name(text).ok_or_else(|| "IPIs are: instant, delayed".into())
}

fn memory(text: &str) -> Result<MemoryModel, String> {
    MemoryModel::by_name(text).ok_or_else(|| "memory is: sc, tso, tso-unfenced, ra".into())
}

/// The name of a scenario as the model knows it.
///
/// # Errors
/// There is none with this name.
pub fn scenario(text: &str) -> Result<&'static str, String> {
    let all = scenarios();
    all.iter()
        .chain(litmus())
        .find(|scenario| scenario.name == text)
        .map(|scenario| scenario.name)
        .ok_or_else(|| "there is no such scenario; `standstill scenarios` lists what there is".into())
}
