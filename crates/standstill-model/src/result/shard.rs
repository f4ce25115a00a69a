//! One search in several processes, on as many machines as there are.
//!
//! A search that counts traces ([`crate::engine::dpor`]) can be cut: its first steps are tried in full, and what hangs below them is dealt to the parts by a hash. No
//! trace is in two parts and none is in no part, so the parts together are the search: the same verdict, the same traces, the same ends.
//! (A search that remembers states can't be cut like this: its parts would meet the same states, nearly all of them.)
//!
//! For that, the parts have to agree on what a step is, so on which places are shared: each learns it first, by a search of the states.
//! And what they find must not depend on where a process has its memory: a trace is hashed without addresses, and a *final state* by the words of the machine
//! and of the scenario, by their offsets, and the CPUs. Plain cells can hold addresses of code, and are left out.
//!
//! A part is written as text:
//!
//! ```text
//! standstill-part 1
//! version 0.1.0
//! protocol standstill
//! scenario offline-vs-device-irq
//! cpus 2
//! irqs 1
//! ipi delayed
//! memory sc
//! points 5f1c4f1d8a5c7a10
//! depth 12
//! part 3 of 8
//! covered all
//! broken 0 0 0 0 0
//! runs 1000
//! blocked 3
//! steps 17000
//! fault -
//! ends 2
//! 0123...
//! traces 1000
//! 4567...
//! sum 89ab...
//! ```
//! All lines up to `depth` are the same in all parts of one run; `points` says what was taken to be shared. The last line is a hash of all before it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::time::Instant;

use standstill::{Property, Protocol};
use standstill_io::words::quote;

use crate::base::hash::Hash128;
use crate::config::options::{Engine, Ipi, MemoryModel, Options};
use crate::engine::dpor::{self, Part};
use crate::engine::parallel::search;
use crate::engine::search::until_settled;
use crate::engine::search::{End, Found};
use crate::machine::session::Ready;
use crate::machine::world::{World, with_ptr};
use crate::result::file_error::FileError;
use crate::scenario;
use crate::vocab::progress::{Bound, Progress};

const MAGIC: &str = "standstill-part";
const VERSION: u32 = 1;
/// What a part has seen if nothing stopped it.
const ALL: &str = "all";
/// More parts than any cluster has cores.
const MOST_PARTS: u32 = 1 << 16;

/// What one part of a search found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PartResult {
    /// What is the same in all parts of a run: names and values.
    pub run: Vec<(String, String)>,
    /// Which part, from 1, and of how many.
    pub part: (u32, u32),
    /// `all`, or why it ended early.
    pub covered: String,
    /// How often each of W, L, S, O, F did not hold.
    pub broken: [u64; 5],
    /// Runs, those that were no traces too.
    pub runs: u64,
    /// Runs that were no traces.
    pub blocked: u64,
    /// Steps.
    pub steps: u64,
    /// The first promise or rule that was broken, with its number and what happened.
    pub fault: Option<String>,
    /// The final states, as hashes.
    pub ends: BTreeSet<u128>,
    /// The traces, as hashes.
    pub traces: BTreeSet<u128>,
}

/// All parts of a search together.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Merged {
    /// As one process would have found it; the part is 1 of 1.
    pub whole: PartResult,
    /// How many parts there were.
    pub parts: u32,
    /// Traces that are in more than one part: none, or the cut is wrong.
    pub overlap: u64,
}

