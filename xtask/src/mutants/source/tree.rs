//! The copy of the repository that the errors are made in, and its builds.
//!
//! It has a folder of its own under `target`, and so do its builds: they are incremental from one mutant to the next. A file is written only
//! if it has to be another one, as cargo looks at the times.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::list::Mutant;
use super::weave::{ASK, Woven, weave};
use crate::run::{Not, cargo, fail, output, root, target_dir};

/// What of the repository is built.
const PARTS: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE-MIT",
    "CHANGELOG.md",
    "crates",
    "docs",
    "kernel",
    "xtask",
];
/// The crates that have mutants.
const CRATES: [&str; 4] = ["standstill", "standstill-x86_64", "standstill-sched", "standstill-hosted"];
/// Tests that look at machine code, or at what the compiler says: a library with twins is another one for them.
const NOT_THESE: [&str; 2] = ["ui", "zero_cost"];

fn folder() -> PathBuf {
    target_dir().join("source-mutants")
}

/// A program of the tests.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) package: String,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What was built.
pub(crate) struct Built {
    /// The explorer, or the command.
    pub(crate) explorer: PathBuf,
    pub(crate) tests: Vec<Test>,
}

/// What a build says.
pub(crate) enum Build {
    Done(Built),
    /// What the compiler says: file and line, and its words.
    Errors(Vec<(String, usize, String)>),
}

/// The copy.
pub(crate) struct Tree {
    root: PathBuf,
    /// The files of the repository, by their names in it.
    files: BTreeMap<String, Vec<u8>>,
}

fn collect(at: &Path, name: &str, files: &mut BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    if at.is_dir() {
        for entry in fs::read_dir(at)? {
            let entry = entry?;
            let part = entry.file_name().to_string_lossy().into_owned();
            if part != "target" && !part.starts_with("target-") {
                collect(&entry.path(), &format!("{name}/{part}"), files)?;
            }
        }
    } else {
        files.insert(name.to_string(), fs::read(at)?);
    }
    Ok(())
}

impl Tree {
    /// A copy of the repository as it is now.
    pub(crate) fn new() -> Result<Tree, Not> {
        let mut files = BTreeMap::new();
        for part in PARTS {
            collect(&root().join(part), part, &mut files)
                .map_err(|error| Not::Passed(format!("{part}: {error}")))?;
        }
        Ok(Tree { root: folder().join("tree"), files })
    }

    /// The text of a file, as it is in the repository.
    pub(crate) fn text(&self, file: &str) -> Result<String, Not> {
        match self.files.get(file) {
            Some(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            None => fail(format!("{file} is no file of the repository")),
        }
    }

    /// Makes the copy that of the repository, with these files instead.
    fn write(&self, instead: &BTreeMap<String, String>) -> Result<(), Not> {
        let wrong = |error: std::io::Error| Not::Passed(format!("{}: {error}", self.root.display()));
        for (name, bytes) in &self.files {
            let bytes = instead.get(name).map_or(bytes.as_slice(), |text| text.as_bytes());
            let path = self.root.join(name);
            if fs::read(&path).is_ok_and(|there| there == bytes) {
                continue;
            }
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(wrong)?;
            }
            fs::write(&path, bytes).map_err(wrong)?;
        }
        // What is gone from the repository would still be built.
        let mut there = BTreeMap::new();
        for part in ["crates", "docs", "kernel", "xtask"] {
            collect(&self.root.join(part), part, &mut there).map_err(wrong)?;
        }
        for name in there.keys().filter(|name| !self.files.contains_key(*name)) {
            fs::remove_file(self.root.join(name)).map_err(wrong)?;
        }
        Ok(())
    }

