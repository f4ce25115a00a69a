//! Pass or fail, and why.

use standstill::invariants::Tally;
use standstill::{Property, Protocol};
use standstill_torture::Report;

use crate::json::Verdict;

/// What decides about a run.
pub struct Findings<'a> {
    /// How CPUs left.
    pub protocol: Protocol,
    /// What the events show.
    pub tally: &'a Tally,
    /// What the workloads found.
    pub report: &'a Report,
    /// How often rules on events were broken.
    pub rules_broken: u64,
    /// Events that the rules did not see.
    pub missed: u64,
    /// The run was cut short, or it hangs.
    pub cut_short: bool,
    /// The run did not end.
    pub hangs: bool,
}

impl Findings<'_> {
    /// Everything that is wrong, most important first, in plain words. Empty: pass.
    ///
    /// A late or lost call is a failure for every protocol: whoever sends a call that is accepted must be able to rely on
    /// it, and a protocol that does not promise so is what the torture is there to show. The other three properties count where
    /// they are promised.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for property in Property::ALL {
            let count = self.tally.count(property);
            let promised = self.protocol.promises().contains(&property);
            if count > 0 && (promised || matches!(property, Property::Late | Property::Lost)) {
                wrong.push(format!(
                    "{count} {}{}",
                    phrase(property),
                    if promised { ", and that was promised not to happen" } else { "" }
                ));
            }
        }
        for rule in self.report.rules.iter().filter(|rule| rule.broken > 0) {
            wrong.push(format!("the torture's rule `{}` was broken {} times", rule.id, rule.broken));
        }
        if self.rules_broken > 0 {
            wrong.push(format!("rules on events were broken {} times", self.rules_broken));
        }
        if self.missed > 0 {
            wrong.push(format!(
                "{} events came too fast for the rules, so nobody knows whether they hold",
                self.missed
            ));
        }
        if self.hangs {
            wrong.push("the machine hangs".into());
        }
        wrong
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.wrong().is_empty(), self.cut_short) {
            (false, _) => Verdict::Fail,
            (true, true) => Verdict::Incomplete,
            (true, false) => Verdict::Pass,
        }
    }
}

/// What it means that a property did not hold.
#[must_use]
pub fn phrase(property: Property) -> &'static str {
    match property {
        Property::Late => "calls were found by a handler when their CPU was offline (late, W)",
        Property::Lost => "accepted calls never ran (lost, L)",
        Property::Spurious => "IPIs were taken on an offline CPU (spurious, S)",
        Property::Outside => "calls ran on a CPU outside the online mask (outside, O)",
        Property::Frozen => "calls of other CPUs ran while the machine was frozen (frozen, F)",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use standstill::event::Form;
    use standstill_torture::{Calls, Dist, Ops, Rule, RuleCount};

    use super::*;

    pub(crate) fn report() -> Report {
        Report {
            cpus: 4,
            calls: Form::ALL.map(|form| (form, Calls { sent: 10, ran: 8, refused: 2, busy: 1, lost: 0 })),
            down: Ops { tried: 3, ok: 3, latency: Dist { n: 3, min: 1, mean: 2, p50: 2, p99: 3, max: 3 } },
            up: Ops::default(),
            veto: None,
            stops: 5,
            aborted: 1,
            frozen: Dist::default(),
            rules: Rule::ALL.map(|rule| RuleCount { id: rule.id(), checked: 1, broken: 0 }),
            first_failure: None,
        }
    }

    fn verdict(protocol: Protocol, change: impl FnOnce(&mut Tally, &mut Report)) -> Verdict {
        let (mut tally, mut report) = (Tally::new(), report());
        change(&mut tally, &mut report);
        let findings = Findings {
            protocol,
            tally: &tally,
            report: &report,
            rules_broken: 0,
            missed: 0,
            cut_short: false,
            hangs: false,
        };
        findings.verdict()
    }

    #[test]
    fn nothing_wrong_is_a_pass() {
        assert_eq!(verdict(Protocol::STANDSTILL, |_, _| ()), Verdict::Pass);
    }

    #[test]
    fn late_and_lost_fail_every_protocol() {
        for protocol in Protocol::ALL {
            assert_eq!(verdict(*protocol, |tally, _| tally.late = 1), Verdict::Fail);
            assert_eq!(verdict(*protocol, |tally, _| tally.lost = 1), Verdict::Fail);
        }
    }

    #[test]
    fn the_others_fail_where_they_are_promised() {
        assert_eq!(verdict(Protocol::STANDSTILL, |tally, _| tally.outside = 1), Verdict::Fail);
        assert_eq!(verdict(Protocol::LINUX_6_12, |tally, _| tally.outside = 1), Verdict::Pass);
        assert_eq!(verdict(Protocol::STANDSTILL, |tally, _| tally.frozen = 1), Verdict::Pass);
        assert_eq!(verdict(Protocol::REFUSE, |tally, _| tally.frozen = 1), Verdict::Fail);
    }

    #[test]
    fn a_broken_rule_fails() {
        assert_eq!(verdict(Protocol::LINUX_3_14, |_, report| report.rules[3].broken = 1), Verdict::Fail);
    }

    #[test]
    fn cut_short_is_incomplete_and_a_hang_or_a_blind_judge_fails() {
        let (tally, report) = (Tally::new(), report());
        let findings = |missed, cut_short, hangs| Findings {
            protocol: Protocol::STANDSTILL,
            tally: &tally,
            report: &report,
            rules_broken: 0,
            missed,
            cut_short,
            hangs,
        };
        assert_eq!(findings(0, true, false).verdict(), Verdict::Incomplete);
        assert_eq!(findings(1, false, false).verdict(), Verdict::Fail);
        assert_eq!(findings(0, true, true).verdict(), Verdict::Fail);
    }
}