/// Makes part `index` (from 1) of `of`.
///
/// # Errors
/// The options are not those of a search that can be cut; or the search of the states ended early.
pub fn check_part(
    options: &Options,
    (index, of): (u32, u32),
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<PartResult, String> {
    if options.engine != Engine::Dpor {
        return Err(format!(
            "the engine `{}` can't be cut into parts: take `dpor`, whose parts have no trace in common",
            options.engine.name()
        ));
    }
    if index == 0 || index > of || of > MOST_PARTS {
        return Err(format!(
            "part {index} of {of} does not exist: parts are counted from 1 to at most {MOST_PARTS}"
        ));
    }
    let ready = Ready::new(options)?;
    let began = Instant::now();
    learn(&ready, options, progress)?;
    let mut found = Found::new();
    let mut depth = 0;
    let end = until_settled(&ready, &mut found, &mut |found| {
        found.stable = Some(BTreeSet::new());
        depth = dpor::depth_for(&ready, options, of);
        let part = Part { index: index - 1, of, depth };
        dpor::search(&ready, options, part, began, found, progress)
    });
    let covered = match end {
        End::Exhausted => ALL,
        End::Bounded(Bound::States) => "states",
        End::Bounded(Bound::Seconds) => "seconds",
        End::Bounded(Bound::Bytes) => "bytes",
        End::Bounded(Bound::Violation) => "violation",
        End::Bounded(Bound::Preemptions | Bound::Stopped) | End::Again => "stopped",
    };
    let points = with_ptr(ready.world, |w| w.reduction.classes.hash());
    let run = [
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        ("protocol", options.protocol.name().to_string()),
        ("scenario", options.scenario.to_string()),
        ("cpus", options.cpus.to_string()),
        ("irqs", options.irqs.to_string()),
        ("ipi", options.ipi.name().to_string()),
        ("memory", options.memory.name().to_string()),
        ("points", format!("{points:016x}")),
        ("depth", depth.to_string()),
    ];
    Ok(PartResult {
        run: run.map(|(name, value)| (name.to_string(), value)).to_vec(),
        part: (index, of),
        covered: covered.to_string(),
        broken: found.counts,
        runs: found.runs,
        blocked: found.blocked,
        steps: found.steps,
        fault: found.fault.map(|(fault, _)| format!("{} {}", fault.rule, fault.text.replace('\n', " "))),
        ends: found.stable.unwrap_or_default(),
        traces: found.traces.into_iter().collect(),
    })
}

/// Learns which places are shared: all parts have to know the same.
fn learn(
    ready: &Ready,
    options: &Options,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<(), String> {
    let mut all = options.clone();
    (all.engine, all.keep_going, all.limits) =
        (Engine::Stateful, true, crate::config::options::Limits::default());
    // As this engine sees them: nothing is moved, so all that can be shared is seen to be.
    all.reduce = false;
    all.threads = 1;
    let mut found = Found::new();
    let began = Instant::now();
    let end = until_settled(ready, &mut found, &mut |found| search(ready, &all, began, found, progress));
    with_ptr(ready.world, |w| w.undo_to(0));
    match end {
        End::Exhausted => Ok(()),
        _ => Err("the search of the states, which says what is shared, was stopped".to_string()),
    }
}

impl World {
    /// A final state, by what does not depend on where this process has its memory.
    pub(crate) fn stable_end(&self) -> u128 {
        let mut hash = Hash128::ZERO;
        for place in self.recorder.words.iter().flatten().copied() {
            if let Some(name) = self.subject.kept.iter().position(|kept| kept.holds(place)) {
                let at = (name + 1) << 32 | self.subject.kept[name].offset(place);
                hash.add(Hash128::of_cell(at, self.stable_value(self.value_of(place))));
            }
        }
        for cpu in &self.cpus[..self.options.cpus] {
            hash.mix(cpu.word());
        }
        hash.to_u128()
    }

    /// What points into something is told by what, and where in it.
    fn stable_value(&self, value: usize) -> u64 {
        const POINTS: u64 = 1 << 63;
        if let Some(name) = self.subject.kept.iter().position(|kept| kept.holds(value)) {
            return POINTS | (name as u64) << 40 | self.subject.kept[name].offset(value) as u64;
        }
        if let Some(slot) = self.stacks.slots.iter().position(|slot| slot.holds(value)) {
            return POINTS | 1 << 62 | (slot as u64) << 40 | self.stacks.slots[slot].offset(value) as u64;
        }
        // Code and statics lie at fixed distances from each other.
        let here = (World::stable_end as fn(&World) -> u128 as usize).wrapping_sub(1 << 30);
        if value.wrapping_sub(here) < 1 << 31 {
            return POINTS | 1 << 61 | value.wrapping_sub(here) as u64;
        }
        value as u64
    }
}

impl PartResult {
    /// The text of the file.
    #[must_use]
    pub fn save(&self) -> String {
        let mut text = format!("{MAGIC} {VERSION}\n");
        for (name, value) in &self.run {
            let _ = writeln!(text, "{name} {value}");
        }
        let [w, l, s, o, f] = self.broken;
        let _ = write!(
            text,
            "part {} of {}\ncovered {}\nbroken {w} {l} {s} {o} {f}\nruns {}\nblocked {}\nsteps {}\nfault {}\n",
            self.part.0,
            self.part.1,
            self.covered,
            self.runs,
            self.blocked,
            self.steps,
            self.fault.as_deref().unwrap_or("-")
        );
        for (name, hashes) in [("ends", &self.ends), ("traces", &self.traces)] {
            let _ = writeln!(text, "{name} {}", hashes.len());
            for hash in hashes {
                let _ = writeln!(text, "{hash:032x}");
            }
        }
        let sum = sum(&text);
        let _ = writeln!(text, "sum {sum:016x}");
        text
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// The first line that is not as it should be.
    pub fn load(text: &str) -> Result<PartResult, FileError> {
        let mut lines = Lines { lines: text.lines().enumerate(), at: 0 };
        let (line, version) = lines.field(MAGIC).map_err(|error| FileError {
            text: format!("this is no part of a search: it does not begin with `{MAGIC}`"),
            ..error
        })?;
        if version != VERSION.to_string() {
            let text =
                format!("the file has version {}, and this program reads version {VERSION}", quote(version));
            return Err(FileError { line, text });
        }
        let names = ["version", "protocol", "scenario", "cpus", "irqs", "ipi", "memory", "points", "depth"];
        let mut run = Vec::new();
        for name in names {
            let (line, value) = lines.field(name)?;
            let known = match name {
                "protocol" => Protocol::by_name(value).is_some(),
                "scenario" => scenario::by_name(value).is_some(),
                "ipi" => Ipi::by_name(value).is_some(),
                "memory" => MemoryModel::by_name(value).is_some(),
                _ => true,
            };
            if !known {
                return Err(FileError { line, text: format!("there is no {name} `{}`", quote(value)) });
            }
            run.push((name.to_string(), value.to_string()));
        }
        let (line, part) = lines.field("part")?;
        let part = part
            .split_once(" of ")
            .and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)))
            .filter(|(index, of)| (1..=*of).contains(index) && *of <= MOST_PARTS)
            .ok_or_else(|| FileError { line, text: format!("`{}` is no part", quote(part)) })?;
        let covered = lines.field("covered")?.1.to_string();
        let (line, counts) = lines.field("broken")?;
        let counts: Vec<u64> = counts.split(' ').filter_map(|count| count.parse().ok()).collect();
        let broken = <[u64; 5]>::try_from(counts)
            .map_err(|_| FileError { line, text: "five numbers are expected here".to_string() })?;
        let [runs, blocked, steps] =
            [lines.number("runs")?, lines.number("blocked")?, lines.number("steps")?];
        let fault = Some(lines.field("fault")?.1).filter(|fault| *fault != "-").map(str::to_string);
        let ends = lines.hashes("ends")?;
        let traces = lines.hashes("traces")?;
        let (line, found) = lines.field("sum")?;
        let whole = text.lines().take(line - 1).fold(String::new(), |all, line| all + line + "\n");
        if found != format!("{:016x}", sum(&whole)) {
            return Err(FileError { line, text: "the file is damaged: its sum is another one".to_string() });
        }
        if let Ok((line, more)) = lines.next("nothing") {
            let text = format!("the part has its `sum`, and there is more: `{}`", quote(more));
            return Err(FileError { line, text });
        }
        Ok(PartResult { run, part, covered, broken, runs, blocked, steps, fault, ends, traces })
    }

    /// Was everything seen?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.covered == ALL
    }

    /// Does a promise, or a rule, not hold?
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.fault.is_some()
    }

    /// How often the property did not hold.
    #[must_use]
    pub const fn count(&self, property: Property) -> u64 {
        self.broken[property as usize]
    }
}

