//! The list of source mutants: edits of the library and of its ports, as somebody makes them who errs.
//!
//! ```text
//! mutant NAME
//! in FILE
//! err what is wrong with it, and what happens then
//! under ra                       if only the memory model with orderings can tell
//! holds why nothing can catch it
//! agreed who has read that argument, and what they looked at
//! - a line of the file
//! + a line instead
//! ...                            the next lines are elsewhere in the file
//! ```
//! Lines are compared without their indentation, and comments and empty lines of the file are passed over, so that an edit outlives what does
//! not touch it. Its lines have to be found exactly once: an edit that fits nowhere, or twice, is an error.

use std::collections::HashSet;
use std::path::Path;

use crate::run::{Not, fail, root};

/// Where the lists are.
const FOLDER: &str = "xtask/mutants";

/// Some lines, and what is there instead.
#[derive(Clone, Default, Debug)]
pub(crate) struct Hunk {
    pub(crate) old: Vec<String>,
    pub(crate) new: Vec<String>,
}

/// One mutant of the source.
#[derive(Clone, Default, Debug)]
pub(crate) struct Mutant {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) err: String,
    pub(crate) under_ra: bool,
    /// Why nothing can catch it.
    pub(crate) holds: Option<String>,
    /// Who agreed with that.
    pub(crate) agreed: Option<String>,
    pub(crate) hunks: Vec<Hunk>,
    /// Where the list has it.
    pub(crate) at: String,
}

/// A change of some lines of a file: from `first`, so many lines are replaced by others.
pub(crate) struct Edit {
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) new: Vec<String>,
}

/// All lists, in the order of their names.
pub(crate) fn all() -> Result<Vec<Mutant>, Not> {
    let folder = root().join(FOLDER);
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| Not::Passed(format!("{}: {error}", path.display())))
    };
    let entries =
        std::fs::read_dir(&folder).map_err(|error| Not::Passed(format!("{}: {error}", folder.display())))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "txt"));
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(parse(&format!("{FOLDER}/{name}"), &read(&path)?)?);
    }
    let mut names = HashSet::new();
    match all.iter().find(|mutant| !names.insert(mutant.name.clone())) {
        Some(twice) => fail(format!("{}: there are two mutants with the name `{}`", twice.at, twice.name)),
        None => Ok(all),
    }
}

/// Reads a list.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Mutant>, Not> {
    let mut all: Vec<Mutant> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at = format!("{file}:{}", index + 1);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if word == "mutant" {
            let hunks = vec![Hunk::default()];
            all.push(Mutant { name: rest.trim().to_string(), at, hunks, ..Mutant::default() });
            continue;
        }
        let Some(mutant) = all.last_mut() else { return fail(format!("{at}: `mutant NAME` comes first")) };
        let hunk = mutant.hunks.last_mut();
        match (word, hunk) {
            ("in", _) => mutant.file = rest.trim().to_string(),
            ("err", _) => mutant.err = rest.trim().to_string(),
            ("under", _) if rest.trim() == "ra" => mutant.under_ra = true,
            ("holds", _) => mutant.holds = Some(rest.trim().to_string()),
            ("agreed", _) => mutant.agreed = Some(rest.trim().to_string()),
            ("-", Some(hunk)) => hunk.old.push(rest.to_string()),
            ("+", Some(hunk)) => hunk.new.push(rest.to_string()),
            ("...", _) => mutant.hunks.push(Hunk::default()),
            _ => {
                return fail(format!(
                    "{at}: `{word}` is none of mutant, in, err, under ra, holds, agreed, -, +, ..."
                ));
            }
        }
    }
    match all
        .iter()
        .find(|m| m.file.is_empty() || m.err.is_empty() || m.hunks.iter().any(|h| h.old.is_empty()))
    {
        Some(half) => fail(format!("{}: `{}` needs `in`, `err`, and lines that go", half.at, half.name)),
        None => Ok(all),
    }
}

/// Is it a line that edits pass over?
fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

/// A line without what follows in a comment, as far as that is plain.
fn bare(line: &str) -> &str {
    line.trim()
}

