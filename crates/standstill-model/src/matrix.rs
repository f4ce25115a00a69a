//! The matrix: which of W, L, S, O, F each preset breaks, with IPIs that are instant and delayed.

use std::ops::ControlFlow;

use standstill::{Property, Protocol};

use crate::check::check;
use crate::options::{Ipi, Options};
use crate::verdict::{Coverage, Progress};

/// What is known of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CellResult {
    /// It holds: everything was searched.
    None,
    /// It does not hold.
    Found,
    /// It held as far as was searched.
    Unknown,
}

impl CellResult {
    /// The name in `--json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CellResult::None => "none",
            CellResult::Found => "found",
            CellResult::Unknown => "unknown",
        }
    }
}

/// One cell of the matrix.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cell {
    /// The preset.
    pub protocol: Protocol,
    /// How long IPIs may take.
    pub ipi: Ipi,
    /// How many CPUs there are.
    pub cpus: usize,
    /// The property.
    pub property: Property,
    /// Does it hold?
    pub result: CellResult,
    /// How often it did not.
    pub count: u64,
    /// The states of the search that this cell shares with the others of its row.
    pub states: u64,
    /// The time of that search, in nanoseconds.
    pub time_ns: u64,
    /// A schedule in which it does not hold, for [`replay`](crate::replay) with [`Cell::options`].
    pub choices: Option<Vec<u32>>,
    /// The search ended with a broken rule or a fault of the model itself.
    pub fault: Option<String>,
}

impl Cell {
    /// The options that the cell was computed with, given those of the matrix.
    #[must_use]
    pub fn options(&self, base: &Options) -> Options {
        Options { protocol: self.protocol, ipi: self.ipi, cpus: self.cpus, keep_going: true, ..base.clone() }
    }
}

/// Computes the cells of `protocols` with instant and delayed IPIs and `cpus`. `base` says the rest.
pub fn matrix(
    base: &Options,
    protocols: &[Protocol],
    cpus: &[usize],
    progress: &mut dyn FnMut(&Options, &Progress) -> ControlFlow<()>,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for protocol in protocols {
        for ipi in [Ipi::Instant, Ipi::Delayed] {
            for cpus in cpus {
                let options = Options {
                    protocol: *protocol,
                    ipi,
                    cpus: *cpus,
                    keep_going: true,
                    shrink: false,
                    ..base.clone()
                };
                let verdict = check(&options, &mut |now| progress(&options, now));
                let done = matches!(verdict.coverage, Coverage::Exhausted { .. });
                let fault = verdict.error.or_else(|| {
                    // A broken promise is what the cell itself says.
                    let other = verdict.violation.filter(|v| v.rule.len() > 1 || !"WLSOF".contains(&v.rule));
                    other.map(|violation| violation.text)
                });
                for result in verdict.properties {
                    cells.push(Cell {
                        protocol: *protocol,
                        ipi,
                        cpus: *cpus,
                        property: result.property,
                        result: match (result.count, done) {
                            (0, true) => CellResult::None,
                            (0, false) => CellResult::Unknown,
                            _ => CellResult::Found,
                        },
                        count: result.count,
                        states: verdict.states,
                        time_ns: verdict.time_ns,
                        choices: result.first,
                        fault: fault.clone(),
                    });
                }
            }
        }
    }
    cells
}

/// What the design expects of a preset, as letters; `None` for those that it leaves open.
#[must_use]
pub fn expected(protocol: &Protocol, ipi: Ipi) -> Option<&'static str> {
    Some(match (protocol.name(), ipi) {
        ("linux-3.14", Ipi::Instant) => "WSO",
        ("linux-3.14" | "seed-v6", Ipi::Delayed) => "WLSO",
        ("seed-v6" | "standstill", Ipi::Instant) => "",
        ("linux-6.12", _) => "SOF",
        ("single-deaf", _) | ("standstill", Ipi::Delayed) => "F",
        _ => return None,
    })
}
