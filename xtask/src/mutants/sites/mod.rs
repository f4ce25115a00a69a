//! `cargo xtask mutants`: the library with one thing left out, at each place where a scenario comes along; what catches it?
//!
//! The model finds the places and runs the mutants (`crates/standstill-model/examples/mutants/`), each in a process of its own, as a mutant
//! may break the checker too. A mutant is one from the end of a scenario's set-up on. Where nothing is found so, the set-up has it, too; but
//! what only dies in set-ups counts as open, as the interleavings that its place is there for were never run.
//! A mutant that survives must be explained in `crates/standstill-model/mutants.txt`, by the text of its line; an explanation
//! that explains nothing any more is an error, so the list stays true.

mod explained;
mod table;
mod trials;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;

use super::parallel::in_parallel;
use crate::progress::Progress;
use crate::run::{Not, cargo, root, succeed, target_dir};
use explained::{EXPLAINED, Explanation, explanations};
use trials::{Said, Trials, Visit};

/// Seconds for one cell of the library itself.
const PATIENCE: u64 = 60;
/// And in one that survivors get.
const MORE_PATIENCE: u64 = 20;
/// How a wait goes on: who sleeps may miss a wake-up, who polls may see more.
const WAITS: [&str; 2] = ["polls", "sleeps"];
/// What survives with two CPUs is tried with three; where one search would take too long, as far as it gets.
const MORE: [&str; 3] = [
    "pair-vs-offline:3:0:sc:8:standstill",
    "works-behind-stop:3:1:sc:8:standstill",
    "offline-vs-device-irq:3:1:sc:8:standstill",
];

/// What became of one mutant.
#[derive(Serialize)]
struct Fate {
    change: String,
    place: String,
    code: String,
    /// The rule that caught it behind a set-up: a number, a property's letter, or a word; `None`: it survived.
    rule: Option<String>,
    /// Whether it was one from the beginning, or from the end of the set-up on.
    begins: String,
    words: String,
    cell: String,
    /// What the first set-up failed of that it broke; this alone does not count.
    set_up: Option<String>,
    /// No scenario comes to its place behind its set-up.
    only_in_set_up: bool,
    milliseconds: u64,
    explanation: Option<String>,
}

/// How many mutants of one kind there are, and what became of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
struct Count {
    caught: usize,
    explained: usize,
    open: usize,
}

impl Count {
    const fn all(self) -> usize {
        self.caught + self.explained + self.open
    }
}

#[derive(Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    mutants: Vec<Fate>,
    #[serde(flatten)]
    total: Count,
    by_change: BTreeMap<String, Count>,
    /// Cells that could not be exhausted: no mutant was tried there.
    left_out: Vec<String>,
    errors: Vec<String>,
    seconds: u64,
}

impl Report {
    /// Nothing is open, and the list of explanations is true.
    pub(crate) fn passed(&self) -> bool {
        self.errors.is_empty() && self.total.open == 0
    }

    pub(crate) fn show(&self, json: bool) {
        table::print(self, json);
    }

    const fn new() -> Report {
        Report {
            schema: "standstill-mutants-1",
            mutants: Vec::new(),
            total: Count { caught: 0, explained: 0, open: 0 },
            by_change: BTreeMap::new(),
            left_out: Vec::new(),
            errors: Vec::new(),
            seconds: 0,
        }
    }
}

