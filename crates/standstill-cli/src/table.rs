//! The table at the end of a torture.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::json::{DistJson, FailureJson, TortureJson};
use crate::layout::Sheet;

/// Nanoseconds with three digits or four and a unit.
#[must_use]
pub fn time(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn latency(name: &str, count: String, d: &DistJson) -> Vec<String> {
    let mut row = vec![name.into(), count];
    if d.n == 0 {
        row.extend(["-"; 5].map(String::from));
    } else {
        row.extend([d.min_ns, d.mean_ns, d.p50_ns, d.p99_ns, d.max_ns].map(time));
    }
    row
}

/// The whole report. `wrong` is what decided, in plain words; empty if nothing did.
#[must_use]
pub fn render(result: &TortureJson, wrong: &[String], sheet: Sheet) -> String {
    let mut out = String::new();
    let protocol = &result.protocol;
    let promises = if protocol.promises.is_empty() { "nothing" } else { &protocol.promises };
    // Writing to a string can't fail.
    let _ = writeln!(
        out,
        "{} CPUs on {} ({} cores), protocol {} (stages {}, drain {}, {}; promises {promises}), {:.1} s, seed {}",
        result.cpus,
        result.port,
        result.host.cpus,
        protocol.preset,
        protocol.stages,
        protocol.drain,
        if protocol.deaf { "deaf" } else { "not deaf" },
        result.seconds,
        result.seed,
    );
    for table in [calls(result), times(result), properties(result)] {
        let _ = writeln!(out, "{}", sheet.table(&table));
    }
    let _ = writeln!(out, "{}", cycles(result));
    let _ = writeln!(out, "{}", rules(result));
    if let Some(veto) = &result.hotplug.first_veto {
        let _ = writeln!(out, "first hotplug operation that failed: {veto}");
    }
    if let Some(stall) = &result.first_stall {
        let _ = writeln!(
            out,
            "{} long waits; the first: CPU {} waited {} for CPU {}, which ran {}: {}",
            result.stalls,
            stall.cpu,
            time(stall.waited_ns),
            stall.missing,
            stall.runs,
            stall.site
        );
    }
    let mut firsts = Vec::new();
    for failure in [&result.first_failure, &result.first_late, &result.first_lost].into_iter().flatten() {
        if !firsts.contains(&failure) {
            firsts.push(failure);
        }
    }
    for failure in firsts {
        let _ = writeln!(out, "first {}", describe(failure));
    }
    for line in wrong {
        let _ = writeln!(out, "wrong: {line}");
    }
    let _ = write!(out, "verdict: {}", result.verdict.name());
    sheet.fit(&out)
}

fn calls(result: &TortureJson) -> Table {
    let mut table = table(&["calls", "sent", "%", "ran", "refused", "busy", "lost"]);
    let total: u64 = result.calls.iter().map(|c| c.sent).sum();
    let share = |n: u64| format!("{:.1}", 100.0 * n as f64 / total.max(1) as f64);
    for c in &result.calls {
        let counts = [c.ran, c.refused, c.busy, c.lost].map(|n| n.to_string());
        table.add_row([vec![c.form.clone(), c.sent.to_string(), share(c.sent)], counts.to_vec()].concat());
    }
    let sum = |f: fn(&crate::json::CallsJson) -> u64| result.calls.iter().map(f).sum::<u64>().to_string();
    let sums = [sum(|c| c.ran), sum(|c| c.refused), sum(|c| c.busy), sum(|c| c.lost)];
    table.add_row([vec!["total".into(), total.to_string(), share(total)], sums.to_vec()].concat());
    table
}

fn times(result: &TortureJson) -> Table {
    let mut table = table(&["times", "count", "min", "mean", "p50", "p99", "max"]);
    for (name, ops) in [("CPU offline", &result.hotplug.down), ("CPU online", &result.hotplug.up)] {
        let count = format!("{} of {}, {} vetoed", ops.ok, ops.tried, ops.vetoed);
        table.add_row(latency(name, count, &ops.latency));
    }
    table.add_row(latency("machine stopped", result.stop.frozen.n.to_string(), &result.stop.frozen));
    table
}

fn properties(result: &TortureJson) -> Table {
    let mut table = table(&[
        "properties",
        "late (W)",
        "lost (L)",
        "spurious (S)",
        "outside (O)",
        "frozen (F)",
        "drained",
    ]);
    let counts = [result.late, result.lost, result.spurious, result.outside, result.frozen, result.drained];
    table.add_row([vec!["calls".into()], counts.map(|n| n.to_string()).to_vec()].concat());
    let promised = ['W', 'L', 'S', 'O', 'F']
        .map(|letter| if result.protocol.promises.contains(letter) { "promised: 0" } else { "" }.to_string());
    table.add_row([vec![result.protocol.preset.clone()], promised.to_vec(), vec![String::new()]].concat());
    table
}

/// One line: how evenly the CPUs had their turn.
fn cycles(result: &TortureJson) -> String {
    let all = || result.hotplug.cycles.iter().copied().enumerate();
    let sum: u64 = all().map(|(_, n)| n).sum();
    let (Some((least, few)), Some((most, many))) =
        (all().min_by_key(|(_, n)| *n), all().max_by_key(|(_, n)| *n))
    else {
        return "no CPU went offline and online again".into();
    };
    format!(
        "{sum} times offline and online again, from {few} times (CPU {least}) to {many} times (CPU {most})"
    )
}

/// One line; those that were broken are listed with what is wrong.
fn rules(result: &TortureJson) -> String {
    let checked: u64 = result.rules.iter().map(|r| r.checked).sum();
    let broken: u64 = result.rules.iter().map(|r| r.broken).sum();
    format!(
        "{} rules checked {checked} times, broken {broken} times; {} stops of the machine besides hotplug, {} of them abandoned at \
         their deadline",
        result.rules.len(),
        result.stop.count,
        result.stop.aborted
    )
}

/// A failure in words: the rule, the CPU, the function and the sender.
#[must_use]
pub fn describe(failure: &FailureJson) -> String {
    let FailureJson { rule, cpu, func, sender, t_ns } = failure;
    let what = match (func, sender, rule.as_str()) {
        (Some(func), Some(sender), "late") => {
            format!("CPU {cpu} took the IPI for `{func}` from CPU {sender} when it was offline")
        }
        (Some(func), Some(sender), "lost") => {
            format!("CPU {cpu} died with `{func}` from CPU {sender} in its queue")
        }
        (Some(func), Some(sender), _) => format!("CPU {cpu}, `{func}` from CPU {sender}"),
        (Some(func), None, _) => format!("CPU {cpu}, `{func}`"),
        (None, ..) => format!("CPU {cpu}"),
    };
    match t_ns {
        0 => format!("{rule}: {what}"),
        at => format!("{rule}: {what}, {} after the start", time(*at)),
    }
}

/// A function's name without the noise of its type: no generic arguments, no crate, no closure.
#[must_use]
pub fn short_name(func: &str) -> String {
    let mut depth = 0_usize;
    let plain: String = func
        .chars()
        .filter(|c| {
            match c {
                '<' => depth += 1,
                '>' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect();
    let parts: Vec<_> = plain.split("::").filter(|part| !part.is_empty() && *part != "{{closure}}").collect();
    parts[parts.len().saturating_sub(2)..].join("::")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::tests::result;

    #[test]
    fn times_have_units() {
        let texts = [0, 999, 1_000, 1_500_000, 2_340_000_000].map(time);
        assert_eq!(texts, ["0 ns", "999 ns", "1.0 µs", "1.5 ms", "2.34 s"]);
    }

    #[test]
    fn names_are_short() {
        let long = "standstill_torture::kit::async_handler<standstill_hosted::Hosted, 64, 1>::{{closure}}";
        assert_eq!(short_name(long), "kit::async_handler");
        assert_eq!(short_name("main"), "main");
        assert_eq!(short_name("<a::B as c::D>::e"), "e");
    }

    #[test]
    fn the_table_of_a_pass() {
        insta::assert_snapshot!(render(&result(), &[], Sheet::file()));
    }

    #[test]
    fn the_table_of_a_failure() {
        let mut result = result();
        result.late = 1;
        result.verdict = crate::json::Verdict::Fail;
        result.first_failure = Some(FailureJson {
            rule: "late".into(),
            cpu: 2,
            func: Some("kit::device_handler".into()),
            sender: Some(1),
            t_ns: 1_234_567_890,
        });
        let text = render(&result, &["1 calls were late".into()], Sheet::file());
        assert!(text.contains(
            "first late: CPU 2 took the IPI for `kit::device_handler` from CPU 1 when it was offline, 1.23 s after"
        ));
        assert!(text.ends_with("wrong: 1 calls were late\nverdict: fail"));
    }
}
