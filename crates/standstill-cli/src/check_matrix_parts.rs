//! `standstill check --matrix --shard I/N` and `standstill check merge`: the cells of a matrix, dealt to several processes.
//!
//! A search is not cut: each part makes whole ones, in turn, so N parts take as long as the longest search at least. A part is one JSON object. It
//! holds the command line that says which matrix it is of, and of each search what the matrix needs; `sum` is a hash of the rest, so that a damaged file
//! is noticed.

use std::hash::Hasher;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use standstill::Property;
use standstill_io::Outputs;
use standstill_io::words::path;
use standstill_model::{Options, Room};

use crate::args::{Cli, Command, Parsed, parse};
use crate::check::Failure;
use crate::check_args::{CheckArgs, MergeArgs};
use crate::check_matrix::{Row, conclude, jobs, search, tell_untried, verdict};
use crate::check_words::count;
use crate::layout::Sheet;

/// `schema` of a part.
const SCHEMA: &str = "standstill.matrix-part/1";

/// Reads the text of a file, by its place on the command line.
type Text<'a> = &'a dyn Fn(usize) -> Result<String, String>;

/// One part, as it is written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PartJson {
    schema: String,
    version: String,
    /// Which matrix: what the command line said of it.
    matrix: Vec<String>,
    /// Which part, from 1, and of how many.
    part: (u32, u32),
    rows: Vec<RowJson>,
    sum: String,
}

/// One search.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RowJson {
    /// Its place in the list of all.
    nth: usize,
    counts: [u64; 5],
    exhausted: bool,
    states: u64,
    time_ns: u64,
    assumptions: Vec<String>,
    wrong: Option<String>,
    /// For each property the schedule that shows it, and the pair that decides.
    shown: [Option<ShownJson>; 5],
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ShownJson {
    choices: Vec<u32>,
    pair: Option<(usize, usize)>,
}