/// Runs all. `quick`: without the long searches with three CPUs that survivors get otherwise.
pub(crate) fn run(quick: bool, jobs: usize) -> Result<Report, Not> {
    let began = Instant::now();
    eprintln!("building");
    succeed(&mut cargo(&["build", "--release", "-p", "standstill-model", "--example", "mutants"]))?;
    let worker = target_dir().join("release/examples/mutants");
    let explanations = explanations()?;
    let cells: Vec<String> = in_both_ways(&lines(&worker, &["cells"])?).collect();
    // Those for survivors have to pass without a mutant, too, or they would catch whatever comes to them.
    let more: Vec<String> = if quick { Vec::new() } else { in_both_ways(&MORE).collect() };
    let bar = Progress::new("places", cells.len() + more.len());
    let more_pass = in_parallel(&more, jobs, &bar, |cell| sites(&worker, cell, MORE_PATIENCE));
    more_pass.into_iter().collect::<Result<Vec<_>, _>>()?;
    let found = in_parallel(&cells, jobs, &bar, |cell| {
        sites(&worker, cell, PATIENCE).map(|sites| (cell.clone(), sites))
    });
    let mut report = Report::new();
    // Which cells come to a mutant, the quickest first.
    let mut touched: BTreeMap<String, Vec<Visit>> = BTreeMap::new();
    for result in found {
        let (cell, sites) = result?;
        if !sites.exhausted {
            // It says nothing about a mutant either.
            report.left_out.push(cell);
            continue;
        }
        for (mutant, early, late) in sites.mutants.into_iter().filter(|(mutant, ..)| belongs(mutant, &cell)) {
            let visit = Visit { ms: sites.ms, cell: cell.clone(), early, late };
            touched.entry(mutant).or_default().push(visit);
        }
    }
    let mutants: Vec<(String, Trials)> =
        touched.into_iter().map(|(mutant, visits)| (mutant, Trials::of(visits))).collect();
    let bar = Progress::new("mutants", mutants.len());
    let fates = in_parallel(&mutants, jobs, &bar, |(mutant, trials)| fate(&worker, mutant, trials, quick));
    let mut used = vec![false; explanations.len()];
    for fate in fates {
        judge(fate?, &explanations, &mut used, &mut report);
    }
    for (explanation, used) in explanations.iter().zip(used) {
        if !used {
            report.errors.push(format!(
                "{EXPLAINED}:{}: it explains nothing: no mutant of `{}` survives; take it out",
                explanation.line, explanation.code
            ));
        }
    }
    report.seconds = began.elapsed().as_secs();
    Ok(report)
}

/// Each cell with waits that poll and with waits that sleep.
fn in_both_ways(cells: &[impl AsRef<str>]) -> impl Iterator<Item = String> {
    cells.iter().flat_map(|cell| WAITS.map(|waits| format!("{}:{waits}", cell.as_ref())))
}

/// What a search of the library as it is comes to.
struct Sites {
    exhausted: bool,
    ms: u64,
    /// Each mutant, and whether the set-up comes to it, and what follows.
    mutants: Vec<(String, bool, bool)>,
}

/// Searches a cell without a mutant, for so many seconds.
fn sites(worker: &Path, cell: &str, seconds: u64) -> Result<Sites, Not> {
    let mut lines = lines(worker, &["sites", &format!("{cell}:{seconds}")])?;
    let head = if lines.is_empty() { String::new() } else { lines.remove(0) };
    match head.split('\t').collect::<Vec<_>>()[..] {
        ["cell", exhausted @ ("true" | "false"), _, ms] => {
            let mutants = lines.iter().filter_map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
                [early, late, mutant] => Some((mutant.to_string(), early == "yes", late == "yes")),
                _ => None,
            });
            let mutants = mutants.collect();
            Ok(Sites { exhausted: exhausted == "true", ms: ms.parse().unwrap_or(0), mutants })
        }
        _ => crate::run::fail(format!("the library itself does not pass in {cell}: {head}")),
    }
}

fn judge(mut fate: Fate, explanations: &[Explanation], used: &mut [bool], report: &mut Report) {
    let mut count = Count::default();
    if fate.rule.is_some() {
        count.caught += 1;
    } else {
        let known = explanations.iter().position(|known| {
            known.change == fate.change && fate.place.contains(&known.file) && fate.code.contains(&known.code)
        });
        match known {
            Some(index) => {
                used[index] = true;
                count.explained += 1;
                fate.explanation = Some(explanations[index].why.clone());
            }
            None => count.open += 1,
        }
    }
    for sum in [&mut report.total, report.by_change.entry(fate.change.clone()).or_default()] {
        sum.caught += count.caught;
        sum.explained += count.explained;
        sum.open += count.open;
    }
    report.mutants.push(fate);
}

/// Is it a cell with the memory model that has orderings?
fn of_views(cell: &str) -> bool {
    cell.split(':').nth(3) == Some("ra")
}

/// Weaker orderings need a memory model that has orderings, all else is quicker without; only who sleeps misses a wake-up; a load that reads 0
/// is for tests that name it.
fn belongs(mutant: &str, cell: &str) -> bool {
    let weakens = ["to-", "weaker-", "skip-fence"].iter().any(|change| mutant.starts_with(change));
    let wakes = mutant.starts_with("drop-notify");
    weakens == of_views(cell) && !(wakes && cell.ends_with(":polls")) && !mutant.starts_with("read-zero")
}

