//! How far a search is: a line that changes, or plain lines where there is no terminal. All on standard error.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use standstill_model::Progress;

use crate::check_words::thousands;

/// Between two plain lines, and between two changes of the line.
const PLAIN: Duration = Duration::from_secs(2);
const DRAWN: Duration = Duration::from_millis(100);

/// Shows how far a search is.
pub(crate) struct CheckProgress {
    bar: ProgressBar,
    plain: bool,
    began: Instant,
    next: Duration,
}

impl CheckProgress {
    pub(crate) fn new() -> Self {
        let plain = !stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        CheckProgress { bar, plain, began: Instant::now(), next: if plain { PLAIN } else { DRAWN } }
    }

    pub(crate) fn show(&mut self, now: &Progress) {
        self.show_as("", now);
    }

    /// One of several searches.
    pub(crate) fn show_as(&mut self, name: &str, now: &Progress) {
        let elapsed = self.began.elapsed();
        // What has no numbers only asks whether to go on.
        if elapsed < self.next || now.steps == 0 {
            return;
        }
        self.next = elapsed + if self.plain { PLAIN } else { DRAWN };
        let line = format!("{name}{}", line(now));
        if self.plain {
            standstill_io::note(&line);
        } else {
            self.bar.set_message(line);
            self.bar.tick();
        }
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn line(now: &Progress) -> String {
    let seconds = now.time_ns as f64 / 1e9;
    let rate = if seconds > 0.0 { now.steps as f64 / seconds } else { 0.0 };
    let runs = if now.runs > 0 { format!("{} runs, ", thousands(now.runs)) } else { String::new() };
    format!(
        "{seconds:.1} s  {runs}{} states, {} steps, {:.1} M steps/s, depth {}",
        thousands(now.states),
        thousands(now.steps),
        rate / 1e6,
        now.depth
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_states_rate_and_depth() {
        let now = Progress { states: 12_345, steps: 6_000_000, runs: 0, depth: 74, time_ns: 2_000_000_000 };
        assert_eq!(line(&now), "2.0 s  12,345 states, 6,000,000 steps, 3.0 M steps/s, depth 74");
    }
}
