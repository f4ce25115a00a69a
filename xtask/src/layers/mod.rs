//! `cargo xtask layers`: arrows between files go one way.
//!
//! A crate whose `lib.rs` has a table of layers is held to it: a folder imports from those above it
//! in the table. In every crate, files that import each other in a circle are counted.
//! [`KNOWN_ARROWS`] and [`KNOWN_CIRCLES`] say what is not mended yet: nothing may be added.
//!
//! | file | what |
//! |---|---|
//! | `source.rs` | what a file imports, read off its text, and what that can't see |

mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::run::{Not, Outcome, fail, root};
use source::{Crate, Module};

/// From a layer to a folder beside the layers: each file, and the folder.
const KNOWN_ARROWS: [(&str, &str); 6] = [
    ("check.rs", "scenario"),
    ("config/options.rs", "scenario"),
    ("machine/session.rs", "scenario"),
    ("result/schedule_file.rs", "monitor"),
    ("result/schedule_file.rs", "scenario"),
    ("result/shard.rs", "scenario"),
];

/// How many files of a crate are in circles, at most.
const KNOWN_CIRCLES: [(&str, usize); 11] = [
    ("kernel", 25),
    ("smpmem", 3),
    ("standstill", 55),
    ("standstill-cli", 11),
    ("standstill-console", 2),
    ("standstill-hosted", 12),
    ("standstill-model", 57),
    ("standstill-report", 2),
    ("standstill-torture", 10),
    ("standstill-x86_64", 9),
    ("xtask", 21),
];

/// The layers of a crate, the lowest first, and the folders beside them: from the tables in its `lib.rs`.
struct Layers {
    layers: Vec<String>,
    beside: Vec<String>,
}

fn column(text: &str, head: &str) -> Vec<String> {
    let rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = rows.take_while(|line| line.starts_with("//! |"));
    rows.filter_map(|row| row.split('`').nth(1)).map(str::to_string).collect()
}

impl Layers {
    fn of(text: &str) -> Option<Layers> {
        let layers = column(text, "//! | layer |");
        (!layers.is_empty()).then(|| Layers { layers, beside: column(text, "//! | folder |") })
    }

    /// What is wrong with an arrow from one file to another, if anything is.
    fn wrong(&self, from: &Module, to: &Module) -> Option<String> {
        let place = |module: &Module| {
            self.layers.iter().position(|layer| module.first().is_some_and(|first| first == layer))
        };
        let from = place(from)?;
        match place(to) {
            Some(to) => (to > from).then(|| self.layers[to].clone()),
            None => {
                let to = to.first().map_or("lib", String::as_str);
                (to == "lib" || self.beside.iter().any(|folder| folder == to)).then(|| to.to_string())
            }
        }
    }
}

/// The files that are in a circle of imports: those that come back to themselves.
fn in_circles(all: &Crate) -> Vec<&Module> {
    let reaches = |from: &Module| {
        let (mut seen, mut left) = (std::collections::BTreeSet::new(), vec![from]);
        while let Some(module) = left.pop() {
            for next in all.imports.get(module).into_iter().flatten() {
                if next == from {
                    return true;
                }
                if seen.insert(next) {
                    left.push(next);
                }
            }
        }
        false
    };
    all.files.keys().filter(|module| reaches(module)).collect()
}

/// The crates of the repository, by name.
fn crates() -> Result<BTreeMap<String, PathBuf>, Not> {
    let folder = root().join("crates");
    let entries = fs::read_dir(&folder).map_err(|error| Not::Passed(format!("crates: {error}")))?;
    let mut all = BTreeMap::from([
        ("kernel".to_string(), root().join("kernel/src")),
        ("xtask".to_string(), root().join("xtask/src")),
    ]);
    for entry in entries.flatten() {
        all.insert(entry.file_name().to_string_lossy().into_owned(), entry.path().join("src"));
    }
    Ok(all)
}

/// Looks at all crates.
pub(crate) fn check() -> Outcome {
    let mut wrong = Vec::new();
    let (mut arrows, mut circles, mut known) = (0, 0, Vec::new());
    for (name, src) in crates()? {
        let all = Crate::read(&src).map_err(|error| Not::Passed(format!("{name}: {error}")))?;
        arrows += all.imports.values().map(std::collections::BTreeSet::len).sum::<usize>();
        let lib = fs::read_to_string(src.join("lib.rs")).unwrap_or_default();
        if let Some(layers) = Layers::of(&lib) {
            for (from, to) in all.imports.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to))) {
                let Some(folder) = layers.wrong(from, to) else { continue };
                let file = all.files[from].as_str();
                match KNOWN_ARROWS.iter().find(|arrow| **arrow == (file, &folder)) {
                    Some(arrow) => known.push(*arrow),
                    None => wrong.push(format!("{name}: {file} imports from `{folder}`, which is above it")),
                }
            }
        }
        let inside = in_circles(&all);
        circles += inside.len();
        let before = KNOWN_CIRCLES.iter().find(|(of, _)| *of == name).map_or(0, |(_, count)| *count);
        if inside.len() > before {
            let files: Vec<_> = inside.iter().map(|module| all.files[*module].as_str()).collect();
            let count = inside.len();
            wrong.push(format!(
                "{name}: {count} files import each other in circles, and {before} may: {}",
                files.join(" ")
            ));
        }
    }
    let gone = KNOWN_ARROWS.iter().filter(|arrow| !known.contains(arrow));
    wrong.extend(
        gone.map(|(file, folder)| format!("{file} no longer imports from `{folder}`: take it off the list")),
    );
    if !wrong.is_empty() {
        return fail(wrong.join("\n"));
    }
    Ok(format!("{arrows} imports; {} against the layers, {circles} files in circles, all known", known.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! | layer | what |\n//! |---|---|\n//! | `low` | a |\n//! | `high` | b |\n//!\n//! | folder | what |\n//! |---|---|\n//! | `port` | c |\n";

    #[test]
    fn an_arrow_goes_up_the_table_only() {
        let layers = Layers::of(LIB).expect("it has layers");
        let module = |name: &str| vec![name.to_string(), "file".to_string()];
        let wrong = |from: &str, to: &str| layers.wrong(&module(from), &module(to));
        assert_eq!(wrong("high", "low"), None);
        assert_eq!(wrong("low", "low"), None);
        assert_eq!(wrong("low", "high").as_deref(), Some("high"));
        assert_eq!(wrong("low", "port").as_deref(), Some("port"));
        assert_eq!(wrong("port", "low"), None);
        assert!(Layers::of("//! no table").is_none());
    }

    #[test]
    fn a_circle_is_found_and_what_leads_to_it_is_not_in_it() {
        let module = |name: &str| vec![name.to_string()];
        let arrow = |from: &str, to: &str| (module(from), [module(to)].into());
        let files = ["a", "b", "c"].map(|name| (module(name), format!("{name}.rs"))).into();
        let all = Crate { files, imports: [arrow("a", "b"), arrow("b", "c"), arrow("c", "b")].into() };
        assert_eq!(in_circles(&all), [&module("b"), &module("c")]);
    }
}
