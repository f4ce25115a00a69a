//! Many mutants in one build: each function that one of them changes gets a twin with the error in it, and asks at its beginning whether it is
//! to be that twin. So the crates are built once, and the process's environment chooses the mutant.
//!
//! It works on the text, as rustfmt lays it out: a function of a file, or of an `impl` block, begins and ends at the same indentation. What
//! can't ask (a `const fn`, a function of a trait's implementation, one that returns an `impl Trait`) is left to a build of its own.

use std::collections::BTreeMap;

use crate::run::Not;

use super::list::Mutant;

/// Chooses the mutant, by its number in the list.
pub(crate) const CHOICE: &str = "STANDSTILL_MUTANT";

/// What each crate gets, to ask.
pub(crate) const ASK: &str = "
#[doc(hidden)]
#[allow(clippy::all, missing_docs)]
pub mod chosen_mutant {
    extern crate std;
    pub fn is(number: usize) -> bool {
        static CHOSEN: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
        *CHOSEN.get_or_init(|| std::env::var(\"STANDSTILL_MUTANT\").ok().and_then(|n| n.parse().ok()).unwrap_or(0))
            == number
    }
}
";

/// A file with twins.
pub(crate) struct Woven {
    pub(crate) text: String,
    /// Which lines (from 1) are whose: for errors of the compiler.
    pub(crate) twins: Vec<(usize, usize, usize)>,
}

/// The function that has the lines from `first` to `last`: its first line with its attributes, its head, the line that its body begins
/// in, and its last line.
struct Function {
    first: usize,
    head: usize,
    body: usize,
    last: usize,
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_head(line: &str) -> bool {
    let mut words = line.trim().split([' ', '(', '<']);
    words.by_ref().take_while(|word| *word != "fn").all(|word| {
        matches!(word, "pub" | "const" | "unsafe" | "extern" | "crate)" | "super)" | "in" | "\"C\"")
    }) && line.split(' ').any(|word| word == "fn")
}

fn function_of(lines: &[&str], first: usize, last: usize) -> Option<Function> {
    let head = (0..=first).rev().find(|at| {
        let depth = indentation(lines[*at]);
        (depth == 0 || depth == 4) && is_head(lines[*at])
    })?;
    let depth = indentation(lines[head]);
    let end = format!("{}}}", " ".repeat(depth));
    let body = (head..lines.len()).find(|at| lines[*at].trim_end().ends_with('{'))?;
    let close = (body + 1..lines.len()).find(|at| lines[*at] == end)?;
    if first <= body || last >= close {
        return None;
    }
    let mut top = head;
    while top > 0 && lines[top - 1].trim_start().starts_with("#[") && indentation(lines[top - 1]) == depth {
        top -= 1;
    }
    Some(Function { first: top, head, body, last: close })
}

/// Is it in the implementation of a trait, or in a trait?
fn of_a_trait(lines: &[&str], head: usize) -> bool {
    if indentation(lines[head]) == 0 {
        return false;
    }
    let Some(block) = (0..head).rev().find(|at| {
        let line = lines[*at];
        ["impl", "unsafe impl", "pub trait", "trait", "pub unsafe trait", "mod"]
            .iter()
            .any(|w| line.starts_with(w))
    }) else {
        return true;
    };
    let text: Vec<&str> =
        lines[block..head].iter().copied().take_while(|line| !line.ends_with('{')).collect();
    let opening = lines[block..head].iter().find(|line| line.ends_with('{')).copied().unwrap_or_default();
    let whole = format!("{} {opening}", text.join(" "));
    whole.contains(" for ") || whole.contains("trait ") || whole.starts_with(" mod")
}

/// The parts of a list at its commas, as far as they are not inside brackets.
fn parts(text: &str) -> Vec<String> {
    let (mut all, mut part, mut depth, mut before) = (Vec::new(), String::new(), 0_i32, ' ');
    for c in text.chars() {
        match c {
            '(' | '<' | '[' | '{' => depth += 1,
            '>' if before == '-' => {}
            ')' | '>' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            all.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
        before = c;
    }
    all.push(part);
    all.into_iter().map(|part| part.trim().to_string()).filter(|part| !part.is_empty()).collect()
}

/// The text up to the bracket that closes the one it begins with, without both, and what follows.
fn bracketed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let (mut depth, mut before) = (0_i32, ' ');
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close && !(c == '>' && before == '-') {
            depth -= 1;
            if depth == 0 {
                return Some((&text[open.len_utf8()..at], &text[at + 1..]));
            }
        }
        before = c;
    }
    None
}

/// The line that asks, in a function with this head; `None` if it can't.
fn question(head: &str, number: usize) -> Option<(String, String)> {
    let at = head.find("fn ")?;
    let (before, rest) = (&head[..at], &head[at + 3..]);
    if before.contains("const") || before.contains("extern") {
        return None;
    }
    let end = rest.find(['(', '<'])?;
    let name = rest[..end].to_string();
    let (generics, rest) =
        if rest[end..].starts_with('<') { bracketed(&rest[end..], '<', '>')? } else { ("", &rest[end..]) };
    let (arguments, result) = bracketed(rest, '(', ')')?;
    if result.contains("impl ") {
        return None;
    }
    let generics: Vec<String> = parts(generics)
        .iter()
        .filter(|part| !part.starts_with('\''))
        .map(|part| {
            part.trim_start_matches("const ").split(':').next().unwrap_or_default().trim().to_string()
        })
        .collect();
    let arguments = parts(arguments);
    let mut names = Vec::new();
    let mut receiver = "Self::";
    let mut free = true;
    for argument in &arguments {
        let plain = argument.trim_start_matches('&').trim_start_matches("'a ").trim_start_matches("mut ");
        if plain == "self" {
            (receiver, free) = ("self.", false);
            continue;
        }
        let name = argument.split(':').next()?.trim().trim_start_matches("mut ").to_string();
        if !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        names.push(name);
    }
    if free && !head.starts_with(' ') {
        receiver = "";
    }
    let twin = format!("{name}_mutant_{number}");
    let turbofish = if generics.is_empty() { String::new() } else { format!("::<{}>", generics.join(", ")) };
    let call = format!("{receiver}{twin}{turbofish}({})", names.join(", "));
    let call = if before.contains("unsafe") { format!("unsafe {{ {call} }}") } else { call };
    Some((format!("if crate::chosen_mutant::is({number}) {{ return {call}; }}"), twin))
}

/// The lines that a mutant really changes: of the file, and of its new text.
fn changed(old: &[&str], new: &[&str]) -> (usize, usize, usize) {
    let same = |a: &&str, b: &&str| a.trim() == b.trim();
    let before = old.iter().zip(new).take_while(|(a, b)| same(a, b)).count();
    let most = old.len().min(new.len()) - before;
    let behind = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| same(a, b)).count();
    (before, old.len() - behind, new.len() - behind)
}

/// What is put in before a line of the file, or at its end.
#[derive(Default)]
struct Extra {
    questions: BTreeMap<usize, Vec<String>>,
    twins: BTreeMap<usize, Vec<(usize, Vec<String>)>>,
}

/// Adds the mutant's twin; false if it needs a build of its own.
fn add(extra: &mut Extra, lines: &[&str], text: &str, mutant: &Mutant, number: usize) -> Result<bool, Not> {
    let with_error = mutant.applied(text)?;
    let new: Vec<&str> = with_error.lines().collect();
    let (first, end, new_end) = changed(lines, &new);
    if end <= first && new_end <= first {
        return Ok(false);
    }
    let Some(function) = function_of(lines, first, end.saturating_sub(1).max(first)) else {
        return Ok(false);
    };
    if of_a_trait(lines, function.head) {
        return Ok(false);
    }
    let head = lines[function.head..=function.body].join("\n");
    let Some((question, twin)) = question(&head, number) else { return Ok(false) };
    let longer = new.len() as isize - lines.len() as isize;
    let last = (function.last as isize + longer) as usize;
    let attributes = new[function.first..function.head]
        .iter()
        .filter(|line| !line.contains("doc("))
        .map(ToString::to_string);
    let mut copy: Vec<String> = attributes.collect();
    let name = twin.strip_suffix(&format!("_mutant_{number}")).unwrap_or_default();
    // Nobody else calls it: tests that read the source look at what is public.
    let head = new[function.head].replacen(&format!("fn {name}"), &format!("fn {twin}"), 1);
    copy.push(head.replacen("pub ", "", 1));
    copy.extend(new[function.head + 1..=last].iter().map(ToString::to_string));
    extra.questions.entry(function.body).or_default().push(question);
    extra.twins.entry(function.last).or_default().push((number, copy));
    Ok(true)
}

/// The file with the mutants' twins in it, and those that need a build of their own.
pub(crate) fn weave(text: &str, mutants: &[(usize, &Mutant)]) -> Result<(Woven, Vec<usize>), Not> {
    let lines: Vec<&str> = text.lines().collect();
    let mut extra = Extra::default();
    let mut alone = Vec::new();
    for (number, mutant) in mutants {
        if !add(&mut extra, &lines, text, mutant, *number)? {
            alone.push(*number);
        }
    }
    let mut out: Vec<String> = Vec::new();
    let mut twins = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        out.push((*line).to_string());
        out.extend(extra.questions.remove(&at).unwrap_or_default());
        for (number, copy) in extra.twins.remove(&at).unwrap_or_default() {
            let first = out.len() + 1;
            out.push("#[allow(warnings, clippy::all)]".to_string());
            out.extend(copy);
            twins.push((number, first, out.len()));
        }
    }
    Ok((Woven { text: out.join("\n") + "\n", twins }, alone))
}

