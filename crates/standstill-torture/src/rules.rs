//! The torture's own rules: what a handler, a sender or the hotplug thread can see without looking at events.
//!
//! They are counted apart from the rules of `standstill::invariants`, which read the library's own events: a library that
//! forgot to emit an event would be caught here, and the other way round.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use standstill::CpuId;

use crate::once::Once;

/// What is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Rule {
    /// A handler runs once for each accepted call.
    ExactlyOnce,
    /// A handler runs on the CPU that was asked for.
    RightCpu,
    /// A handler runs with interrupts off.
    IrqsOff,
    /// A handler runs on a CPU that is in the online mask (only if the protocol promises it).
    Online,
    /// What the sender wrote before the call is visible in the handler.
    MemoryIn,
    /// What the handler wrote is visible to the sender after a call that waits.
    MemoryOut,
    /// Calls of one sender to one target in one form run in the order they were sent.
    Order,
    /// The CPUs that a call to many says it ran on are among those asked for, and each of them ran it.
    RanSet,
    /// A refused call never runs.
    Refused,
    /// No handler runs on another CPU while a stop's function runs.
    Alone,
    /// A stop's function ran once on each active CPU that its receipts name, and nowhere else.
    Receipts,
    /// active is in online is in present is in possible, and the CPU of the operation is where it was told to go.
    Masks,
    /// Callbacks of hotplug's states are called where and when they should be, in turn up and down, and all in the end undone.
    Callbacks,
    /// An operation that was made to fail fails with the words of who made it, and no other does.
    Veto,
    /// The thread that takes a CPU down is not on it after.
    Moved,
    /// No CPU leaves while the hotplug lock is held for reading.
    ReadLock,
    /// Each device interrupt that was raised was handled once.
    Lines,
    /// While nobody comes or goes, a CPU that is up takes every call, and no other takes one; a CPU that a pinned
    /// section sees active takes calls to the section's end; a slot whose call has begun is free.
    Taken,
    /// No pinned section is in the middle while the machine stands still, and none outlives a pass.
    Grace,
    /// Each workload gets on: none does one thing for longer than who watches it has patience.
    Progress,
    /// At the end all CPUs are online again.
    Final,
    /// At the end sent = ran + refused + lost for each form.
    Books,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 22] = [
        Rule::ExactlyOnce,
        Rule::RightCpu,
        Rule::IrqsOff,
        Rule::Online,
        Rule::MemoryIn,
        Rule::MemoryOut,
        Rule::Order,
        Rule::RanSet,
        Rule::Refused,
        Rule::Alone,
        Rule::Receipts,
        Rule::Masks,
        Rule::Callbacks,
        Rule::Veto,
        Rule::Moved,
        Rule::ReadLock,
        Rule::Lines,
        Rule::Taken,
        Rule::Grace,
        Rule::Progress,
        Rule::Final,
        Rule::Books,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Rule::ExactlyOnce => "exactly-once",
            Rule::RightCpu => "right-cpu",
            Rule::IrqsOff => "irqs-off",
            Rule::Online => "online",
            Rule::MemoryIn => "memory-in",
            Rule::MemoryOut => "memory-out",
            Rule::Order => "order",
            Rule::RanSet => "ran-set",
            Rule::Refused => "refused-never-runs",
            Rule::Alone => "alone",
            Rule::Receipts => "receipts",
            Rule::Masks => "masks",
            Rule::Callbacks => "callbacks",
            Rule::Veto => "veto",
            Rule::Moved => "moved-off",
            Rule::ReadLock => "read-lock",
            Rule::Lines => "lines",
            Rule::Taken => "taken",
            Rule::Grace => "grace",
            Rule::Progress => "progress",
            Rule::Final => "final",
            Rule::Books => "books",
        }
    }
}

/// The first thing that went wrong, with all that is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The rule or the property.
    pub rule: &'static str,
    /// The CPU that saw it.
    pub cpu: CpuId,
    /// The function of the call.
    pub func: Option<&'static str>,
    /// Who sent the call.
    pub sender: Option<CpuId>,
    /// When, in nanoseconds since the torture began.
    pub t_ns: u64,
}

/// How often each rule was checked and broken.
pub struct Rules {
    checked: [AtomicU64; Rule::ALL.len()],
    broken: [AtomicU64; Rule::ALL.len()],
    first: Once<Failure>,
}

impl Rules {
    /// Nothing checked.
    #[must_use]
    pub const fn new() -> Self {
        Rules {
            checked: [const { AtomicU64::new(0) }; Rule::ALL.len()],
            broken: [const { AtomicU64::new(0) }; Rule::ALL.len()],
            first: Once::new(),
        }
    }

    /// Counts a check of `rule`; if `holds` is false, counts it as broken and keeps `failure` if it is the first.
    ///
    /// Relaxed: the counts publish nothing; the report reads them after the threads ended.
    pub fn check(&self, rule: Rule, holds: bool, failure: impl FnOnce(&'static str) -> Failure) {
        self.checked[rule as usize].fetch_add(1, Relaxed);
        if !holds {
            self.broken[rule as usize].fetch_add(1, Relaxed);
            self.first.set(failure(rule.id()));
        }
    }

    /// (checked, broken) of `rule`.
    #[must_use]
    pub fn counts(&self, rule: Rule) -> (u64, u64) {
        (self.checked[rule as usize].load(Relaxed), self.broken[rule as usize].load(Relaxed))
    }

    /// Keeps `failure` if it is the first: for what others found.
    pub fn note_first(&self, failure: Failure) {
        self.first.set(failure);
    }

    /// The first failure.
    #[must_use]
    pub fn first(&self) -> Option<Failure> {
        self.first.get().copied()
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(rule: &'static str) -> Failure {
        Failure { rule, cpu: CpuId::BOOT, func: None, sender: None, t_ns: 0 }
    }

    #[test]
    fn each_rule_has_its_place_and_its_name() {
        for (i, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, i);
            assert_eq!(Rule::ALL.iter().filter(|r| r.id() == rule.id()).count(), 1);
        }
    }

    #[test]
    fn the_first_broken_rule_is_kept() {
        let rules = Rules::new();
        rules.check(Rule::Order, true, failure);
        assert_eq!(rules.first(), None);
        rules.check(Rule::Masks, false, failure);
        rules.check(Rule::Order, false, failure);
        assert_eq!(rules.first().map(|f| f.rule), Some("masks"));
        assert_eq!(rules.counts(Rule::Order), (2, 1));
    }
}
