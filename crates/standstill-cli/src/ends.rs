//! When the watcher of a torture stops waiting for the machine: nothing that hangs keeps the command from its end.

use std::time::{Duration, Instant};

use standstill_torture::{Hang, Patience};

/// A workload that does one thing for so long hangs, and so does a machine that does not boot.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(30);
/// From when the workloads are told to end: so long, and not a minute.
pub(crate) const ENDS_WITHIN: Duration = Duration::from_secs(55);
/// Who was told to end by a signal, or has failed already and is to end at that, is not given longer.
const LET_GO_AFTER: Duration = Duration::from_secs(8);
/// A machine whose workloads have ended is switched off in this time.
const OFF_WITHIN: Duration = Duration::from_secs(20);

/// What is looked at.
pub(crate) trait Workloads {
    fn look(&self, patience: &mut Patience) -> Option<Hang>;
    fn give_up(&self, patience: &mut Patience) -> Option<Hang>;
    fn slowest(&self, patience: &mut Patience) -> Option<Hang>;
    fn is_ending(&self) -> bool;
}

/// Why the machine is not waited for any more.
#[derive(Debug)]
pub(crate) enum End {
    /// It hangs: in these words, and this workload.
    Hangs(String, Option<Hang>),
    /// It was to end at once, and this is what it was still about.
    LetGo(String),
}

/// For how long what has lasted.
pub(crate) struct Ends {
    began: Instant,
    ending: Option<Instant>,
    hurried: Option<Instant>,
    ended: Option<Instant>,
    patience: Patience,
}

impl Ends {
    pub(crate) fn new(now: Instant) -> Self {
        let limit = u64::try_from(HANGS_AFTER.as_nanos()).unwrap_or(u64::MAX);
        Ends { began: now, ending: None, hurried: None, ended: None, patience: Patience::new(limit) }
    }

    /// Looks, now and then. `hurry`: it is to end at once.
    pub(crate) fn look(&mut self, now: Instant, torture: Option<&dyn Workloads>, hurry: bool) -> Option<End> {
        let since = |event: &mut Option<Instant>, happened: bool| {
            if happened { now - *event.get_or_insert(now) } else { Duration::ZERO }
        };
        let hurried = since(&mut self.hurried, hurry) > LET_GO_AFTER;
        let Some(torture) = torture else {
            let words = format!("the machine has not booted for {} s", (now - self.began).as_secs());
            return match now - self.began > HANGS_AFTER {
                true => Some(End::Hangs(words, None)),
                false => hurried.then_some(End::LetGo(words)),
            };
        };
        if let Some(hang) = torture.look(&mut self.patience) {
            return Some(End::Hangs(hang.to_string(), Some(hang)));
        }
        let slowest = torture.slowest(&mut self.patience);
        let off = since(&mut self.ended, torture.is_ending() && slowest.is_none());
        if off > OFF_WITHIN {
            let words =
                format!("the workloads have ended, and the machine is not off after {} s", off.as_secs());
            return Some(End::Hangs(words, None));
        }
        let ending = since(&mut self.ending, torture.is_ending());
        if ending > ENDS_WITHIN && slowest.is_some() {
            let hang = torture.give_up(&mut self.patience);
            let last = hang.map_or_else(String::new, |hang| format!("; last of all, {hang}"));
            let words =
                format!("the workloads were told to end {} s ago, and have not{last}", ending.as_secs());
            return Some(End::Hangs(words, hang));
        }
        let about =
            slowest.map_or_else(|| "the machine is switched off".into(), |slowest| slowest.to_string());
        hurried.then_some(End::LetGo(about))
    }
}

#[cfg(test)]
mod tests {
    use standstill::CpuId;

    use super::*;

    /// A torture that gets on or does not.
    struct Fake {
        hangs: bool,
        ending: bool,
        runs: bool,
    }

    fn hang(waited_ns: u64) -> Hang {
        Hang {
            workload: "on/off",
            number: None,
            doing: "cpu_down",
            about: Some(CpuId::new(2)),
            cpu: CpuId::new(1),
            waited_ns,
            wait: None,
        }
    }

    impl Workloads for Fake {
        fn look(&self, _: &mut Patience) -> Option<Hang> {
            self.hangs.then(|| hang(31_000_000_000))
        }

        fn give_up(&self, patience: &mut Patience) -> Option<Hang> {
            self.slowest(patience)
        }

        fn slowest(&self, _: &mut Patience) -> Option<Hang> {
            self.runs.then(|| hang(1_000_000_000))
        }

        fn is_ending(&self) -> bool {
            self.ending
        }
    }

    const FINE: Fake = Fake { hangs: false, ending: false, runs: true };

    /// After how many seconds, and with what, the wait for `torture` ends; at most two hours.
    fn waits(torture: Option<&dyn Workloads>, hurry: bool) -> Option<(u64, End)> {
        let now = Instant::now();
        let mut ends = Ends::new(now);
        (0..7200).find_map(|s| Some((s, ends.look(now + Duration::from_secs(s), torture, hurry)?)))
    }

    #[test]
    fn who_gets_on_is_waited_for() {
        assert!(waits(Some(&FINE), false).is_none());
    }

    #[test]
    fn whatever_hangs_it_ends_in_a_minute_and_says_what() {
        let said = |torture: Option<&dyn Workloads>, words: &str| match waits(torture, false) {
            Some((s, End::Hangs(said, _))) => {
                assert!(s < 60, "{s}");
                assert!(said.contains(words), "{said}");
            }
            other => panic!("{words}: {other:?}"),
        };
        said(None, "not booted for 31 s");
        said(
            Some(&Fake { hangs: true, ..FINE }),
            "workload on/off hangs on CPU 1: cpu_down of CPU 2, no progress for 31 s",
        );
        said(
            Some(&Fake { ending: true, ..FINE }),
            "told to end 56 s ago, and have not; last of all, workload on/off",
        );
        said(Some(&Fake { ending: true, runs: false, ..FINE }), "not off after 21 s");
    }

    #[test]
    fn who_is_in_a_hurry_waits_for_seconds() {
        for torture in [None, Some(&FINE as &dyn Workloads)] {
            let Some((9, End::LetGo(about))) = waits(torture, true) else { panic!("it is let go after 8 s") };
            assert!(about.contains("on/off") || about.contains("booted"), "{about}");
        }
    }
}
