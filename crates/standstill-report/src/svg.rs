//! The lanes as a drawing: for papers, for docs, and for the page.
//!
//! All measures are whole pixels. Text is wrapped by an estimate of its width that is on the safe side for the usual sans-serif fonts, as a file can't know
//! the reader's fonts.

use std::fmt::Write;

mod draw;

use draw::Drawing;

use crate::trace::Trace;

/// How it is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// The width of a lane.
    pub lane: u32,
    /// With the title, the sentence and the legend.
    pub alone: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style { lane: 380, alone: true }
    }
}

/// The looks of a drawing that stands alone. The page has its own, with the same classes.
const LOOKS: &str = "\
text{font:13px Helvetica,Arial,'Liberation Sans',sans-serif;fill:#1f2328}\
.name{font-weight:bold;font-size:14px}.role,.where,.legend{fill:#59636e}.title{font-weight:bold;font-size:15px}\
.band0{fill:#f6f8fa}.band1{fill:#eaeef2}.rule{stroke:#8c959f;stroke-width:1}\
.stage{font-weight:bold;font-size:11px;letter-spacing:.08em;fill:#424a53}\
.open{stroke:#424a53;stroke-width:3}.closed{fill:#c4ccd4}.hatch{stroke:#59636e;stroke-width:2}\
.offline{stroke:#cf222e;stroke-width:3;stroke-dasharray:3 4}\
.box{fill:#fff8c5;stroke:#9a6700;stroke-width:1.2}.box.ipi{fill:#ddf4ff;stroke:#0969da}.head{font-weight:bold}\
.dot{fill:#1f2328}.ipi-line{stroke:#0969da;stroke-width:2;fill:none}.waits{stroke-dasharray:2 3}.tip{fill:#0969da}\
.note{fill:#0969da;font-style:italic}.bad text,.bad .mark{fill:#cf222e;font-weight:bold}.bad .dot{fill:#cf222e}\
.pair circle{fill:#8250df}.pair text{fill:#fff;font-weight:bold;font-size:11px;text-anchor:middle}";

/// Draws `trace` as one SVG file.
#[must_use]
pub fn render(trace: &Trace, style: Style) -> String {
    Drawing::new(trace, style, "").file(LOOKS)
}

/// Draws `trace` as an SVG element for a page, which brings its own looks; `id` makes its names its own.
pub(crate) fn element(trace: &Trace, style: Style, id: &str) -> String {
    Drawing::new(trace, style, id).file("")
}

/// Text in XML. What XML can't hold at all becomes a question mark.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

/// `write!` to a string does not fail.
pub(crate) fn put(out: &mut String, args: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(args);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::race;
    use crate::trace::{Kind, Lane};

    #[test]
    fn the_mail_s_race() {
        insta::assert_snapshot!(render(&race(), Style::default()));
    }

    #[test]
    fn it_is_xml_whatever_the_words_are() {
        let mut trace = race();
        trace.title = "a < b & \"c\" > 'd' \u{0} \u{7f} \u{ffff}".into();
        trace.steps[8].text = "calls `a::<B>` & <script>".into();
        trace.lanes[0].role = "<>&".into();
        for style in [Style::default(), Style { lane: 170, alone: false }] {
            let text = render(&trace, style);
            let xml = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(xml.root_element().tag_name().name(), "svg");
        }
    }

    #[test]
    fn everything_is_inside_and_each_drawn_step_is_there_once() {
        let trace = race();
        let text = render(&trace, Style::default());
        let xml = roxmltree::Document::parse(&text).unwrap();
        let number = |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name)?.parse::<i64>().ok();
        let (width, height) =
            (number(xml.root_element(), "width").unwrap(), number(xml.root_element(), "height").unwrap());
        for node in xml.descendants().filter(|node| !node.ancestors().any(|n| n.has_tag_name("defs"))) {
            for (name, most) in [("x", width), ("x1", width), ("x2", width), ("y", height), ("y2", height)] {
                if let Some(at) = number(node, name) {
                    assert!((0..=most).contains(&at), "{name}={at} of {most}: {node:?}");
                }
            }
        }
        let mut steps: Vec<usize> = xml
            .descendants()
            .filter_map(|node| node.attribute("data-steps"))
            .flat_map(|list| list.split(' ').map(|s| s.parse().unwrap()))
            .collect();
        steps.sort_unstable();
        let drawn: Vec<usize> = (0..trace.steps.len())
            .filter(|at| trace.steps[*at].kind != Kind::Detail && trace.steps[*at].kind != Kind::Return)
            .collect();
        assert_eq!(steps, drawn);
    }

    #[test]
    fn a_handler_that_comes_first_was_taken_with_interrupts_open() {
        let mut trace = race();
        trace.steps.drain(..7);
        trace.broken_at = None;
        let text = render(&trace, Style::default());
        let xml = roxmltree::Document::parse(&text).unwrap();
        let at = |class: &str, of: fn(&str) -> Option<i64>, name: &str| {
            xml.descendants()
                .find(|node| node.attribute("class") == Some(class))
                .and_then(|n| of(n.attribute(name)?))
        };
        let number = |text: &str| text.parse::<i64>().ok();
        let (top, shut) = (at("box", number, "y"), at("shut", number, "y"));
        assert!(
            top.is_some() && shut >= top,
            "closed interrupts are drawn above the first box: {shut:?}, {top:?}"
        );
        let ends = at("open", |d| d.rsplit('V').next()?.parse().ok(), "d");
        assert_eq!(ends, top, "open until it was taken");
    }

    #[test]
    fn eight_lanes_and_no_steps_can_be_drawn() {
        let lanes = (0..8).map(|n| Lane { name: format!("CPU {n}"), role: String::new() }).collect();
        let trace = Trace { lanes, ..Trace::default() };
        roxmltree::Document::parse(&render(&trace, Style::default())).unwrap();
    }
}
