//! What `standstill check --json` prints.

use serde::{Deserialize, Serialize};

use crate::json::{Host, ProtocolJson, Verdict};

/// `schema` of a check.
pub const CHECK: &str = "standstill.check/1";
/// `schema` of a matrix.
pub const MATRIX: &str = "standstill.matrix/1";

/// How much was seen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it; docs/checker.md has the rest")]
pub struct CoverageJson {
    /// `exhausted`, `bounded` or `random`.
    pub kind: String,
    /// What ended the search early, if something did.
    pub bound: Option<String>,
    pub runs: u64,
    pub states: u64,
    pub steps: u64,
    pub depth: usize,
}

/// Merged states that were continued from both sides, and went on alike.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it; docs/checker.md has the rest")]
pub struct AuditedJson {
    pub merges: u64,
    pub schedules: u64,
    pub steps: u64,
}

/// What must not happen, and does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it; docs/checker.md has the rest")]
pub struct ViolationJson {
    pub rule: String,
    pub cpu: usize,
    pub text: String,
    pub location: String,
    pub interrupts: u32,
    pub preemptions: u32,
    /// How many.
    pub steps: usize,
    pub critical_pair: Option<(usize, usize)>,
    /// The replay file, as text.
    pub replay: String,
}

/// The result of a check.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it; docs/checker.md has the rest")]
pub struct CheckJson {
    pub schema: String,
    pub version: String,
    pub command: Vec<String>,
    pub host: Host,
    pub protocol: ProtocolJson,
    pub seed: u64,
    pub exit: u8,
    pub verdict: Verdict,
    pub scenario: String,
    pub cpus: usize,
    pub irqs_per_cpu: usize,
    pub ipi: String,
    pub memory: String,
    pub engine: String,
    pub coverage: CoverageJson,
    pub time_ns: u64,
    pub peak_bytes: u64,
    pub assumptions: Vec<String>,
    /// What was done to check the checker, if that was asked for.
    pub audited: Option<AuditedJson>,
    pub violation: Option<ViolationJson>,
}

/// One cell of the matrix.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it; docs/checker.md has the rest")]
pub struct CellJson {
    pub preset: String,
    pub ipi: String,
    pub cpus: usize,
    pub property: String,
    /// `none`, `found` or `unknown`.
    pub result: String,
    /// How many steps of the search showed it.
    pub count: u64,
    pub promised: bool,
    /// Of the row.
    pub states: u64,
    /// Of the row.
    pub time_ns: u64,
    /// The replay file, as text.
    pub replay: Option<String>,
}

/// The result of a matrix.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it; docs/checker.md has the rest")]
pub struct MatrixJson {
    pub schema: String,
    pub version: String,
    pub command: Vec<String>,
    pub host: Host,
    /// The default, which the others are compared with.
    pub protocol: ProtocolJson,
    /// Those of the rows.
    pub protocols: Vec<ProtocolJson>,
    pub seed: u64,
    pub exit: u8,
    pub verdict: Verdict,
    pub scenario: String,
    pub irqs_per_cpu: usize,
    pub memory: String,
    pub engine: String,
    pub time_ns: u64,
    pub assumptions: Vec<String>,
    pub properties: Vec<String>,
    pub cells: Vec<CellJson>,
    /// The answer to the mail's question.
    pub answer: Vec<String>,
    /// Rules that were broken besides the five properties, and rows that could not be checked.
    pub wrong: Vec<String>,
}
