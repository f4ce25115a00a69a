//! Which machines run in which order, and how often each thing is measured.

use super::boot::System;

/// From so many CPUs on there is one round: Linux takes minutes.
const MANY: usize = 32;

/// One machine.
pub(super) struct Turn {
    pub(super) cpus: usize,
    pub(super) round: usize,
    pub(super) system: System,
    /// With every rule on; not timed against Linux.
    pub(super) rules: bool,
}

/// Round by round, so that a run whose time is over has all sizes; and Linux and ours in turn, so that a change of the host's mood hits both. At the end of
/// the first round of a size come the rules. But where there is one round, Linux comes last: it takes longest.
pub(super) fn turns(cpus: &[usize], rounds: usize, with_linux: bool) -> Vec<Turn> {
    const LINUX: (System, bool) = (System::Linux, false);
    const OURS: (System, bool) = (System::Standstill, false);
    const RULES: (System, bool) = (System::Standstill, true);
    let mut turns = Vec::new();
    for round in 1..=rounds {
        for &cpus in cpus {
            let order: &[(System, bool)] = match (cpus >= MANY, round) {
                (false, 1) => &[LINUX, OURS, RULES],
                (false, _) => &[LINUX, OURS],
                (true, 1) => &[OURS, RULES, LINUX],
                (true, _) => &[],
            };
            let order = order.iter().filter(|(system, _)| with_linux || *system == System::Standstill);
            turns.extend(order.map(|&(system, rules)| Turn { cpus, round, system, rules }));
        }
    }
    turns
}

/// How often each thing is measured, the same in both systems.
pub(super) struct Counts(Vec<(&'static str, usize)>);

impl Counts {
    /// For a machine of `cpus` on a host of `cores`. With `rules` it is not timed, so what takes long is left out where there are many CPUs.
    pub(super) fn of(cpus: usize, cores: usize, quick: bool, rules: bool) -> Self {
        let (fits, many) = (cpus <= cores, cpus >= MANY);
        let pick = |quickly, fitting, crowded| match (quick, fits) {
            (true, _) => quickly,
            (false, true) => fitting,
            (false, false) => crowded,
        };
        let crowd = |few, least| if many { least } else { few };
        Counts(vec![
            ("calls", pick(200, 10_000, crowd(2_000, 500))),
            ("stops", pick(50, 10_000, crowd(1_600 / cpus, 12))),
            ("updown", pick(5, 50, crowd(160 / cpus, 4))),
            // For Linux each turn is a down and an up of each CPU.
            ("together", pick(1, 5, crowd(3, 1))),
            ("slices", pick(3, 20, crowd(10, 5))),
            // A thread that never rests on every CPU of a crowded machine makes a stop last for rounds of the host's scheduler, and with many CPUs
            // for a minute.
            ("watched", if rules && !fits { 0 } else { pick(3, 1_000, crowd((40 / cpus).max(3), 0)) }),
            ("looks", pick(3, 50, crowd(10, 3))),
            ("probe_us", pick(5_000, 250, crowd(5_000, 20_000))),
            ("loaded", if rules && many { 0 } else { pick(2, 50, crowd((24 / cpus).max(2), 1)) }),
        ])
    }

    /// As words of a kernel's command line.
    pub(super) fn words(&self, prefix: &str) -> String {
        self.0.iter().map(|(name, count)| format!(" {prefix}.{name}={count}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_come_one_after_the_other_and_systems_take_turns() {
        let turns: Vec<_> =
            turns(&[2, 64], 2, true).iter().map(|t| (t.cpus, t.round, t.system, t.rules)).collect();
        let (linux, ours) = (System::Linux, System::Standstill);
        assert_eq!(
            turns,
            [
                (2, 1, linux, false),
                (2, 1, ours, false),
                (2, 1, ours, true),
                (64, 1, ours, false),
                (64, 1, ours, true),
                (64, 1, linux, false),
                (2, 2, linux, false),
                (2, 2, ours, false),
            ]
        );
    }

    #[test]
    fn without_linux_the_others_stay() {
        assert!(turns(&[2, 64], 3, false).iter().all(|turn| turn.system == System::Standstill));
        assert_eq!(turns(&[2, 64], 3, false).len(), 6);
    }

    #[test]
    fn a_machine_that_fits_gets_ten_thousand_samples() {
        assert!(Counts::of(2, 2, false, false).words("bench").contains(" bench.stops=10000 "));
        assert!(Counts::of(8, 2, false, false).words("x").contains(" x.stops=200 "));
        let many = |rules| Counts::of(64, 2, false, rules).words("x");
        assert!(many(false).contains(" x.watched=0 ") && many(true).contains(" x.watched=0 "));
        assert!(many(false).ends_with(" x.loaded=1") && many(true).ends_with(" x.loaded=0"));
    }
}
