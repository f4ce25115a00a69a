//! Every rule fires on a log that breaks it, and no other rule does; no rule fires on a log in which all is well.

#[path = "rules/broken.rs"]
mod broken;
#[path = "rules/good.rs"]
mod good;
#[path = "rules/hotplug.rs"]
mod hotplug;
#[path = "rules/log.rs"]
mod log;
#[path = "rules/monitors.rs"]
mod monitors;
#[path = "rules/tally.rs"]
mod tally;

use standstill::invariants::{Checks, RULES, RuleId, Scope};

#[test]
fn good_logs_break_no_rule() {
    for (name, log) in good::all() {
        let (violations, checks) = log.judge();
        assert!(violations.is_empty(), "{name}: {}", violations[0]);
        assert_eq!(log::broken(&checks), []);
        for scope in [Scope::Local, Scope::Pair, Scope::Global] {
            assert_eq!(log::broken(&log.judge_by(scope)), [], "{name}, {}", scope.name());
        }
    }
}

#[test]
fn broken_logs_break_their_rule_and_no_other() {
    for case in broken::all() {
        let (violations, checks) = case.log.judge();
        let said: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert_eq!(log::broken(&checks), [RuleId(case.rule)], "{}: {said:#?}", case.how);
        for (violation, line) in violations.iter().zip(&said) {
            assert_eq!(violation.rule, RuleId(case.rule));
            assert!(!line.contains('\n') && line.starts_with(&format!("rule {} (", case.rule)), "{line}");
        }
    }
}

#[test]
fn every_rule_was_seen_to_fire() {
    let cases = broken::all();
    for rule in RULES {
        let mut of_rule = cases.iter().filter(|case| RuleId(case.rule) == rule.id).peekable();
        assert!(of_rule.peek().is_some(), "rule {} ({}) has no log that breaks it", rule.id, rule.name);
        let fires = of_rule.any(|case| case.log.judge_by(rule.scope).broken(rule.id) > 0);
        assert!(
            fires,
            "rule {} ({}) does not fire in its own scope, {}",
            rule.id,
            rule.name,
            rule.scope.name()
        );
    }
}

#[test]
fn every_rule_was_asked_and_kept() {
    let mut all = Checks::new();
    for (_, log) in good::all() {
        all.merge(&log.judge().1);
    }
    for (rule, asked, broken) in all.iter() {
        assert!(asked > 0, "rule {} ({}) was never asked by a good log", rule.id, rule.name);
        assert_eq!(broken, 0);
    }
}

#[test]
fn rules_are_in_order_and_name_themselves() {
    assert!(RULES.windows(2).all(|pair| pair[0].id < pair[1].id));
    for rule in RULES {
        assert_eq!(rule.id.rule(), Some(rule));
        assert!((1..=54).contains(&rule.id.0));
        assert!(!rule.name.is_empty() && !rule.text.is_empty());
    }
    assert_eq!(RuleId(7).rule(), None);
    let mut names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), RULES.len());
}
