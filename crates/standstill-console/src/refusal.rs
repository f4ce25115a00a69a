//! [`Refusal`]: one line about a line that is no command.

use core::fmt;

/// How much of a word is repeated to the one who typed it.
const SHOWN: usize = 24;

/// A word, cut if it is long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By characters: `parse` is given any text, not only what the editor lets through.
        let mut shown = self.0.chars();
        write!(f, "`")?;
        for c in shown.by_ref().take(SHOWN) {
            write!(f, "{}", if c.is_control() { '?' } else { c })?;
        }
        if shown.next().is_some() {
            write!(f, "...")?;
        }
        write!(f, "`")
    }
}

/// Why a line is no command: the words say what is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal<'a> {
    /// There is no such command.
    Unknown(&'a str),
    /// The command takes no more words.
    Extra {
        /// The command.
        command: &'static str,
        /// How it is typed.
        usage: &'static str,
        /// The word that is too much.
        word: &'a str,
    },
    /// The command needs the number of a CPU.
    Cpu {
        /// The command.
        command: &'static str,
        /// What stands there.
        word: Option<&'a str>,
        /// How many CPUs there are.
        cpus: usize,
    },
    /// The command needs a whole number.
    Number {
        /// The command.
        command: &'static str,
        /// What stands there.
        word: Option<&'a str>,
        /// What the number counts.
        of: &'static str,
        /// The largest one.
        most: u64,
    },
    /// The command needs a state.
    State {
        /// The command.
        command: &'static str,
        /// What stands there.
        word: Option<&'a str>,
    },
}

/// ", not `x`", if there is a word.
struct Not<'a>(Option<&'a str>);

impl fmt::Display for Not<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |word| write!(f, ", not {}", Word(word)))
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Refusal::Unknown(word) => {
                write!(f, "there is no command {}; `help` lists what there is", Word(word))
            }
            Refusal::Extra { command, usage, word } => {
                write!(f, "`{command}` does not take {}; it is typed as `{usage}`", Word(word))
            }
            Refusal::Cpu { command, word, cpus } => write!(
                f,
                "`{command}` needs the number of a CPU, 0 to {}{}",
                cpus.saturating_sub(1),
                Not(word)
            ),
            Refusal::Number { command, word, of, most } => {
                write!(f, "`{command}` needs a number of {of}, 1 to {most}{}", Not(word))
            }
            Refusal::State { command, word } => write!(
                f,
                "`{command}` needs a state as `states` lists them (prepare/0, online/1, ...){}",
                Not(word)
            ),
        }
    }
}
