//! All scenarios, the quickest first, until one of them finds something after its set-up: for a library with an error in its source.

use std::process::ExitCode;
use std::time::Instant;

use super::{cell, cells, end, plain, run, say};

/// Seconds for each cell at first, and for those that need more.
const SECONDS: [u64; 2] = [2, 20];

/// What the cells of the other mutants leave out: CPUs, interrupts, and the protocol. A search that needs more time than it has is no proof
/// here, and none is asked for.
const MORE: [(&str, usize, usize, &str); 5] = [
    ("lazy-mask", 2, 1, "refuse"),
    ("refused-in-run", 2, 1, "refuse"),
    ("offline-vs-device-irq", 3, 1, "refuse"),
    ("bring-up-stops", 3, 0, "standstill"),
    ("bring-up-late", 3, 0, "standstill"),
];

/// What there is to do: the first round, who sleeps, and what needs more time.
fn rounds(memory: &str) -> Vec<String> {
    let mut all: Vec<String> =
        cells().into_iter().filter(|cell| cell.split(':').nth(3) == Some(memory)).collect();
    all.extend(
        MORE.iter().map(|(name, cpus, irqs, protocol)| format!("{name}:{cpus}:{irqs}:{memory}:8:{protocol}")),
    );
    let mut rounds = Vec::new();
    for seconds in SECONDS {
        for waits in ["polls", "sleeps"] {
            rounds.extend(all.iter().map(|cell| format!("{cell}:{waits}:{seconds}")));
        }
    }
    rounds
}

/// Prints a line for each cell, one for each set-up that fails, and one for what was found. It begins behind the cells that were tried.
pub(crate) fn explore(memory: &str, tried: usize) -> ExitCode {
    let mut bounded = Vec::new();
    for (index, text) in rounds(memory).iter().enumerate().skip(tried) {
        let name = text.rsplit_once(':').map_or("", |(name, _)| name);
        let again = text.ends_with(&format!(":{}", SECONDS[1]));
        if again && !bounded.iter().any(|known| known == name) {
            continue;
        }
        let Some(options) = cell(text) else { return super::wrong(text) };
        say(&format!("in\t{index}\t{text}"));
        let began = Instant::now();
        let verdict = run(&options);
        let took = began.elapsed().as_millis();
        let panic = end::last_panic();
        if let Some(error) = &verdict.error {
            say(&format!("set-up\t{text}\t{took}\t{}", plain(error)));
            continue;
        }
        let Some(violation) = &verdict.violation else {
            if !verdict.passed() {
                bounded.push(name.to_string());
            }
            continue;
        };
        let checker = violation.rule == "panic" && panic.is_some_and(|(place, _)| end::is_checker(&place));
        let word = if checker { "checker" } else { "broken" };
        say(&format!("{word}\t{}\t{text}\t{took}\t{}", violation.rule, plain(&violation.text)));
        if !checker {
            return ExitCode::FAILURE;
        }
    }
    say(&format!("end\t{}", bounded.len()));
    ExitCode::SUCCESS
}
