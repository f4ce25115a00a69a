//! The progress bar, or plain lines where there is no terminal. All on standard error.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use standstill::invariants::Tally;
use standstill_torture::Progress as Counts;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Shows how far a run is.
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    began: Instant,
    length: Duration,
    next_line: Duration,
}

impl Progress {
    /// Of a run of `length`.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let plain = !stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(length.as_millis() as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:12} {wide_msg}") {
            bar.set_style(style);
        }
        Progress { bar, plain, began: Instant::now(), length, next_line: LINE_EVERY }
    }

    /// Shows the counts.
    pub fn show(&mut self, counts: &Counts, tally: &Tally) {
        let elapsed = self.began.elapsed();
        if !self.plain {
            self.bar.set_position(elapsed.min(self.length).as_millis() as u64);
            self.bar.set_message(line(elapsed, self.length, counts, tally));
        } else if elapsed >= self.next_line {
            self.next_line = elapsed + LINE_EVERY;
            standstill_io::note(&line(elapsed, self.length, counts, tally));
        }
    }

    /// Says something that stays.
    pub fn say(&self, text: &str) {
        if self.plain {
            standstill_io::note(text);
        } else {
            self.bar.println(text);
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn line(elapsed: Duration, length: Duration, counts: &Counts, tally: &Tally) -> String {
    format!(
        "{:>5.1} of {} s  {} calls, {} refused  {} down, {} up, {} online  drained {}  W {} L {} S {} O {} F {}",
        elapsed.as_secs_f64(),
        length.as_secs_f64(),
        counts.sent,
        counts.refused,
        counts.down,
        counts.up,
        counts.online,
        tally.drained,
        tally.late,
        tally.lost,
        tally.spurious,
        tally.outside,
        tally.frozen,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_all_the_counts() {
        let counts = Counts { sent: 123, ran: 120, refused: 3, down: 7, up: 6, online: 3, cycles: 1 };
        let mut tally = Tally::new();
        tally.late = 1;
        tally.drained = 9;
        let line = line(Duration::from_millis(1500), Duration::from_secs(10), &counts, &tally);
        assert_eq!(
            line,
            "  1.5 of 10 s  123 calls, 3 refused  7 down, 6 up, 3 online  drained 9  W 1 L 0 S 0 O 0 F 0"
        );
    }
}
