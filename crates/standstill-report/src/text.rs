//! Lanes of characters, as in a mail: time goes down.

use crate::rows::{Cell, Frame, Row, Spine, rows};
use crate::trace::Trace;
use crate::wrap::{TIE, wrap};

/// How it is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// How many characters fit in a line.
    pub width: usize,
    /// Only characters that each mail can carry.
    pub ascii: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style { width: 100, ascii: false }
    }
}

/// Below this a lane is too narrow for a picture, and lines take its place.
const NARROWEST: usize = 24;
/// Wider lanes are harder to read, not easier.
const WIDEST: usize = 52;
/// Where a lane's spine stands, and where its text begins.
const SPINE: usize = 2;
const TEXT: usize = 4;

struct Pens {
    open: char,
    closed: char,
    offline: char,
    line: char,
    stage: char,
    cross: char,
    side: char,
    corners: [char; 4],
    joints: [char; 2],
}

const UNICODE: Pens = Pens {
    open: '│',
    closed: '░',
    offline: '╎',
    line: '─',
    stage: '═',
    cross: '┼',
    side: '│',
    corners: ['┌', '┐', '└', '┘'],
    joints: ['┴', '┬'],
};
const ASCII: Pens = Pens {
    open: '|',
    closed: ':',
    offline: '!',
    line: '-',
    stage: '=',
    cross: '+',
    side: '|',
    corners: ['+', '+', '+', '+'],
    joints: ['+', '+'],
};

impl Pens {
    fn of(style: Style) -> &'static Pens {
        if style.ascii { &ASCII } else { &UNICODE }
    }

    fn spine(&self, spine: Spine) -> char {
        match spine {
            Spine { alive: false, .. } => ' ',
            Spine { irqs_on: false, .. } => self.closed,
            Spine { online: false, .. } => self.offline,
            _ => self.open,
        }
    }
}

