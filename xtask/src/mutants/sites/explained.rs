//! The list of mutants that nothing catches, and why that is right.

use std::fs;

use crate::run::{Not, root};

/// Where it is.
pub(super) const EXPLAINED: &str = "crates/standstill-model/mutants.txt";

/// One line of the list of explanations.
pub(super) struct Explanation {
    pub(super) line: usize,
    pub(super) change: String,
    pub(super) file: String,
    pub(super) code: String,
    pub(super) why: String,
}

/// The whole list.
pub(super) fn explanations() -> Result<Vec<Explanation>, Not> {
    let text = fs::read_to_string(root().join(EXPLAINED))
        .map_err(|error| Not::Passed(format!("{EXPLAINED}: {error}")))?;
    parse(&text)
}

/// Reads a list.
pub(super) fn parse(text: &str) -> Result<Vec<Explanation>, Not> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split(" ;; ").map(str::trim).collect();
        let [change, file, code, why] = fields[..] else {
            return crate::run::fail(format!(
                "{EXPLAINED}:{}: an explanation is `change ;; file ;; code of the line ;; why`",
                index + 1
            ));
        };
        let (change, file, code, why) = (change.into(), file.into(), code.into(), why.into());
        all.push(Explanation { line: index + 1, change, file, code, why });
    }
    Ok(all)
}
