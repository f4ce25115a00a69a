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

/// A B A B, so that a change of the host's mood hits both; the rules come last. But where there is one round, Linux does: it takes longest, and may use up what
/// is left of the time.
pub(super) fn turns(cpus: &[usize], rounds: usize, with_linux: bool) -> Vec<Turn> {
    let mut turns = Vec::new();
    for &cpus in cpus {
        if cpus >= MANY {
            for (system, rules) in
                [(System::Standstill, false), (System::Standstill, true), (System::Linux, false)]
            {
                if with_linux || system == System::Standstill {
                    turns.push(Turn { cpus, round: 1, system, rules });
                }
            }
            continue;
        }
        for round in 1..=rounds {
            for system in [System::Linux, System::Standstill] {
                if with_linux || system == System::Standstill {
                    turns.push(Turn { cpus, round, system, rules: false });
                }
            }
        }
        turns.push(Turn { cpus, round: 1, system: System::Standstill, rules: true });
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
        // A thread that runs on every CPU of a crowded machine makes each stop last for rounds of the host's scheduler.
        let long = |few| match (many, rules) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => few,
        };
        Counts(vec![
            ("calls", pick(200, 10_000, crowd(2_000, 500))),
            ("stops", pick(50, 10_000, (1_600 / cpus).max(30))),
            ("updown", pick(5, 50, (160 / cpus).max(8))),
            // For Linux each turn is a down and an up of each CPU.
            ("together", pick(1, 5, crowd(3, 1))),
            ("slices", pick(3, 20, crowd(10, 5))),
            ("watched", if rules && !fits { 0 } else { long(pick(3, 1_000, (40 / cpus).max(3))) }),
            ("looks", pick(3, 50, crowd(10, 3))),
            ("probe_us", pick(5_000, 250, crowd(5_000, 20_000))),
            ("loaded", long(pick(2, 50, (24 / cpus).max(2)))),
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
    fn systems_take_turns_and_the_rules_come_last() {
        let turns = turns(&[2, 64], 3, true);
        let of_two: Vec<_> = turns.iter().filter(|t| t.cpus == 2).map(|t| (t.system, t.rules)).collect();
        let pair = [(System::Linux, false), (System::Standstill, false)];
        assert_eq!(of_two, [&pair[..], &pair, &pair, &[(System::Standstill, true)]].concat());
        let of_many: Vec<_> = turns.iter().filter(|t| t.cpus == 64).map(|t| (t.system, t.rules)).collect();
        let [linux, ours] = pair;
        assert_eq!(of_many, [ours, (System::Standstill, true), linux]);
    }

    #[test]
    fn a_machine_that_fits_gets_ten_thousand_samples() {
        assert!(Counts::of(2, 2, false, false).words("bench").contains(" bench.stops=10000 "));
        assert!(Counts::of(8, 2, false, false).words("x").contains(" x.stops=200 "));
        assert!(Counts::of(64, 2, false, false).words("x").contains(" x.watched=1 "));
        assert!(Counts::of(64, 2, false, true).words("x").contains(" x.watched=0 "));
    }
}