#[cfg(test)]
mod tests {
    use super::super::list::parse;
    use super::*;

    const FILE: &str = "\
pub fn free(a: usize) -> usize {
    a + 1
}

impl<P: Memory> Thing<P> {
    /// Words.
    #[inline]
    pub(crate) fn one<C, F>(&self, _ctx: &mut C, f: impl Fn() -> usize) -> Option<Vec<(usize, F)>>
    where
        C: Copy,
    {
        let a = 1;
        None
    }

    const fn fixed() -> usize {
        7
    }
}

impl<P: Memory> Drop for Thing<P> {
    fn drop(&mut self) {
        let b = 1;
    }
}
";

    fn mutants(edits: &[(&str, &str)]) -> Vec<Mutant> {
        let text: String = edits
            .iter()
            .enumerate()
            .map(|(n, (old, new))| format!("mutant m{n}\nin a.rs\nerr it is\n- {old}\n+ {new}\n"))
            .collect();
        parse("list", &text).unwrap_or_default()
    }

    #[test]
    fn a_function_asks_and_gets_a_twin() {
        let mutants = mutants(&[("a + 1", "a + 2"), ("let a = 1;", "let a = 2;")]);
        let numbered: Vec<_> = mutants.iter().enumerate().map(|(n, m)| (n + 1, m)).collect();
        let Ok((woven, alone)) = weave(FILE, &numbered) else { panic!("it can be woven") };
        assert!(alone.is_empty());
        assert!(woven.text.contains("if crate::chosen_mutant::is(1) { return free_mutant_1(a); }"));
        assert!(
            woven
                .text
                .contains("if crate::chosen_mutant::is(2) { return self.one_mutant_2::<C, F>(_ctx, f); }")
        );
        assert!(woven.text.contains("\nfn free_mutant_1(a: usize) -> usize {\na + 2\n}"));
        assert!(woven.text.contains("let a = 1;") && woven.text.contains("let a = 2;"));
        assert_eq!(woven.twins.len(), 2);
    }

    #[test]
    fn what_can_not_ask_is_built_alone() {
        let mutants = mutants(&[("7", "8"), ("let b = 1;", "let b = 2;")]);
        let numbered: Vec<_> = mutants.iter().enumerate().map(|(n, m)| (n + 1, m)).collect();
        let Ok((woven, alone)) = weave(FILE, &numbered) else { panic!("it can be woven") };
        assert_eq!(alone, [1, 2]);
        assert_eq!(woven.text, FILE);
    }
}
