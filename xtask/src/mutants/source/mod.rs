//! The library and its ports with an error in their source, as a maintainer makes it who errs: who notices, where, and in which words?
//!
//! `list.rs` reads the errors, `weave.rs` puts many of them into one build, `tree.rs` is the copy that is built, `trial.rs` shows a mutant to
//! the checker and the tests, `table.rs` prints.

mod list;
mod table;
mod torture;
mod tree;
mod trial;
mod weave;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use list::Mutant;
use tree::{Build, Built, Tree};
use trial::Fate;

use super::parallel::in_parallel;
use crate::progress::Progress;
use crate::run::{Not, fail, target_dir};

/// Which mutants, of all.
#[derive(Clone, Default)]
pub(crate) struct Choice {
    /// Parts of names or of files: one of them has to be there, if there are any.
    pub(crate) only: Vec<String>,
    /// Every n-th one, from the i-th.
    pub(crate) shard: Option<(usize, usize)>,
    /// How many at a time.
    pub(crate) jobs: usize,
}

impl Choice {
    /// Is it one of `only`?
    fn fits(&self, mutant: &Mutant) -> bool {
        let has = |part: &String| mutant.name.contains(part) || mutant.file.contains(part);
        self.only.is_empty() || self.only.iter().any(has)
    }
}

/// What became of all.
#[derive(Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    mutants: Vec<Fate>,
    errors: Vec<String>,
    seconds: u64,
}

impl Report {
    /// Nothing is open, and the list is true.
    pub(crate) fn passed(&self) -> bool {
        self.errors.is_empty() && self.mutants.iter().all(|fate| open(fate).is_none())
    }

    pub(crate) fn show(&self, json: bool) {
        table::show(self, json);
    }
}

/// Why a mutant's fate is not what it should be.
fn open(fate: &Fate) -> Option<&'static str> {
    match (&fate.caught, &fate.holds) {
        (Some(_), Some(_)) => {
            Some("it is caught, and the list says that nothing can catch it: take `holds` out")
        }
        (Some(catch), None) if catch.bad_words => {
            Some("it is caught in words that do not point at the fault")
        }
        (Some(_), None) => None,
        (None, Some(_)) if fate.agreed.is_none() => Some("nobody has agreed that nothing can catch it"),
        (None, Some(_)) => None,
        (None, None) if fate.set_up_deaths > 0 => {
            Some("it is caught in the set-up of scenarios, and nowhere behind it")
        }
        (None, None) => Some("it survives, and nobody says why"),
    }
}

/// The mutants that are chosen, with their numbers in the whole list, from 1.
fn chosen(choice: &Choice, all: &[Mutant]) -> Vec<(usize, Mutant)> {
    let numbered = all.iter().enumerate().map(|(index, mutant)| (index + 1, mutant.clone()));
    let fitting = numbered.filter(|(_, mutant)| choice.fits(mutant));
    let (i, n) = choice.shard.unwrap_or((1, 1));
    fitting.enumerate().filter(|(index, _)| index % n == i - 1).map(|(_, mutant)| mutant).collect()
}

/// Builds them all in one, but for those that can't be; those that the compiler refuses are errors of the list.
fn build_woven(
    tree: &Tree,
    mutants: &mut Vec<(usize, Mutant)>,
    errors: &mut Vec<String>,
    build: impl Fn() -> Result<Build, Not>,
) -> Result<(Built, BTreeSet<usize>), Not> {
    loop {
        let some: Vec<(usize, &Mutant)> = mutants.iter().map(|(number, mutant)| (*number, mutant)).collect();
        let (woven, alone) = tree.weave(&some)?;
        let wrong = match build()? {
            Build::Done(built) => return Ok((built, alone.into_iter().collect())),
            Build::Errors(wrong) => wrong,
        };
        let mut refused = BTreeSet::new();
        for (file, line, words) in wrong {
            let twins = woven.get(&file).map_or(&[][..], |woven| &woven.twins);
            match twins.iter().find(|(_, first, last)| (*first..=*last).contains(&line)) {
                Some((number, ..)) => {
                    if refused.insert(*number)
                        && let Some((_, mutant)) = mutants.iter().find(|(known, _)| known == number)
                    {
                        errors.push(format!("{}: `{}` does not build: {words}", mutant.at, mutant.name));
                    }
                }
                None => {
                    return fail(format!(
                        "the library with its mutants does not build: {file}:{line}: {words}"
                    ));
                }
            }
        }
        mutants.retain(|(number, _)| !refused.contains(number));
    }
}

/// Without a mutant nobody may find anything.
fn nobody_finds_the_library_wrong(built: &Built, packages: &BTreeSet<&str>, at: &Path) -> Result<(), Not> {
    for package in packages {
        for under_ra in if *package == "standstill" { vec![false, true] } else { vec![false] } {
            let none = Mutant { file: format!("crates/{package}/src/lib.rs"), under_ra, ..Mutant::default() };
            let fate = trial::fate(&none, 0, built, at)?;
            if let Some(catch) = fate.caught {
                return fail(format!(
                    "{package} itself does not pass: {}: {}: {}",
                    catch.place, catch.rule, catch.words
                ));
            }
            if fate.set_up_deaths > 0 {
                return fail(format!(
                    "a set-up fails without a mutant: {}",
                    fate.set_up_words.unwrap_or_default()
                ));
            }
        }
    }
    Ok(())
}

pub(crate) use torture::run as torture;

