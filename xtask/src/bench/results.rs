//! What the machines said, and what follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::boot::{ACCELERATOR, MODEL, System};
use crate::run::{Not, fail};

/// The times of one operation in one machine.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Dist {
    #[serde(skip_serializing)]
    pub(super) op: String,
    pub(super) n: usize,
    pub(super) min_ns: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) max_ns: u64,
}

/// A part of an operation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Stage {
    #[serde(skip_serializing)]
    pub(super) op: String,
    pub(super) stage: String,
    pub(super) p50_ns: u64,
}

/// What the rules and the books say after a run with every rule on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Rules {
    pub(super) asked: u64,
    pub(super) broken: u64,
    pub(super) ran: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) spurious: u64,
    pub(super) outside: u64,
    pub(super) stops: u64,
    pub(super) downs: u64,
    pub(super) ups: u64,
}

/// What one machine said.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) dists: Vec<Dist>,
    pub(super) stages: Vec<Stage>,
    pub(super) rules: Option<Rules>,
    /// What Linux calls its states.
    names: BTreeMap<String, String>,
    pub(super) began: bool,
    pub(super) ended: bool,
}

impl Heard {
    /// Takes a line from the serial port, if it is for the bench; the name of the operation that it tells the times of.
    pub(super) fn take(&mut self, line: &str) -> Result<Option<&str>, String> {
        let bad = |error| format!("what it said makes no sense ({error}): {line}");
        // Linux puts the time before each line.
        let Some((kind, json)) = line.find('@').and_then(|at| line[at..].trim_end().split_once(' ')) else {
            return Ok(None);
        };
        match kind {
            "@dist" => {
                self.dists.push(serde_json::from_str(json).map_err(bad)?);
                return Ok(self.dists.last().map(|dist| dist.op.as_str()));
            }
            "@stage" => {
                let mut stage: Stage = serde_json::from_str(json).map_err(bad)?;
                self.name(&mut stage);
                self.stages.push(stage);
            }
            "@name" => {
                if let Some((number, name)) = json.split_once(": ") {
                    self.names.insert(number.trim().into(), name.trim().into());
                }
            }
            "@begin" => self.began = true,
            "@rules" => self.rules = Some(serde_json::from_str(json).map_err(bad)?),
            "@error" => return Err(format!("it gave up: {json}")),
            "@end" => self.ended = true,
            _ => {}
        }
        Ok(None)
    }
}

impl Heard {
    /// A state that has no function to be called by is called as Linux's list of states does: `140 (DYING)`.
    fn name(&self, stage: &mut Stage) {
        if let Some((number, when)) = stage.stage.split_once(' ')
            && when.starts_with('(')
            && let Some(name) = self.names.get(number)
        {
            stage.stage = format!("{number} {name} {when}");
        }
    }
}

/// One machine.
pub(super) struct Run {
    pub(super) system: System,
    pub(super) version: String,
    pub(super) cpus: usize,
    pub(super) round: usize,
    /// Every rule was on; it is not timed.
    pub(super) rules: bool,
    pub(super) heard: Heard,
    /// Why it did not come to its end.
    pub(super) failed: Option<String>,
}

pub(super) struct Results {
    pub(super) cores: usize,
    pub(super) runs: Vec<Run>,
}

/// Two systems next to each other: medians over the rounds.
#[derive(Serialize)]
pub(super) struct Ratio {
    pub(super) op: String,
    pub(super) cpus: usize,
    /// Standstill's median divided by Linux's: less than 1 is faster.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) rounds: usize,
}

/// Every operation that is timed, and what it is called in print. In this order.
pub(super) const OPS: [(&str, &str); 15] = [
    ("stop_machine", "stop_machine, one active CPU"),
    ("stop_machine_all", "stop_machine, all active"),
    ("stop_gap", "longest gap that a thread sees in a stop"),
    ("call_single", "call one CPU and wait"),
    ("on_each_cpu", "call every CPU and wait"),
    ("async_one_to_one", "one call, one sender to one CPU"),
    ("async_all_to_one", "one call, all to one CPU"),
    ("async_all_to_all", "one call, all to all"),
    ("cpu_down", "cpu_down"),
    ("cpu_up", "cpu_up"),
    ("bring_up", "all CPUs up, from one (Linux: in turn)"),
    ("cpu_down_load", "cpu_down under load"),
    ("cpu_up_load", "cpu_up under load"),
    ("irq_late_quiet", "timer interrupt too late, quiet"),
    ("irq_late_stops", "timer interrupt too late, in stops"),
];

/// The one in the middle.
pub(super) fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

