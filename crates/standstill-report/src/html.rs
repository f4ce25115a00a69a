//! One page: the matrix, and each counterexample to step through. It needs no network and says so to the browser.
//!
//! Without scripts it shows all the same, as the drawings are made here and not there. They are made twice, in lanes for a desk and in lanes for a
//! phone; the style sheet picks one.

use serde_json::json;

use crate::matrix::{Cell, Finding, Matrix};
use crate::rows::rows;
use crate::svg::{self, Style, escape};
use crate::text::pair_in_words;
use crate::trace::{Kind, Trace};

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// How wide the drawings are together: at a desk, and on a phone.
const DESK: u32 = 1060;
const PHONE: u32 = 296;

/// What the page shows.
#[derive(Clone, Default, Debug)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// What was run, and under which assumptions: paragraphs.
    pub about: Vec<String>,
    /// The table.
    pub matrix: Option<Matrix>,
    /// The counterexamples.
    pub cases: Vec<Case>,
}

/// One counterexample.
#[derive(Clone, Default, Debug)]
pub struct Case {
    /// Its anchor: letters, digits and `-`.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// Short facts.
    pub facts: Vec<String>,
    /// What happens.
    pub trace: Trace,
    /// The same schedule where it does not happen, with a heading.
    pub cured: Option<(String, Trace)>,
    /// The replay file.
    pub replay: String,
}

/// The page as one file.
#[must_use]
pub fn render(page: &Page) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
        escape(&page.title)
    );
    for text in &page.about {
        out.push_str(&format!("<p>{}</p>\n", code(text)));
    }
    if let Some(matrix) = &page.matrix {
        table(matrix, &mut out);
    }
    if !page.cases.is_empty() {
        legend(&mut out);
    }
    for (nth, case) in page.cases.iter().enumerate() {
        section(case, nth, &mut out);
    }
    out.push_str(&format!("</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"));
    out
}

/// Text in which `` `words` `` are code.
fn code(text: &str) -> String {
    let mut out = String::new();
    for (nth, part) in text.split('`').enumerate() {
        let part = escape(part);
        if nth % 2 == 1 {
            out.push_str(&format!("<code>{part}</code>"));
        } else {
            out.push_str(&part);
        }
    }
    out
}

fn table(matrix: &Matrix, out: &mut String) {
    out.push_str("<div class=\"scroll\"><table class=\"matrix\">\n<caption class=\"hint\">What breaks, by protocol and by how long IPIs take</caption>\n<thead><tr>");
    for name in ["preset", "IPIs", "CPUs"] {
        out.push_str(&format!("<th scope=\"col\">{name}</th>"));
    }
    for (letter, means) in &matrix.properties {
        let (letter, means) = (escape(letter), escape(means));
        out.push_str(&format!("<th scope=\"col\" class=\"letter\" title=\"{means}\">{letter}</th>"));
    }
    out.push_str("<th scope=\"col\" class=\"num\">states</th><th scope=\"col\" class=\"num\">time</th></tr></thead>\n<tbody>\n");
    let mut last = "";
    for row in &matrix.rows {
        let first = if row.preset == last { "" } else { " class=\"first\"" };
        last = &row.preset;
        let preset = escape(&row.preset);
        out.push_str(&format!(
            "<tr{first}><th scope=\"row\">{preset}</th><td>{}</td><td>{}</td>",
            escape(&row.ipi),
            row.cpus
        ));
        for (at, cell) in row.cells.iter().enumerate() {
            let letter = matrix.properties.get(at).map_or("", |property| property.0.as_str());
            out.push_str(&finding(cell, letter, &row.preset));
        }
        let seconds = row.time_ns as f64 / 1e9;
        out.push_str(&format!(
            "<td class=\"num\">{}</td><td class=\"num\">{seconds:.3} s</td></tr>\n",
            thousands(row.states)
        ));
    }
    out.push_str("</tbody></table></div>\n<dl class=\"means\">");
    for (letter, means) in &matrix.properties {
        out.push_str(&format!("<dt>{}</dt><dd>{}</dd>", escape(letter), escape(means)));
    }
    out.push_str("</dl>\n<p class=\"hint\">–: proved absent within the bounds. A letter: found; on red, although the protocol promises that it does not happen. ?: not found, and not everything was seen.</p>\n");
    if !matrix.answer.is_empty() {
        out.push_str("<section class=\"answer\" aria-label=\"The answer\">");
        for line in &matrix.answer {
            out.push_str(&format!("<p>{}</p>", code(line)));
        }
        out.push_str("</section>\n");
    }
}

