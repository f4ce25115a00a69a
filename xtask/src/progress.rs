//! How far a command is: a bar, or a line now and then where there is no terminal.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines.
const PLAIN: Duration = Duration::from_secs(10);

/// Some steps, which may be taken by many threads.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Plain { what: &'static str, steps: usize, began: Instant, said: Mutex<Said> },
}

/// What the plain lines have said.
pub(crate) struct Said {
    done: usize,
    next: Duration,
}

impl Said {
    /// One more step is done, after this time: how many there are then, if that is to be said.
    fn step(&mut self, after: Duration, steps: usize) -> Option<usize> {
        self.done += 1;
        if after < self.next && self.done < steps {
            return None;
        }
        self.next = after + PLAIN;
        Some(self.done)
    }
}

impl Progress {
    pub(crate) fn new(what: &'static str, steps: usize) -> Self {
        if !stderr().is_terminal() {
            let said = Mutex::new(Said { done: 0, next: PLAIN });
            return Progress::Plain { what, steps, began: Instant::now(), said };
        }
        let bar = ProgressBar::new(steps as u64).with_prefix(what);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:12} {pos}/{len} {elapsed} {wide_msg}")
        {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    /// What is done at this moment.
    pub(crate) fn show(&self, what: &str) {
        match self {
            Progress::Bar(bar) => bar.set_message(what.to_string()),
            Progress::Plain { .. } => eprintln!("{what}"),
        }
    }

    /// Something that stays.
    pub(crate) fn say(&self, text: &str) {
        match self {
            Progress::Bar(bar) => bar.println(text),
            Progress::Plain { .. } => eprintln!("{text}"),
        }
    }

    /// One step is done.
    pub(crate) fn step(&self) {
        match self {
            Progress::Bar(bar) => bar.inc(1),
            Progress::Plain { what, steps, began, said } => {
                let after = began.elapsed();
                if let Ok(mut said) = said.lock()
                    && let Some(done) = said.step(after, *steps)
                {
                    eprintln!("{what}: {done} of {steps}, {} s", after.as_secs());
                }
            }
        }
    }

    /// All are done.
    pub(crate) fn clear(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_now_and_then_and_one_at_the_end() {
        let mut said = Said { done: 0, next: PLAIN };
        let lines: Vec<_> =
            [1, 5, 11, 12, 20, 22, 23].map(|second| said.step(Duration::from_secs(second), 7)).to_vec();
        assert_eq!(lines, [None, None, Some(3), None, None, Some(6), Some(7)]);
    }
}
