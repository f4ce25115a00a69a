//! What a check says to people.

use standstill::invariants::RULES;
use standstill::{Property, Protocol};
use standstill_model::{Audited, Bound, Coverage, Options, Step, StepWhat, Verdict as Found};
use standstill_report::{Trace, text};

use crate::check::{Failure, cured};
use crate::check_trace::title;
use crate::json::Verdict;
use crate::layout::Sheet;
use crate::table::time;

/// A number with commas.
#[must_use]
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 step`, `2 steps`.
#[must_use]
pub fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// How many device interrupts are taken: IPIs are the answer to something, not a choice of the schedule's.
#[must_use]
pub fn interrupts(steps: &[Step]) -> u32 {
    steps
        .iter()
        .filter(|step| matches!(step.what, StepWhat::TakeInterrupt(standstill_model::Interrupt::Device)))
        .count() as u32
}

/// The rule with its name, what happened and where.
#[must_use]
pub fn sentence(rule: &str, text: &str, location: &str) -> String {
    let property = Property::ALL.into_iter().find(|property| property.letter().to_string() == rule);
    let name = match property {
        Some(property) => format!("{rule} ({})", word(property)),
        None => RULES
            .iter()
            .find(|known| known.id.to_string() == rule)
            .map_or_else(|| rule.to_string(), |known| format!("rule {rule} ({})", known.name)),
    };
    let place = if location.is_empty() { String::new() } else { format!(", at {location}") };
    format!("{name}: {text}{place}")
}

/// The property's name.
#[must_use]
pub const fn word(property: Property) -> &'static str {
    match property {
        Property::Late => "late",
        Property::Lost => "lost",
        Property::Spurious => "spurious",
        Property::Outside => "outside",
        Property::Frozen => "frozen",
    }
}

/// The kind of the coverage, and what bounded it, as in JSON.
#[must_use]
pub const fn coverage(coverage: Coverage) -> (&'static str, Option<&'static str>) {
    match coverage {
        Coverage::Exhausted { .. } => ("exhausted", None),
        Coverage::Random { .. } => ("random", None),
        Coverage::Bounded { by, .. } => (
            "bounded",
            Some(match by {
                Bound::States => "states",
                Bound::Seconds => "seconds",
                Bound::Bytes => "bytes",
                Bound::Preemptions => "preemptions",
                Bound::Violation => "violation",
                Bound::Stopped => "stopped",
            }),
        ),
    }
}

/// What was seen, in one sentence.
#[must_use]
pub fn covered(found: &Found) -> String {
    let how = match found.coverage {
        Coverage::Exhausted { states } if !found.traces.is_empty() => {
            format!("exhausted: {}", count(states, "trace"))
        }
        Coverage::Exhausted { states } => format!("exhausted: {}", count(states, "state")),
        Coverage::Random { runs } => count(runs, "random schedule"),
        Coverage::Bounded { states, by } => {
            let why = match by {
                Bound::States => "as many as it may",
                Bound::Seconds => "until its time was over",
                Bound::Bytes => "until its memory was full",
                Bound::Preemptions => "all with so few preemptions",
                Bound::Violation => "until something broke",
                Bound::Stopped => "until it was stopped",
            };
            let which = found.out_of_memory.as_ref().map(|which| format!(" ({which})")).unwrap_or_default();
            format!("bounded: {}, {why}{which}", count(states, "state"))
        }
    };
    let runs = if found.runs > 0 { format!(", {}", count(found.runs, "run")) } else { String::new() };
    let rate = if found.time_ns > 0 { found.steps as f64 * 1e3 / found.time_ns as f64 } else { 0.0 };
    format!(
        "{how}{runs}, {} ({rate:.1} M/s), depth {}, {}, {:.1} MiB",
        count(found.steps, "step"),
        found.depth,
        time(found.time_ns),
        found.peak_bytes as f64 / f64::from(1 << 20)
    )
}

/// What was done to check the checker.
fn audited(done: Audited) -> String {
    format!(
        "{} of states went on alike from both sides: {}, {}",
        count(done.merges, "merge"),
        count(done.schedules, "schedule"),
        count(done.steps, "step")
    )
}

/// What became of the five properties, in one line.
fn properties(options: &Options, found: &Found) -> String {
    let exhausted = matches!(found.coverage, Coverage::Exhausted { .. });
    let say = |property: Property| {
        let result = found.of(property);
        let promised = options.protocol.promises().contains(&property);
        let what = match (result.count, exhausted) {
            (0, true) => "never",
            (0, false) => "not seen",
            _ if promised => "found, though promised not to happen",
            _ => "found",
        };
        format!("{} {} {what}", property.letter(), word(property))
    };
    Property::ALL.map(say).join("; ")
}

/// The whole report.
#[must_use]
pub(crate) fn report(
    options: &Options,
    found: &Found,
    failure: Option<&Failure>,
    verdict: Verdict,
    sheet: Sheet,
) -> String {
    let style = sheet.style();
    let mut out = format!("{}, engine {}\n", title(options), options.engine.name());
    out.push_str(&format!("covered: {}\n", covered(found)));
    out.push_str(&format!("properties: {}\n", properties(options, found)));
    if let Some(done) = found.audited {
        out.push_str(&format!("audited: {}\n", audited(done)));
    }
    out.push_str("assumed:\n");
    for assumption in &found.assumptions {
        out.push_str(&format!("  {assumption}\n"));
    }
    if let Some(failure) = failure {
        out.push('\n');
        out.push_str(&picture(&failure.trace(options), &failure.facts(), style));
        if let Some(cured) = cured(options, &failure.choices) {
            let name = Protocol::STANDSTILL.name();
            out.push_str(&format!(
                "\nThe same schedule under {name}. {}\n\n{}",
                cured.sentence,
                text::render(&cured, style)
            ));
        }
        out.push('\n');
    }
    out.push_str(&format!("verdict: {}\n", verdict.name()));
    sheet.fit(&out)
}

/// The sentence, the lanes, and what the signs mean.
fn picture(trace: &Trace, facts: &[String], style: text::Style) -> String {
    let facts = if facts.is_empty() { String::new() } else { format!("{}\n", facts.join(", ")) };
    format!("broken: {}\n{facts}\n{}\n{}\n", trace.sentence, text::render(trace, style), text::legend(style))
}

/// What `standstill replay` says.
pub(crate) fn replayed(options: &Options, failure: &Failure, trace: &Trace, sheet: Sheet) -> String {
    let text = format!(
        "{}\nthe run is the one in the file, step by step\n\n{}verdict: {}\n",
        title(options),
        picture(trace, &failure.facts(), sheet.style()),
        Verdict::Fail.name()
    );
    sheet.fit(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        let texts = [0, 999, 1_000, 74_947, 1_093_551].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "74,947", "1,093,551"]);
        assert_eq!((count(1, "step"), count(2, "step")), ("1 step".into(), "2 steps".into()));
    }

    #[test]
    fn a_sentence_names_the_rule_what_and_where() {
        assert_eq!(sentence("W", "CPU 1 is offline", "a.rs:7"), "W (late): CPU 1 is offline, at a.rs:7");
        assert_eq!(sentence("16", "no", ""), "rule 16 (run-once-where-active): no");
        assert_eq!(sentence("deadlock", "nobody can go on", ""), "deadlock: nobody can go on");
    }
}
