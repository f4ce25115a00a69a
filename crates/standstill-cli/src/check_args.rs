//! Options of `standstill check` and `standstill replay`.

use std::path::PathBuf;

use standstill::Protocol;
use standstill_model::{Engine, Ipi, Limits, MAX_CPUS, MemoryModel, Options, litmus, scenarios};

use crate::args::preset;

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
    #[arg(long, value_name = "N", default_value = "10000")]
    pub runs: u64,

    /// Engines random and pct, and --audit: where the random numbers start
    #[arg(long, value_name = "X", default_value = "1", value_parser = crate::args::seed, allow_hyphen_values = true)]
    pub seed: u64,

    /// Engine pct: the depth of the bugs that are looked for
    #[arg(long, value_name = "D", default_value = "3")]
    pub depth: u32,

    /// Engine bounded: how many preemptions at most
    #[arg(long, value_name = "N", default_value = "2")]
    pub preemptions: u32,

    /// Engine stateful: how many threads search; 0: as many as there are cores
    #[arg(long, value_name = "N", default_value = "0", value_parser = threads, allow_hyphen_values = true)]
    pub threads: usize,

    /// Gives up after so many states; 0: never
    #[arg(long, value_name = "N", default_value = "0")]
    pub max_states: u64,

    /// Gives up after so many seconds; 0: never
    #[arg(long, value_name = "S", default_value = "0")]
    pub max_seconds: u64,

    /// A search that ends early is kept in this file, and goes on from it the next time (engine stateful)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["matrix", "shard"])]
    pub checkpoint: Option<PathBuf>,

    /// Checks the checker: N merges of states are continued from both runs that led there, and must go on alike (engine stateful)
    #[arg(long, value_name = "N", default_value = "0")]
    pub audit: u64,

    /// All presets, instant and delayed IPIs, all properties, and the answer to the mail's question
    #[arg(long, conflicts_with = "ipi")]
    pub matrix: bool,

    /// Makes only part I of N of the search (engine dpor), or of the searches of a matrix: `standstill check merge` puts the parts together
    #[arg(long, value_name = "I/N", value_parser = shard, requires = "part_file",
        conflicts_with_all = ["json", "save", "html", "svg", "trace"])]
    pub shard: Option<(u32, u32)>,

    /// Where the part is written
    #[arg(long, value_name = "FILE", requires = "shard")]
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
    #[arg(long, value_name = "FILE", conflicts_with = "matrix")]
    pub svg: Option<PathBuf>,

    /// Writes a violation's trace, for Perfetto
    #[arg(long, value_name = "FILE", conflicts_with = "matrix")]
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
        let fewest = self.fewest_cpus();
        if self.matrix && self.cpus.iter().any(|cpus| *cpus < fewest) {
            return Err(format!("`{}` runs on {fewest} CPUs or more", self.scenario));
        }
        if self.checkpoint.is_some() && self.engine != "stateful" {
            return Err(format!(
                "--checkpoint keeps a search of the engine stateful, and --engine {} has none to go on with",
                self.engine
            ));
        }
        if self.audit > 0 && self.engine != "stateful" {
            return Err(format!(
                "--audit continues what the engine stateful merges, and --engine {} merges nothing",
                self.engine
            ));
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
        let mut line = vec!["--matrix".to_string()];
        let mut add = |name: &str, value: String| line.extend([format!("--{name}"), value]);
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
        options.checkpoint.clone_from(&self.checkpoint);
        options.audit.merges = self.audit;
        options.audit.seed = self.seed;
        // The matrix makes many searches at a time.
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
        .ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|scenario| scenario.name).collect();
            format!("there is no such scenario; the scenarios are: {}", names.join(", "))
        })
}
