//! What is in the rows: arrows, words, and the legend.

use super::{Drawing, HEAD, LINE, MARGIN, SPINE, TEN, TEXT};
use crate::rows::{Cell, Frame};
use crate::svg::{escape, put};
use crate::trace::{Arrow, Kind};

impl Drawing<'_> {
    pub(super) fn arrows(&mut self) {
        for at in 0..self.rows.len() {
            for cell in self.rows[at].cells.clone() {
                if let Some(arrow) = cell.arrow {
                    self.arrow(at, &cell, arrow);
                }
            }
        }
    }

    fn arrow(&mut self, at: usize, cell: &Cell, arrow: Arrow) {
        let text_width = |lines: &[String], last: bool| {
            let longest = if last {
                lines.last().map_or(0, |line| line.chars().count())
            } else {
                lines.iter().map(|line| line.chars().count()).max().unwrap_or(0)
            };
            longest as i64 * TEN / 10
        };
        let boxes = |lane: usize| self.rows[at].spines[lane].boxes;
        let own = &self.texts[at][cell.lane];
        let y = self.tops[at] + own.len().max(1) as i64 * LINE - 5;
        let mark = if cell.pair.is_some() { 20 } else { 0 };
        let to_right = arrow.to > cell.lane;
        // It waits beside the spine, on the side that it comes from.
        let (from, until) = if to_right {
            let from = self.text_x(cell.lane, boxes(cell.lane)) + mark + text_width(own, true) + 6;
            (from, self.spine(arrow.to) - 10)
        } else {
            let note = text_width(&self.texts[at][arrow.to], false);
            let from = self.left(cell.lane) + if boxes(cell.lane) > 0 { 2 } else { SPINE - 8 };
            (from, self.text_x(arrow.to, boxes(arrow.to)) + note + if note > 0 { 4 } else { -24 })
        };
        let id = self.id;
        put(&mut self.out, format_args!("<g class=\"arrow\" data-from=\"{}\">", arrow.from));
        put(
            &mut self.out,
            format_args!("<path class=\"ipi-line\" d=\"M{from} {y}H{until}\" marker-end=\"url(#tip{id})\"/>"),
        );
        let taken = arrow.taken.and_then(|step| {
            self.rows.iter().position(|row| row.cells.iter().any(|cell| cell.steps.contains(&step)))
        });
        if let Some(taken) = taken {
            let (x, end) = (self.spine(arrow.to) - 10, self.tops[taken] + 1);
            let top = if to_right { y } else { self.tops[at] + LINE / 2 };
            put(
                &mut self.out,
                format_args!(
                    "<path class=\"ipi-line waits\" d=\"M{x} {top}V{end}\" marker-end=\"url(#tip{id})\"/>"
                ),
            );
        }
        self.out.push_str("</g>\n");
    }

    pub(super) fn cells(&mut self) {
        for at in 0..self.rows.len() {
            let row = self.rows[at].clone();
            let top = self.tops[at];
            if let Some(stage) = &row.stage {
                let step = self.stage_step(at);
                let (x, tip) = (self.left(0) + TEXT, self.tip(&[step]));
                put(
                    &mut self.out,
                    format_args!(
                        "<g class=\"cell\" data-steps=\"{step}\"><text class=\"stage\" x=\"{}\" y=\"{}\">{}</text>{}</g>\n",
                        x,
                        top + 18,
                        escape(stage),
                        tip,
                    ),
                );
            }
            for cell in row.cells.iter().filter(|cell| cell.frame != Frame::Ends) {
                self.cell(at, cell);
            }
        }
    }

    /// The step behind the `at`th row, which is a stage.
    fn stage_step(&self, at: usize) -> usize {
        let nth = self.rows[..at].iter().filter(|row| row.stage.is_some()).count();
        let stages =
            self.trace.steps.iter().enumerate().filter(|(_, step)| matches!(step.kind, Kind::Stage(_)));
        stages.map(|(step, _)| step).nth(nth).unwrap_or(0)
    }

    /// What a browser shows when the mouse rests here.
    fn tip(&self, steps: &[usize]) -> String {
        let mut lines = Vec::new();
        for step in steps {
            let step = &self.trace.steps[*step];
            lines.push(format!(
                "{} · {}: {} {}",
                self.trace.lanes[step.cpu].name,
                step.context.name(),
                step.text,
                step.location
            ));
        }
        format!("<title>{}</title>", escape(&lines.join("\n")))
    }

    fn cell(&mut self, at: usize, cell: &Cell) {
        let boxes = self.rows[at].spines[cell.lane].boxes;
        let top = self.tops[at] + HEAD * i64::from(cell.frame == Frame::Begins);
        let mut x = self.text_x(cell.lane, boxes);
        let steps: Vec<String> = cell.steps.iter().map(ToString::to_string).collect();
        let bad = if cell.broken { " bad" } else { "" };
        let (tip, spine) = (self.tip(&cell.steps), self.spine(cell.lane));
        put(&mut self.out, format_args!("<g class=\"cell{bad}\" data-steps=\"{}\">{}", steps.join(" "), tip));
        // What reacts to the mouse is the whole cell, not just the letters.
        let (left, height) = (self.left(cell.lane) + 4, self.tops[at + 1] - top);
        put(
            &mut self.out,
            format_args!(
                "<rect class=\"hit\" x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{height}\" fill=\"none\" pointer-events=\"all\"/>",
                self.lane - 12,
            ),
        );
        if boxes == 0 {
            put(
                &mut self.out,
                format_args!("<circle class=\"dot\" cx=\"{}\" cy=\"{}\" r=\"4\"/>", spine, top + 12),
            );
        }
        if let Some(number) = cell.pair {
            put(
                &mut self.out,
                format_args!(
                    "<g class=\"pair\"><circle cx=\"{}\" cy=\"{}\" r=\"8\"/><text x=\"{0}\" y=\"{}\">{number}</text></g>",
                    x + 7,
                    top + 12,
                    top + 16,
                ),
            );
            x += 20;
        }
        let class = if cell.frame == Frame::Begins { " class=\"head\"" } else { "" };
        self.lines(&self.texts[at][cell.lane].clone(), class, x, top);
        if let Some(arrow) = cell.arrow.filter(|_| !cell.note.is_empty()) {
            let x = self.text_x(arrow.to, self.rows[at].spines[arrow.to].boxes);
            let from = self.texts[at][cell.lane].len().saturating_sub(self.texts[at][arrow.to].len()) as i64;
            self.lines(&self.texts[at][arrow.to].clone(), " class=\"note\"", x, top + from * LINE);
        }
        self.out.push_str("</g>\n");
    }

    fn lines(&mut self, lines: &[String], class: &str, x: i64, top: i64) {
        put(&mut self.out, format_args!("<text{class}>"));
        for (nth, line) in lines.iter().enumerate() {
            let y = top + 16 + LINE * nth as i64;
            put(&mut self.out, format_args!("<tspan x=\"{x}\" y=\"{y}\">{}</tspan>", escape(line)));
        }
        self.out.push_str("</text>");
    }

    pub(super) fn legend_lines(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        let all = vec![
            ("open", "interrupts open"),
            ("closed", "closed"),
            ("offline", "open, but offline"),
            ("box", "an interrupt handler"),
            ("arrow", "an IPI, and how long it waits"),
        ];
        let mut lines: Vec<Vec<_>> = vec![Vec::new()];
        let mut x = 0;
        for item in all {
            let width = 34 + item.1.len() as i64 * TEN / 10 + 16;
            if x + width > self.width() - MARGIN && x > 0 {
                lines.push(Vec::new());
                x = 0;
            }
            x += width;
            lines.last_mut().expect("there is a first line").push(item);
        }
        lines
    }

    pub(super) fn legend(&mut self, items: &[(&str, &str)], y: i64) {
        let (mut x, id) = (MARGIN, self.id);
        for (sign, text) in items {
            let (from, end, middle) = (y - 12, y + 2, x + 14);
            match *sign {
                "closed" => put(
                    &mut self.out,
                    format_args!(
                        "<rect x=\"{}\" y=\"{from}\" width=\"10\" height=\"14\" fill=\"url(#hatch{id})\"/>",
                        middle - 5,
                    ),
                ),
                "box" => put(
                    &mut self.out,
                    format_args!(
                        "<rect class=\"box\" x=\"{x}\" y=\"{from}\" width=\"26\" height=\"14\" rx=\"4\"/>"
                    ),
                ),
                "arrow" => put(
                    &mut self.out,
                    format_args!(
                        "<path class=\"ipi-line\" d=\"M{x} {}H{}\" marker-end=\"url(#tip{id})\"/>",
                        y - 5,
                        x + 26,
                    ),
                ),
                class => {
                    put(&mut self.out, format_args!("<path class=\"{class}\" d=\"M{middle} {from}V{end}\"/>"))
                }
            }
            put(
                &mut self.out,
                format_args!("<text class=\"legend\" x=\"{}\" y=\"{y}\">{text}</text>\n", x + 34),
            );
            x += 34 + text.len() as i64 * TEN / 10 + 16;
        }
    }
}
