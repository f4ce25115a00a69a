//! The kernel's console as scripts see it: what is typed comes from a pipe, and its end ends the machine.

use crate::kernel::{DONE, End, console};
use crate::run::{Outcome, Steps, fail};

/// What a script leaves in which a line was refused.
const REFUSED: i32 = 2;

/// What is typed, what the command ends with, and what it prints, in this order.
struct Script {
    what: &'static str,
    lines: &'static [&'static str],
    code: i32,
    prints: &'static [&'static str],
}

/// In `lines`, the first ones are those that the port once lost.
const SCRIPTS: &[Script] = &[
    Script {
        what: "a script ends with `exit`",
        lines: &["cpus", "down 2", "exit", "up 2"],
        code: DONE,
        prints: &["> cpus\nCPU 0: active", "> down 2\n", "CPU 2 is offline (present) after", "> exit\n"],
    },
    Script {
        what: "a script ends with its last line",
        lines: &["down 1", "up 1"],
        code: DONE,
        prints: &["> down 1\n", "CPU 1 is offline", "> up 1\n", "CPU 1 is active (active)", "> \n"],
    },
    Script {
        what: "a line that is refused fails the script, and the next one runs",
        lines: &["cycle 1 -5", "torture 99999999999999999999", "fr\u{fc}eze 1", "cycle 2 3"],
        code: REFUSED,
        prints: &[
            "`cycle` needs a number of times, 1 to 1000000, not `-5`\n",
            "`torture` needs a number of seconds, 1 to 604800, not `99999999999999999999`\n",
            "the byte 0xc3",
            "3 cycles of CPU 2\n",
        ],
    },
    Script {
        what: "a second torture counts for itself",
        lines: &["torture 1", "torture 1", "bench", "torture 1"],
        code: DONE,
        prints: &["torture: pass\n", "torture: pass\n", "> bench", "@end", "torture: pass\n"],
    },
    Script {
        what: "a failure that was asked for strikes no torture and no bench",
        lines: &["fail 1 online/1", "fail 2 prepare/0", "torture 1", "fail 1 online/1", "bench", "down 1"],
        code: DONE,
        prints: &[
            "CPU 1 in online/1 that `fail` asked for is taken back",
            "CPU 2 in prepare/0 that `fail` asked for is taken back",
            "torture: pass\n",
            "CPU 1 in online/1 that `fail` asked for is taken back",
            "@end",
            "CPU 1 is offline (present)",
        ],
    },
];

/// Runs them.
pub(crate) fn all(steps: &mut Steps) {
    for script in SCRIPTS {
        steps.run(&format!("kernel: {}", script.what), || run(script));
    }
}

fn run(script: &Script) -> Outcome {
    let (code, text) = console(script.lines, End::Follows)?;
    match missing(&text, script.prints) {
        None if code == script.code => Ok(format!("exit {code}")),
        None => fail(format!("ended with {code}, not with {}, and this:\n{text}", script.code)),
        Some(words) => fail(format!("ended with {code}, and where is {words:?} in this:\n{text}")),
    }
}

/// The first of `wanted` that does not follow the ones before it.
fn missing<'a>(text: &str, wanted: &[&'a str]) -> Option<&'a str> {
    let mut rest = text;
    for words in wanted {
        match rest.split_once(words) {
            Some((_, after)) => rest = after,
            None => return Some(words),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_another_order_are_missed() {
        assert_eq!(missing("one two three", &["one", "three"]), None);
        assert_eq!(missing("one two three", &["three", "one"]), Some("one"));
        assert_eq!(missing("one", &["one", "one"]), Some("one"));
    }
}
