//! The report on mutants by place, for people and as JSON.

use comfy_table::{Table, presets};

use super::{PATIENCE, Report};

pub(super) fn print(report: &Report, json: bool) {
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
        if fate.explanation.is_none() && fate.only_in_set_up {
            println!("    no scenario comes there behind its set-up");
        }
        if let (None, Some(words)) = (&fate.explanation, &fate.set_up) {
            println!("    it dies in set-ups, which does not count: {words}");
        }
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