impl Mutant {
    /// Where its hunks are in the file's lines.
    pub(crate) fn edits(&self, lines: &[&str]) -> Result<Vec<Edit>, Not> {
        let code: Vec<usize> = (0..lines.len()).filter(|at| is_code(lines[*at])).collect();
        let mut from = 0;
        let mut edits = Vec::new();
        for (index, hunk) in self.hunks.iter().enumerate() {
            let fits = |at: usize| {
                hunk.old
                    .iter()
                    .enumerate()
                    .all(|(k, old)| code.get(at + k).is_some_and(|line| bare(lines[*line]) == bare(old)))
            };
            // The first one has to be the only one; each of the others is the next one from there.
            let mut found = (from..code.len()).filter(|at| fits(*at));
            let Some(at) = found.next() else {
                return fail(format!(
                    "{}: `{}` fits nowhere in {}: its line `{}` or one behind it has changed; write it anew",
                    self.at,
                    self.name,
                    self.file,
                    bare(&hunk.old[0])
                ));
            };
            if index == 0 && found.next().is_some() {
                return fail(format!(
                    "{}: `{}` fits twice in {}: take more lines around it into the edit",
                    self.at, self.name, self.file
                ));
            }
            from = at + hunk.old.len();
            let (first, last) = (code[at], code[from - 1]);
            edits.push(Edit { first, count: last - first + 1, new: hunk.new.clone() });
        }
        Ok(edits)
    }

    /// The file with the error in it.
    pub(crate) fn applied(&self, text: &str) -> Result<String, Not> {
        let lines: Vec<&str> = text.lines().collect();
        let mut out: Vec<String> = lines.iter().map(ToString::to_string).collect();
        for edit in self.edits(&lines)?.into_iter().rev() {
            out.splice(edit.first..edit.first + edit.count, edit.new);
        }
        Ok(out.join("\n") + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "# a list\nmutant one\nin a.rs\nerr it is wrong\n- let a = 1;\n- let b = 2;\n+ let b = 3;\n";

    fn why<T>(result: Result<T, Not>) -> String {
        match result {
            Err(Not::Passed(why) | Not::Run(why)) => why,
            Ok(_) => String::new(),
        }
    }

    #[test]
    fn every_edit_of_the_lists_fits_where_it_was_made_for_and_nowhere_else() {
        let mutants = match all() {
            Ok(mutants) => mutants,
            Err(Not::Passed(why) | Not::Run(why)) => panic!("{why}"),
        };
        assert!(mutants.len() >= 80, "{}", mutants.len());
        let mut wrong = Vec::new();
        for mutant in &mutants {
            let text = std::fs::read_to_string(root().join(&mutant.file)).unwrap_or_default();
            match mutant.applied(&text) {
                Ok(new) if new == text => {
                    wrong.push(format!("{}: `{}` changes nothing", mutant.at, mutant.name))
                }
                Ok(_) => {}
                Err(Not::Passed(why) | Not::Run(why)) => wrong.push(why),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn an_edit_outlives_indentation_and_comments() {
        let mutants = parse("list", LIST).unwrap_or_default();
        let text = "fn f() {\n        let a = 1;\n        // Why.\n\n        let b = 2;\n}\n";
        assert_eq!(mutants[0].applied(text).unwrap_or_default(), "fn f() {\nlet b = 3;\n}\n");
    }

    #[test]
    fn an_edit_that_is_out_of_date_or_ambiguous_is_named() {
        let mutants = parse("list", LIST).unwrap_or_default();
        assert!(why(mutants[0].applied("let a = 1;\n")).contains("`one` fits nowhere in a.rs"));
        let twice = "let a = 1;\nlet b = 2;\nlet a = 1;\nlet b = 2;\n";
        assert!(why(mutants[0].applied(twice)).contains("`one` fits twice"));
    }

    #[test]
    fn what_is_no_list_is_named_by_its_line() {
        assert!(why(parse("list", "in a.rs\n")).contains("list:1:"));
        assert!(why(parse("list", "mutant a\nwhat is this\n")).contains("list:2:"));
        assert!(why(parse("list", "mutant a\nin b.rs\n- x\n")).contains("needs"));
    }
}
