//! How often each rule was asked, and how often it was broken.

use core::hash::{Hash, Hasher};

use super::{RULES, Rule, RuleId, Verdict, Violation};
use crate::cpu::CpuId;
use crate::event::Event;

/// One more than the highest rule number.
pub(super) const NUMBERS: usize = 55;

/// How often each rule was asked, and how often the answer was no.
///
/// It is no part of a monitor's state: two monitors that differ only in their counts are equal and hash alike, so
/// a checker that keeps one in its fingerprint does not tell them apart.
#[derive(Clone, Debug)]
pub struct Checks {
    asked: [u64; NUMBERS],
    broken: [u64; NUMBERS],
}

impl Checks {
    /// Nothing was asked yet.
    #[must_use]
    pub const fn new() -> Self {
        Checks { asked: [0; NUMBERS], broken: [0; NUMBERS] }
    }

    /// How often `rule` was asked.
    #[must_use]
    pub fn asked(&self, rule: RuleId) -> u64 {
        self.asked.get(usize::from(rule.0)).copied().unwrap_or(0)
    }

    /// How often `rule` was broken.
    #[must_use]
    pub fn broken(&self, rule: RuleId) -> u64 {
        self.broken.get(usize::from(rule.0)).copied().unwrap_or(0)
    }

    /// How often any rule was broken.
    #[must_use]
    pub fn broken_total(&self) -> u64 {
        self.broken.iter().sum()
    }

    /// Each rule with how often it was asked and broken.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Rule, u64, u64)> + '_ {
        RULES.iter().map(|rule| (rule, self.asked(rule.id), self.broken(rule.id)))
    }

    /// Adds what another monitor counted.
    pub fn merge(&mut self, other: &Checks) {
        for (mine, theirs) in self.asked.iter_mut().zip(&other.asked) {
            *mine += theirs;
        }
        for (mine, theirs) in self.broken.iter_mut().zip(&other.broken) {
            *mine += theirs;
        }
    }

    /// Asks a rule about an event.
    #[inline]
    pub(super) fn ask(&mut self, rule: u8, holds: bool, at: &Event, detail: &'static str) -> Verdict {
        let number = usize::from(rule);
        self.asked[number] += 1;
        if holds {
            return Ok(());
        }
        self.broken[number] += 1;
        Err(Violation { rule: RuleId(rule), cpu: at.cpu, at: Some(*at), detail })
    }

    /// Notes that a rule was asked and kept.
    pub(super) fn count(&mut self, rule: u8) {
        self.asked[usize::from(rule)] += 1;
    }

    /// Asks a rule about what is left at the end.
    pub(super) fn ask_at_end(&mut self, rule: u8, holds: bool, cpu: CpuId, detail: &'static str) -> Verdict {
        let number = usize::from(rule);
        self.asked[number] += 1;
        if holds {
            return Ok(());
        }
        self.broken[number] += 1;
        Err(Violation { rule: RuleId(rule), cpu, at: None, detail })
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Checks {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Checks {}

impl Hash for Checks {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
