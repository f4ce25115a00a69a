//! Prints what the stages of a stop cost in transfers of cache lines, for machines of 2 to 256 CPUs: with one word for all, and with a tree.
//! `--write` puts the tables into docs/scale.md and the plot beside it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use standstill::stop::Stage;
use standstill_model::transfers::{SIZES, StageCost, transfers};

mod plot;

/// How many CPUs meet in one word.
const WAYS: [(&str, usize); 3] =
    [("one word", usize::MAX), ("groups of 8 (the default)", 8), ("groups of 4", 4)];
/// The stage that the first table is about: nothing happens in it but the stage itself.
const PLAIN: Stage = Stage::DisableIrqActive;
const BEGIN: &str = "<!-- transfers: begin -->\n";
const END: &str = "<!-- transfers: end -->\n";

fn plain(costs: &[StageCost]) -> StageCost {
    *costs.iter().find(|cost| cost.stage == PLAIN).expect("every stop has the stage")
}

fn main() -> ExitCode {
    let write = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--write") => true,
        Some(other) => {
            eprintln!(
                "transfers: there is no option `{other}`; `--write` puts the tables into docs/scale.md"
            );
            return ExitCode::from(2);
        }
    };
    let mut lines = vec![Vec::new(); WAYS.len()];
    let mut text = format!("One stage ({PLAIN}): depth, and in brackets the number of transfers.\n\n");
    text.push_str("| CPUs |");
    for (name, _) in WAYS {
        let _ = write!(text, " {name}: down | up | flow |");
    }
    text.push_str("\n|---:|");
    text.push_str(&"---:|".repeat(3 * WAYS.len()));
    text.push('\n');
    for cpus in SIZES {
        let _ = write!(text, "| {cpus} |");
        for ((_, fan_in), line) in WAYS.iter().zip(&mut lines) {
            let cost = plain(&transfers(cpus, *fan_in));
            for part in [cost.down, cost.up, cost.flow] {
                let _ = write!(text, " {} ({}) |", part.depth, part.transfers);
            }
            line.push((cpus, cost));
        }
        text.push('\n');
    }
    let largest = SIZES[SIZES.len() - 1];
    let _ = write!(
        text,
        "\nAll stages of a stop of {largest} CPUs: depth, and in brackets the number of transfers.\n\n| stage |"
    );
    for (name, _) in &WAYS[..2] {
        let _ = write!(text, " {name}: down | up | flow |");
    }
    text.push_str("\n|---|---:|---:|---:|---:|---:|---:|\n");
    let all = [transfers(largest, WAYS[0].1), transfers(largest, WAYS[1].1)];
    for (flat, tree) in all[0].iter().zip(&all[1]) {
        let _ = write!(text, "| {} |", flat.stage);
        for part in [flat.down, flat.up, flat.flow, tree.down, tree.up, tree.flow] {
            let _ = write!(text, " {} ({}) |", part.depth, part.transfers);
        }
        text.push('\n');
    }
    print!("{text}");
    if write && let Err(error) = put(&text, &plot::render(&lines)) {
        eprintln!("transfers: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Puts the tables between the marks of the page, and the plot beside it.
fn put(text: &str, svg: &str) -> Result<(), String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = docs.join("scale.md");
    let old = std::fs::read_to_string(&page).map_err(|error| format!("docs/scale.md: {error}"))?;
    let (before, rest) = old.split_once(BEGIN).ok_or("docs/scale.md has no mark for the tables")?;
    let (_, after) = rest.split_once(END).ok_or("docs/scale.md has no mark for the end of the tables")?;
    let new = format!("{before}{BEGIN}{text}{END}{after}");
    std::fs::write(&page, new).map_err(|error| format!("docs/scale.md: {error}"))?;
    let plot = docs.join("scale/transfers.svg");
    std::fs::write(plot, svg).map_err(|error| format!("docs/scale/transfers.svg: {error}"))
}
