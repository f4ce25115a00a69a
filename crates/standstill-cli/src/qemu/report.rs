//! What the kernel says, and what follows from it.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use standstill::invariants::Tally;
use standstill_torture::Progress as Counts;

use super::machine::DONE;
use crate::args::TortureArgs;
use crate::conclude::{Found, conclude as print};
use crate::json::{CallsJson, FailureJson, HangJson, Host, HotplugJson, RuleJson, StallJson, StopJson};
use crate::progress::Progress;
use crate::table;
use crate::verdict::Findings;

/// How many lines of a machine that crashed are shown.
const TAIL: usize = 200;
/// How much of a line is shown.
const WIDTH: usize = 2000;
/// How the kernel begins the line about the first rule that is broken.
const RULE_IS_BROKEN: &str = "a rule is broken";

/// How a machine ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// With a report.
    Reported,
    /// Without one: a panic, a fault, or a silent CPU.
    Crashed,
    Interrupted,
    Hangs,
}

impl Outcome {
    /// From QEMU's exit code.
    pub(super) fn of(code: Option<i32>, has_report: bool) -> Self {
        if code == Some(DONE) && has_report { Outcome::Reported } else { Outcome::Crashed }
    }
}

/// What is counted about the five properties.
#[derive(Deserialize, Clone, Copy, Default, Debug)]
struct Properties {
    late: u64,
    lost: u64,
    spurious: u64,
    outside: u64,
    frozen: u64,
    drained: u64,
    stalls: u64,
}

impl Properties {
    fn tally(&self) -> Tally {
        let mut tally = Tally::new();
        tally.late = self.late;
        tally.lost = self.lost;
        tally.spurious = self.spurious;
        tally.outside = self.outside;
        tally.frozen = self.frozen;
        tally.drained = self.drained;
        tally.stalled = self.stalls;
        tally
    }
}

/// After `@progress`.
#[derive(Deserialize, Debug)]
struct ProgressLine {
    sent: u64,
    ran: u64,
    refused: u64,
    down: u64,
    up: u64,
    online: usize,
    cycles: u64,
    #[serde(flatten)]
    properties: Properties,
}

/// After `@report`.
#[derive(Deserialize, Debug)]
pub(super) struct ReportLine {
    ran_ns: u64,
    calls: Vec<CallsJson>,
    #[serde(flatten)]
    properties: Properties,
    hotplug: HotplugJson,
    stop: StopJson,
    rules: Vec<RuleJson>,
    #[serde(default)]
    hang: Option<HangJson>,
    first_stall: Option<StallJson>,
    first_failure: Option<FailureJson>,
    first_late: Option<FailureJson>,
    first_lost: Option<FailureJson>,
}

/// What was heard of a machine.
#[derive(Default, Debug)]
pub(super) struct Heard {
    pub(super) report: Option<ReportLine>,
    /// The last of the other lines.
    said: VecDeque<String>,
    /// It has begun to torture.
    began: bool,
    /// Lines for this command that it does not understand.
    garbled: u64,
}

impl Heard {
    /// Was nothing heard at all?
    pub(super) fn is_nothing(&self) -> bool {
        self.report.is_none() && self.said.is_empty() && self.garbled == 0 && !self.began
    }

    /// Takes the next line.
    pub(super) fn line(&mut self, line: &str, progress: &mut Progress) {
        if let Some(json) = line.strip_prefix("@progress ") {
            match serde_json::from_str::<ProgressLine>(json) {
                Ok(ProgressLine { sent, ran, refused, down, up, online, cycles, properties }) => {
                    let counts = Counts { sent, ran, refused, down, up, online, cycles };
                    progress.show(&counts, &properties.tally());
                    self.began = true;
                }
                Err(_) => self.garbled += 1,
            }
        } else if let Some(json) = line.strip_prefix("@report ") {
            match serde_json::from_str(json) {
                Ok(report) => self.report = Some(report),
                Err(_) => self.garbled += 1,
            }
        } else if !line.is_empty() {
            if self.said.len() == TAIL {
                self.said.pop_front();
            }
            self.said.push_back(line.chars().take(WIDTH).collect());
        }
    }

