//! One operation over the number of CPUs, both systems, both axes logarithmic.

use std::fmt::Write as _;

use super::boot::System;
use super::results::Results;
use super::table::time;

pub(super) const OURS: &str = "#0969da";
pub(super) const THEIRS: &str = "#bc4c00";
pub(super) const LOOKS: &str = "text{font:12px Helvetica,Arial,'Liberation Sans',sans-serif;fill:#1f2328}\
.t{font-weight:bold;font-size:14px}.g{stroke:#d1d9e0;stroke-width:1}.a{fill:#59636e}";

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 340.0;
/// Where the axes are: left, right, top, bottom.
const FRAME: [f64; 4] = [76.0, 440.0, 44.0, 296.0];

/// A value's place between two ends, on a logarithmic scale.
fn place(value: f64, low: f64, high: f64) -> f64 {
    if high > low { (value.ln() - low.ln()) / (high.ln() - low.ln()) } else { 0.5 }
}

/// The drawing; nothing if the operation was not measured.
pub(super) fn render(results: &Results, op: &str, title: &str) -> Option<String> {
    let cpus = results.cpus();
    let lines: Vec<_> = [(System::Standstill, OURS), (System::Linux, THEIRS)]
        .into_iter()
        .map(|(system, colour)| {
            let points: Vec<_> = cpus
                .iter()
                .filter_map(|&n| {
                    results.middle(system, n, op).map(|d| (n as f64, d.p50_ns.max(1), d.p99_ns.max(1)))
                })
                .collect();
            (system.name(), colour, points)
        })
        .filter(|(_, _, points)| !points.is_empty())
        .collect();
    let all: Vec<u64> =
        lines.iter().flat_map(|(_, _, points)| points.iter().flat_map(|p| [p.1, p.2])).collect();
    let (low, high) = (decade_below(*all.iter().min()?), decade_above(*all.iter().max()?));
    let (first, last) = (*cpus.first()? as f64, *cpus.last()? as f64);
    let [left, right, top, bottom] = FRAME;
    let x = |n: f64| left + 12.0 + place(n, first, last) * (right - left - 24.0);
    let y = |ns: u64| bottom - place(ns as f64, low as f64, high as f64) * (bottom - top);
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><style>{LOOKS}</style><rect width="100%" height="100%" fill="white"/><text class="t" x="16" y="24">{title}</text>"#
    );
    // Writing to a string can't fail.
    let mut decade = low;
    while decade <= high {
        let at = y(decade);
        let _ = write!(
            out,
            r#"<path class="g" d="M{left} {at:.1}H{right}"/><text class="a" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            left - 8.0,
            at + 4.0,
            time(decade).replace(".0 ", " ").replace(".00 ", " ")
        );
        decade *= 10;
    }
    for n in &cpus {
        let _ = write!(
            out,
            r#"<text class="a" x="{:.1}" y="{:.1}" text-anchor="middle">{n}</text>"#,
            x(*n as f64),
            bottom + 18.0
        );
    }
    let _ = write!(
        out,
        r#"<text class="a" x="{:.1}" y="{:.1}" text-anchor="middle">CPUs ({} cores in the host)</text>"#,
        (left + right) / 2.0,
        bottom + 36.0,
        results.cores
    );
    for (name, colour, points) in &lines {
        for (which, dash, radius) in [(0, "", 3.5), (1, r#" stroke-dasharray="3 4" opacity=".65""#, 2.5)] {
            let of = |p: &(f64, u64, u64)| (x(p.0), y(if which == 0 { p.1 } else { p.2 }));
            let path: Vec<_> = points
                .iter()
                .map(|p| {
                    let (x, y) = of(p);
                    format!("{x:.1} {y:.1}")
                })
                .collect();
            let _ = write!(
                out,
                r#"<path d="M{}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>"#,
                path.join("L")
            );
            for p in points {
                let (x, y) = of(p);
                let _ = write!(out, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{colour}"/>"#);
            }
            if let Some(p) = points.last() {
                let (x, y) = of(p);
                let label = if which == 0 { format!("{name} p50") } else { "p99".into() };
                let _ = write!(
                    out,
                    r#"<text x="{:.1}" y="{:.1}" style="fill:{colour}">{label}</text>"#,
                    x + 10.0,
                    y + 4.0
                );
            }
        }
    }
    out.push_str("</svg>\n");
    Some(out)
}

fn decade_below(ns: u64) -> u64 {
    10_u64.pow(ns.max(1).ilog10())
}

fn decade_above(ns: u64) -> u64 {
    let below = decade_below(ns);
    if below == ns { ns } else { below * 10 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::three_rounds;

    #[test]
    fn decades() {
        assert_eq!((decade_below(999), decade_above(999), decade_above(1_000)), (100, 1_000, 1_000));
    }

    #[test]
    fn a_drawing_has_both_systems_and_is_well_formed() {
        let svg = render(&three_rounds(), "cpu_down", "cpu_down").expect("it was measured");
        assert!(svg.contains("Standstill p50") && svg.contains("Linux p50"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(render(&three_rounds(), "cpu_up", "cpu_up").is_none());
    }
}
