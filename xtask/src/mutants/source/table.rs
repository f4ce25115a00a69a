//! The report on source mutants, for people and as JSON.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};

use super::trial::Fate;
use super::{Report, open};

/// The folder of a file in its crate: what a row of the summary is about.
fn topic(fate: &Fate) -> String {
    let parts: Vec<&str> = fate.file.split('/').collect();
    match parts[..] {
        [_, "standstill", _, folder, _] => format!("{folder}/"),
        [_, "standstill", _, file] => file.to_string(),
        [_, port, ..] => port.to_string(),
        _ => fate.file.clone(),
    }
}

fn kind(fate: &Fate) -> usize {
    match (&fate.caught, &fate.holds) {
        (Some(catch), _) if catch.bad_words => 2,
        (Some(catch), _) if catch.by == "checker" => 0,
        (Some(_), _) => 1,
        (None, Some(_)) => 3,
        (None, None) => 4,
    }
}

pub(super) fn show(report: &Report, json: bool) {
    if json {
        match serde_json::to_string_pretty(report) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("mutants: {error}"),
        }
        return;
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(["source mutant", "caught by", "in", "s"]);
    for fate in &report.mutants {
        let (by, place) = match &fate.caught {
            Some(catch) => {
                (catch.rule.clone(), catch.place.split(':').next().unwrap_or_default().to_string())
            }
            None if fate.holds.is_some() => ("nothing: explained".to_string(), String::new()),
            None => ("NOTHING".to_string(), String::new()),
        };
        table.add_row([&fate.name, &by, &place, &format!("{:.1}", fate.milliseconds as f64 / 1000.0)]);
    }
    println!("{table}");
    for fate in &report.mutants {
        let Some(why) = open(fate) else { continue };
        println!("{} ({}): {why}\n    {}", fate.name, fate.file, fate.err);
        if let Some(catch) = &fate.caught {
            println!("    {}: {}: {}", catch.place, catch.rule, catch.words);
        }
        if let Some(words) = &fate.set_up_words {
            println!("    {} set-ups fail: {words}", fate.set_up_deaths);
        }
    }
    for error in &report.errors {
        println!("{error}");
    }
    let mut rows: BTreeMap<String, [usize; 5]> = BTreeMap::new();
    for fate in &report.mutants {
        rows.entry(topic(fate)).or_default()[kind(fate)] += 1;
    }
    let all = rows.values().fold([0; 5], |mut sum, row| {
        sum.iter_mut().zip(row).for_each(|(sum, figure)| *sum += figure);
        sum
    });
    let mut table = Table::new();
    let header = ["source mutants", "all", "by the checker", "by tests", "in bad words", "explained", "open"];
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    for (name, row) in rows.iter().map(|(name, row)| (name.as_str(), row)).chain([("all", &all)]) {
        let figures = std::iter::once(row.iter().sum::<usize>()).chain(row.iter().copied());
        table.add_row(std::iter::once(name.to_string()).chain(figures.map(|figure| figure.to_string())));
    }
    println!("{table}");
    println!(
        "{} of {} source mutants are caught, {} of them in words that do not point at the fault; {} are explained, {} are open; {} s",
        all[0] + all[1] + all[2],
        all.iter().sum::<usize>(),
        all[2],
        all[3],
        all[4],
        report.seconds
    );
}
