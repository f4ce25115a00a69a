//! From rows to elements: first where each row is, then what is in it.

mod cells;

use super::{Style, escape, put};
use crate::rows::{Cell, Frame, Row, Spine, rows};
use crate::trace::{Kind, Trace};
use crate::wrap::wrap;

const MARGIN: i64 = 12;
const LINE: i64 = 17;
const STAGE: i64 = 28;
const HEADER: i64 = 50;
/// From a lane's left side to its spine, and to its text.
const SPINE: i64 = 16;
const TEXT: i64 = 36;
/// Between the last text and the next lane.
const GAP: i64 = 20;
/// Above the heading of a box.
const HEAD: i64 = 5;
/// Above a box.
const BOX: i64 = 2;
/// How far a box is inside the one around it.
const NEST: i64 = 8;
/// Ten characters are about this wide.
const TEN: i64 = 71;

pub(super) struct Drawing<'a> {
    trace: &'a Trace,
    rows: Vec<Row>,
    lane: i64,
    alone: bool,
    id: &'a str,
    /// Where each row begins, and where the last one ends.
    tops: Vec<i64>,
    /// What is written in each row, by lane.
    texts: Vec<Vec<Vec<String>>>,
    out: String,
}

impl<'a> Drawing<'a> {
    pub(super) fn new(trace: &'a Trace, style: Style, id: &'a str) -> Self {
        let mut drawing = Drawing {
            trace,
            rows: rows(trace),
            lane: i64::from(style.lane.max(130)),
            alone: style.alone,
            id,
            tops: Vec::new(),
            texts: Vec::new(),
            out: String::new(),
        };
        drawing.measure();
        drawing
    }

    fn width(&self) -> i64 {
        2 * MARGIN + self.lane * self.trace.lanes.len().max(1) as i64
    }

    fn left(&self, lane: usize) -> i64 {
        MARGIN + self.lane * lane as i64
    }

    fn spine(&self, lane: usize) -> i64 {
        self.left(lane) + SPINE
    }

    fn text_x(&self, lane: usize, boxes: usize) -> i64 {
        self.left(lane) + TEXT + NEST * boxes.saturating_sub(1) as i64
    }

    /// How many characters fit.
    fn room(&self, boxes: usize, mark: bool) -> usize {
        let mark = if mark { 20 } else { 0 };
        let pixels = self.lane - TEXT - GAP - 2 * NEST * boxes.saturating_sub(1) as i64 - mark;
        usize::try_from(pixels * 10 / TEN).unwrap_or(0)
    }

    fn measure(&mut self) {
        let mut y = HEADER;
        if self.alone {
            y += 26 + LINE * self.sentence().len() as i64;
        }
        for row in &self.rows {
            self.tops.push(y);
            let mut texts = vec![Vec::new(); self.trace.lanes.len()];
            for cell in &row.cells {
                let boxes = row.spines[cell.lane].boxes;
                if cell.frame != Frame::Ends {
                    // Bold letters are wider.
                    let room = self.room(boxes, cell.pair.is_some());
                    let room = if cell.broken { room - room / 10 } else { room };
                    texts[cell.lane] = wrap(&words(cell, self.trace), room);
                }
                if let Some(arrow) = cell.arrow.filter(|_| !cell.note.is_empty()) {
                    texts[arrow.to] = wrap(&cell.note, self.room(row.spines[arrow.to].boxes, false));
                }
            }
            let lines = texts.iter().map(Vec::len).max().unwrap_or(0) as i64;
            y += match (&row.stage, lines) {
                (Some(_), _) => STAGE,
                (None, 0) => 10,
                (None, lines) => lines * LINE + 9 + HEAD * i64::from(begins(row)),
            };
            self.texts.push(texts);
        }
        self.tops.push(y + 4);
    }

