//! `standstill replay`: a schedule that a check saved, carried out again.

use standstill::Property;
use standstill_io::Outputs;
use standstill_io::input::read_text;
use standstill_io::words::path;
use standstill_model::{ReplayError, Room, Run, Saved, critical_pair, load};
use standstill_report::html::Page;
use standstill_report::{chrome, html, svg};

use crate::check::{Failure, go_on, listen};
use crate::check_args::ReplayArgs;
use crate::check_trace::title;
use crate::check_words as words;
use crate::json::Verdict;
use crate::layout::Sheet;

/// Replays a file, prints what happens and returns the exit code.
#[must_use]
pub fn replay_file(args: &ReplayArgs) -> u8 {
    listen();
    try_replay(args).unwrap_or_else(|error| standstill_io::refuse(&error))
}

fn try_replay(args: &ReplayArgs) -> Result<u8, String> {
    let mut outputs = outputs(args)?;
    Room::of_process(None).begin()?;
    let name = path(&args.file);
    let text = read_text(&args.file, Saved::KIND)?;
    let saved = load(&text).map_err(|bad| format!("{name}, {bad}"))?;
    let run = saved.replay().map_err(|error| match &error {
        ReplayError::Diverged { at, .. } | ReplayError::Differs { at, .. } => format!(
            "{name}, {}{error}; the code has changed since: check again, and save it again if it still fails",
            line_of(&text, *at)
        ),
        _ => format!("{name}: {error}"),
    })?;
    let failure = broken(&saved, &run).ok_or_else(|| {
        format!(
            "{name}: its schedule breaks {}, and should break {}: the file or the code has changed since",
            breaks_instead(&run),
            saved.rule
        )
    })?;
    let options = &saved.options;
    let picture = failure.trace(options);
    let text = words::replayed(options, &failure, &picture, Sheet::of_output());
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

/// What the file names, if the run breaks it, as it is told.
fn broken(saved: &Saved, run: &Run) -> Option<Failure> {
    if !saved.breaks(run) {
        return None;
    }
    if let Some(violation) = run.violation.as_ref().filter(|violation| violation.rule == saved.rule) {
        let told = Failure::told(violation, run.steps.clone());
        return Some(Failure { pair: pair(saved, run, &saved.rule), ..told });
    }
    match Property::ALL.into_iter().find(|property| property.letter().to_string() == saved.rule) {
        Some(property) => {
            Failure::at(&saved.options, property, &saved.choices, pair(saved, run, &saved.rule))
        }
        None => Some(Failure::endless(saved, run)),
    }
}

/// What else the run breaks, of what counts for every protocol.
fn breaks_instead(run: &Run) -> String {
    let counts = |property: &Property| run.properties[*property as usize] > 0;
    let property = || Some([Property::Late, Property::Lost].into_iter().find(counts)?.letter().to_string());
    let rule = run.violation.as_ref().map(|violation| violation.rule.clone());
    rule.or_else(property).unwrap_or_else(|| "nothing".into())
}

fn pair(saved: &Saved, run: &Run, rule: &str) -> Option<(usize, usize)> {
    critical_pair(&saved.options, rule, &saved.choices, &run.steps, &mut |_| go_on())
}

/// The line of a choice that is not possible, for the reader.
fn line_of(text: &str, choice: usize) -> String {
    let start = format!("{choice:05} ");
    let line = text.lines().position(|line| line.starts_with(&start));
    line.map_or_else(String::new, |line| format!("line {}: ", line + 1))
}
