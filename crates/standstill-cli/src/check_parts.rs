//! `standstill check --shard` and `standstill check merge`: one search in several processes.

use std::path::Path;

use standstill::Property;
use standstill_model::{Merged, PartResult, check_part};

use crate::check::{USAGE, go_on, listen, write_file};
use crate::check_args::{CheckArgs, MergeArgs};
use crate::check_progress::CheckProgress;
use crate::check_words::count;

/// Makes one part of a search and writes what it found.
pub(crate) fn part(args: &CheckArgs, shard: (u32, u32), file: &Path) -> u8 {
    listen();
    let mut progress = CheckProgress::new();
    let result = check_part(&args.options(), shard, &mut |now| {
        progress.show(now);
        go_on()
    });
    progress.clear();
    let written = result.and_then(|part| write_file(file, &part.save()).map(|()| part));
    match written {
        Ok(part) => {
            println!("part {} of {}: {}", shard.0, shard.1, figures(&part));
            u8::from(part.is_broken())
        }
        Err(error) => {
            eprintln!("standstill: {error}");
            USAGE
        }
    }
}

fn figures(part: &PartResult) -> String {
    let seen = if part.is_complete() { String::new() } else { format!(", not all ({})", part.covered) };
    format!(
        "{}{seen}, {}, {}, {}",
        count(part.traces.len() as u64, "trace"),
        count(part.ends.len() as u64, "final state"),
        count(part.blocked, "blocked run"),
        count(part.steps, "step"),
    )
}

/// Puts the parts together.
#[must_use]
pub fn merge(args: &MergeArgs) -> u8 {
    match try_merge(args) {
        Ok(merged) => {
            print!("{}", report(&merged));
            u8::from(merged.whole.is_broken())
        }
        Err(error) => {
            eprintln!("standstill: {error}");
            USAGE
        }
    }
}

fn try_merge(args: &MergeArgs) -> Result<Merged, String> {
    let mut parts = Vec::new();
    for file in &args.files {
        let name = file.display();
        let bytes = std::fs::read(file).map_err(|error| format!("{name} can't be read: {error}"))?;
        let part = PartResult::load(&String::from_utf8_lossy(&bytes));
        parts.push(part.map_err(|bad| format!("{name}, {bad}"))?);
    }
    standstill_model::merge(&parts).map_err(|(at, why)| match args.files.get(at) {
        Some(file) => format!("{}: {why}", file.display()),
        None => why,
    })
}

fn report(merged: &Merged) -> String {
    let whole = &merged.whole;
    let value =
        |name: &str| whole.run.iter().find(|(key, _)| key == name).map_or("?", |(_, value)| value.as_str());
    let mut text = format!(
        "{} under {}: {} CPUs, {} device interrupts each, {} IPIs, memory {}\n",
        value("scenario"),
        value("protocol"),
        value("cpus"),
        value("irqs"),
        value("ipi"),
        value("memory"),
    );
    text.push_str(&format!("{}: {}\n", count(merged.parts.into(), "part"), figures(whole)));
    text.push_str(&format!("in more than one part: {}\n", count(merged.overlap, "trace")));
    for property in Property::ALL {
        let times = whole.count(property);
        let often = if times == 0 { "never".to_string() } else { count(times, "time") };
        text.push_str(&format!("{} {often}\n", property.letter()));
    }
    if let Some(fault) = &whole.fault {
        text.push_str(&format!("broken: {fault}\n"));
    }
    let verdict = match (whole.is_broken(), whole.is_complete()) {
        (true, _) => "fail",
        (false, true) => "pass",
        (false, false) => "incomplete",
    };
    text.push_str(&format!("verdict: {verdict}\n"));
    text
}
