//! Schedules as text, to be kept as tests.
//!
//! ```text
//! standstill-replay 1
//! # anything
//! protocol linux-3.14
//! scenario offline-vs-device-irq
//! cpus 2
//! irqs 1
//! ipi delayed
//! memory sc
//! rule W
//! choices 83
//! 00000 00003100 CPU 0 Load crates/standstill/src/stop/machine.rs:155
//! end
//! ```
//! A line of the schedule is its number, the choice, and, for people and for the comparison, what its first step did and where.

use crate::monitor::rules::is_rule;
use crate::result::file_error::FileError;

use standstill::{Property, Protocol};
use standstill_io::Kind;
use standstill_io::words::quote;

use crate::config::options::{Ipi, MemoryModel, Options};
use crate::engine::dpor::LONGEST;
use crate::result::replay::replay;
use crate::result::verdict::ReplayError;
use crate::scenario;
use crate::vocab::step::{Step, StepWhat};

const MAGIC: &str = "standstill-replay";
const VERSION: u32 = 1;
const LIVELOCK: &str = "livelock";

impl Saved {
    /// The files that [`load`] reads. No run of a scenario is as long as the largest of them.
    pub const KIND: Kind<'static> =
        Kind { name: "a replay file", magic: &["standstill-replay "], most: 64 << 20, line: 4096 };
}

/// A schedule from a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Saved {
    /// What it is a schedule of.
    pub options: Options,
    /// What it breaks.
    pub rule: String,
    /// The schedule.
    pub choices: Vec<u32>,
    /// What each choice did when it was saved: for the comparison.
    pub notes: Vec<String>,
}

fn note_of(step: &Step) -> String {
    let what = match &step.what {
        StepWhat::Access { op, .. } => format!("{op:?}"),
        StepWhat::Event(what) => {
            let text = format!("{what:?}");
            text.split([' ', '(', '{']).next().unwrap_or_default().to_string()
        }
        StepWhat::TakeInterrupt(kind) => format!("TakeInterrupt({kind:?})"),
        StepWhat::SendIpi { to, why } => format!("SendIpi({why:?},{to})"),
        other => {
            let text = format!("{other:?}");
            text.split([' ', '(', '{']).next().unwrap_or_default().to_string()
        }
    };
    format!("CPU {} {what} {}", step.cpu, step.location)
}

/// The notes of a run, one for each choice.
fn notes(steps: &[Step], choices: usize) -> Vec<String> {
    let mut notes = vec![String::new(); choices];
    for step in steps {
        if let Some(note) = notes.get_mut(step.choice)
            && note.is_empty()
        {
            *note = note_of(step);
        }
    }
    notes
}

/// What changes the run, and has no place in a file.
fn unsaid(options: &Options) -> Option<&'static str> {
    let usual = Options::default();
    [
        (options.own.is_some(), "a scenario of one's own"),
        (options.mutant.is_some(), "a mutant of the library"),
        (options.sleepers != usual.sleepers, "waits that sleep until they are notified"),
        (options.fan_in != usual.fan_in, "another fan-in"),
    ]
    .into_iter()
    .find_map(|(there, what)| there.then_some(what))
}

/// The text of a schedule that breaks `rule`. It is carried out once, for the notes.
///
/// # Errors
/// It can't be carried out.
pub fn save(options: &Options, rule: &str, choices: &[u32]) -> Result<String, ReplayError> {
    if let Some(what) = unsaid(options) {
        return Err(ReplayError::BadOptions(format!("a schedule with {what} can't be saved in a file")));
    }
    if !is_rule(rule) {
        return Err(ReplayError::BadOptions(format!("there is no rule `{}`", quote(rule))));
    }
    if rule == LIVELOCK && choices.is_empty() {
        return Err(ReplayError::BadOptions("no single schedule shows that no run ends".into()));
    }
    let run = replay(options, choices)?;
    let mut text = format!(
        "{MAGIC} {VERSION}\nprotocol {}\nscenario {}\ncpus {}\nirqs {}\nipi {}\nmemory {}\nrule {rule}\nchoices {}\n",
        options.protocol.name(),
        options.scenario,
        options.cpus,
        options.irqs,
        options.ipi.name(),
        options.memory.name(),
        choices.len()
    );
    for (index, (choice, note)) in choices.iter().zip(notes(&run.steps, choices.len())).enumerate() {
        text.push_str(&format!("{index:05} {choice:08x} {note}\n"));
    }
    text.push_str("end\n");
    Ok(text)
}

