//! [`Editor`]: a line from bytes, with what is to be echoed.

use core::fmt;

use crate::END_OF_INPUT;

/// The longest line.
pub const MAX_LINE: usize = 128;

const CTRL_C: u8 = 3;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const ESCAPE: u8 = 27;
const DELETE: u8 = 127;

/// What follows from a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// The character belongs to the line and is shown.
    Echo(char),
    /// The last character is gone.
    Erase,
    /// The line is complete: [`Editor::line`] has it.
    Line,
    /// The line was thrown away.
    Drop,
    /// The input ends: what is in the line is the last one.
    End,
    /// There is nothing to show.
    Nothing,
}

/// Why a line can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// It is longer than [`MAX_LINE`].
    Long,
    /// It holds a byte that is no printable ASCII character.
    Byte(u8),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Long => write!(f, "the line was not read: it has more than {MAX_LINE} characters"),
            Unfit::Byte(byte) => write!(
                f,
                "the line was not read: it holds the byte {byte:#04x}, and commands are printable ASCII"
            ),
        }
    }
}

/// How much of an escape sequence was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Escape {
    None,
    /// The escape.
    Begun,
    /// `ESC [`: parameters follow, then one character that ends it.
    Parameters,
}

/// The line that is typed.
///
/// A line with a byte that does not belong there is refused as a whole: without the byte it could be
/// another command.
#[derive(Debug)]
pub struct Editor {
    line: [u8; MAX_LINE],
    length: usize,
    unfit: Option<Unfit>,
    escape: Escape,
    /// The last byte was a carriage return: a line feed behind it ends the same line.
    after_return: bool,
}

impl Editor {
    /// With an empty line.
    #[must_use]
    pub const fn new() -> Self {
        Editor { line: [0; MAX_LINE], length: 0, unfit: None, escape: Escape::None, after_return: false }
    }

    /// Takes the next byte.
    pub fn take(&mut self, byte: u8) -> Key {
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        match byte {
            b'\n' if after_return => return Key::Nothing,
            b'\r' | b'\n' => {
                self.escape = Escape::None;
                return Key::Line;
            }
            _ => {}
        }
        if self.escape != Escape::None {
            return self.in_escape(byte);
        }
        match byte {
            END_OF_INPUT => Key::End,
            ESCAPE => {
                self.escape = Escape::Begun;
                Key::Nothing
            }
            CTRL_C | CTRL_U => {
                self.clear();
                Key::Drop
            }
            BACKSPACE | DELETE => self.erase(),
            b'\t' => self.push(b' '),
            b' '..=b'~' => self.push(byte),
            _ => {
                self.unfit.get_or_insert(Unfit::Byte(byte));
                Key::Nothing
            }
        }
    }

    /// Arrows and function keys mean nothing here, and are no part of the line either.
    fn in_escape(&mut self, byte: u8) -> Key {
        self.escape = match (self.escape, byte) {
            (Escape::Begun, b'[' | b'O') => Escape::Parameters,
            (Escape::Parameters, b' '..=b'?') => Escape::Parameters,
            _ => Escape::None,
        };
        Key::Nothing
    }

    fn push(&mut self, byte: u8) -> Key {
        if self.length == MAX_LINE {
            self.unfit.get_or_insert(Unfit::Long);
            return Key::Nothing;
        }
        self.line[self.length] = byte;
        self.length += 1;
        Key::Echo(char::from(byte))
    }

    fn erase(&mut self) -> Key {
        if self.length == 0 {
            return Key::Nothing;
        }
        self.length -= 1;
        Key::Erase
    }

    /// What was typed since the line began.
    ///
    /// # Errors
    /// What of it can't be read.
    pub fn line(&self) -> Result<&str, Unfit> {
        match self.unfit {
            Some(unfit) => Err(unfit),
            // Only printable ASCII was pushed.
            None => core::str::from_utf8(&self.line[..self.length]).map_err(|_| Unfit::Long),
        }
    }

    /// Was anything typed since the line began?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0 && self.unfit.is_none()
    }

    /// Begins a new line.
    pub fn clear(&mut self) {
        self.length = 0;
        self.unfit = None;
    }
}

impl Default for Editor {
    fn default() -> Self {
        Self::new()
    }
}