    fn sentence(&self) -> Vec<String> {
        let room = usize::try_from((self.width() - 2 * MARGIN) * 10 / TEN).unwrap_or(0);
        wrap(&plain(&self.trace.sentence), room)
    }

    fn bottom(&self) -> i64 {
        *self.tops.last().unwrap_or(&HEADER)
    }

    pub(super) fn file(mut self, looks: &str) -> String {
        let legend = if self.alone { self.legend_lines() } else { Vec::new() };
        let (width, height) = (self.width(), self.bottom() + 10 + 20 * legend.len() as i64);
        let id = self.id;
        let mut out = String::new();
        put(
            &mut out,
            format_args!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"lanes\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n",
                escape(&format!("{}. {}", self.trace.title, self.trace.sentence)),
            ),
        );
        put(
            &mut out,
            format_args!(
                "<defs><pattern id=\"hatch{id}\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <rect class=\"closed\" width=\"6\" height=\"6\"/><path class=\"hatch\" d=\"M0 0V6\"/></pattern>\
             <marker id=\"tip{id}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
             <path class=\"tip\" d=\"M0 0L8 4L0 8Z\"/></marker></defs>\n"
            ),
        );
        if !looks.is_empty() {
            put(
                &mut out,
                format_args!(
                    "<style>{looks}</style>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
                ),
            );
        }
        self.out = out;
        self.bands();
        self.headers();
        self.spines();
        self.boxes();
        self.arrows();
        self.cells();
        for (at, line) in legend.iter().enumerate() {
            let y = self.bottom() + 22 + 20 * at as i64;
            self.legend(line, y);
        }
        self.out.push_str("</svg>\n");
        self.out
    }

    fn bands(&mut self) {
        // The names are above the spines, so they are written with the cells.
        let stages: Vec<usize> =
            self.rows.iter().enumerate().filter_map(|(at, row)| row.stage.is_some().then_some(at)).collect();
        let (x, width) = (MARGIN / 2, self.width() - MARGIN);
        for (nth, row) in stages.iter().enumerate() {
            let top = self.tops[*row];
            let end = stages.get(nth + 1).map_or(self.bottom(), |next| self.tops[*next]);
            let right = x + width;
            put(
                &mut self.out,
                format_args!(
                    "<g class=\"stage-group\"><rect class=\"band{}\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{}\"/>\
                 <path class=\"rule\" d=\"M{x} {top}H{right}\"/></g>\n",
                    nth % 2,
                    end - top,
                ),
            );
        }
    }

    fn headers(&mut self) {
        let mut y = 20;
        if self.alone {
            let title = escape(&self.trace.title);
            put(
                &mut self.out,
                format_args!("<text class=\"title\" x=\"{MARGIN}\" y=\"{y}\">{title}</text>\n"),
            );
            for line in self.sentence() {
                y += LINE;
                put(&mut self.out, format_args!("<text x=\"{MARGIN}\" y=\"{y}\">{}</text>\n", escape(&line)));
            }
            y += 26;
        }
        for (at, lane) in self.trace.lanes.iter().enumerate() {
            let x = self.left(at) + 4;
            put(
                &mut self.out,
                format_args!(
                    "<text class=\"name\" x=\"{x}\" y=\"{y}\">{}</text><text class=\"role\" x=\"{x}\" y=\"{}\">{}</text>\n",
                    escape(&lane.name),
                    y + LINE,
                    escape(&lane.role),
                ),
            );
        }
    }

    fn spines(&mut self) {
        for lane in 0..self.trace.lanes.len() {
            let x = self.spine(lane);
            let mut at = 0;
            while at < self.rows.len() {
                let spine = self.rows[at].spines[lane];
                let look = Look::of(spine);
                let from = at;
                while at < self.rows.len() && Look::of(self.rows[at].spines[lane]) == look {
                    at += 1;
                }
                let mut top = self.tops[from] - if from == 0 { 6 } else { 0 };
                let end = self.tops[at];
                let id = self.id;
                let begins = |cell: &Cell| cell.lane == lane && cell.frame == Frame::Begins;
                if from == 0 && self.rows[0].cells.iter().any(begins) {
                    // What is above the box of a handler that comes first: it was taken, so interrupts were open.
                    let above = top;
                    top = self.tops[0] + BOX;
                    let class = if spine.online { "open" } else { "offline" };
                    put(&mut self.out, format_args!("<path class=\"{class}\" d=\"M{x} {above}V{top}\"/>\n"));
                }
                match look {
                    Look::Gone => {}
                    Look::Open => {
                        put(&mut self.out, format_args!("<path class=\"open\" d=\"M{x} {top}V{end}\"/>\n"))
                    }
                    Look::Offline => {
                        put(&mut self.out, format_args!("<path class=\"offline\" d=\"M{x} {top}V{end}\"/>\n"))
                    }
                    Look::Closed => put(
                        &mut self.out,
                        format_args!(
                            "<rect class=\"shut\" x=\"{}\" y=\"{top}\" width=\"10\" height=\"{}\" fill=\"url(#hatch{id})\"/>\n",
                            x - 5,
                            end - top,
                        ),
                    ),
                }
            }
        }
    }

    /// Boxes of handlers, the outer ones first.
    fn boxes(&mut self) {
        let mut boxes = Vec::new();
        let mut open: Vec<Vec<(usize, usize, bool)>> = vec![Vec::new(); self.trace.lanes.len()];
        for (at, row) in self.rows.iter().enumerate() {
            for cell in &row.cells {
                match cell.frame {
                    Frame::Begins => {
                        let ipi =
                            matches!(self.trace.steps[cell.steps[0]].kind, Kind::Take { ipi: true, .. });
                        open[cell.lane].push((at, row.spines[cell.lane].boxes, ipi));
                    }
                    Frame::Ends => {
                        if let Some(begun) = open[cell.lane].pop() {
                            boxes.push((cell.lane, begun, self.tops[at + 1] - 4));
                        }
                    }
                    Frame::Within => {}
                }
            }
        }
        let bottom = self.bottom() - 4;
        for (lane, left) in open.into_iter().enumerate() {
            boxes.extend(left.into_iter().map(|begun| (lane, begun, bottom)));
        }
        boxes.sort_by_key(|(lane, (at, depth, _), _)| (*lane, *depth, *at));
        for (lane, (at, depth, ipi), end) in boxes {
            let inset = NEST * depth.saturating_sub(1) as i64;
            let (x, y) = (self.left(lane) + 4 + inset, self.tops[at] + BOX);
            let (width, height) = (self.lane - 12 - 2 * inset, end - y);
            let ipi = if ipi { " ipi" } else { "" };
            let cell = self.rows[at].cells.iter().find(|cell| cell.lane == lane);
            let from = cell.map_or(0, |cell| cell.steps[0]);
            put(
                &mut self.out,
                format_args!(
                    "<rect class=\"box{ipi}\" data-from=\"{from}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n"
                ),
            );
        }
    }
}

/// Does a box begin in the row?
fn begins(row: &Row) -> bool {
    row.cells.iter().any(|cell| cell.frame == Frame::Begins)
}

/// The words of a cell; the rule that it breaks is part of them.
fn words(cell: &Cell, trace: &Trace) -> String {
    let text = plain(&cell.text);
    if cell.broken { format!("{text} ◀ {}", trace.rule) } else { text }
}

/// Words without the marks around what is code: a drawing has no other letters for it.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// How a stretch of spine looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Open,
    Closed,
    Offline,
    Gone,
}

impl Look {
    fn of(spine: Spine) -> Look {
        match spine {
            Spine { alive: false, .. } => Look::Gone,
            Spine { irqs_on: false, .. } => Look::Closed,
            Spine { online: false, .. } => Look::Offline,
            _ => Look::Open,
        }
    }
}