/// Reads such a text.
///
/// # Errors
/// The first line that is not as it should be.
pub fn load(text: &str) -> Result<Saved, FileError> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_end()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut end = 1;
    let mut next = |what: &str| -> Result<(usize, String), FileError> {
        let Some((line, found)) = lines.next() else {
            return Err(FileError { line: end, text: format!("the file ends, and `{what}` is missing") });
        };
        end = line + 1;
        Ok((line, found.to_string()))
    };
    let (line, found) = next(MAGIC)?;
    let version = found.strip_prefix(MAGIC).ok_or_else(|| FileError {
        line,
        text: format!("this is no replay file: it does not begin with `{MAGIC}`"),
    })?;
    if version.trim() != VERSION.to_string() {
        return Err(FileError {
            line,
            text: format!(
                "the file has version {}, and this program reads version {VERSION}",
                quote(version.trim())
            ),
        });
    }
    let mut field = |name: &str| -> Result<(usize, String), FileError> {
        let (line, found) = next(name)?;
        match found.split_once(' ') {
            Some((key, value)) if key == name => Ok((line, value.to_string())),
            _ => Err(FileError {
                line,
                text: format!("`{name} ...` is expected here, and there is `{}`", quote(&found)),
            }),
        }
    };
    let unknown = |line: usize, what: &str, value: &str| FileError {
        line,
        text: format!("there is no {what} `{}`", quote(value)),
    };
    let (line, value) = field("protocol")?;
    let protocol = Protocol::by_name(&value).ok_or_else(|| unknown(line, "protocol", &value))?;
    let (line, value) = field("scenario")?;
    let scenario = scenario::by_name(&value).ok_or_else(|| unknown(line, "scenario", &value))?.name;
    let number = |(line, value): (usize, String)| {
        value
            .parse::<usize>()
            .map_err(|_| FileError { line, text: format!("`{}` is no number", quote(&value)) })
    };
    let cpus = number(field("cpus")?)?;
    let irqs = number(field("irqs")?)?;
    let (line, value) = field("ipi")?;
    let ipi = Ipi::by_name(&value).ok_or_else(|| unknown(line, "latency of IPIs", &value))?;
    let (line, value) = field("memory")?;
    let memory = MemoryModel::by_name(&value).ok_or_else(|| unknown(line, "memory model", &value))?;
    let (line, rule) = field("rule")?;
    if !is_rule(&rule) {
        return Err(unknown(line, "rule", &rule));
    }
    let (line, value) = field("choices")?;
    let count = number((line, value))?;
    let options = Options { protocol, scenario, cpus, irqs, ipi, memory, ..Options::default() };
    if let Err(text) = scenario::refuse(&options) {
        return Err(FileError { line, text });
    }
    let (mut choices, mut notes) = (Vec::new(), Vec::new());
    loop {
        let (line, found) = next("end")?;
        if found == "end" {
            if choices.len() != count {
                let text = format!("the schedule has {} choices, and should have {count}", choices.len());
                return Err(FileError { line, text });
            }
            if let Ok((line, more)) = next("nothing") {
                let text = format!("the schedule has its `end`, and there is more: `{}`", quote(&more));
                return Err(FileError { line, text });
            }
            return Ok(Saved { options, rule, choices, notes });
        }
        let mut parts = found.splitn(3, ' ');
        let index = parts.next().and_then(|index| index.parse::<usize>().ok());
        let choice = parts.next().and_then(|choice| u32::from_str_radix(choice, 16).ok());
        let (Some(index), Some(choice)) = (index, choice) else {
            return Err(FileError { line, text: format!("`{}` is no line of a schedule", quote(&found)) });
        };
        if index != choices.len() {
            return Err(FileError { line, text: format!("choice {} is expected here", choices.len()) });
        }
        choices.push(choice);
        notes.push(parts.next().unwrap_or_default().to_string());
    }
}

impl Saved {
    /// Carries the schedule out and compares each step with what was saved.
    ///
    /// # Errors
    /// The first choice that is not possible, or does something else than it did.
    pub fn replay(&self) -> Result<crate::result::verdict::Run, ReplayError> {
        let run = replay(&self.options, &self.choices)?;
        for (at, (now, then)) in notes(&run.steps, self.choices.len()).iter().zip(&self.notes).enumerate() {
            if now != then {
                return Err(ReplayError::Differs { at, then: then.clone(), now: now.clone() });
            }
        }
        Ok(run)
    }

    /// Does `run`, which is this schedule's, break the rule that the file names?
    #[must_use]
    pub fn breaks(&self, run: &crate::result::verdict::Run) -> bool {
        let named = |property: &Property| property.letter().to_string() == self.rule;
        let counts = |property: Property| run.properties[property as usize] > 0;
        // A run that has no end shows it by its length.
        let endless = self.rule == LIVELOCK && !run.complete && self.choices.len() >= LONGEST;
        let violation = run.violation.as_ref().is_some_and(|violation| violation.rule == self.rule);
        violation || endless || Property::ALL.into_iter().find(named).is_some_and(counts)
    }
}
