//! `standstill check --shard` and `standstill check merge`: one search in several processes.

use standstill::Property;
use standstill_io::input::{Unreadable, read_text, source};
use standstill_io::words::path;
use standstill_io::{Kind, Outputs};
use standstill_model::{Merged, PartResult, check_part};

use crate::check::{go_on, listen};
use crate::check_args::{CheckArgs, MergeArgs};
use crate::check_matrix_parts;
use crate::check_progress::CheckProgress;
use crate::check_words::count;
use crate::flags::{self, Mode};
use crate::layout::Sheet;

/// Makes one part of a search and writes what it found.
pub(crate) fn part(args: &CheckArgs, shard: (u32, u32), mut outputs: Outputs) -> u8 {
    let mut progress = CheckProgress::new();
    let result = check_part(&args.options(), shard, &mut |now| {
        progress.show(now);
        go_on()
    });
    progress.clear();
    match result {
        Ok(part) => {
            let text = format!("part {} of {}: {}\n", shard.0, shard.1, figures(&part));
            let verdict = verdict(&part);
            let exit = standstill_io::answer(
                &Sheet::of_output().fit(&text),
                Some(verdict),
                u8::from(part.is_broken()),
            );
            outputs.write("--part-file", &part.save());
            outputs.end(exit)
        }
        Err(error) => standstill_io::refuse(&error),
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
    listen();
    let kind = outputs(args).and_then(|outputs| Ok((outputs, is_of_matrix(args)?)));
    let result = match kind {
        Ok((outputs, true)) => {
            let text = |at: usize| read_text(&args.files[at], MATRIX_PART);
            return check_matrix_parts::merge(args, &text, outputs);
        }
        Ok((_, false)) => try_merge(args),
        Err(error) => Err(error),
    };
    match result {
        Ok(merged) => {
            let verdict = verdict(&merged.whole);
            standstill_io::answer(
                &Sheet::of_output().fit(&report(&merged)),
                Some(verdict),
                u8::from(merged.whole.is_broken()),
            )
        }
        Err(error) => standstill_io::refuse(&error),
    }
}

/// Is the first file a part of a matrix? The others must be like it.
fn is_of_matrix(args: &MergeArgs) -> Result<bool, String> {
    let first = args.files.first().ok_or("there is no part")?;
    source(first, PART).map_err(Unreadable::text)?;
    Ok(source(first, Kind { most: u64::MAX, ..MATRIX_PART }).is_ok())
}

/// What is asked for, probed: no part is overwritten.
fn outputs(args: &MergeArgs) -> Result<Outputs, String> {
    let mut outputs = Outputs::new();
    args.files.iter().try_for_each(|file| outputs.input(file))?;
    outputs.folder("--save", args.save.as_ref(), ".replay")?;
    outputs.file("--html", args.html.as_ref())?;
    Ok(outputs)
}

const SEARCH: &str = "standstill-part ";
const MATRIX: &str = "{\"schema\":\"standstill.matrix-part/";

/// A part of a search, or of a matrix.
const PART: Kind<'_> =
    Kind { name: "a part of a search or of a matrix", magic: &[SEARCH, MATRIX], most: u64::MAX, line: 0 };

/// Of twenty million traces, at most.
const SEARCH_PART: Kind<'_> =
    Kind { name: "a part of a search", magic: &[SEARCH], most: 1 << 30, line: 4096 };

/// A hundred searches, with schedules of a thousand choices, have a megabyte.
const MATRIX_PART: Kind<'_> =
    Kind { name: "a part of a matrix", magic: &[MATRIX], most: 64 << 20, line: 64 << 20 };

fn try_merge(args: &MergeArgs) -> Result<Merged, String> {
    if let Some(why) = flags::refuse("check merge", args.given(), &Mode::Merge { matrix: Some(false) }) {
        return Err(why);
    }
    let mut parts = Vec::new();
    for file in &args.files {
        let text = read_text(file, SEARCH_PART)?;
        let part = PartResult::load(&text).map_err(|bad| format!("{}, {bad}", path(file)))?;
        let twice = parts.iter().any(|other: &PartResult| other.part == part.part);
        parts.push(part);
        if twice {
            // It is refused below, whatever comes behind.
            break;
        }
    }
    standstill_model::merge(&parts).map_err(|(at, why)| match args.files.get(at) {
        Some(file) => format!("{}: {why}", path(file)),
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
    text.push_str(&format!("verdict: {}\n", verdict(whole)));
    text
}

fn verdict(part: &PartResult) -> &'static str {
    match (part.is_broken(), part.is_complete()) {
        (true, _) => "fail",
        (false, true) => "pass",
        (false, false) => "incomplete",
    }
}