/// A number with gaps between its thousands.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

fn finding(cell: &Cell, letter: &str, preset: &str) -> String {
    let (class, sign, words) = match cell.finding {
        Finding::None => ("none", "–".to_string(), "does not happen"),
        Finding::Unknown => ("none", "?".to_string(), "not found, but not everything was seen"),
        Finding::Found if cell.promised => ("broken", escape(letter), "found, though promised not to happen"),
        Finding::Found => ("found", escape(letter), "found"),
    };
    let label = escape(&format!("{letter} with {preset}: {words}"));
    match &cell.case {
        Some(case) => {
            format!(
                "<td class=\"cell {class}\"><a href=\"#{}\" title=\"{label}\">{sign}</a></td>",
                escape(case)
            )
        }
        None => format!("<td class=\"cell {class}\" title=\"{label}\">{sign}</td>"),
    }
}

fn legend(out: &mut String) {
    let item = |out: &mut String, picture: &str, text: &str| {
        out.push_str(&format!(
            "<span><svg width=\"26\" height=\"14\" aria-hidden=\"true\">{picture}</svg>{text}</span>"
        ));
    };
    out.push_str("<h2>How to read the pictures</h2><p>Time goes down. A column is a CPU, a band a stage of the stop.</p><div class=\"legend\">");
    item(out, "<path class=\"open\" d=\"M13 0V14\"/>", "interrupts open");
    item(
        out,
        "<rect class=\"closed\" x=\"8\" width=\"10\" height=\"14\"/><path class=\"hatch\" d=\"M8 12L18 2\"/>",
        "closed",
    );
    item(out, "<path class=\"offline\" d=\"M13 0V14\"/>", "open, but offline");
    item(
        out,
        "<rect class=\"box\" x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"4\"/>",
        "a device's interrupt handler",
    );
    item(
        out,
        "<rect class=\"box ipi\" x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"4\"/>",
        "the handler of an IPI",
    );
    item(out, "<path class=\"ipi-line\" d=\"M0 7H26\"/>", "an IPI is sent");
    item(out, "<path class=\"ipi-line waits\" d=\"M0 7H26\"/>", "it waits");
    out.push_str("</div>\n<p class=\"hint\">Step with the slider, or click a picture and use <kbd>↓</kbd> <kbd>↑</kbd> or <kbd>j</kbd> <kbd>k</kbd>, <kbd>Home</kbd>, <kbd>End</kbd>; <kbd>Esc</kbd> shows all. The mouse over a step shows where it is in the code.</p>\n");
}

fn section(case: &Case, nth: usize, out: &mut String) {
    out.push_str(&format!(
        "<section id=\"{}\">\n<h2>{}</h2>\n<p class=\"sentence\">{}</p>\n",
        escape(&case.id),
        code(&case.title),
        code(&case.trace.sentence)
    ));
    out.push_str("<p class=\"facts\">");
    for fact in &case.facts {
        out.push_str(&format!("<span>{}</span>", escape(fact)));
    }
    out.push_str("</p>\n");
    figure(&case.trace, &format!("a{nth}"), out);
    if let Some(pair) = pair_in_words(&case.trace) {
        out.push_str(&format!("<p>{}</p>\n", code(&pair)));
    }
    if let Some((title, trace)) = &case.cured {
        let (title, sentence) = (code(title), code(&trace.sentence));
        out.push_str(&format!("<h3>{title}</h3>\n<p class=\"sentence\">{sentence}</p>\n"));
        figure(trace, &format!("b{nth}"), out);
    }
    steps(&case.trace, out);
    if !case.replay.is_empty() {
        out.push_str(&format!(
            "<details><summary>Replay file, for <code>standstill replay</code></summary><pre>{}</pre></details>\n",
            escape(&case.replay)
        ));
    }
    out.push_str("</section>\n");
}