    /// A line for this command, or for nobody, that is not understood.
    pub(super) const fn garbled(&mut self) {
        self.garbled += 1;
    }
}

/// Prints the result and returns the exit code.
pub(super) fn conclude(
    args: &TortureArgs,
    seed: u64,
    took: Duration,
    heard: &Heard,
    outcome: &Outcome,
) -> u8 {
    let mut rules = heard.report.as_ref().map(|report| report.rules.clone()).unwrap_or_default();
    let good = !matches!(outcome, Outcome::Crashed | Outcome::Hangs);
    rules.push(rule("machine-ends-well", good));
    rules.push(rule("lines-are-understood", heard.garbled == 0));
    let empty = Properties::default();
    let properties = heard.report.as_ref().map_or(&empty, |report| &report.properties);
    let tally = properties.tally();
    let findings = Findings {
        protocol: args.protocol,
        tally: &tally,
        rules: &rules,
        missed: 0,
        cut_short: *outcome == Outcome::Interrupted,
        hangs: (*outcome == Outcome::Hangs).then_some("the machine hangs: it says nothing any more"),
    };
    let (verdict, wrong) = (findings.verdict(), findings.wrong());
    // Of a good end only what has more than fits into a report: the event that broke the rule.
    for line in &heard.said {
        if !good || line.starts_with(RULE_IS_BROKEN) {
            standstill_io::note(line);
        }
    }
    let Some(report) = &heard.report else {
        for line in &wrong {
            standstill_io::note(&format!("wrong: {line}"));
        }
        standstill_io::note(&format!("verdict: {}; the machine made no report", verdict.name()));
        return verdict.exit();
    };
    let found = Found {
        host: Host { model: "qemu max".into(), accel: "tcg".into(), ..crate::run::host() },
        seconds: if report.ran_ns == 0 { took } else { Duration::from_nanos(report.ran_ns) }.as_secs_f64(),
        calls: report.calls.clone(),
        hotplug: report.hotplug.clone(),
        stop: report.stop.clone(),
        hang: report.hang.clone(),
        first_stall: report.first_stall.clone(),
        first_failure: report.first_failure.clone().map(short),
        first_late: report.first_late.clone().map(short),
        first_lost: report.first_lost.clone().map(short),
    };
    print(args, seed, &findings, found)
}

fn rule(id: &str, holds: bool) -> RuleJson {
    RuleJson { id: id.into(), scope: "machine".into(), checked: 1, broken: u64::from(!holds) }
}

fn short(failure: FailureJson) -> FailureJson {
    FailureJson { func: failure.func.map(|func| table::short_name(&func)), ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROPERTIES: &str =
        r#""late":1,"lost":2,"spurious":3,"outside":4,"frozen":5,"drained":6,"stalls":0"#;

    fn heard(lines: &[String]) -> Heard {
        let mut heard = Heard::default();
        let mut progress = Progress::new(Duration::from_secs(1));
        lines.iter().for_each(|line| heard.line(line, &mut progress));
        heard
    }

    #[test]
    fn progress_is_understood() {
        let line = format!(
            r#"@progress {{"t_ns":1,"sent":9,"ran":8,"refused":1,"down":2,"up":3,"online":4,"cycles":1,{PROPERTIES}}}"#
        );
        assert_eq!(heard(&[line]).garbled, 0);
    }

    #[test]
    fn a_line_that_is_cut_is_noticed() {
        let heard = heard(&[r#"@progress {"t_ns":1,"se"#.into(), r#"@report {"ran_ns":1}"#.into()]);
        assert_eq!(heard.garbled, 2);
        assert!(heard.report.is_none());
    }

    #[test]
    fn what_is_for_people_is_kept() {
        assert_eq!(heard(&["PANIC on CPU 1".into(), String::new()]).said, ["PANIC on CPU 1"]);
    }

    #[test]
    fn only_the_right_code_with_a_report_is_a_good_end() {
        assert_eq!(Outcome::of(Some(DONE), true), Outcome::Reported);
        for (code, report) in [(Some(DONE), false), (Some(35), true), (Some(0), true), (None, true)] {
            assert_eq!(Outcome::of(code, report), Outcome::Crashed, "{code:?} {report}");
        }
    }
}