/// Draws `trace`: lanes, the pair, and what the signs mean.
#[must_use]
pub fn render(trace: &Trace, style: Style) -> String {
    let rows = rows(trace);
    let lanes = trace.lanes.len().max(1);
    let width = style.width.saturating_sub(1) / lanes;
    let mut out = if width < NARROWEST {
        list(trace, &rows, style)
    } else {
        Page { trace, pens: Pens::of(style), lane: width.min(WIDEST) }.draw(&rows)
    };
    if let Some(pair) = pair_in_words(trace) {
        out.push('\n');
        for line in wrap(&pair, style.width) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

/// What the signs mean, in one line.
#[must_use]
pub fn legend(style: Style) -> String {
    let pens = Pens::of(style);
    format!(
        "{} interrupts open   {} closed   {} open, but offline   a box: an interrupt handler   {}> an IPI",
        pens.open,
        pens.closed,
        pens.offline,
        String::from(pens.line).repeat(2)
    )
}

/// The critical pair as a sentence.
#[must_use]
pub fn pair_in_words(trace: &Trace) -> Option<String> {
    let (first, second) = trace.critical_pair?;
    let say = |at: usize| {
        let step = trace.steps.get(at)?;
        let text = if step.text.is_empty() { "returns" } else { &step.text };
        let place = if step.location.is_empty() { String::new() } else { format!(" ({})", step.location) };
        Some(format!("{} {text}{place}", trace.lanes.get(step.cpu)?.name))
    };
    Some(format!(
        "The pair that decides: [1] {} comes before [2] {}. The other way round it passes.",
        say(first)?,
        say(second)?
    ))
}

fn words(cell: &Cell, trace: &Trace) -> String {
    let mark = cell.pair.map_or_else(String::new, |number| format!("[{number}] "));
    let broken = if cell.broken { format!(" <=={TIE}{}", trace.rule) } else { String::new() };
    format!("{mark}{}{broken}", cell.text)
}

/// For many lanes on a narrow terminal: a line for each cell.
fn list(trace: &Trace, rows: &[Row], style: Style) -> String {
    let pens = Pens::of(style);
    let widest = trace.lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for row in rows {
        if let Some(stage) = &row.stage {
            let rule: String = format!("{0}{0} {stage} ", pens.stage);
            let rest = style.width.saturating_sub(rule.chars().count() + 1);
            out.push_str(&rule);
            out.extend(std::iter::repeat_n(pens.stage, rest));
            out.push('\n');
        }
        for cell in row.cells.iter().filter(|cell| cell.frame != Frame::Ends) {
            let lane = &trace.lanes[cell.lane].name;
            let spine = row.spines[cell.lane];
            let inner = spine.boxes - usize::from(cell.frame == Frame::Begins);
            let head = format!("{lane:widest$} {} {}", pens.spine(spine), "  ".repeat(inner));
            let indent = head.chars().count();
            let mut text = words(cell, trace);
            if let Some(arrow) = cell.arrow {
                text.push_str(&format!(" {0}{0}> {1}", pens.line, trace.lanes[arrow.to].name));
                if !cell.note.is_empty() {
                    text.push_str(&format!(" ({})", cell.note));
                }
            }
            for (at, line) in wrap(&text, style.width.saturating_sub(indent)).iter().enumerate() {
                let start = if at == 0 { head.clone() } else { " ".repeat(indent) };
                out.push_str(&format!("{start}{line}\n"));
            }
        }
    }
    out
}

struct Page<'a> {
    trace: &'a Trace,
    pens: &'static Pens,
    /// The width of a lane.
    lane: usize,
}

/// One line of characters.
struct Line(Vec<char>);

impl Line {
    fn put(&mut self, at: usize, c: char) {
        if let Some(place) = self.0.get_mut(at) {
            *place = c;
        }
    }

    fn write(&mut self, at: usize, text: &str) {
        for (i, c) in text.chars().enumerate() {
            self.put(at + i, c);
        }
    }

    fn finish(self, out: &mut String) {
        let line: String = self.0.into_iter().collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

impl Page<'_> {
    fn left(&self, lane: usize) -> usize {
        lane * self.lane
    }

    /// How far right text may reach in a lane with `boxes` around it.
    fn room(&self, boxes: usize) -> usize {
        // Two columns between lanes, and one and a space for each box.
        self.lane - TEXT - 3 - 4 * boxes.saturating_sub(1)
    }

    fn draw(&self, rows: &[Row]) -> String {
        let mut out = String::new();
        self.header(&mut out);
        let mut before: Vec<Spine> = rows.first().map_or_else(Vec::new, |row| row.spines.clone());
        for row in rows {
            match &row.stage {
                Some(stage) => self.stage(stage, &mut out),
                None => self.row(row, &before, &mut out),
            }
            before.clone_from(&row.spines);
        }
        out
    }

    fn blank(&self) -> Line {
        Line(vec![' '; self.lane * self.trace.lanes.len()])
    }

    fn header(&self, out: &mut String) {
        let mut line = self.blank();
        let mut under = self.blank();
        for (at, lane) in self.trace.lanes.iter().enumerate() {
            let text = match lane.role.as_str() {
                "" => lane.name.clone(),
                role => format!("{} ({role})", lane.name),
            };
            let text: String = text.chars().take(self.lane - SPINE - 1).collect();
            line.write(self.left(at) + SPINE, &text);
            under.put(self.left(at) + SPINE, self.pens.open);
        }
        line.finish(out);
        under.finish(out);
    }

    fn stage(&self, stage: &str, out: &mut String) {
        let mut line = Line(vec![self.pens.stage; self.lane * self.trace.lanes.len() - 2]);
        line.write(TEXT, &format!(" {stage} "));
        line.finish(out);
    }

    fn row(&self, row: &Row, before: &[Spine], out: &mut String) {
        // What each lane says, line by line, and from which line on.
        let mut texts: Vec<(usize, Vec<String>)> = vec![(0, Vec::new()); self.trace.lanes.len()];
        for cell in &row.cells {
            let boxes = row.spines[cell.lane].boxes;
            let lines = match cell.frame {
                Frame::Ends => vec![String::new()],
                _ => wrap(&words(cell, self.trace), self.room(boxes)),
            };
            if let Some(arrow) = cell.arrow
                && !cell.note.is_empty()
            {
                let note = wrap(&cell.note, self.room(row.spines[arrow.to].boxes));
                texts[arrow.to] = (lines.len() - 1, note);
            }
            texts[cell.lane] = (0, lines);
        }
        let height = texts.iter().map(|(from, lines)| from + lines.len()).max().unwrap_or(1);
        for at in 0..height {
            let mut line = self.blank();
            for lane in 0..self.trace.lanes.len() {
                let cell = row.cells.iter().find(|cell| cell.lane == lane);
                let frame = cell.map_or(Frame::Within, |cell| cell.frame);
                let (from, lines) = &texts[lane];
                let text = at.checked_sub(*from).and_then(|i| lines.get(i));
                self.lane_line(&mut line, lane, row.spines[lane], (frame, before[lane]), at, text);
            }
            for cell in row.cells.iter().filter(|cell| texts[cell.lane].1.len() == at + 1) {
                if let Some(arrow) = cell.arrow {
                    self.arrow(&mut line, row, cell, arrow.to, &texts);
                }
            }
            line.finish(out);
        }
    }

    fn lane_line(
        &self,
        line: &mut Line,
        lane: usize,
        spine: Spine,
        (frame, before): (Frame, Spine),
        at: usize,
        text: Option<&String>,
    ) {
        let left = self.left(lane);
        let right = left + self.lane - 3;
        let around = match frame {
            Frame::Ends => spine.boxes + 1,
            _ => spine.boxes,
        };
        if around == 0 {
            line.put(left + SPINE, self.pens.spine(spine));
        }
        for depth in 0..around {
            line.put(left + 2 * depth, self.pens.side);
            line.put(right - 2 * depth, self.pens.side);
        }
        let inner = 2 * around.saturating_sub(1);
        let [top_left, top_right, bottom_left, bottom_right] = self.pens.corners;
        let border = |line: &mut Line, corners: [char; 2], joint: char| {
            for x in left + inner..=right - inner {
                line.put(x, self.pens.line);
            }
            line.put(left + inner, corners[0]);
            line.put(right - inner, corners[1]);
            if inner == 0 {
                line.put(left + SPINE, joint);
            }
        };
        match frame {
            Frame::Begins if at == 0 => {
                border(line, [top_left, top_right], self.pens.joints[0]);
                line.put(left + inner + SPINE + 1, ' ');
            }
            Frame::Ends => border(line, [bottom_left, bottom_right], self.pens.joints[1]),
            _ => {}
        }
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            line.write(left + TEXT + inner, text);
            if frame == Frame::Begins && at == 0 {
                line.put(left + TEXT + inner + text.chars().count(), ' ');
            }
        }
        // A lane in which nothing is said shows what held before the row: the row is another lane's.
        if text.is_none() && frame == Frame::Within && around == 0 {
            line.put(left + SPINE, self.pens.spine(Spine { boxes: 0, ..before }));
        }
    }

    fn arrow(&self, line: &mut Line, row: &Row, cell: &Cell, to: usize, texts: &[(usize, Vec<String>)]) {
        let inner = |lane: usize| 2 * row.spines[lane].boxes.saturating_sub(1);
        let length = |lane: usize, at: usize| texts[lane].1.get(at).map_or(0, |text| text.chars().count());
        let last = texts[cell.lane].1.len() - 1;
        let pens = self.pens;
        let (from, until) = if to > cell.lane {
            let from = self.left(cell.lane) + TEXT + inner(cell.lane) + length(cell.lane, last) + 1;
            (from, self.left(to) + if row.spines[to].boxes > 0 { 0 } else { SPINE } - 1)
        } else {
            let note = length(to, 0);
            let from = self.left(to) + TEXT + inner(to) + note + usize::from(note > 0);
            (from, self.left(cell.lane) - 1)
        };
        for x in from..until {
            let under = line.0.get(x).copied().unwrap_or(' ');
            line.put(x, if under == ' ' { pens.line } else { pens.cross });
        }
        if to > cell.lane {
            line.put(until - 1, '>');
        } else {
            line.put(from, '<');
        }
    }
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
    fn in_a_mail() {
        insta::assert_snapshot!(render(&race(), Style { width: 78, ascii: true }));
    }

    #[test]
    fn on_a_narrow_terminal() {
        insta::assert_snapshot!(render(&race(), Style { width: 40, ascii: false }));
    }

    #[test]
    fn to_the_left_and_across_a_lane() {
        let mut trace = race();
        trace.lanes.insert(1, Lane { name: "CPU 1".into(), role: "stays".into() });
        trace.lanes[2].name = "CPU 2".into();
        trace.lanes.swap(0, 2);
        for step in &mut trace.steps {
            step.cpu = if step.cpu == 0 { 2 } else { 0 };
            if let Kind::Send { to } = &mut step.kind {
                *to = 0;
            }
            if let Kind::Leave { who } = &mut step.kind {
                *who = 0;
            }
        }
        insta::assert_snapshot!(render(&trace, Style { width: 120, ascii: false }));
    }

    #[test]
    fn no_line_is_too_long() {
        for width in 20..160 {
            let text = render(&race(), Style { width, ascii: false });
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= width, "{longest} of {width}:\n{text}");
        }
    }
}
