//! Stacked bars: where the time of an operation goes, a bar for each number of CPUs. Each bar has the whole width, as what counts is the share; its length
//! in time stands next to it.

use std::fmt::Write as _;

use super::boot::System;
use super::plot::LOOKS;
use super::results::{Results, Stage};
use super::table::time;

const COLOURS: [&str; 9] =
    ["#0969da", "#1a7f37", "#bf8700", "#cf222e", "#8250df", "#1b7c83", "#bc4c00", "#953800", "#8c959f"];
const WIDTH: f64 = 860.0;
const LEFT: f64 = 150.0;
const BAR: f64 = 600.0;
const ROW: f64 = 30.0;

/// States that are only a frame around others, by their number, and those: control asks the CPU's own thread (236) or waits for it (86), and that thread walks
/// through the states from 146 on; the states from 87 on are walked through by the CPU itself, in the stop (145) or before it is online (86).
const FRAMES: [(usize, std::ops::Range<usize>); 3] = [(236, 146..236), (145, 87..145), (86, 87..236)];

/// The parts that add up to the whole, of what a system said about `op`.
pub(super) fn parts(results: &Results, system: System, cpus: usize, op: &str) -> Option<(Vec<Stage>, u64)> {
    let mut stages = results.stages(system, cpus, op);
    let total = stages.iter().position(|stage| stage.stage == "total").map(|at| stages.remove(at).p50_ns)?;
    let number = |stage: &Stage| stage.stage.split(' ').next().and_then(|n| n.parse::<usize>().ok());
    for (frame, inner) in FRAMES {
        let sum: u64 =
            stages.iter().filter(|s| number(s).is_some_and(|n| inner.contains(&n))).map(|s| s.p50_ns).sum();
        for stage in stages.iter_mut().filter(|stage| number(stage) == Some(frame) && stage.p50_ns > sum) {
            stage.p50_ns -= sum;
        }
    }
    Some((stages, total))
}

/// Draws `op`, called `ours` in what Standstill said and `theirs` in what Linux said.
pub(super) fn render(results: &Results, title: &str, ours: &str, theirs: &str) -> Option<String> {
    let mut bars = Vec::new();
    for (system, op) in [(System::Standstill, ours), (System::Linux, theirs)] {
        for cpus in results.cpus() {
            if let Some((stages, total)) = parts(results, system, cpus, op) {
                bars.push((system, cpus, stages, total));
            }
        }
    }
    if bars.is_empty() {
        return None;
    }
    let mut legends = Vec::new();
    for system in [System::Standstill, System::Linux] {
        let names = largest(bars.iter().filter(|bar| bar.0 == system).map(|bar| &bar.2));
        if !names.is_empty() {
            legends.push((system, names));
        }
    }
    let rows: usize =
        bars.len() + legends.iter().map(|(_, names)| names.len().div_ceil(2) + 2).sum::<usize>();
    let height = 40.0 + ROW * rows as f64;
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}"><style>{LOOKS}</style><rect width="100%" height="100%" fill="white"/><text class="t" x="16" y="24">{title}</text>"#
    );
    let mut y = 44.0;
    // Writing to a string can't fail.
    for (system, names) in &legends {
        for (_, cpus, stages, total) in bars.iter().filter(|bar| bar.0 == *system) {
            let _ = write!(
                out,
                r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}, {cpus} CPUs</text>"#,
                LEFT - 10.0,
                y + 15.0,
                system.name()
            );
            let sum = stages.iter().map(|s| s.p50_ns).sum::<u64>().max(*total).max(1);
            let mut x = LEFT;
            for (i, colour) in COLOURS.iter().enumerate() {
                let ns: u64 = if i == COLOURS.len() - 1 {
                    sum - stages.iter().filter(|s| names.contains(&s.stage)).map(|s| s.p50_ns).sum::<u64>()
                } else {
                    stages.iter().filter(|s| names.get(i) == Some(&s.stage)).map(|s| s.p50_ns).sum()
                };
                let width = BAR * ns as f64 / sum as f64;
                if width > 0.05 {
                    let _ = write!(
                        out,
                        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="20" fill="{colour}"/>"#
                    );
                }
                x += width;
            }
            let _ = write!(
                out,
                r#"<text class="a" x="{:.1}" y="{:.1}">{}</text>"#,
                LEFT + BAR + 8.0,
                y + 15.0,
                time(*total)
            );
            y += ROW;
        }
        let others = "everything else".to_string();
        let entries: Vec<_> =
            names.iter().zip(COLOURS).chain([(&others, COLOURS[COLOURS.len() - 1])]).collect();
        for (i, (name, colour)) in entries.iter().enumerate() {
            let (column, row) = (i % 2, i / 2);
            let (x, at) = (LEFT + column as f64 * 320.0, y + row as f64 * (ROW - 8.0));
            let _ = write!(
                out,
                r#"<rect x="{x:.1}" y="{at:.1}" width="12" height="12" fill="{colour}"/><text x="{:.1}" y="{:.1}">{name}</text>"#,
                x + 18.0,
                at + 11.0
            );
        }
        y += entries.len().div_ceil(2) as f64 * (ROW - 8.0) + 16.0;
    }
    out.push_str("</svg>\n");
    Some(out)
}

/// The parts that take most, in the order in which they come; the rest is shown together.
fn largest<'a>(bars: impl Iterator<Item = &'a Vec<Stage>>) -> Vec<String> {
    let mut sums: Vec<(String, f64)> = Vec::new();
    for stages in bars {
        let all = stages.iter().map(|s| s.p50_ns).sum::<u64>().max(1) as f64;
        for stage in stages {
            let share = stage.p50_ns as f64 / all;
            match sums.iter_mut().find(|(name, _)| *name == stage.stage) {
                Some((_, sum)) => *sum += share,
                None => sums.push((stage.stage.clone(), share)),
            }
        }
    }
    let mut shares: Vec<f64> = sums.iter().map(|(_, share)| *share).collect();
    shares.sort_by(|a, b| b.total_cmp(a));
    let least = shares.get(COLOURS.len() - 2).copied().unwrap_or(0.0);
    let mut names: Vec<String> =
        sums.into_iter().filter(|(_, share)| *share >= least && *share > 0.0).map(|(name, _)| name).collect();
    names.truncate(COLOURS.len() - 1);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, p50_ns: u64) -> Stage {
        Stage { op: "cpu_down".into(), stage: name.into(), p50_ns }
    }

    #[test]
    fn a_frame_is_what_is_left_of_it() {
        let mut results = crate::bench::results::tests::three_rounds();
        for run in &mut results.runs {
            run.heard.stages = vec![
                stage("150 park", 30),
                stage("236 kick", 50),
                stage("145 takedown", 100),
                stage("total", 200),
            ];
        }
        let (parts, total) = parts(&results, System::Linux, 2, "cpu_down").expect("it was taken apart");
        assert_eq!((parts[1].p50_ns, parts[2].p50_ns, total), (20, 100, 200));
        let svg = render(&results, "cpu_down", "cpu_down", "cpu_down").expect("there is something to draw");
        assert!(svg.contains("145 takedown") && svg.contains("everything else"));
    }

    #[test]
    fn the_largest_parts_have_names() {
        let many: Vec<_> = (0..20).map(|i| stage(&format!("s{i}"), 10 + i)).collect();
        let names = largest([&many].into_iter());
        assert_eq!(names.len(), COLOURS.len() - 1);
        assert!(names.contains(&"s19".to_string()) && !names.contains(&"s0".to_string()));
    }
}
