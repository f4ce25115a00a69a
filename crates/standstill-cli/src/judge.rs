//! [`Judge`]: feeds the events to the rules and the tallies.

use std::io;
use std::thread;

use standstill::event::{self, Event, What};
use standstill::invariants::{Checks, Local, Pair, RULES, Rule, Scope, Tally, Violation};
use standstill::{CpuId, Protocol};

/// How many calls, works and CPUs the rules of scope Pair keep in mind.
const SLOTS: usize = 1 << 14;
/// Up to so many CPUs the calls that are under way fit those slots. With more of them the rules of scope Pair are left out: they would see
/// only part of the calls, and a full table is slow.
const PAIR_CPUS: usize = 256;
/// How many stalls are kept for the report; all are counted.
const STALLS_KEPT: usize = 16;

/// A wait that took long.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// Who waits.
    pub cpu: CpuId,
    /// Where, for how long so far, and for whom.
    pub stall: event::Stall,
}

/// Feeds the events to the rules and the tallies.
pub struct Judge {
    tallies: Vec<Tally>,
    locals: Vec<Local>,
    /// Missing on machines with more CPUs than [`PAIR_CPUS`].
    pair: Option<Box<Pair<SLOTS>>>,
    /// The first rule that was broken.
    first: Option<Violation>,
    stalls: Vec<Stall>,
    /// Stalls that nobody has printed yet.
    news: usize,
}

impl Judge {
    /// For a machine of `cpus` CPUs that runs `protocol`.
    ///
    /// # Errors
    /// The system refuses the thread that builds a part of it.
    pub fn new(cpus: usize, protocol: Protocol) -> io::Result<Self> {
        Ok(Judge {
            tallies: vec![Tally::new(); cpus],
            locals: (0..cpus).map(|cpu| Local::new(CpuId::new(cpu), protocol)).collect(),
            pair: (cpus <= PAIR_CPUS).then(|| new_pair(protocol)).transpose()?,
            first: None,
            stalls: Vec::new(),
            news: 0,
        })
    }

    /// Takes the next event.
    pub fn eat(&mut self, event: &Event) {
        let cpu = event.cpu.index();
        if cpu >= self.tallies.len() {
            return;
        }
        self.tallies[cpu].feed(event);
        let verdict = self.locals[cpu].feed(event);
        self.note(verdict);
        if let Some(pair) = &mut self.pair {
            let verdict = pair.feed(event);
            self.note(verdict);
        }
        if let What::Stalled(stall) = event.what
            && self.stalls.len() < STALLS_KEPT
        {
            self.stalls.push(Stall { cpu: event.cpu, stall });
        }
    }

    /// Nothing comes any more: the machine is quiet.
    pub fn finish(&mut self) {
        let verdicts: Vec<_> = self.locals.iter_mut().map(Local::finish).collect();
        for verdict in verdicts {
            self.note(verdict);
        }
        if let Some(pair) = &mut self.pair {
            let verdict = pair.finish();
            self.note(verdict);
        }
    }

    fn note(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict {
            self.first.get_or_insert(violation);
        }
    }

    /// What was counted, of all CPUs together.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut all = Tally::new();
        for tally in &self.tallies {
            all.merge(tally);
        }
        all
    }

    /// Each rule that live logs can show, with how often it was asked and broken.
    #[must_use]
    pub fn rules(&self) -> Vec<(&'static Rule, u64, u64)> {
        let mut all = Checks::new();
        if let Some(pair) = &self.pair {
            all.merge(pair.checks());
        }
        for local in &self.locals {
            all.merge(local.checks());
        }
        let asked = |rule: &&Rule| rule.scope != Scope::Global;
        RULES.iter().filter(asked).map(|rule| (rule, all.asked(rule.id), all.broken(rule.id))).collect()
    }

    /// The first rule that was broken.
    #[must_use]
    pub fn first(&self) -> Option<&Violation> {
        self.first.as_ref()
    }

    /// The first stalls.
    #[must_use]
    pub fn stalls(&self) -> &[Stall] {
        &self.stalls
    }

    /// The stalls since the last time that this was asked.
    pub fn new_stalls(&mut self) -> &[Stall] {
        let old = std::mem::replace(&mut self.news, self.stalls.len());
        &self.stalls[old..]
    }
}

/// The monitor does not fit a usual stack on its way to the heap.
fn new_pair(protocol: Protocol) -> io::Result<Box<Pair<SLOTS>>> {
    let stack = 8 * size_of::<Pair<SLOTS>>() + (1 << 20);
    let build = thread::Builder::new().stack_size(stack).spawn(move || Box::new(Pair::new(protocol)));
    Ok(build?.join().expect("building a monitor does not panic"))
}

/// One line for a stall.
impl std::fmt::Display for Stall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stall.told_by(self.cpu).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use standstill::platform::{Runs, Site};

    use super::*;

    fn event(cpu: usize, what: What) -> Event {
        Event { cpu: CpuId::new(cpu), what }
    }

    #[test]
    fn tallies_of_all_cpus_are_added() {
        let mut judge = Judge::new(2, Protocol::LINUX_3_14).expect("a thread");
        judge.eat(&event(0, What::IpiSpurious));
        judge.eat(&event(1, What::IpiSpurious));
        assert_eq!(judge.tally().spurious, 2);
    }

    #[test]
    fn a_broken_rule_is_remembered() {
        let mut judge = Judge::new(2, Protocol::STANDSTILL).expect("a thread");
        let death = What::CpuDies;
        judge.eat(&event(1, What::CpuStarted { incarnation: 1 }));
        judge.eat(&event(1, death));
        // A dead CPU does nothing.
        judge.eat(&event(1, What::IpiSpurious));
        assert!(judge.first().is_some());
        assert!(judge.rules().iter().any(|(_, _, broken)| *broken > 0));
    }

    #[test]
    fn a_stall_is_one_line_that_names_the_culprit() {
        let mut judge = Judge::new(4, Protocol::STANDSTILL).expect("a thread");
        let at = Location::caller();
        judge.eat(&event(
            0,
            What::Stalled(event::Stall {
                site: Site { what: "stop_machine: PREPARE", at },
                waited_ns: 2_500_000_000,
                missing: CpuId::new(3),
                runs: Runs { what: "disk driver", irqs_off_at: Some(at) },
                callback: None,
            }),
        ));
        let line = judge.new_stalls()[0].to_string();
        assert!(line.starts_with("CPU 0 waits for CPU 3 since 2500 ms: stop_machine: PREPARE ("), "{line}");
        assert!(line.contains("CPU 3 runs disk driver, interrupts off since "), "{line}");
        assert!(judge.new_stalls().is_empty());
        assert_eq!(judge.tally().stalled, 1);
    }
}