/// Keeps each fate at once, as the whole takes long: one JSON object in a line.
struct Log(Mutex<File>);

impl Log {
    fn new() -> Result<Log, Not> {
        let path = target_dir().join("source-mutants/fates.jsonl");
        let file = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| File::create(&path));
        file.map(|file| Log(Mutex::new(file)))
            .map_err(|error| Not::Passed(format!("{}: {error}", path.display())))
    }

    fn add(&self, fate: &Fate) {
        let line = serde_json::to_string(fate).unwrap_or_default();
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(file, "{line}") {
            eprintln!("mutants: a fate is not kept: {error}");
        }
    }
}

/// Runs those that are chosen.
pub(crate) fn run(choice: &Choice) -> Result<Report, Not> {
    let began = Instant::now();
    let all = list::all()?;
    let mut mutants = chosen(choice, &all);
    let tree = Tree::new()?;
    let at = target_dir().join("source-mutants/tree");
    let mut errors = Vec::new();
    // An edit that fits nowhere is told before anything is built.
    mutants.retain(|(_, mutant)| match tree.text(&mutant.file).and_then(|text| mutant.applied(&text)) {
        Ok(_) => true,
        Err(Not::Passed(why) | Not::Run(why)) => {
            errors.push(why);
            false
        }
    });
    let files: BTreeSet<String> = mutants.iter().map(|(_, mutant)| mutant.file.clone()).collect();
    let packages: BTreeSet<&str> = files.iter().filter_map(|file| file.split('/').nth(1)).collect();
    eprintln!("building {} mutants in one", mutants.len());
    let build = || tree.build(packages.contains("standstill"), &packages);
    let (built, alone) = build_woven(&tree, &mut mutants, &mut errors, build)?;
    eprintln!("without a mutant");
    nobody_finds_the_library_wrong(&built, &packages, &at)?;
    let (alone, woven): (Vec<_>, Vec<_>) = mutants.iter().partition(|(number, _)| alone.contains(number));
    let bar = Progress::new("source mutants", woven.len());
    let log = Log::new()?;
    let kept = |fate: Result<Fate, Not>| fate.inspect(|fate| log.add(fate));
    let fates = in_parallel(&woven, choice.jobs, &bar, |(number, mutant)| {
        kept(trial::fate(mutant, *number, &built, &at))
    });
    let mut mutants = fates.into_iter().collect::<Result<Vec<_>, _>>()?;
    let bar = Progress::new("source mutants with a build of their own", alone.len());
    for (_, mutant) in alone {
        tree.apply(mutant)?;
        let package = BTreeSet::from([mutant.file.split('/').nth(1).unwrap_or_default()]);
        match tree.build(package.contains("standstill"), &package)? {
            Build::Done(built) => mutants.push(kept(trial::fate(mutant, 0, &built, &at))?),
            Build::Errors(wrong) => {
                let words = wrong.first().map_or("", |(_, _, words)| words);
                errors.push(format!("{}: `{}` does not build: {words}", mutant.at, mutant.name));
            }
        }
        bar.step();
    }
    bar.clear();
    Ok(Report { schema: "standstill-source-mutants-1", mutants, errors, seconds: began.elapsed().as_secs() })
}

#[cfg(test)]
mod tests {
    use super::trial::Catch;
    use super::*;

    fn fate(caught: Option<bool>, holds: Option<&str>, agreed: Option<&str>, set_up_deaths: usize) -> Fate {
        let catch = |bad_words| Catch {
            by: "checker",
            place: "a".to_string(),
            rule: "8".to_string(),
            words: "b".to_string(),
            bad_words,
        };
        Fate {
            name: "a".to_string(),
            file: "b".to_string(),
            err: "c".to_string(),
            caught: caught.map(catch),
            set_up_deaths,
            set_up_words: None,
            checker_faults: 0,
            milliseconds: 0,
            holds: holds.map(str::to_string),
            agreed: agreed.map(str::to_string),
        }
    }

    #[test]
    fn a_mutant_is_closed_by_words_or_by_an_argument_that_somebody_agreed_with() {
        assert_eq!(open(&fate(Some(false), None, None, 3)), None);
        assert!(open(&fate(Some(true), None, None, 0)).is_some_and(|why| why.contains("words")));
        assert!(open(&fate(None, None, None, 3)).is_some_and(|why| why.contains("set-up")));
        assert!(open(&fate(None, None, None, 0)).is_some_and(|why| why.contains("survives")));
        assert!(open(&fate(None, Some("it can't"), None, 0)).is_some_and(|why| why.contains("agreed")));
        assert_eq!(open(&fate(None, Some("it can't"), Some("a reader"), 0)), None);
        assert!(open(&fate(Some(false), Some("it can't"), Some("a reader"), 0)).is_some());
    }

    #[test]
    fn shards_share_the_list() {
        let all: Vec<Mutant> = (0..7)
            .map(|n| Mutant { name: format!("m{n}"), file: "crates/a/b.rs".to_string(), ..Mutant::default() })
            .collect();
        let of = |i, n| chosen(&Choice { shard: Some((i, n)), ..Choice::default() }, &all);
        let mut numbers: Vec<usize> = (1..=3).flat_map(|i| of(i, 3)).map(|(number, _)| number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=7).collect::<Vec<_>>());
        let only = Choice { only: vec!["m3".to_string()], ..Choice::default() };
        assert_eq!(chosen(&only, &all).len(), 1);
    }
}
