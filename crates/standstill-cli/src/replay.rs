//! `standstill replay`: a schedule that a check saved, carried out again.

use standstill::Property;
use standstill_io::Outputs;
use standstill_io::input::read_text;
use standstill_io::words::path;
use standstill_model::{Run, Saved, critical_pair, load};
use standstill_report::html::Page;
use standstill_report::{chrome, html, svg};

use crate::check::{Failure, go_on, listen};
use crate::check_args::ReplayArgs;
use crate::check_trace::title;
use crate::check_words as words;
use crate::json::Verdict;

/// Replays a file, prints what happens and returns the exit code.
#[must_use]
pub fn replay_file(args: &ReplayArgs) -> u8 {
    listen();
    try_replay(args).unwrap_or_else(|error| standstill_io::refuse(&error))
}

fn try_replay(args: &ReplayArgs) -> Result<u8, String> {
    let mut outputs = outputs(args)?;
    let name = path(&args.file);
    let text = read_text(&args.file, Saved::KIND)?;
    let saved = load(&text).map_err(|bad| format!("{name}, {bad}"))?;
    let run = saved.replay().map_err(|error| {
        format!(
            "{name}, {}{error}; the code has changed since: check again, and save it again if it still fails",
            line_of(&text, &error)
        )
    })?;
    let failure = broken(&saved, &run).ok_or_else(|| {
        format!(
            "{name}: its schedule breaks nothing, and should break {}: the file or the code has changed since",
            saved.rule
        )
    })?;
    let options = &saved.options;
    let picture = failure.trace(options);
    let text = words::replayed(options, &saved.rule, &failure, &picture, words::style());
    let exit = standstill_io::answer(&text, Some(Verdict::Fail.name()), Verdict::Fail.exit());
    outputs.write("--svg", &svg::render(&picture, svg::Style::default()));
    outputs.write("--trace", &chrome::render(&picture));
    if outputs.wants("--html").is_some() {
        let title = title(options);
        let cases = vec![failure.case(options, "run".into(), title)];
        let page = Page { title: format!("standstill replay {name}"), cases, ..Page::default() };
        outputs.write("--html", &html::render(&page));
    }
    Ok(outputs.end(exit))
}

/// What is asked for, probed: the schedule is not overwritten.
fn outputs(args: &ReplayArgs) -> Result<Outputs, String> {
    let mut outputs = Outputs::new();
    outputs.input(&args.file)?;
    for (name, path) in [("--svg", &args.svg), ("--trace", &args.trace), ("--html", &args.html)] {
        outputs.file(name, path.as_ref())?;
    }
    Ok(outputs)
}

/// What the run breaks: what the file says; if that is not so, what counts for every protocol.
fn broken(saved: &Saved, run: &Run) -> Option<Failure> {
    if !saved.is_broken(run) {
        return None;
    }
    let options = &saved.options;
    let pair = |rule: &str| critical_pair(options, rule, &saved.choices, &run.steps, &mut |_| go_on());
    if let Some(violation) = &run.violation {
        let told = Failure::told(violation, run.steps.clone());
        return Some(Failure { pair: pair(&violation.rule), ..told });
    }
    let property = Property::ALL
        .into_iter()
        .filter(|property| property.letter().to_string() == saved.rule)
        .chain([Property::Late, Property::Lost])
        .find(|property| run.properties[*property as usize] > 0);
    match property {
        Some(property) => {
            let pair = pair(&property.letter().to_string());
            Failure::at(options, property, &saved.choices, pair)
        }
        None => Some(Failure::endless(saved, run)),
    }
}

/// The line of the choice that an error names, for the reader.
fn line_of(text: &str, error: &str) -> String {
    let number = error.strip_prefix("choice ").and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    let line = number.and_then(|number| {
        let start = format!("{number:05} ");
        text.lines().position(|line| line.starts_with(&start))
    });
    line.map_or_else(String::new, |line| format!("line {}: ", line + 1))
}
