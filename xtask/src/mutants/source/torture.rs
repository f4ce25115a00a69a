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

/// How long the workloads run.
const SECONDS: &str = "10";
/// The command promises to end within its time and a minute; a machine that is busy gets a little more.
const ENDS_WITHIN: Duration = Duration::from_secs(80);

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
        for Fate { name, caught, seconds, endless, .. } in &self.mutants {
            let how = caught.as_deref().unwrap_or("NOT CAUGHT");
            println!("{name:<52} {seconds:>3} s  {how}{}", if *endless { ", AND DOES NOT END" } else { "" });
        }
        for name in &self.left_out {
            println!("{name:<52}   not run: it needs a build of its own");
        }
        let caught = self.mutants.iter().filter(|fate| fate.caught.is_some()).count();
        println!("the torture caught {caught} of {} in {SECONDS} s each", self.mutants.len());
    }
}

/// Runs the command with mutant `number`; 0 is none.
fn fate(program: &Path, number: usize, mutant: &Mutant) -> Result<Fate, Not> {
    let began = Instant::now();
    let wrong = |error: std::io::Error| Not::Passed(format!("{}: {error}", program.display()));
    let mut child = Command::new(program)
        .args(["torture", "--seconds", SECONDS, "--fail-fast", "--json", "--seed"])
        .arg(number.to_string())
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
    let Mutant { name, file, .. } = mutant.clone();
    Ok(Fate { name, file, caught, endless, seconds: began.elapsed().as_secs() })
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

/// Runs those of the library that are chosen.
pub(crate) fn run(choice: &Choice) -> Result<Report, Not> {
    let all = list::all()?;
    let of_library = |mutant: &Mutant| {
        mutant.file.starts_with("crates/standstill/src/") && !mutant.under_ra && mutant.holds.is_none()
    };
    // The shards are those of the library's mutants.
    let Choice { only, shard, jobs } = choice.clone();
    let mut mutants = chosen(&Choice { only, shard: None, jobs }, &all);
    mutants.retain(|(_, mutant)| of_library(mutant));
    let (i, n) = shard.unwrap_or((1, 1));
    let mut mutants: Vec<_> = mutants.into_iter().skip(i - 1).step_by(n).collect();
    let tree = Tree::new()?;
    let mut left_out = Vec::new();
    mutants.retain(|(_, mutant)| {
        let fits = tree.text(&mutant.file).and_then(|text| mutant.applied(&text)).is_ok();
        if !fits {
            left_out.push(mutant.name.clone());
        }
        fits
    });
    let (built, alone) = build_woven(&tree, &mut mutants, &mut left_out, || tree.build_torture())?;
    let none = Mutant { name: "no mutant".into(), ..Mutant::default() };
    if let Some(words) = fate(&built.explorer, 0, &none)?.caught {
        return fail(format!("the torture finds the library itself wrong: {words}"));
    }
    let (alone, woven): (Vec<_>, Vec<_>) = mutants.into_iter().partition(|(n, _)| alone.contains(n));
    left_out.extend(alone.into_iter().map(|(_, mutant)| mutant.name));
    let bar = Progress::new("source mutants, by the torture", woven.len());
    let fates =
        in_parallel(&woven, choice.jobs, &bar, |(number, mutant)| fate(&built.explorer, *number, mutant));
    let mutants = fates.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Report { schema: "standstill-torture-mutants-1", mutants, left_out })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::words;

    #[test]
    fn what_was_broken_is_named() {
        let report = json!({"late": 2, "lost": 0, "rules": [
            {"id": "order", "broken": 1}, {"id": "books", "broken": 0}
        ]});
        assert_eq!(words(&report), "late, order");
        assert!(words(&json!(null)).contains("did not boot"));
    }
}
