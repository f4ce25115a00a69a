//! [`Matrix`]: which protocol breaks which promise, as a table.

use serde::{Deserialize, Serialize};

/// The table: rows are protocols and latencies, columns are properties.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Default, Debug)]
pub struct Matrix {
    /// The columns, and what each means.
    pub properties: Vec<(String, String)>,
    /// The rows.
    pub rows: Vec<MatrixRow>,
    /// What follows from it, in words.
    pub answer: Vec<String>,
}

/// One row.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct MatrixRow {
    /// The protocol.
    pub preset: String,
    /// How long IPIs take.
    pub ipi: String,
    /// How many CPUs.
    pub cpus: usize,
    /// How many states were seen.
    pub states: u64,
    /// How long it took.
    pub time_ns: u64,
    /// One for each property.
    pub cells: Vec<Cell>,
}

/// One property of one row.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Cell {
    /// What was found.
    pub finding: Finding,
    /// The protocol promises that it does not happen.
    pub promised: bool,
    /// How often it was seen.
    pub count: u64,
    /// The counterexample that shows it, on a page: its anchor.
    pub case: Option<String>,
}

/// What was found about one property.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// Everything was seen, and it does not happen.
    None,
    /// It happens.
    Found,
    /// It was not seen, but not everything was.
    Unknown,
}

impl Finding {
    /// The word in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Finding::None => "none",
            Finding::Found => "found",
            Finding::Unknown => "unknown",
        }
    }
}