    /// Writes the copy with all these mutants, to be chosen; returns whose lines are whose, and those that need a build of their own.
    pub(crate) fn weave(
        &self,
        mutants: &[(usize, &Mutant)],
    ) -> Result<(BTreeMap<String, Woven>, Vec<usize>), Not> {
        let mut by_file: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
        for (number, mutant) in mutants {
            by_file.entry(&mutant.file).or_default().push((*number, mutant));
        }
        let (mut woven, mut alone) = (BTreeMap::new(), Vec::new());
        for (file, mutants) in by_file {
            let (text, left) = weave(&self.text(file)?, &mutants)?;
            woven.insert(file.to_string(), text);
            alone.extend(left);
        }
        let mut instead: BTreeMap<String, String> =
            woven.iter().map(|(name, woven)| (name.clone(), woven.text.clone())).collect();
        for name in CRATES {
            let lib = format!("crates/{name}/src/lib.rs");
            let text = instead.get(&lib).cloned().map_or_else(|| self.text(&lib), Ok)?;
            instead.insert(lib, text + ASK);
        }
        self.write(&instead)?;
        Ok((woven, alone))
    }

    /// Writes the copy with one mutant.
    pub(crate) fn apply(&self, mutant: &Mutant) -> Result<(), Not> {
        let text = mutant.applied(&self.text(&mutant.file)?)?;
        self.write(&BTreeMap::from([(mutant.file.clone(), text)]))
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut command = cargo(args);
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", folder().join("build"))
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
            .env("CARGO_PROFILE_TEST_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_TEST_DEBUG", "line-tables-only")
            .env_remove("RUSTFLAGS");
        command
    }

    /// Builds the explorer, if it is needed, and the tests of these packages.
    pub(crate) fn build(&self, explorer: bool, packages: &BTreeSet<&str>) -> Result<Build, Not> {
        let mut built = Built { explorer: folder().join("build/debug/examples/mutants"), tests: Vec::new() };
        if explorer {
            let errors = self.run(
                &["build", "-p", "standstill-model", "--example", "mutants", "--message-format=json"],
                &mut built,
            )?;
            if !errors.is_empty() {
                return Ok(Build::Errors(errors));
            }
        }
        for package in packages {
            let mut args =
                vec!["test", "--no-run", "-p", package, "--lib", "--tests", "--message-format=json"];
            if *package == "standstill" {
                // Without it the tests of the errors' words are empty.
                args.extend(["--features", "study"]);
            }
            let errors = self.run(&args, &mut built)?;
            if !errors.is_empty() {
                return Ok(Build::Errors(errors));
            }
        }
        Ok(Build::Done(built))
    }

    /// Builds the command, which has the torture.
    pub(crate) fn build_torture(&self) -> Result<Build, Not> {
        let mut built = Built { explorer: folder().join("build/debug/standstill"), tests: Vec::new() };
        let errors = self.run(&["build", "-p", "standstill-cli", "--message-format=json"], &mut built)?;
        Ok(if errors.is_empty() { Build::Done(built) } else { Build::Errors(errors) })
    }

    fn run(&self, args: &[&str], built: &mut Built) -> Result<Vec<(String, usize, String)>, Not> {
        let out = output(&mut self.cargo(args))?;
        let mut errors = Vec::new();
        for message in out.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if message["reason"] == "compiler-artifact" && message["profile"]["test"] == true {
                let name = message["target"]["name"].as_str().unwrap_or_default().to_string();
                if let Some(path) = message["executable"].as_str()
                    && !NOT_THESE.contains(&name.as_str())
                {
                    let package = message["package_id"].as_str().unwrap_or_default();
                    let package =
                        CRATES.iter().filter(|known| package.contains(*known)).max_by_key(|name| name.len());
                    let package = package.map_or_else(String::new, ToString::to_string);
                    built.tests.push(Test { package, name, path: path.into() });
                }
            }
            let message = &message["message"];
            if message["level"] == "error" {
                let empty = Vec::new();
                let spans = message["spans"].as_array().unwrap_or(&empty);
                for span in spans.iter().filter(|span| span["is_primary"] == true) {
                    errors.push((
                        span["file_name"].as_str().unwrap_or_default().to_string(),
                        span["line_start"].as_u64().unwrap_or(0) as usize,
                        message["message"].as_str().unwrap_or_default().to_string(),
                    ));
                }
            }
        }
        if out.code != 0 && errors.is_empty() {
            crate::run::show(&out);
            return fail(format!(
                "`cargo {}` ended with {} in the copy of the repository",
                args.join(" "),
                out.code
            ));
        }
        Ok(if out.code == 0 { Vec::new() } else { errors })
    }
}
