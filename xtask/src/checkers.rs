//! The checkers side by side: the library's own code in `standstill check`, beside what Spin, stateright, shuttle and loom can be
//! told of the same stop (`bench/checkers`). One run, in turn, medians.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::{Not, cargo, command, fail, output, root, succeed, target_dir};
use crate::tools;

/// Where the models for the other checkers are.
const PEERS: &str = "bench/checkers/Cargo.toml";
const SPIN_MODEL: &str = "bench/checkers/stop.pml";

/// Seconds after which a checker that can't come to an end gives up.
const LIMIT: &str = "20";

/// What a checker runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Standstill,
    Spin,
    Stateright,
    Shuttle,
    Loom,
}

impl Tool {
    const ALL: [Tool; 5] = [Tool::Standstill, Tool::Spin, Tool::Stateright, Tool::Shuttle, Tool::Loom];

    const fn name(self) -> &'static str {
        match self {
            Tool::Standstill => "standstill",
            Tool::Spin => "Spin",
            Tool::Stateright => "stateright",
            Tool::Shuttle => "shuttle, random",
            Tool::Loom => "loom",
        }
    }

    /// What it looks at.
    const fn subject(self) -> &'static str {
        match self {
            Tool::Standstill => "the library's code",
            Tool::Spin | Tool::Stateright => "a hand-written model",
            Tool::Shuttle => "a hand-written imitation, interrupts as threads",
            Tool::Loom => "the meeting of the stoppers alone, no interrupts",
        }
    }
}

/// A way to leave.
#[derive(Clone, Copy)]
struct Way {
    preset: &'static str,
    /// `SPLIT`, `DRAIN`, `DEAF` for Spin.
    spin: [&'static str; 3],
}

const WAYS: [Way; 2] = [
    Way { preset: "standstill", spin: ["-DSPLIT=1", "-DDRAIN=1", "-DDEAF=1"] },
    Way { preset: "linux-3.14", spin: ["-DSPLIT=0", "-DDRAIN=0", "-DDEAF=0"] },
];

/// One run of a checker.
struct Run {
    states: Option<u64>,
    runs: Option<u64>,
    exhausted: bool,
    violation: bool,
    time: Duration,
}

impl Run {
    fn says(&self) -> &'static str {
        match (self.violation, self.exhausted) {
            (true, _) => "found",
            (false, true) => "proved",
            (false, false) => "not finished",
        }
    }
}

/// A row of the table.
struct Row {
    tool: Tool,
    preset: &'static str,
    cpus: usize,
    /// In the order of their times.
    runs: Vec<Run>,
}

impl Row {
    fn median(&self) -> &Run {
        &self.runs[self.runs.len() / 2]
    }
}

/// Builds all, runs all, prints the table; `json` gets the same for machines.
pub(crate) fn bench(cpus: &[usize], rounds: usize, json: Option<&Path>) -> Result<(), Not> {
    eprintln!("building");
    succeed(&mut cargo(&["build", "--release", "-p", "standstill-cli"]))?;
    succeed(&mut cargo(&["build", "--release", "--manifest-path", PEERS, "--target-dir", &peers_dir()]))?;
    tools::SPIN.set_up()?;
    let mut rows = Vec::new();
    for way in WAYS {
        for cpus in cpus {
            for tool in Tool::ALL {
                rows.push(Row { tool, preset: way.preset, cpus: *cpus, runs: Vec::new() });
            }
        }
    }
    for round in 1..=rounds {
        for row in &mut rows {
            let Some(way) = WAYS.into_iter().find(|way| way.preset == row.preset) else { continue };
            // What can't come to an end takes its whole limit: once is enough.
            if row.runs.first().is_some_and(|run| !run.exhausted && !run.violation) {
                continue;
            }
            eprintln!("round {round} of {rounds}: {}, {}, {} CPUs", row.tool.name(), row.preset, row.cpus);
            row.runs.push(match row.tool {
                Tool::Standstill => standstill(way, row.cpus)?,
                Tool::Spin => spin(way, row.cpus)?,
                Tool::Stateright => peer("stateright", way, row.cpus)?,
                Tool::Shuttle => peer("shuttle", way, row.cpus)?,
                Tool::Loom => peer("loom", way, row.cpus)?,
            });
        }
    }
    for row in &mut rows {
        row.runs.sort_by_key(|run| run.time);
    }
    print!("{}", table(&rows));
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&as_json(&rows, rounds)).unwrap_or_default();
        if let Err(error) = fs::write(path, text) {
            return fail(format!("{}: {error}", path.display()));
        }
    }
    Ok(())
}

fn peers_dir() -> String {
    target_dir().join("peers").to_string_lossy().into_owned()
}

/// Where Spin's output goes.
fn spin_dir() -> PathBuf {
    target_dir().join("spin")
}

