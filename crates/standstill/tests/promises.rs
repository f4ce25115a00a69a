//! `docs/promises.md`: each sentence stands where it is said to stand, and what checks it exists.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
}

/// The text as one line, without the marks of comments.
fn plain(text: &str) -> String {
    let marks = ["//!", "///", "//"];
    let lines = text.lines().map(|line| {
        let line = line.trim();
        marks.iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line)
    });
    let words: Vec<_> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Is there such a test, such a file, or such a scenario?
fn exists(what: &str) -> Result<(), String> {
    if let Some((path, test)) = what.split_once("::") {
        let found = read(path)?.contains(&format!("fn {test}("));
        return if found { Ok(()) } else { Err(format!("{path} has no test {test}")) };
    }
    if what.contains('/') {
        return read(what).map(|_| ());
    }
    let list = read("crates/standstill-model/src/scenario/list.rs")?;
    let tests = read("crates/standstill-model/tests/scenarios.rs")?;
    let name = format!("\"{what}\"");
    let known = list.contains(&name) && tests.contains(&name);
    if known { Ok(()) } else { Err(format!("there is no scenario {what}, or no test runs it")) }
}

fn check(row: &str) -> Result<(), String> {
    let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [promise, place, by] = cells[..] else { return Err(format!("a row has three cells: {row}")) };
    let [place] = quoted(place)[..] else { return Err(format!("no place: {row}")) };
    if !plain(&read(place)?).contains(promise) {
        return Err(format!("{place} does not say: {promise}"));
    }
    let by = quoted(by);
    if by.is_empty() {
        return Err(format!("nothing checks: {promise}"));
    }
    by.into_iter().try_for_each(exists)
}

fn rows(table: &str) -> Vec<&str> {
    let heads = ["| the promise |", "|---|"];
    let is_row = |line: &&str| line.starts_with('|') && !heads.iter().any(|head| line.starts_with(head));
    table.lines().filter(is_row).collect()
}

#[test]
fn each_promise_stands_where_it_is_said_to_and_something_checks_it() {
    let table = read("docs/promises.md").expect("the list is there");
    let rows = rows(&table);
    assert!(rows.len() > 40, "{} promises", rows.len());
    let wrong: Vec<_> = rows.iter().filter_map(|row| check(row).err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The handles: each test that is named there exists.
#[test]
fn each_handle_has_its_test() {
    let table = read("docs/promises.md").expect("the list is there");
    let (_, handles) = table.split_once("## Handles and numbers").expect("the handles are there");
    let names = quoted(handles).into_iter().filter(|name| name.contains("_") && !name.contains(' '));
    let tests: Vec<_> = names.filter(|name| name.matches('_').count() > 3).collect();
    assert!(tests.len() >= 10, "{tests:?}");
    for test in tests {
        let test = if test.contains("::") {
            test.to_string()
        } else {
            format!("crates/standstill/tests/identity.rs::{test}")
        };
        exists(&test).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn what_does_not_stand_there_or_is_not_checked_is_noticed() {
    let sentence = "it is not lost";
    for (row, words) in [
        (format!("| {sentence} | `README.md` | `two-senders` |"), ""),
        (format!("| {sentence} | `LICENSE-MIT` | `two-senders` |"), "does not say"),
        (format!("| {sentence} | `README.md` | `three-senders` |"), "no scenario"),
        (format!("| {sentence} | `README.md` | `crates/standstill/tests/edges.rs::no_such` |"), "no test"),
        (format!("| {sentence} | `README.md` | `crates/standstill/tests/ui/no_such.rs` |"), "no_such.rs"),
        (format!("| {sentence} | `README.md` | nothing |"), "nothing checks"),
        (format!("| {sentence} | `README.md` |"), "three cells"),
    ] {
        match check(&row) {
            Ok(()) => assert_eq!(words, "", "{row}"),
            Err(error) => assert!(!words.is_empty() && error.contains(words), "{row}: {error}"),
        }
    }
}
