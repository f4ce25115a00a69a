//! The table on the terminal.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::boot::System;
use super::results::{OPS, Results};

/// Nanoseconds with a unit.
pub(super) fn time(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

/// How many times as fast.
pub(super) fn times(ratio: f64) -> String {
    if ratio <= 0.0 {
        return "-".into();
    }
    let by = 1.0 / ratio;
    if by >= 9.95 { format!("{by:.0}×") } else { format!("{by:.1}×") }
}

pub(super) const HEADER: [&str; 10] =
    ["operation", "CPUs", "n", "Standstill p50", "p99", "max", "Linux p50", "p99", "max", "faster, p50"];

/// One row for each operation and number of CPUs.
pub(super) fn rows(results: &Results) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (op, name) in OPS {
        for cpus in results.cpus() {
            let Some(ours) = results.middle(System::Standstill, cpus, op) else { continue };
            let theirs = results.middle(System::Linux, cpus, op);
            let n = theirs.as_ref().map_or(ours.n, |theirs| theirs.n.min(ours.n));
            let mut row = vec![name.into(), cpus.to_string(), n.to_string()];
            row.extend([ours.p50_ns, ours.p99_ns, ours.max_ns].map(time));
            match theirs {
                Some(theirs) => row.extend([theirs.p50_ns, theirs.p99_ns, theirs.max_ns].map(time)),
                None => row.extend(["-"; 3].map(String::from)),
            }
            row.push(results.ratio(cpus, op).map_or("-".into(), |ratio| times(ratio.p50)));
            rows.push(row);
        }
    }
    rows
}

/// Everything, and what the rules said.
pub(super) fn render(results: &Results) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(HEADER);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.add_rows(rows(results));
    let mut out = table.to_string();
    for (cpus, rules) in results.rules() {
        // Writing to a string can't fail.
        let _ = write!(
            out,
            "\n{cpus} CPUs, every rule on: {} checks, {} broken; {} calls ran, {} lost; {} stops, {} down, {} up",
            rules.asked, rules.broken, rules.ran, rules.lost, rules.stops, rules.downs, rules.ups
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::three_rounds;

    #[test]
    fn a_row_has_both_systems_and_says_how_much_faster() {
        let rows = rows(&three_rounds());
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0][3], "200 ns");
        assert_eq!(rows[0][6], "2.0 µs");
        assert_eq!(rows[0][9], "10×");
    }
}
