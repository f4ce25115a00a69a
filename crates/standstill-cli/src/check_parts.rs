//! `standstill check --shard` and `standstill check merge`: one search in several processes.

use std::path::{Path, PathBuf};

use standstill::Property;
use standstill_model::{Merged, PartResult, check_part};

use crate::check::{USAGE, go_on, write_file};
use crate::check_args::{CheckArgs, MergeArgs};
use crate::check_matrix_parts;
use crate::check_progress::CheckProgress;
use crate::check_words::count;
use crate::flags::{self, Mode};

/// Makes one part of a search and writes what it found.
pub(crate) fn part(args: &CheckArgs, shard: (u32, u32), file: &Path) -> u8 {
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
    let texts = match read(args) {
        Ok(texts) => texts,
        Err(error) => {
            eprintln!("standstill: {error}");
            return USAGE;
        }
    };
    if texts.first().is_some_and(|text| check_matrix_parts::is_part(text)) {
        return check_matrix_parts::merge(args, &texts);
    }
    match try_merge(args, &texts) {
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

fn read(args: &MergeArgs) -> Result<Vec<String>, String> {
    let one = |file: &PathBuf| {
        let bytes =
            std::fs::read(file).map_err(|error| format!("{} can't be read: {error}", file.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    args.files.iter().map(one).collect()
}

fn try_merge(args: &MergeArgs, texts: &[String]) -> Result<Merged, String> {
    if let Some(why) = flags::refuse("check merge", args.given(), &Mode::Merge { matrix: Some(false) }) {
        return Err(why);
    }
    let mut parts = Vec::new();
    for (file, text) in args.files.iter().zip(texts) {
        parts.push(PartResult::load(text).map_err(|bad| format!("{}, {bad}", file.display()))?);
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
