//! The torture before each error in the library's source: does it notice, by which rule, and does it end?

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::list::{self, Mutant};
use super::tree::Tree;
use super::weave::CHOICE;
use super::{Choice, build_woven, chosen};
use crate::mutants::parallel::in_parallel;
use crate::progress::Progress;
use crate::run::{Not, fail};

/// How long the workloads run, in all.
const SECONDS: u64 = 10;
/// So long on each machine, in seconds. The seed chooses the machine, see docs/torture.md.
const RUNS: [u64; 3] = [4, 3, 3];
/// The command promises to end within its time and a minute; a machine that is busy gets a little more.
const ENDS_WITHIN: Duration = Duration::from_secs(75);

/// What came of one mutant.
#[derive(Clone, Debug, Serialize)]
struct Fate {
    name: String,
    file: String,
    /// By which rules, or how the command ended; `None`: it noticed nothing.
    caught: Option<String>,
    /// It did not end in time.
    endless: bool,
    seconds: u64,
}

impl Fate {
    fn line(&self) -> String {
        let how = self.caught.as_deref().unwrap_or("NOT CAUGHT");
        let end = if self.endless { ", AND DOES NOT END" } else { "" };
        format!("{:<52} {:>3} s  {how}{end}", self.name, self.seconds)
    }
}

/// What came of all.
#[derive(Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    mutants: Vec<Fate>,
    /// Those that need a build of their own, or do not build: they were not run.
    left_out: Vec<String>,
}

impl Report {
    pub(crate) fn show(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string(self).unwrap_or_default());
            return;
        }
        for fate in &self.mutants {
            println!("{}", fate.line());
        }
        for why in &self.left_out {
            println!("not run: {why}");
        }
        let caught = self.mutants.iter().filter(|fate| fate.caught.is_some()).count();
        println!("the torture caught {caught} of {} in {SECONDS} s each", self.mutants.len());
    }
}

/// Shows mutant `number` to the torture on one machine after the other; 0 is none.
fn fate(program: &Path, number: usize, mutant: &Mutant) -> Result<Fate, Not> {
    let began = Instant::now();
    let Mutant { name, file, .. } = mutant.clone();
    let mut fate = Fate { name, file, caught: None, endless: false, seconds: 0 };
    for (machine, seconds) in RUNS.into_iter().enumerate() {
        let seed = number * RUNS.len() + machine;
        (fate.caught, fate.endless) = one_run(program, number, seed, seconds)?;
        if fate.caught.is_some() || fate.endless {
            break;
        }
    }
    fate.seconds = began.elapsed().as_secs();
    Ok(fate)
}

