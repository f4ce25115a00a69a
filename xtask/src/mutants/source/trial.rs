//! One mutant before its judges: the checker's scenarios, then the tests of its crate.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::list::Mutant;
use super::tree::{Built, Test};
use super::weave::CHOICE;
use crate::run::Not;

/// A search that says nothing for so long hangs: the longest cell has 20 s.
const SILENCE: Duration = Duration::from_secs(60);
/// A program of the tests has so long.
const TEST_LIMIT: Duration = Duration::from_secs(120);
/// A mutant that hangs in so many cells is not tried in more.
const HANGS: usize = 2;

/// Who caught a mutant, where, and in which words.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Catch {
    /// `checker` or `tests`.
    pub(crate) by: &'static str,
    /// The scenario, or the test.
    pub(crate) place: String,
    /// The rule, or the kind of end.
    pub(crate) rule: String,
    pub(crate) words: String,
    /// The words do not point at the fault: a hang, a signal, or an assertion that says nothing.
    pub(crate) bad_words: bool,
}

/// What became of one mutant.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fate {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) err: String,
    pub(crate) caught: Option<Catch>,
    /// How many scenarios it kept from getting through their set-up; that alone does not count.
    pub(crate) set_up_deaths: usize,
    /// What the first of those said.
    pub(crate) set_up_words: Option<String>,
    /// It ended the checker in a way that says nothing about it.
    pub(crate) checker_faults: usize,
    pub(crate) milliseconds: u64,
    pub(crate) holds: Option<String>,
    pub(crate) agreed: Option<String>,
}

/// Do these words of an assertion say nothing about what is wrong?
pub(crate) fn are_bad(words: &str) -> bool {
    let empty = [
        "assertion failed:",
        "called `",
        "index out of bounds",
        "attempt to ",
        "internal error",
        "explicit panic",
    ];
    empty.iter().any(|start| words.starts_with(start))
        || words.starts_with("assertion `left == right` failed  ")
        || words.starts_with("assertion `left == right` failed left:")
        || words.starts_with("assertion `left != right` failed  ")
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// The lines of a program, as long as it says something.
fn lines(mut command: Command, mut each: impl FnMut(&str)) -> Result<Option<i32>, Not> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Not::Passed(format!("{name}: {error}")))?;
    let (send, receive) = channel();
    let out = child.stdout.take();
    std::thread::spawn(move || {
        for line in out.into_iter().flat_map(|out| BufReader::new(out).lines().map_while(Result::ok)) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    loop {
        match receive.recv_timeout(SILENCE) {
            Ok(line) => each(&line),
            Err(RecvTimeoutError::Timeout) => {
                end(&mut child);
                return Ok(None);
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait().map_err(|error| Not::Passed(format!("{name}: {error}")))?;
                return Ok(Some(status.code().unwrap_or(-1)));
            }
        }
    }
}

/// What one process of the explorer has seen.
#[derive(Default)]
struct Seen {
    tried: usize,
    cell: String,
    set_up: Vec<String>,
    checker: usize,
    catch: Option<Catch>,
    through: bool,
}

impl Seen {
    fn line(&mut self, line: &str) {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["in", index, cell] => {
                self.tried = index.parse().unwrap_or(self.tried) + 1;
                self.cell = cell.to_string();
            }
            ["set-up", cell, _, words] => self.set_up.push(format!("{cell}: {words}")),
            ["checker", ..] => self.checker += 1,
            ["broken", rule, cell, _, words] => {
                self.catch = Some(Catch {
                    by: "checker",
                    place: cell.to_string(),
                    rule: rule.to_string(),
                    words: words.to_string(),
                    bad_words: rule == "panic" && are_bad(words),
                });
            }
            ["ended", "set-up", _, words] => self.set_up.push(format!("{}: {words}", self.cell)),
            ["ended", _, "mutant", words] => {
                let catch = self.catch_of("signal", words);
                self.catch = Some(Catch { bad_words: words.starts_with("SIG") || are_bad(words), ..catch });
            }
            ["ended", ..] => self.checker += 1,
            ["end", _] => self.through = true,
            _ => {}
        }
    }

    fn catch_of(&self, rule: &str, words: &str) -> Catch {
        Catch {
            by: "checker",
            place: self.cell.clone(),
            rule: rule.to_string(),
            words: words.to_string(),
            bad_words: true,
        }
    }
}

/// Looks for the best catch of the checker: one with words, or else the first one.
fn explore(explorer: &Path, number: usize, memory: &str, fate: &mut Fate) -> Result<(), Not> {
    let (mut tried, mut hangs) = (0, 0);
    loop {
        let mut command = Command::new(explorer);
        command.args(["explore", memory, &tried.to_string()]).env(CHOICE, number.to_string());
        let mut seen = Seen::default();
        let code = lines(command, |line| seen.line(line))?;
        fate.set_up_deaths += seen.set_up.len();
        fate.set_up_words = fate.set_up_words.take().or_else(|| seen.set_up.first().cloned());
        fate.checker_faults += seen.checker;
        if code.is_none() {
            hangs += 1;
            seen.catch = Some(seen.catch_of("hang", "the search said nothing for a minute"));
        }
        if let Some(catch) = seen.catch {
            let good = !catch.bad_words;
            if good || fate.caught.is_none() {
                fate.caught = Some(catch);
            }
            if good {
                return Ok(());
            }
        }
        if seen.through || hangs == HANGS || seen.tried <= tried && code != Some(0) && code.is_some() {
            return Ok(());
        }
        tried = seen.tried.max(tried + 1);
    }
}