fn sum(text: &str) -> u64 {
    Hash128::of(text).0
}

/// The text with the sum of all before its last line; `None` if it is no part.
pub(crate) fn resealed(file: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(file).ok().filter(|text| text.starts_with(MAGIC))?;
    let whole = text.split_inclusive('\n').take_while(|line| !line.starts_with("sum ")).collect::<String>();
    let sum = sum(&whole);
    Some(format!("{whole}sum {sum:016x}\n").into_bytes())
}

/// The lines of a part, one after the other.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self, what: &str) -> Result<(usize, &'a str), FileError> {
        let Some((index, line)) = self.lines.next() else {
            let text = format!("the file ends, and `{what}` is missing");
            return Err(FileError { line: self.at + 1, text });
        };
        self.at = index + 1;
        Ok((self.at, line))
    }

    fn field(&mut self, name: &str) -> Result<(usize, &'a str), FileError> {
        let (line, found) = self.next(name)?;
        match found.split_once(' ') {
            Some((key, value)) if key == name => Ok((line, value)),
            _ => Err(FileError { line, text: format!("`{name} ...` is expected here") }),
        }
    }

    fn number(&mut self, name: &str) -> Result<u64, FileError> {
        let (line, value) = self.field(name)?;
        value.parse().map_err(|_| FileError { line, text: format!("`{}` is no number", quote(value)) })
    }

    fn hashes(&mut self, name: &str) -> Result<BTreeSet<u128>, FileError> {
        let count = self.number(name)?;
        let mut hashes = BTreeSet::new();
        for _ in 0..count {
            let (line, hash) = self.next(name)?;
            let number = u128::from_str_radix(hash, 16)
                .map_err(|_| FileError { line, text: format!("`{}` is no hash", quote(hash)) })?;
            if !hashes.insert(number) {
                return Err(FileError { line, text: format!("{} is there twice", quote(hash)) });
            }
        }
        Ok(hashes)
    }
}

