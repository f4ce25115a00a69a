//! Files that are nearly what they should be.

use crate::rng::Rng;

/// Numbers at which something may overflow, and some that are none.
pub(crate) const NUMBERS: [&str; 20] = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "8",
    "9",
    "64",
    "255",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "99999999999999999999999999999999999999999",
];

/// What a terminal acts on, what is no text, and what is long.
pub(crate) fn strange(rng: &mut Rng) -> Vec<u8> {
    match rng.below(7) {
        0 => b"\x1b]0;title\x07\x1b[2J".to_vec(),
        1 => b"\xff\xfe\x80".to_vec(),
        2 => vec![0; 1 + rng.below(9)],
        3 => "\u{202e}\u{2028}é\u{9b}".as_bytes().to_vec(),
        4 => vec![b'x'; 100_000],
        5 => b"\r\n\n\t".to_vec(),
        _ => (0..1 + rng.below(40)).map(|_| rng.next() as u8).collect(),
    }
}

/// `text` with some damage; `others` are files whose pieces may get in.
pub(crate) fn damage(rng: &mut Rng, text: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..1 + rng.below(3) {
        once(rng, &mut bytes, others);
    }
    bytes
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    if bytes.is_empty() {
        bytes.extend(strange(rng));
    }
    let at = rng.below(bytes.len());
    match rng.below(10) {
        0 => {
            for _ in 0..1 + rng.below(8) {
                let at = rng.below(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
        }
        1 => bytes.truncate(at),
        2 => {
            // A piece of this file, or of another one, somewhere else.
            let from = if rng.chance(50) { rng.pick(others).clone() } else { bytes.clone() };
            let begin = rng.below(from.len().max(1));
            let end = (begin + 1 + rng.below(400)).min(from.len());
            bytes.splice(at..at, from[begin.min(end)..end].iter().copied());
        }
        3 | 4 => number(rng, bytes),
        5 => lines(rng, bytes),
        6 => {
            bytes.splice(at..at, strange(rng));
        }
        7 => {
            let end = (at + 1 + rng.below(60)).min(bytes.len());
            bytes.drain(at..end);
        }
        8 => bytes.extend(strange(rng)),
        _ => bytes[at] = *rng.pick(b"0123456789abcdef \n{}[]\",:-"),
    }
}

/// Another number instead of one.
fn number(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let digits: Vec<usize> = (0..bytes.len().min(1 << 16)).filter(|at| bytes[*at].is_ascii_digit()).collect();
    if digits.is_empty() {
        return;
    }
    let begin = *rng.pick(&digits);
    let len = bytes[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(begin..begin + len, rng.pick(&NUMBERS).bytes());
}

/// A line twice, gone, or in another place.
fn lines(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let (one, other) = (rng.below(lines.len()), rng.below(lines.len()));
    match rng.below(3) {
        0 => lines.swap(one, other),
        1 => lines.insert(one, lines[other]),
        _ => {
            lines.remove(one);
        }
    }
    *bytes = lines.concat();
}
