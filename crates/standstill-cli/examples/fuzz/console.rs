//! What is typed on the kernel's console, without the kernel: the same editor and the same parser.

use standstill_console::{Editor, Key, parse};

use crate::damage::{NUMBERS, strange};
use crate::rng::Rng;

/// How much is typed in one case.
pub(crate) const TYPED: usize = 1024;

const WORDS: [&str; 18] = [
    "help",
    "cpus",
    "up",
    "down",
    "cycle",
    "states",
    "fill",
    "fail",
    "log",
    "torture",
    "bench",
    "panic",
    "hang",
    "freeze",
    "lost",
    "watchdog",
    "exit",
    "prepare/0",
];

/// What is typed.
pub(crate) fn typed(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < TYPED {
        match rng.below(10) {
            0..4 => bytes.extend(rng.pick(&WORDS).bytes()),
            4..6 => bytes.extend(rng.pick(&NUMBERS).bytes()),
            6 => bytes.extend(strange(rng).into_iter().take(TYPED)),
            7 => bytes.push(*rng.pick(&[8, 127, 4, 3, 21, 27, b'\r', b'\n'])),
            _ => bytes.push(*rng.pick(b" \n")),
        }
        if rng.chance(60) {
            bytes.push(b' ');
        }
    }
    bytes.truncate(TYPED);
    bytes
}

/// Types it: what must not be, if there is any of it.
pub(crate) fn run(bytes: &[u8]) -> Option<String> {
    let mut editor = Editor::new();
    for byte in bytes {
        let key = editor.take(*byte);
        if let Key::Echo(c) = key
            && c.is_control()
        {
            return Some(format!("the character {c:?} is echoed"));
        }
        if !matches!(key, Key::Line | Key::End) {
            continue;
        }
        for cpus in [1, 4, 64] {
            let answer = match editor.line() {
                Ok(line) => parse(line, cpus).err().map(|refusal| refusal.to_string()),
                Err(unfit) => Some(unfit.to_string()),
            };
            let bad = |text: &String| text.len() >= 300 || text.chars().any(char::is_control);
            if let Some(answer) = answer.filter(bad) {
                return Some(format!("an answer of {} bytes: {answer:?}", answer.len()));
            }
        }
        editor.clear();
    }
    None
}