fn fate(worker: &Path, mutant: &str, trials: &Trials, quick: bool) -> Result<Fate, Not> {
    let (change, place) = mutant.split_once(' ').unwrap_or((mutant, ""));
    let mut all = trials.cells.clone();
    if !quick {
        let more = in_both_ways(&MORE).filter(|cell| belongs(mutant, cell));
        all.extend(more.map(|cell| format!("{cell}:{MORE_PATIENCE}:after-setup")));
    }
    let began = Instant::now();
    let mut said = Said::default();
    // A process that a mutant has ended goes on in another one, behind the cell that it ended in.
    while said.caught.is_none() && !said.survived && said.begun < all.len() {
        let before = said.begun;
        let out =
            Command::new(worker).arg("run").arg(mutant).args(&all[before..]).stdin(Stdio::null()).output();
        let out = out.map_err(|error| Not::Passed(format!("{}: {error}", worker.display())))?;
        String::from_utf8_lossy(&out.stdout).lines().for_each(|line| said.line(line));
        if said.begun == before {
            return crate::run::fail(format!("{mutant}: {}", String::from_utf8_lossy(&out.stderr)));
        }
    }
    let (cell, begins) = said.cell.rsplit_once(':').unwrap_or((&said.cell, ""));
    let (rule, words) =
        said.caught.clone().map_or((None, String::new()), |(rule, words)| (Some(rule), words));
    Ok(Fate {
        change: change.to_string(),
        place: place.to_string(),
        code: code_at(place).unwrap_or_default(),
        begins: if rule.is_some() { begins.to_string() } else { String::new() },
        cell: if rule.is_some() { cell.to_string() } else { String::new() },
        rule,
        words,
        set_up: said.set_up,
        only_in_set_up: trials.only_in_set_up,
        milliseconds: began.elapsed().as_millis() as u64,
        explanation: None,
    })
}

/// The line of the source that `file:line:column` names.
fn code_at(place: &str) -> Option<String> {
    let (rest, _) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    let text = fs::read_to_string(root().join(file)).ok()?;
    Some(text.lines().nth(line.parse::<usize>().ok()?.checked_sub(1)?)?.trim().to_string())
}

fn lines(worker: &Path, args: &[&str]) -> Result<Vec<String>, Not> {
    let out = succeed(Command::new(worker).args(args).stdin(Stdio::null()))?;
    Ok(out.stdout.lines().map(str::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::explained::parse;
    use super::*;

    fn survivor() -> Fate {
        Fate {
            change: "drop-write".to_string(),
            place: "crates/standstill/src/stop/lock.rs:44:21".to_string(),
            code: "self.holder.store(cpu, Relaxed);".to_string(),
            rule: None,
            begins: String::new(),
            words: String::new(),
            cell: String::new(),
            set_up: None,
            only_in_set_up: false,
            milliseconds: 1,
            explanation: None,
        }
    }

    fn judged(fate: Fate) -> (Report, bool) {
        let text = "# a list\ndrop-write ;; stop/lock.rs ;; holder.store ;; for reports\n";
        let explanations = parse(text).unwrap_or_default();
        let mut report = Report::new();
        let mut used = [false];
        judge(fate, &explanations, &mut used, &mut report);
        (report, used[0])
    }

    #[test]
    fn a_survivor_is_explained_by_its_line() {
        let (report, used) = judged(survivor());
        assert!(used);
        assert_eq!(report.total, Count { explained: 1, ..Count::default() });
        assert_eq!(report.by_change["drop-write"], report.total);
        let (report, used) = judged(Fate { code: "another line".to_string(), ..survivor() });
        assert!(!used);
        assert_eq!(report.total, Count { open: 1, ..Count::default() });
        let (report, used) = judged(Fate { rule: Some("41".to_string()), ..survivor() });
        assert!(!used);
        assert_eq!(report.total, Count { caught: 1, ..Count::default() });
    }

    #[test]
    fn orderings_are_weakened_where_there_are_any() {
        let (views, none) = ("halt:2:0:ra:8:standstill:polls", "halt:2:1:sc:8:standstill:polls");
        assert!(of_views(views) && !of_views(none));
        assert!(belongs("to-relaxed a.rs:1:2", views) && !belongs("to-relaxed a.rs:1:2", none));
        assert!(belongs("drop-write a.rs:1:2", none) && !belongs("drop-write a.rs:1:2", views));
        assert!(!belongs("read-zero a.rs:1:2", views) && !belongs("read-zero a.rs:1:2", none));
        let sleeps = "halt:2:1:sc:8:standstill:sleeps";
        assert!(belongs("drop-notify a.rs:1:2", sleeps) && !belongs("drop-notify a.rs:1:2", none));
    }

    #[test]
    fn the_list_is_read_or_named_by_its_line() {
        assert!(explanations().is_ok_and(|all| !all.is_empty()));
        let Err(Not::Passed(why)) = parse("\nhalf ;; a line\n") else { panic!("it is damaged") };
        assert!(why.contains(":2:"), "{why}");
    }
}