impl PartJson {
    /// A hash of all but itself.
    fn sum(&self) -> String {
        let rest = PartJson { sum: String::new(), ..self.clone() };
        // The same in each process: FNV.
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        hash.write(serde_json::to_string(&rest).expect("plain values can be written").as_bytes());
        format!("{:016x}", hash.finish())
    }
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl RowJson {
    fn of(nth: usize, row: &Row) -> RowJson {
        RowJson {
            nth,
            counts: row.counts,
            exhausted: row.exhausted,
            states: row.states,
            time_ns: row.time_ns,
            assumptions: row.assumptions.clone(),
            wrong: row.wrong.clone(),
            shown: row.failures.clone().map(|failure| {
                let failure = failure?;
                Some(ShownJson { choices: failure.choices, pair: failure.pair })
            }),
        }
    }

    /// The row again: its schedules are made once more.
    fn row(self, options: &Options) -> Row {
        let failures = Property::ALL.map(|property| {
            let shown = self.shown[property as usize].as_ref()?;
            Failure::at(options, property, &shown.choices, shown.pair)
        });
        Row {
            options: options.clone(),
            counts: self.counts,
            exhausted: self.exhausted,
            states: self.states,
            time_ns: self.time_ns,
            assumptions: self.assumptions,
            wrong: self.wrong,
            untried: None,
            failures,
        }
    }
}

/// The part with the sum of what is in it; `None` if it is no part.
pub(crate) fn resealed(file: &[u8]) -> Option<Vec<u8>> {
    let mut part: PartJson = serde_json::from_slice(file).ok()?;
    part.sum = part.sum();
    serde_json::to_vec(&part).ok()
}

/// Makes one part of a matrix and writes what it found.
pub(crate) fn part(args: &CheckArgs, (index, of): (u32, u32), mut outputs: Outputs) -> u8 {
    let jobs = jobs(args);
    // The large ones are the last ones: each part gets its share of them.
    let mine: Vec<usize> = (0..jobs.len()).filter(|nth| *nth % of as usize == index as usize - 1).collect();
    let rows = search(&jobs, &mine, args.threads);
    let mut part = PartJson {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        matrix: args.matrix_line(),
        part: (index, of),
        rows: mine.iter().zip(&rows).map(|(nth, row)| RowJson::of(*nth, row)).collect(),
        sum: String::new(),
    };
    part.sum = part.sum();
    let text = serde_json::to_string(&part).expect("plain values can be written");
    let states = rows.iter().map(|row| row.states).sum();
    let figures = format!("{} of {} searches, {}", rows.len(), jobs.len(), count(states, "state"));
    let verdict = verdict(&rows);
    let said = format!("part {index} of {of}: {figures}\n");
    let said = Sheet::of_output().fit(&said);
    let exit = standstill_io::answer(&said, Some(verdict.name()), verdict.exit());
    outputs.write("--part-file", &(text + "\n"));
    tell_untried(&rows, &mut outputs);
    outputs.end(exit)
}

/// Puts the parts together. `text` reads that of a file.
pub(crate) fn merge(args: &MergeArgs, text: Text<'_>, outputs: Outputs) -> u8 {
    let began = Instant::now();
    // Its schedules are carried out again.
    if let Err(why) = Room::of_process(None).begin() {
        return standstill_io::refuse(&why);
    }
    let name = |at: usize| path(&args.files[at]);
    match whole(args.files.len(), text) {
        Ok((mut matrix, rows)) => {
            (matrix.json, matrix.html) = (args.json, args.html.clone());
            matrix.save.clone_from(&args.save);
            conclude(&matrix, &rows, began, outputs)
        }
        Err((Some(at), why)) => standstill_io::refuse(&format!("{}: {why}", name(at))),
        Err((None, why)) => standstill_io::refuse(&why),
    }
}

/// The matrix and all its rows; or which file is wrong, and why.
fn whole(files: usize, text: Text<'_>) -> Result<(CheckArgs, Vec<Row>), (Option<usize>, String)> {
    let mut parts: Vec<PartJson> = Vec::new();
    for at in 0..files {
        let text = text(at).map_err(|why| (None, why))?;
        let part = load(&text).map_err(|why| (Some(at), why))?;
        if let Some(first) = parts.first() {
            if (&part.matrix, &part.version) != (&first.matrix, &first.version) {
                let [mine, other] =
                    [&part, first].map(|part| format!("{} ({})", part.matrix.join(" "), part.version));
                return Err((
                    Some(at),
                    format!("it is of another matrix: `{mine}`, and `{other}` in the first file"),
                ));
            }
            if part.part.1 != first.part.1 {
                let why = format!(
                    "it is one of {} parts, and the first file is one of {}",
                    part.part.1, first.part.1
                );
                return Err((Some(at), why));
            }
            if let Some(twice) = parts.iter().position(|other| other.part == part.part) {
                return Err((
                    Some(at),
                    format!("part {} is there twice: file {} has it, too", part.part.0, twice + 1),
                ));
            }
        }
        parts.push(part);
    }
    let of = parts.first().map_or(0, |part| part.part.1);
    if let Some(missing) = (1..=of).find(|index| parts.iter().all(|part| part.part.0 != *index)) {
        return Err((None, format!("part {missing} of {of} is missing ({} of {of} are there)", parts.len())));
    }
    let line = parts.first().map(|part| part.matrix.clone()).unwrap_or_default();
    let matrix = line_of(&line).ok_or((Some(0), format!("`{}` is no matrix", line.join(" "))))?;
    let jobs = jobs(&matrix);
    let mut rows: Vec<RowJson> = parts.into_iter().flat_map(|part| part.rows).collect();
    rows.sort_by_key(|row| row.nth);
    if !rows.iter().map(|row| row.nth).eq(0..jobs.len()) {
        return Err((None, "the parts do not have each search of the matrix once".into()));
    }
    Ok((matrix, rows.into_iter().zip(&jobs).map(|(row, options)| row.row(options)).collect()))
}

fn load(text: &str) -> Result<PartJson, String> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("the file is damaged: {error}"))?;
    let schema = value["schema"].as_str().unwrap_or("nothing");
    if schema != SCHEMA {
        return Err(format!("it is `{schema}`, and this program reads `{SCHEMA}`"));
    }
    let part: PartJson =
        serde_json::from_value(value).map_err(|error| format!("the file is damaged: {error}"))?;
    if part.sum != part.sum() {
        return Err("the file is damaged: its sum is another one".into());
    }
    let here = env!("CARGO_PKG_VERSION");
    if part.version != here {
        return Err(format!("version {} wrote it, and this is version {here}", part.version));
    }
    if part.part.0 == 0 || part.part.0 > part.part.1 {
        return Err(format!("part {} of {} does not exist", part.part.0, part.part.1));
    }
    Ok(part)
}

/// What a command line says of a matrix.
fn line_of(line: &[String]) -> Option<CheckArgs> {
    let all = ["standstill", "check"].into_iter().map(Into::into).chain(line.iter().map(Into::into));
    match parse(all) {
        Parsed::Run(Cli { command: Command::Check(args) }) if args.matrix => Some(*args),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> CheckArgs {
        let line: Vec<String> = line.split(' ').map(String::from).collect();
        line_of(&line).expect("a matrix")
    }

    #[test]
    fn what_is_said_of_a_matrix_says_it_again() {
        for line in [
            "--matrix",
            "--matrix --cpus 3,2 --protocol linux-3.14,standstill --irqs 2 --scenario call-to-self --memory tso",
            "--matrix --engine pct --runs 7 --seed 9 --depth 4 --max-seconds 5",
            "--matrix --engine bounded --preemptions 3 --max-states 100",
        ] {
            let asked = args(line);
            let again = line_of(&asked.matrix_line()).expect("a matrix");
            let said = |args: &CheckArgs| format!("{:?}", (jobs(args), args.irqs, args.seed, &args.engine));
            assert_eq!(said(&asked), said(&again), "{line}");
        }
    }
}