/// The library's code, two cores or as many as there are.
fn standstill(way: Way, cpus: usize) -> Result<Run, Not> {
    let program = target_dir().join("release/standstill");
    let cpus = cpus.to_string();
    let args =
        ["check", "--protocol", way.preset, "--cpus", &cpus, "--irqs", "1", "--ipi", "delayed", "--json"];
    let out = output(&mut command(program, &args))?;
    let Ok(report) = serde_json::from_str::<Value>(&out.stdout) else {
        return fail(format!(
            "`standstill {}` ended with {}: {}",
            args.join(" "),
            out.code,
            out.stderr.trim()
        ));
    };
    let coverage = &report["coverage"];
    Ok(Run {
        states: coverage["states"].as_u64(),
        runs: None,
        exhausted: coverage["kind"] == "exhausted",
        violation: !report["violation"].is_null(),
        time: Duration::from_nanos(report["time_ns"].as_u64().unwrap_or(0)),
    })
}

/// Spin: the check alone is timed, not the compilers.
fn spin(way: Way, cpus: usize) -> Result<Run, Not> {
    let dir = spin_dir().join(format!("{}-{cpus}", way.preset));
    if let Err(error) = fs::create_dir_all(&dir) {
        return fail(format!("{}: {error}", dir.display()));
    }
    let model = root().join(SPIN_MODEL);
    let cpus = format!("-DN={cpus}");
    let mut args = vec!["-a", &cpus, "-DIRQS=1", "-DDELAYED=1"];
    args.extend(way.spin);
    let model = model.to_string_lossy();
    args.push(&model);
    succeed(command("spin", &args).current_dir(&dir))?;
    succeed(command("gcc", &["-O2", "-DSAFETY", "-w", "-o", "pan", "pan.c"]).current_dir(&dir))?;
    let began = Instant::now();
    let out = succeed(command(dir.join("pan"), &["-m1000000"]).current_dir(&dir))?;
    let time = began.elapsed();
    let number = |before: &str| {
        let line = out.stdout.lines().find(|line| line.contains(before))?;
        line.split_whitespace().find_map(|word| word.parse::<f64>().ok())
    };
    let errors =
        out.stdout.lines().find_map(|line| line.split("errors: ").nth(1)?.trim().parse::<u64>().ok());
    let (Some(states), Some(errors)) = (number("states, stored"), errors) else {
        return fail(format!("Spin's output is not understood:\n{}", out.stdout));
    };
    Ok(Run { states: Some(states as u64), runs: None, exhausted: errors == 0, violation: errors > 0, time })
}

/// One of the checkers in `bench/checkers`.
fn peer(tool: &str, way: Way, cpus: usize) -> Result<Run, Not> {
    let program = Path::new(&peers_dir()).join("release/standstill-peers");
    let cpus = cpus.to_string();
    let args = [tool, "--protocol", way.preset, "--cpus", &cpus, "--seconds", LIMIT];
    let out = succeed(&mut command(program, &args))?;
    let Ok(found) = serde_json::from_str::<Value>(&out.stdout) else {
        return fail(format!("{tool} wrote no result: {}", out.stdout));
    };
    Ok(Run {
        states: found["states"].as_u64(),
        runs: found["runs"].as_u64(),
        exhausted: found["exhausted"] == true,
        violation: found["violation"] == true,
        time: Duration::from_nanos(found["time_ns"].as_u64().unwrap_or(0)),
    })
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| preset | CPUs | checker | what it runs | says | states | executions | time |\n|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let run = row.median();
        let count = |count: Option<u64>| count.map_or_else(String::new, |count| count.to_string());
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
            row.preset,
            row.cpus,
            row.tool.name(),
            row.tool.subject(),
            run.says(),
            count(run.states),
            count(run.runs),
            seconds(run.time),
        );
    }
    text
}

fn seconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 1000.0 { format!("{ms:.1} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

fn as_json(rows: &[Row], rounds: usize) -> Value {
    let rows = rows.iter().map(|row| {
        let times: Vec<_> = row.runs.iter().map(|run| run.time.as_nanos() as u64).collect();
        let run = row.median();
        serde_json::json!({
            "checker": row.tool.name(), "subject": row.tool.subject(), "preset": row.preset, "cpus": row.cpus,
            "says": run.says(), "states": run.states, "runs": run.runs, "time_ns": times,
        })
    });
    serde_json::json!({
        "schema": "standstill.bench-checkers/1",
        "version": env!("CARGO_PKG_VERSION"),
        "rounds": rounds,
        "results": rows.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ms: u64, violation: bool) -> Run {
        Run { states: Some(7), runs: None, exhausted: !violation, violation, time: Duration::from_millis(ms) }
    }

    #[test]
    fn the_table_quotes_the_median() {
        let runs = vec![run(1, false), run(20, false), run(3000, false)];
        let rows = [Row { tool: Tool::Spin, preset: "standstill", cpus: 3, runs }];
        let text = table(&rows);
        assert!(
            text.ends_with("| `standstill` | 3 | Spin | a hand-written model | proved | 7 |  | 20.0 ms |\n"),
            "{text}"
        );
        assert_eq!(run(1, true).says(), "found");
        assert_eq!(seconds(Duration::from_millis(2500)), "2.5 s");
    }
}
