//! `cargo xtask mutants`: the library with one thing left out, at each place where a scenario comes along; what catches it?
//!
//! The model finds the places and runs the mutants (`crates/standstill-model/examples/mutants.rs`), each in a process of its own, as a mutant may break the
//! checker too. A mutant that survives must be explained in `crates/standstill-model/mutants.txt`, by the text of its line; an explanation
//! that explains nothing any more is an error, so the list stays true.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::progress::Progress;
use crate::run::{Not, cargo, root, succeed, target_dir};

const EXPLAINED: &str = "crates/standstill-model/mutants.txt";
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

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Without the long searches with three CPUs that survivors get otherwise
    #[arg(long)]
    quick: bool,
    /// Prints one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// What became of one mutant.
#[derive(Serialize)]
struct Fate {
    change: String,
    place: String,
    code: String,
    /// The rule that caught it: a number, a property's letter, or a word; `None`: it survived.
    rule: Option<String>,
    cell: String,
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
struct Report {
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

/// Runs all.
pub(crate) fn main(args: &Args) -> ExitCode {
    match all(args) {
        Ok(report) => {
            show(&report, args.json);
            let failed = !report.errors.is_empty() || report.total.open > 0;
            if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(Not::Passed(why) | Not::Run(why)) => {
            eprintln!("mutants: {why}");
            ExitCode::FAILURE
        }
    }
}

fn all(args: &Args) -> Result<Report, Not> {
    let began = Instant::now();
    eprintln!("building");
    succeed(&mut cargo(&["build", "--release", "-p", "standstill-model", "--example", "mutants"]))?;
    let worker = target_dir().join("release/examples/mutants");
    let explanations = explanations()?;
    let cells: Vec<String> = in_both_ways(&lines(&worker, &["cells"])?).collect();
    // Those for survivors have to pass without a mutant, too, or they would catch whatever comes to them.
    let more: Vec<String> = if args.quick { Vec::new() } else { in_both_ways(&MORE).collect() };
    let bar = Progress::new("places", cells.len() + more.len());
    let more_pass = in_parallel(&more, &bar, |cell| sites(&worker, cell, MORE_PATIENCE));
    more_pass.into_iter().collect::<Result<Vec<_>, _>>()?;
    let found =
        in_parallel(&cells, &bar, |cell| sites(&worker, cell, PATIENCE).map(|sites| (cell.clone(), sites)));
    let mut report = Report::new();
    // Which cells come to a mutant, the quickest first.
    let mut touched: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for result in found {
        let (cell, sites) = result?;
        if !sites.exhausted {
            // It says nothing about a mutant either.
            report.left_out.push(cell);
            continue;
        }
        for mutant in sites.mutants.iter().filter(|mutant| belongs(mutant, &cell)) {
            touched.entry(mutant.clone()).or_default().push((sites.ms, cell.clone()));
        }
    }
    let mutants: Vec<(String, Vec<String>)> = touched
        .into_iter()
        .map(|(mutant, mut cells)| {
            cells.sort();
            // A mutant may have more states than the library; one that has far more is left at that.
            let patient = |(ms, cell): (u64, String)| format!("{cell}:{}", 10 + 10 * ms.div_ceil(1000));
            (mutant, cells.into_iter().map(patient).collect())
        })
        .collect();
    let bar = Progress::new("mutants", mutants.len());
    let fates = in_parallel(&mutants, &bar, |(mutant, cells)| fate(&worker, mutant, cells, args.quick));
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
    mutants: Vec<String>,
}

/// Searches a cell without a mutant, for so many seconds.
fn sites(worker: &Path, cell: &str, seconds: u64) -> Result<Sites, Not> {
    let mut lines = lines(worker, &["sites", &format!("{cell}:{seconds}")])?;
    let head = if lines.is_empty() { String::new() } else { lines.remove(0) };
    match head.split('\t').collect::<Vec<_>>()[..] {
        ["cell", exhausted @ ("true" | "false"), _, ms] => {
            Ok(Sites { exhausted: exhausted == "true", ms: ms.parse().unwrap_or(0), mutants: lines })
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

fn fate(worker: &Path, mutant: &str, cells: &[String], quick: bool) -> Result<Fate, Not> {
    let (change, place) = mutant.split_once(' ').unwrap_or((mutant, ""));
    let mut all = cells.to_vec();
    if !quick {
        let more = in_both_ways(&MORE).filter(|cell| belongs(mutant, cell));
        all.extend(more.map(|cell| format!("{cell}:{MORE_PATIENCE}")));
    }
    let began = Instant::now();
    let out = Command::new(worker).arg("run").arg(mutant).args(&all).stdin(Stdio::null()).output();
    let out = out.map_err(|error| Not::Passed(format!("{}: {error}", worker.display())))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let fields: Vec<&str> = text.trim().split('\t').collect();
    let (rule, cell) = match fields[..] {
        ["caught", rule, cell, ..] => (Some(rule.to_string()), cell.to_string()),
        ["survived", ..] => (None, String::new()),
        // It followed a link that is none, or broke a promise where nothing can unwind.
        _ if out.status.code().is_none() => (Some("crash".to_string()), String::new()),
        _ => return crate::run::fail(format!("{mutant}: {}", String::from_utf8_lossy(&out.stderr))),
    };
    Ok(Fate {
        change: change.to_string(),
        place: place.to_string(),
        code: code_at(place).unwrap_or_default(),
        rule,
        cell,
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

/// Calls `f` with each job on all cores; the results in the order of the jobs.
fn in_parallel<J: Sync, R: Send>(jobs: &[J], bar: &Progress, f: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<HashMap<usize, R>> = Mutex::new(HashMap::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((index, job)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(index).map(|job| (index, job))
                } {
                    let result = f(job);
                    bar.step();
                    if let Ok(mut results) = results.lock() {
                        results.insert(index, result);
                    }
                }
            });
        }
    });
    bar.clear();
    let mut results = results.into_inner().unwrap_or_default();
    (0..jobs.len()).filter_map(|index| results.remove(&index)).collect()
}

/// One line of the list of explanations.
struct Explanation {
    line: usize,
    change: String,
    file: String,
    code: String,
    why: String,
}

fn explanations() -> Result<Vec<Explanation>, Not> {
    let text = fs::read_to_string(root().join(EXPLAINED))
        .map_err(|error| Not::Passed(format!("{EXPLAINED}: {error}")))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Explanation>, Not> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split(" ;; ").map(str::trim).collect();
        let [change, file, code, why] = fields[..] else {
            return crate::run::fail(format!(
                "{EXPLAINED}:{}: an explanation is `change ;; file ;; code of the line ;; why`",
                index + 1
            ));
        };
        let (change, file, code, why) = (change.into(), file.into(), code.into(), why.into());
        all.push(Explanation { line: index + 1, change, file, code, why });
    }
    Ok(all)
}

fn show(report: &Report, json: bool) {
    if json {
        match serde_json::to_string_pretty(report) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("mutants: {error}"),
        }
        return;
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(["mutant", "place", "caught by", "in", "ms"]);
    for fate in &report.mutants {
        let place = fate.place.strip_prefix("crates/standstill/src/").unwrap_or(&fate.place);
        let by = match (&fate.rule, &fate.explanation) {
            (Some(rule), _) => rule.as_str(),
            (None, Some(_)) => "nothing: explained",
            (None, None) => "NOTHING",
        };
        let cell = fate.cell.split(':').next().unwrap_or_default();
        table.add_row([&fate.change, place, by, cell, &fate.milliseconds.to_string()]);
    }
    println!("{table}");
    for fate in report.mutants.iter().filter(|fate| fate.rule.is_none()) {
        println!("{} {}\n    {}", fate.change, fate.place, fate.code);
        println!("    {}", fate.explanation.as_deref().unwrap_or("survives, and nobody says why"));
    }
    for error in &report.errors {
        println!("{error}");
    }
    for cell in &report.left_out {
        println!("{cell}: not exhausted in {PATIENCE} s, so no mutant was tried there");
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header([
        "mutant",
        "all",
        "caught",
        "explained",
        "open",
    ]);
    let total = [("all".to_string(), report.total)];
    for (change, count) in report.by_change.iter().chain(total.iter().map(|(name, count)| (name, count))) {
        let figures =
            [count.all(), count.caught, count.explained, count.open].map(|figure| figure.to_string());
        table.add_row(std::iter::once(change.clone()).chain(figures));
    }
    println!("{table}");
    println!(
        "{} of {} mutants are caught, {} are explained, {} are open; {} s",
        report.total.caught,
        report.total.all(),
        report.total.explained,
        report.total.open,
        report.seconds
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survivor() -> Fate {
        Fate {
            change: "drop-write".to_string(),
            place: "crates/standstill/src/stop/lock.rs:44:21".to_string(),
            code: "self.holder.store(cpu, Relaxed);".to_string(),
            rule: None,
            cell: String::new(),
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
