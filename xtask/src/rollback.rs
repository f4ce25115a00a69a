//! A failure in each state where a walk may fail, up and down, on the kernel's console; its log tells how each was undone.

use std::fs;

use standstill::hotplug::{Section, StateId};

use crate::kernel::{DONE, End, console};
use crate::run::{Outcome, fail, target_dir};

/// The way that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Up,
    Down,
}

impl Way {
    fn command(self) -> &'static str {
        match self {
            Way::Up => "up 2",
            Way::Down => "down 2",
        }
    }

    /// How a CPU that is back where it began is described: its state, and the innermost mask that has it.
    fn back(self) -> &'static str {
        match self {
            Way::Up => "everything was undone; CPU 2 is offline (present)",
            Way::Down => "everything was undone; CPU 2 is active (active)",
        }
    }
}

/// Every failure there can be: all on the way up, and those of the ONLINE section on the way down.
fn failures() -> Vec<(StateId, Way)> {
    let states = || (0..StateId::COUNT).filter_map(StateId::from_index).filter(|state| state.can_fail());
    let down = states().filter(|state| state.section() == Some(Section::Online));
    states().map(|state| (state, Way::Up)).chain(down.map(|state| (state, Way::Down))).collect()
}

/// Makes each of them happen on a CPU whose state table is full.
pub(crate) fn all() -> Outcome {
    let failures = failures();
    let mut lines = vec!["fill".to_string(), "down 2".into()];
    let mut last = Way::Up;
    for (state, way) in &failures {
        if last != *way {
            lines.push(last.command().into());
        }
        last = *way;
        lines.extend([format!("fail 2 {state}"), way.command().into()]);
    }
    lines.push("exit".into());
    let (code, text) = console(&lines.iter().map(String::as_str).collect::<Vec<_>>(), End::Follows)?;
    let log = target_dir().join("rollbacks.log");
    if let Err(error) = fs::write(&log, &text) {
        return fail(format!("{}: {error}", log.display()));
    }
    if code != DONE {
        return fail(format!("the console ended with {code}: see {}", log.display()));
    }
    let mut undone = 0;
    for (state, way) in failures.iter().copied() {
        match look(&text, &state.to_string(), way) {
            Ok(callbacks) => undone += callbacks,
            Err(why) => return fail(format!("{state} {way:?}: {why}: see {}", log.display())),
        }
    }
    Ok(format!("{} failures, {undone} callbacks undone: see {}", failures.len(), log.display()))
}

/// Looks at the log of the walk that failed in `state`: all that was called was undone, in reverse order, and the CPU is where it was.
/// Returns how many callbacks that were.
fn look(log: &str, state: &str, way: Way) -> Result<usize, String> {
    let armed = format!("the next walk of CPU 2 through {state} fails there");
    let command = format!("> {}", way.command());
    // The same state may be armed twice: first for the way up, then for the way down.
    let (_, walk) = log
        .match_indices(&armed)
        .filter_map(|(at, _)| log[at + armed.len()..].trim_start().split_once('\n'))
        .find(|(line, _)| line.trim() == command)
        .ok_or("it was not made to fail")?;
    let (mut done, mut undone, mut struck) = (Vec::new(), Vec::new(), false);
    for line in walk.lines().map(str::trim) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            // CPU 2: Up online/1 workers
            ["CPU", "2:", "Up" | "Down" | "RollbackUp" | "RollbackDown", at, ..] => {
                if struck { &mut undone } else { &mut done }.push(at);
            }
            // The one that failed was not called.
            [at, "Injected"] if at == state && done.pop() == Some(state) => struck = true,
            _ if line.ends_with(way.back()) && struck => {
                done.reverse();
                let count = undone.len();
                return if done == undone {
                    Ok(count)
                } else {
                    Err(format!("{undone:?} was undone, and not {done:?}"))
                };
            }
            _ => return Err(format!("unexpected: '{line}'")),
        }
    }
    Err("the log ends too early".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: &str = "> fail 2 online/1\nthe next walk of CPU 2 through online/1 fails there\n> up 2\n  CPU 2: Up prepare/0 memory\n  CPU 2: Up online/0 caches\n  CPU 2: Up online/1 workers\n    online/1 Injected\n";
    const END: &str = "CPU 2: workers refused; everything was undone; CPU 2 is offline (present)\n";
    const BACK: [&str; 2] =
        ["  CPU 2: RollbackDown online/0 caches\n", "  CPU 2: RollbackDown prepare/0 memory\n"];

    #[test]
    fn a_rollback_in_reverse_order_is_seen() {
        let log = format!("{UP}{}{}{END}", BACK[0], BACK[1]);
        assert_eq!(look(&log, "online/1", Way::Up), Ok(2));
        assert!(look(&log, "online/1", Way::Down).is_err(), "it was not made to fail on that way");
        assert!(look(&log, "online/2", Way::Up).is_err());
    }

    #[test]
    fn a_wrong_order_a_missing_step_and_a_wrong_end_are_found() {
        for log in [
            format!("{UP}{}{}{END}", BACK[1], BACK[0]),
            format!("{UP}{}{END}", BACK[0]),
            format!("{UP}{}{}{}", BACK[0], BACK[1], END.replace("(present)", "(online)")),
            format!("{UP}{}{}", BACK[0], BACK[1]),
            format!("{}{}{}{END}", UP.replace("    online/1 Injected\n", ""), BACK[0], BACK[1]),
        ] {
            assert!(look(&log, "online/1", Way::Up).is_err(), "{log}");
        }
    }

    #[test]
    fn every_state_that_can_fail_is_in_the_list() {
        let count = |wanted| failures().iter().filter(|(_, way)| *way == wanted).count();
        assert_eq!((count(Way::Up), count(Way::Down)), (16 + 32, 32));
    }
}
