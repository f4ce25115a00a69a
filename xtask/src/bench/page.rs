//! The part of docs/benchmarks.md that is made from the results, and its drawings. What stands outside of the two marks is written by hand.

use std::fmt::Write as _;
use std::fs;

use super::boot::System;
use super::results::{OPS, Results};
use super::table::{HEADER, rows, time};
use super::{bars, plot, write as write_file};
use crate::run::{Not, fail, root};

const BEGIN: &str =
    "<!-- bench-linux: made by `cargo xtask bench-linux`, which replaces everything up to the end mark -->";
const END: &str = "<!-- bench-linux: end -->";

/// What is taken apart: in print, and its names in what Standstill and Linux said.
const BROKEN_DOWN: [(&str, &str, &str, &str); 4] = [
    ("stop_machine-stages", "stop_machine by stage", "stop_machine_stages", "stop_machine_stages"),
    (
        "stop_gap-stages",
        "stop_machine by stage, a thread busy on every other CPU",
        "stop_gap_stages",
        "stop_gap_stages",
    ),
    ("cpu_down-states", "cpu_down by state", "cpu_down", "cpu_down"),
    ("cpu_up-states", "cpu_up by state", "cpu_up", "cpu_up"),
];

pub(super) fn write(results: &Results) -> Result<(), Not> {
    let docs = root().join("docs");
    let page = docs.join("benchmarks.md");
    let text = fs::read_to_string(&page).or_else(|error| fail(format!("{}: {error}", page.display())))?;
    let Some(text) = replaced(&text, &section(results)) else {
        return fail(format!(
            "{} has not both marks of the part that is made:\n{BEGIN}\n{END}",
            page.display()
        ));
    };
    let drawings = docs.join("bench");
    fs::create_dir_all(&drawings).or_else(|error| fail(format!("{}: {error}", drawings.display())))?;
    for (op, title) in OPS {
        if let Some(svg) = plot::render(results, op, title) {
            write_file(&drawings.join(format!("{op}.svg")), &svg)?;
        }
    }
    for (file, title, ours, theirs) in BROKEN_DOWN {
        if let Some(svg) = bars::render(results, title, ours, theirs) {
            write_file(&drawings.join(format!("{file}.svg")), &svg)?;
        }
    }
    write_file(&page, &text)
}

/// `page` with `section` between the marks.
fn replaced(page: &str, section: &str) -> Option<String> {
    let begin = page.find(BEGIN)? + BEGIN.len();
    let end = begin + page[begin..].find(END)?;
    Some(format!("{}\n{section}{}", &page[..begin], &page[end..]))
}

fn section(results: &Results) -> String {
    let mut out = String::new();
    let list = results.cpus().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let rounds = results.runs.iter().map(|run| run.round).max().unwrap_or(0);
    // Writing to a string can't fail.
    let _ = writeln!(
        out,
        "\n`cargo xtask bench-linux --cpus {list} --rounds {rounds}` on a computer with {} cores; Linux {}, Standstill {}. Each figure is the \
         median over the rounds (one round from 32 CPUs on), `n` the samples in each round.\n",
        results.cores,
        results.system_version(System::Linux),
        results.system_version(System::Standstill),
    );
    row(&mut out, &HEADER.map(String::from));
    let _ = writeln!(out, "|---|{}", "--:|".repeat(HEADER.len() - 1));
    rows(results).iter().for_each(|cells| row(&mut out, cells));
    out.push('\n');
    for (op, title) in OPS {
        let _ = writeln!(out, "![{title}](bench/{op}.svg)");
    }
    for (file, title, ours, theirs) in BROKEN_DOWN {
        let _ = writeln!(out, "\n### Where the time goes: {title}\n\n![{title}](bench/{file}.svg)\n");
        states(&mut out, results, ours, theirs);
    }
    missing(&mut out, results);
    out.push_str("### With every rule on\n\n");
    for (cpus, rules) in results.rules() {
        let _ = writeln!(
            out,
            "- {cpus} CPUs: the rules were asked {} times and broken {} times; {} calls ran, {} were lost, {} late, {} spurious, {} outside; \
             {} stops, {} times down, {} times up.",
            rules.asked,
            rules.broken,
            rules.ran,
            rules.lost,
            rules.late,
            rules.spurious,
            rules.outside,
            rules.stops,
            rules.downs,
            rules.ups
        );
    }
    out.push('\n');
    out
}

/// The machines that did not come to their end, and why.
fn missing(out: &mut String, results: &Results) {
    let missing: Vec<_> = results.missing().collect();
    if missing.is_empty() {
        return;
    }
    out.push_str("### What is missing\n\nOf these machines only what they measured before counts.\n\n");
    for (run, why) in missing {
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "- {} with {} CPUs{}, round {}: {why}.",
            run.system.name(),
            run.cpus,
            if run.rules { " and every rule on" } else { "" },
            run.round,
        );
    }
    out.push('\n');
}

/// The parts of one operation, for the least and the largest number of CPUs.
fn states(out: &mut String, results: &Results, ours: &str, theirs: &str) {
    let cpus = results.cpus();
    let ends = [cpus.first(), cpus.last().filter(|last| Some(*last) != cpus.first())];
    for cpus in ends.into_iter().flatten() {
        for (system, op) in [(System::Standstill, ours), (System::Linux, theirs)] {
            let Some((mut stages, total)) = bars::parts(results, system, *cpus, op) else { continue };
            stages.sort_by_key(|stage| std::cmp::Reverse(stage.p50_ns));
            let list: Vec<_> =
                stages.iter().take(8).map(|s| format!("{} {}", s.stage, time(s.p50_ns))).collect();
            // Writing to a string can't fail.
            let _ = writeln!(
                out,
                "- {}, {cpus} CPUs, {} in all: {}.",
                system.name(),
                time(total),
                list.join("; ")
            );
        }
    }
    out.push('\n');
}

fn row(out: &mut String, cells: &[String]) {
    // Writing to a string can't fail.
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::three_rounds;

    #[test]
    fn what_is_written_by_hand_stays() {
        let page = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        let new = replaced(&page, "new\n").expect("both marks are there");
        assert_eq!(new, format!("above\n{BEGIN}\nnew\n{END}\nbelow\n"));
        assert_eq!(replaced("no marks", "new"), None);
    }

    #[test]
    fn the_page_has_the_command_and_both_systems() {
        let text = section(&three_rounds());
        assert!(text.contains("--cpus 2 --rounds 3"));
        assert!(text.contains("| cpu_down | 2 | 50 | 200 ns |"));
    }

    #[test]
    fn what_is_missing_is_written_with_the_reason() {
        let mut results = three_rounds();
        assert!(!section(&results).contains("### What is missing"));
        results.runs[0].failed = Some("it took longer than 600 s; its last words:\nat /home/x".into());
        let text = section(&results);
        assert!(text.contains("- Standstill with 2 CPUs, round 1: it took longer than 600 s.\n"), "{text}");
        assert!(!text.contains("/home") && text.contains("| cpu_down | 2 |"));
    }

    #[test]
    fn the_repository_has_the_marks() {
        let page = fs::read_to_string(root().join("docs/benchmarks.md")).expect("the page is there");
        assert!(replaced(&page, "").is_some());
    }
}
