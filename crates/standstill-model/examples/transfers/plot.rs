//! The depth of a stage over the number of CPUs, both axes logarithmic.

use std::fmt::Write as _;

use standstill_model::transfers::StageCost;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 210.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 50.0;
const MOST_CPUS: f64 = 256.0;
const DEEPEST: f64 = 100_000.0;

/// What is drawn: a name, a colour, whether it is the way down, and which of the ways to count.
const CURVES: [(&str, &str, bool, usize); 4] = [
    ("one word, up", "#b3261e", false, 0),
    ("one word, down", "#e8837d", true, 0),
    ("groups of 8, up", "#1b5e20", false, 1),
    ("groups of 8, down", "#6fb274", true, 1),
];

fn x(cpus: usize) -> f64 {
    LEFT + (cpus as f64).log2() / MOST_CPUS.log2() * (WIDTH - LEFT - RIGHT)
}

fn y(depth: f64) -> f64 {
    HEIGHT - BOTTOM - depth.max(1.0).log10() / DEEPEST.log10() * (HEIGHT - TOP - BOTTOM)
}

/// The plot as SVG. `lines` has a row of (CPUs, cost) for each way to count.
pub(crate) fn render(lines: &[Vec<(usize, StageCost)>]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">One stage of a stop: the longest chain of cache-line transfers</text>\n"
    );
    let right = WIDTH - RIGHT;
    for power in 0..=5 {
        let (depth, at) = (10_u32.pow(power), y(10_f64.powi(power as i32)));
        let _ = writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dddddd\"/>");
        let (text, base) = (LEFT - 8.0, at + 4.0);
        let _ = writeln!(svg, "<text x=\"{text}\" y=\"{base:.1}\" text-anchor=\"end\">{depth}</text>");
    }
    for power in 1..=8 {
        let (cpus, base) = (1 << power, HEIGHT - BOTTOM + 20.0);
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{base}\" text-anchor=\"middle\">{cpus}</text>", x(cpus));
    }
    let _ = writeln!(svg, "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">CPUs</text>", HEIGHT - 10.0);
    for (name, colour, down, way) in CURVES {
        let points: Vec<(f64, f64)> = lines[way]
            .iter()
            .map(|(cpus, cost)| (x(*cpus), y(if down { cost.down } else { cost.up }.depth as f64)))
            .collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (x, y) in &points {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        if let Some((x, y)) = points.last() {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
                x + 10.0,
                y + 4.0
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}
