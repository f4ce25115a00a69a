//! One short line from any text.

use std::fmt::Write as _;
use std::path::Path;

/// The longest error, in bytes, its end of line included.
pub const LONGEST: usize = 300;
/// The longest piece of somebody else's text within an error, in bytes.
const QUOTED: usize = 80;
/// What stands for the middle of a text that is too long.
const CUT: &str = "...";

/// Does a terminal act on it, or a reader lose the line? Controls, ends of line, and what turns the direction round.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with each such character as `\u{1b}`, so that it is one line and no terminal acts on it.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            // Writing to a string can't fail.
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The largest place at or before `at` between two characters.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The text, at most `most` bytes of it: the beginning and the end, if it is longer.
fn cut(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let room = most.saturating_sub(CUT.len());
    let begin = boundary(&text, room * 2 / 3);
    let end = (text.len() - (room - begin)..=text.len()).find(|at| text.is_char_boundary(*at));
    format!("{}{CUT}{}", &text[..begin], &text[end.unwrap_or(text.len())..])
}

/// Somebody else's text within an error: escaped, and cut if it is long.
#[must_use]
pub fn quote(text: &str) -> String {
    // What is cut need not be escaped first: a hundred kilobytes would become six hundred.
    cut(escape(&cut(text.to_string(), 4 * QUOTED)), QUOTED)
}

/// A path within an error.
#[must_use]
pub fn path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// An error as it is printed: escaped, and at most [`LONGEST`] bytes with its end of line.
#[must_use]
pub fn one_line(text: &str) -> String {
    cut(escape(&cut(text.trim_end().to_string(), 4 * LONGEST)), LONGEST - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_shown() {
        assert_eq!(escape("a\x1b[31mb\nc\u{202e}d\u{9b}é"), "a\\u{1b}[31mb\\nc\\u{202e}d\\u{9b}é");
    }

    #[test]
    fn long_texts_keep_both_ends() {
        let long = format!("begin{}end", "x".repeat(100_000));
        let short = quote(&long);
        assert!(short.len() <= QUOTED && short.starts_with("begin") && short.ends_with("end"), "{short}");
        assert_eq!(quote("short"), "short");
    }

    #[test]
    fn a_line_is_one_line_and_short_whatever_is_in_it() {
        for text in ["\x1b".repeat(100_000), "é\u{2028}".repeat(999), "\n\n".into(), String::new()] {
            let line = one_line(&text);
            assert!(line.len() < LONGEST && line.lines().count() <= 1, "{line}");
            assert!(!line.chars().any(is_unsafe), "{line}");
        }
        assert_eq!(one_line("as it is\n"), "as it is");
    }
}