impl Results {
    /// The numbers of CPUs, in ascending order.
    pub(super) fn cpus(&self) -> Vec<usize> {
        let mut all: Vec<_> = self.runs.iter().map(|run| run.cpus).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The runs that were timed.
    pub(super) fn timed(&self, system: System, cpus: usize) -> impl Iterator<Item = &Run> {
        let of = move |run: &&Run| run.system == system && run.cpus == cpus && !run.rules;
        self.runs.iter().filter(of)
    }

    fn dists(&self, system: System, cpus: usize, op: &str) -> Vec<&Dist> {
        self.timed(system, cpus).filter_map(|run| run.heard.dists.iter().find(|dist| dist.op == op)).collect()
    }

    /// The median over the rounds, of each number; the least of `n`.
    pub(super) fn middle(&self, system: System, cpus: usize, op: &str) -> Option<Dist> {
        let all = self.dists(system, cpus, op);
        let of = |number: fn(&Dist) -> u64| median(all.iter().map(|dist| number(dist)).collect());
        Some(Dist {
            op: op.into(),
            n: all.iter().map(|dist| dist.n).min()?,
            min_ns: of(|d| d.min_ns)?,
            p50_ns: of(|d| d.p50_ns)?,
            p99_ns: of(|d| d.p99_ns)?,
            max_ns: of(|d| d.max_ns)?,
        })
    }

    pub(super) fn ratio(&self, cpus: usize, op: &str) -> Option<Ratio> {
        let ours = self.middle(System::Standstill, cpus, op)?;
        let theirs = self.middle(System::Linux, cpus, op)?;
        let by = |a: u64, b: u64| a as f64 / b.max(1) as f64;
        Some(Ratio {
            op: op.into(),
            cpus,
            p50: by(ours.p50_ns, theirs.p50_ns),
            p99: by(ours.p99_ns, theirs.p99_ns),
            rounds: self.dists(System::Linux, cpus, op).len(),
        })
    }

    /// The parts of an operation, each the median over the rounds, in the order in which they came.
    pub(super) fn stages(&self, system: System, cpus: usize, op: &str) -> Vec<Stage> {
        let all: Vec<_> =
            self.timed(system, cpus).flat_map(|run| &run.heard.stages).filter(|s| s.op == op).collect();
        let mut names: Vec<&str> = Vec::new();
        for stage in &all {
            if !names.contains(&stage.stage.as_str()) {
                names.push(&stage.stage);
            }
        }
        let middle = |name: &str| {
            let times = all.iter().filter(|s| s.stage == name).map(|s| s.p50_ns).collect();
            Stage { op: op.into(), stage: name.into(), p50_ns: median(times).unwrap_or(0) }
        };
        names.into_iter().map(middle).collect()
    }

    /// The runs with every rule on.
    pub(super) fn rules(&self) -> impl Iterator<Item = (usize, &Rules)> {
        self.runs.iter().filter_map(|run| Some((run.cpus, run.heard.rules.as_ref()?)))
    }

    /// The machines that did not come to their end, and why: without their last words, which may name what is only on this computer.
    pub(super) fn missing(&self) -> impl Iterator<Item = (&Run, &str)> {
        self.runs.iter().filter_map(|run| {
            let why = run.failed.as_deref()?.lines().next()?;
            Some((run, why.trim_end_matches("; its last words:")))
        })
    }

    /// What is wrong with these results, if anything is: a machine that did not come to its end, a rule that was broken.
    pub(super) fn broken(&self) -> Option<String> {
        if let Some((run, why)) = self.missing().next() {
            return Some(format!("{} with {} CPUs: {why}", run.system.name(), run.cpus));
        }
        let bad = |r: &Rules| r.broken + r.lost + r.late + r.spurious + r.outside > 0 || r.asked == 0;
        let (cpus, rules) = self.rules().find(|(_, rules)| bad(rules))?;
        Some(format!("with {cpus} CPUs and every rule on: {rules:?}"))
    }

    pub(super) fn system_version(&self, system: System) -> &str {
        self.runs.iter().find(|run| run.system == system).map_or("", |run| &run.version)
    }

    /// Everything, as one JSON object.
    pub(super) fn json(&self) -> Result<String, Not> {
        let results: Vec<_> =
            self.runs.iter().flat_map(|run| run.heard.dists.iter().map(move |dist| (run, dist))).collect();
        let results: Vec<_> = results
            .into_iter()
            .map(|(run, dist)| {
                let stages = run
                    .heard
                    .stages
                    .iter()
                    .filter(|stage| stage.op == dist.op || stage.op == format!("{}_stages", dist.op));
                serde_json::json!({
                    "op": dist.op, "cpus": run.cpus, "idle": "hlt", "system": run.system, "round": run.round,
                    "regime": if run.cpus <= self.cores { "fit" } else { "overcommit" },
                    "system_version": run.version, "rules": run.heard.rules, "dist": dist,
                    "breakdown": stages.collect::<Vec<_>>(),
                })
            })
            .collect();
        let ops = OPS.iter().map(|(op, _)| op);
        let ratios: Vec<_> = self
            .cpus()
            .into_iter()
            .flat_map(|cpus| ops.clone().filter_map(move |op| self.ratio(cpus, op)))
            .collect();
        let missing: Vec<_> = self
            .missing()
            .map(|(run, why)| {
                serde_json::json!({
                    "cpus": run.cpus, "system": run.system, "round": run.round, "rules": run.rules, "why": why,
                })
            })
            .collect();
        let rounds = self.runs.iter().map(|run| run.round).max();
        let object = serde_json::json!({
            "schema": "standstill.bench/1",
            "version": env!("CARGO_PKG_VERSION"),
            "command": std::env::args().collect::<Vec<_>>(),
            "host": { "cpus": self.cores, "model": MODEL, "accel": ACCELERATOR },
            "protocol": { "preset": "standstill", "stages": "split", "drain": "run_start", "deaf": true },
            "seed": 0, "exit": i32::from(self.broken().is_some()),
            "verdict": if self.broken().is_none() { "pass" } else { "fail" },
            "rounds": rounds, "samples": results.len(),
            "results": results, "ratios": ratios, "missing": missing,
        });
        serde_json::to_string_pretty(&object).or_else(|error| fail(error.to_string()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn run(system: System, round: usize, p50: u64) -> Run {
        let mut heard = Heard::default();
        let line = format!(
            r#"[    2.5] @dist {{"op":"cpu_down","n":50,"min_ns":1,"p50_ns":{p50},"p99_ns":{},"max_ns":{}}}"#,
            p50 * 2,
            p50 * 4
        );
        assert_eq!(heard.take(&line), Ok(Some("cpu_down")));
        let stage =
            format!(r#"@stage {{"op":"cpu_down","stage":"145 takedown_cpu","n":50,"p50_ns":{}}}"#, p50 / 2);
        assert_eq!(heard.take(&stage), Ok(None));
        assert_eq!(heard.take("@end {}"), Ok(None));
        Run { system, version: "1".into(), cpus: 2, round, rules: false, heard, failed: None }
    }

    /// Three rounds, in which Linux takes ten times as long.
    pub(in super::super) fn three_rounds() -> Results {
        let ours = [100, 300, 200].into_iter().enumerate().map(|(i, t)| run(System::Standstill, i + 1, t));
        let theirs = [1_000, 2_000, 3_000].into_iter().enumerate().map(|(i, t)| run(System::Linux, i + 1, t));
        Results { cores: 2, runs: ours.chain(theirs).collect() }
    }

    #[test]
    fn the_ratio_is_that_of_the_medians() {
        let ratio = three_rounds().ratio(2, "cpu_down").expect("both systems ran");
        assert_eq!((ratio.p50, ratio.p99, ratio.rounds), (0.1, 0.1, 3));
    }

    #[test]
    fn parts_are_medians_too() {
        let stages = three_rounds().stages(System::Linux, 2, "cpu_down");
        assert_eq!(
            (stages.len(), stages[0].p50_ns, stages[0].stage.as_str()),
            (1, 1_000, "145 takedown_cpu")
        );
    }

    #[test]
    fn broken_rules_are_found() {
        let mut results = three_rounds();
        assert!(results.broken().is_none());
        let good = Rules {
            asked: 9,
            broken: 0,
            ran: 1,
            lost: 0,
            late: 0,
            spurious: 0,
            outside: 0,
            stops: 1,
            downs: 1,
            ups: 1,
        };
        for (rules, bad) in [
            (good.clone(), false),
            (Rules { broken: 1, ..good.clone() }, true),
            (Rules { lost: 1, ..good.clone() }, true),
            // A run that asked no rule is no proof.
            (Rules { asked: 0, ..good }, true),
        ] {
            results.runs[0].heard.rules = Some(rules);
            assert_eq!(results.broken().is_some(), bad);
        }
        results.runs[0].heard.rules = None;
        results.runs[0].failed = Some("it hung".into());
        assert!(results.broken().is_some());
    }

    #[test]
    fn states_without_a_function_get_their_name() {
        let mut heard = Heard::default();
        assert_eq!(heard.take("@name 140: smpcfd:dying"), Ok(None));
        for (said, called) in
            [("140 (DYING)", "140 smpcfd:dying (DYING)"), ("89 (DYING)", "89 (DYING)"), ("140 f", "140 f")]
        {
            let line = format!(r#"@stage {{"op":"cpu_down","stage":"{said}","p50_ns":1}}"#);
            assert_eq!(heard.take(&line), Ok(None));
            assert_eq!(heard.stages.last().map(|stage| stage.stage.as_str()), Some(called));
        }
    }

    #[test]
    fn nonsense_is_an_error_and_other_lines_are_not() {
        let mut heard = Heard::default();
        assert!(heard.take("@dist {").is_err());
        assert!(heard.take("@error CPU 1: -16").is_err());
        assert_eq!(heard.take("someone@example.com wrote"), Ok(None));
    }

    #[test]
    fn the_json_has_both_systems() {
        let Ok(text) = three_rounds().json() else { panic!("it can be written") };
        let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(value["results"].as_array().map(Vec::len), Some(6));
        assert_eq!(value["ratios"][0]["p50"], 0.1);
        assert_eq!(value["results"][0]["regime"], "fit");
    }
}