/// Puts the parts of one search together.
///
/// # Errors
/// They are not all parts of one search, each once: which one is wrong, by its place in the list, and why.
pub fn merge(parts: &[PartResult]) -> Result<Merged, (usize, String)> {
    let Some(first) = parts.first() else {
        return Err((0, "there are no parts".to_string()));
    };
    let of = first.part.1;
    let mut seen = vec![None; of as usize];
    for (index, part) in parts.iter().enumerate() {
        let differs = part.run.iter().zip(&first.run).find(|(mine, other)| mine != other);
        if let Some(((name, value), (_, other))) = differs {
            let why = format!("it is of another run: {name} is `{value}`, and `{other}` in the first file");
            return Err((index, why));
        }
        if part.part.1 != of {
            let why = format!("it is one of {} parts, and the first file is one of {of}", part.part.1);
            return Err((index, why));
        }
        let place = &mut seen[part.part.0 as usize - 1];
        if let Some(before) = place.replace(index) {
            return Err((
                index,
                format!("part {} is there twice: file {} has it, too", part.part.0, before + 1),
            ));
        }
    }
    if let Some(missing) = seen.iter().position(Option::is_none) {
        let why = format!("part {} of {of} is missing ({} of {of} are there)", missing + 1, parts.len());
        return Err((parts.len(), why));
    }
    let mut whole =
        PartResult { part: (1, 1), broken: [0; 5], runs: 0, blocked: 0, steps: 0, ..first.clone() };
    (whole.ends, whole.traces) = (BTreeSet::new(), BTreeSet::new());
    let mut overlap = 0;
    for part in parts {
        for (all, count) in whole.broken.iter_mut().zip(part.broken) {
            *all += count;
        }
        whole.runs += part.runs;
        whole.blocked += part.blocked;
        whole.steps += part.steps;
        if !part.is_complete() && (whole.is_complete() || part.is_broken()) {
            whole.covered.clone_from(&part.covered);
        }
        if whole.fault.is_none() {
            whole.fault.clone_from(&part.fault);
        }
        whole.ends.extend(&part.ends);
        for trace in &part.traces {
            overlap += u64::from(!whole.traces.insert(*trace));
        }
    }
    Ok(Merged { whole, parts: of, overlap })
}