fn figure(trace: &Trace, id: &str, out: &mut String) {
    let lanes = u32::try_from(trace.lanes.len().max(1)).unwrap_or(1);
    let wide = Style { lane: (DESK / lanes).clamp(230, 420), alone: false };
    let narrow = Style { lane: (PHONE / lanes).max(148), alone: false };
    let name = escape(&trace.title);
    out.push_str(&format!(
        "<div class=\"figure\" role=\"group\" aria-label=\"{name}\">\n<div class=\"stepper\">\
         <button type=\"button\" aria-label=\"First step\">|◀</button><button type=\"button\" aria-label=\"One step back\">◀</button>\
         <button type=\"button\" aria-label=\"One step on\">▶</button>\
         <input type=\"range\" min=\"0\" max=\"1\" value=\"0\" aria-label=\"Step\">\
         <button type=\"button\" aria-label=\"Show everything\">all</button></div>\n\
         <div class=\"said\" aria-live=\"polite\"></div>\n\
         <div class=\"diagram\" tabindex=\"0\" role=\"group\" aria-label=\"Space-time diagram; the arrow keys step through it\">\n"
    ));
    out.push_str(&svg::element(trace, wide, id));
    out.push_str(&svg::element(trace, narrow, &format!("{id}n")));
    out.push_str(&format!("</div>\n<script type=\"application/json\">{}</script>\n</div>\n", data(trace)));
}

/// What the script needs of a trace: the steps that are drawn. Nothing in it can end a `<script>`.
fn data(trace: &Trace) -> String {
    let drawn = rows(trace).into_iter().flat_map(|row| row.cells).flat_map(|cell| cell.steps);
    let stages = trace.steps.iter().enumerate().filter(|(_, step)| matches!(step.kind, Kind::Stage(_)));
    let steps: serde_json::Map<_, _> = drawn
        .chain(stages.map(|(at, _)| at))
        .map(|at| {
            let step = &trace.steps[at];
            let value = json!({
                "cpu": step.cpu, "text": step.text, "context": step.context.name(), "irqs_on": step.irqs_on,
                "location": step.location,
            });
            (at.to_string(), value)
        })
        .collect();
    let lanes: Vec<_> = trace.lanes.iter().map(|lane| json!({ "name": lane.name })).collect();
    json!({ "lanes": lanes, "steps": steps, "count": trace.steps.len() }).to_string().replace('<', "\\u003c")
}

fn steps(trace: &Trace, out: &mut String) {
    out.push_str(&format!(
        "<details><summary>Every step ({})</summary><div class=\"scroll\"><table class=\"steps\"><thead><tr><th scope=\"col\">#</th>\
         <th scope=\"col\">CPU</th><th scope=\"col\">in</th><th scope=\"col\">does</th><th scope=\"col\">at</th></tr></thead><tbody>\n",
        trace.steps.len()
    ));
    for (at, step) in trace.steps.iter().enumerate() {
        let class = match step.kind {
            _ if trace.broken_at == Some(at) => "bad",
            Kind::Detail => "detail",
            _ => "",
        };
        let lane = trace.lanes.get(step.cpu).map_or("?", |lane| lane.name.as_str());
        let text = if step.text.is_empty() { "returns" } else { &step.text };
        out.push_str(&format!(
            "<tr class=\"{class}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"where\">{}</td></tr>\n",
            at + 1,
            escape(lane),
            escape(&step.context.name()),
            code(text),
            escape(&step.location)
        ));
    }
    out.push_str("</tbody></table></div></details>\n");
}

#[cfg(test)]
mod tests;
