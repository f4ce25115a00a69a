//! Pass or fail, and why.

use standstill::invariants::Tally;
use standstill::{Property, Protocol};

use crate::json::{RuleJson, Verdict};

/// What decides about a run.
pub struct Findings<'a> {
    /// How CPUs left.
    pub protocol: Protocol,
    /// What the events show.
    pub tally: &'a Tally,
    /// All rules, with how often they were broken.
    pub rules: &'a [RuleJson],
    /// Events that the rules did not see.
    pub missed: u64,
    /// The run was cut short, or it hangs.
    pub cut_short: bool,
    /// The run did not end, in words.
    pub hangs: Option<&'a str>,
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
        for rule in self.rules.iter().filter(|rule| rule.broken > 0) {
            wrong.push(format!(
                "rule {} ({}) was broken {} of {} times",
                rule.id, rule.scope, rule.broken, rule.checked
            ));
        }
        if self.missed > 0 {
            wrong.push(format!(
                "{} events came too fast for the rules, so nobody knows whether they hold",
                self.missed
            ));
        }
        if let Some(what) = self.hangs {
            wrong.push(what.into());
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
mod tests {
    use super::*;

    fn rule(broken: u64) -> RuleJson {
        RuleJson { id: "order".into(), scope: "torture".into(), checked: 9, broken }
    }

    fn findings<'a>(protocol: Protocol, tally: &'a Tally, rules: &'a [RuleJson]) -> Findings<'a> {
        Findings { protocol, tally, rules, missed: 0, cut_short: false, hangs: None }
    }

    fn verdict(protocol: Protocol, change: impl FnOnce(&mut Tally)) -> Verdict {
        let mut tally = Tally::new();
        change(&mut tally);
        findings(protocol, &tally, &[rule(0)]).verdict()
    }

    #[test]
    fn nothing_wrong_is_a_pass() {
        assert_eq!(verdict(Protocol::STANDSTILL, |_| ()), Verdict::Pass);
    }

    #[test]
    fn late_and_lost_fail_every_protocol() {
        for protocol in Protocol::ALL {
            assert_eq!(verdict(*protocol, |tally| tally.late = 1), Verdict::Fail);
            assert_eq!(verdict(*protocol, |tally| tally.lost = 1), Verdict::Fail);
        }
    }

    #[test]
    fn the_others_fail_where_they_are_promised() {
        assert_eq!(verdict(Protocol::STANDSTILL, |tally| tally.outside = 1), Verdict::Fail);
        assert_eq!(verdict(Protocol::LINUX_6_12, |tally| tally.outside = 1), Verdict::Pass);
        assert_eq!(verdict(Protocol::STANDSTILL, |tally| tally.frozen = 1), Verdict::Pass);
        assert_eq!(verdict(Protocol::REFUSE, |tally| tally.frozen = 1), Verdict::Fail);
    }

    #[test]
    fn a_broken_rule_fails_and_is_named() {
        let (tally, rules) = (Tally::new(), [rule(0), rule(3)]);
        let findings = findings(Protocol::LINUX_3_14, &tally, &rules);
        assert_eq!(findings.verdict(), Verdict::Fail);
        assert_eq!(findings.wrong(), ["rule order (torture) was broken 3 of 9 times"]);
    }

    #[test]
    fn cut_short_is_incomplete_and_a_hang_or_a_blind_judge_fails() {
        let tally = Tally::new();
        let plain = || findings(Protocol::STANDSTILL, &tally, &[]);
        assert_eq!(Findings { cut_short: true, ..plain() }.verdict(), Verdict::Incomplete);
        assert_eq!(Findings { missed: 1, ..plain() }.verdict(), Verdict::Fail);
        assert_eq!(Findings { cut_short: true, hangs: Some("it hangs"), ..plain() }.verdict(), Verdict::Fail);
    }
}