/// Runs the command for so many seconds: how it was caught, and whether the command did not end.
fn one_run(program: &Path, number: usize, seed: usize, seconds: u64) -> Result<(Option<String>, bool), Not> {
    let began = Instant::now();
    let wrong = |error: std::io::Error| Not::Passed(format!("{}: {error}", program.display()));
    let mut child = Command::new(program)
        .args(["torture", "--fail-fast", "--json"])
        .args(["--seed", &seed.to_string(), "--seconds", &seconds.to_string()])
        .env(CHOICE, number.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(wrong)?;
    let mut endless = false;
    while child.try_wait().map_err(wrong)?.is_none() {
        if began.elapsed() > ENDS_WITHIN {
            endless = true;
            // It may end at this moment.
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(50));
    }
    let out = child.wait_with_output().map_err(wrong)?;
    let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let caught = match out.status.code() {
        _ if endless => None,
        Some(0) => None,
        Some(1) => Some(words(&report)),
        code => Some(code.map_or_else(|| "a signal or an abort".into(), |code| format!("exit code {code}"))),
    };
    Ok((caught, endless))
}

/// The rules that were broken, and the properties.
fn words(report: &Value) -> String {
    let mut all: Vec<String> = ["late", "lost", "spurious", "outside"]
        .iter()
        .filter(|property| report[**property].as_u64().is_some_and(|count| count > 0))
        .map(ToString::to_string)
        .collect();
    let rules = report["rules"].as_array().into_iter().flatten();
    let broken = rules.filter(|rule| rule["broken"].as_u64().is_some_and(|count| count > 0));
    all.extend(broken.filter_map(|rule| rule["id"].as_str().map(String::from)));
    if all.is_empty() { "it did not boot or did not end".into() } else { all.join(", ") }
}

/// The library's own mutants that the torture can meet: not those that only the memory model with orderings can tell,
/// and not those that nothing can catch.
fn of_library(mutant: &Mutant) -> bool {
    mutant.file.starts_with("crates/standstill/src/") && !mutant.under_ra && mutant.holds.is_none()
}

/// `n` of these, at even distances over the list: nobody chooses, and the next run has the same.
fn sample<T>(all: Vec<T>, n: Option<usize>) -> Vec<T> {
    let len = all.len();
    let n = n.unwrap_or(len).min(len);
    let mut wanted = (0..n).map(|k| k * len / n).peekable();
    let numbered = all.into_iter().enumerate();
    numbered.filter(|(at, _)| wanted.next_if_eq(at).is_some()).map(|(_, one)| one).collect()
}

/// Runs those of the library that are chosen. All are in the build, so the next choice needs no other one.
pub(crate) fn run(choice: &Choice, n: Option<usize>) -> Result<Report, Not> {
    let all = list::all()?;
    let mut mutants = chosen(&Choice::default(), &all);
    mutants.retain(|(_, mutant)| of_library(mutant));
    let tree = Tree::new()?;
    let mut left_out = Vec::new();
    mutants.retain(|(_, mutant)| {
        let fits = tree.text(&mutant.file).and_then(|text| mutant.applied(&text)).is_ok();
        if !fits {
            left_out.push(format!("{}: it fits nowhere", mutant.name));
        }
        fits
    });
    let (built, alone) = build_woven(&tree, &mut mutants, &mut left_out, || tree.build_torture())?;
    let (alone, mut woven): (Vec<_>, Vec<_>) = mutants.into_iter().partition(|(n, _)| alone.contains(n));
    left_out
        .extend(alone.into_iter().map(|(_, mutant)| format!("{}: it needs a build of its own", mutant.name)));
    // The shards, and the sample, are those of what can be run.
    woven.retain(|(_, mutant)| choice.fits(mutant));
    let (i, shards) = choice.shard.unwrap_or((1, 1));
    let woven = sample(woven.into_iter().skip(i - 1).step_by(shards).collect(), n);
    let none = Mutant { name: "no mutant".into(), ..Mutant::default() };
    if let Some(words) = fate(&built.explorer, 0, &none)?.caught {
        return fail(format!("the torture finds the library itself wrong: {words}"));
    }
    let bar = Progress::new("source mutants, by the torture", woven.len());
    let fates = in_parallel(&woven, choice.jobs, &bar, |(number, mutant)| {
        let fate = fate(&built.explorer, *number, mutant)?;
        eprintln!("{}", fate.line());
        Ok(fate)
    });
    let mutants = fates.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Report { schema: "standstill-torture-mutants-1", mutants, left_out })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{sample, words};

    #[test]
    fn a_sample_is_spread_over_the_list() {
        assert_eq!(sample((0..10).collect(), Some(4)), [0, 2, 5, 7]);
        assert_eq!(sample((0..3).collect(), Some(9)), [0, 1, 2]);
        assert_eq!(sample((0..3).collect(), None), [0, 1, 2]);
        assert!(sample((0..3).collect(), Some(0)).is_empty());
    }

    #[test]
    fn what_was_broken_is_named() {
        let report = json!({"late": 2, "lost": 0, "rules": [
            {"id": "order", "broken": 1}, {"id": "books", "broken": 0}
        ]});
        assert_eq!(words(&report), "late, order");
        assert!(words(&json!(null)).contains("did not boot"));
    }
}