/// What a program of the tests said of the first test that failed.
fn failed_test(text: &str) -> Option<(String, String)> {
    let at = text.find("---- ")?;
    let name = text[at + 5..].split_whitespace().next()?.to_string();
    let rest = &text[at..];
    let said = rest.find("panicked at").map_or("", |at| &rest[at..]);
    let words: Vec<&str> = said
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("note:") && !line.starts_with("stack"))
        .collect();
    Some((name, words.join(" ").trim().chars().take(300).collect()))
}

/// Runs one program of the tests, for as long as it may.
fn test(test: &Test, tree: &Path, number: usize) -> Result<Option<Catch>, Not> {
    let wrong = |error: std::io::Error| Not::Passed(format!("{}: {error}", test.path.display()));
    let mut child = Command::new(&test.path)
        .current_dir(tree.join("crates").join(&test.package))
        .env(CHOICE, number.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(wrong)?;
    let out = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        // What could be read is looked at.
        let _ = out.map(|mut out| out.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let began = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().map_err(wrong)? {
            break Some(status.code());
        }
        if began.elapsed() > TEST_LIMIT {
            end(&mut child);
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = reader.join().unwrap_or_default();
    let catch = |place: String, rule: &str, words: String, bad_words| {
        Some(Catch { by: "tests", place, rule: rule.to_string(), words, bad_words })
    };
    Ok(match (code, failed_test(&text)) {
        (Some(Some(0)), _) => None,
        // A test's name says what does not hold.
        (_, Some((name, words))) => catch(format!("{}: {name}", test.name), "test", words, false),
        (None, None) => catch(test.name.clone(), "hang", running(&text), true),
        (Some(_), None) => catch(test.name.clone(), "signal", running(&text), true),
    })
}

/// The tests that had not ended, if a program of the tests says which ended.
fn running(text: &str) -> String {
    let last = text.lines().rev().find(|line| line.starts_with("test ")).unwrap_or_default();
    format!("the program of the tests did not end by itself; the last line: {last}")
}

/// Shows the mutant to all judges that it concerns, the cheapest first, until one has words for it.
pub(crate) fn fate(mutant: &Mutant, number: usize, built: &Built, tree: &Path) -> Result<Fate, Not> {
    let began = Instant::now();
    let mut fate = Fate {
        name: mutant.name.clone(),
        file: mutant.file.clone(),
        err: mutant.err.clone(),
        caught: None,
        set_up_deaths: 0,
        set_up_words: None,
        checker_faults: 0,
        milliseconds: 0,
        holds: mutant.holds.clone(),
        agreed: mutant.agreed.clone(),
    };
    let package = mutant.file.split('/').nth(1).unwrap_or_default();
    if package == "standstill" {
        explore(&built.explorer, number, if mutant.under_ra { "ra" } else { "sc" }, &mut fate)?;
    }
    let settled = |fate: &Fate| fate.caught.as_ref().is_some_and(|catch| !catch.bad_words);
    for program in built.tests.iter().filter(|test| test.package == package) {
        if settled(&fate) {
            break;
        }
        if let Some(catch) = test(program, tree, number)?
            && (fate.caught.is_none() || !catch.bad_words)
        {
            fate.caught = Some(catch);
        }
    }
    fate.milliseconds = began.elapsed().as_millis() as u64;
    Ok(fate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_say_nothing_are_known() {
        assert!(are_bad("assertion `left == right` failed   left: 3  right: 2"));
        assert!(are_bad("assertion failed: a.is_ok()"));
        assert!(are_bad("called `Option::unwrap()` on a `None` value"));
        assert!(!are_bad("a CPU comes up with calls of its former life in its queue"));
        assert!(!are_bad("assertion `left == right` failed: every CPU ran it once   left: 3  right: 2"));
    }

    #[test]
    fn what_an_explorer_says_is_read() {
        let mut seen = Seen::default();
        seen.line("in\t4\thalt:2:1:sc:8:standstill:polls:2");
        seen.line("set-up\thalt:2:1:sc:8:standstill:polls:2\t7\tit hangs");
        seen.line("in\t5\tb");
        seen.line("ended\tafter\tmutant\tSIGSEGV at 0x8 in standstill::call");
        assert_eq!((seen.tried, seen.set_up.len()), (6, 1));
        assert!(seen.catch.as_ref().is_some_and(|catch| catch.bad_words && catch.place == "b"));
        seen.line("ended\tset-up\tmutant\tSIGSEGV");
        seen.line("ended\tafter\tchecker\tSIGSEGV");
        assert_eq!((seen.set_up.len(), seen.checker), (2, 1));
        seen.line("broken\t8\tb\t12\trule 8 broken");
        assert!(seen.catch.is_some_and(|catch| !catch.bad_words && catch.rule == "8"));
    }

    #[test]
    fn the_first_test_that_failed_is_named() {
        let text = "test a ... ok\n\nfailures:\n\n---- b::c stdout ----\n\nthread 'b::c' (7) panicked at x.rs:1:2:\n\
                    it is wrong\n  left: 1\nnote: run with\n\n---- d stdout ----\n";
        assert_eq!(failed_test(text), Some(("b::c".to_string(), "it is wrong   left: 1".to_string())));
        assert_eq!(failed_test("test result: ok"), None);
    }
}
