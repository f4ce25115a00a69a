//! The cheapest run: fewest interrupts, then fewest preemptions, then fewest steps.
//!
//! A search by cost (Dijkstra's, over states and the CPU that moved last). A fibre can't be copied, so each state is reached by
//! carrying out its schedule again from the last state that the two have in common.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use standstill::Property;

use crate::bounded::preempts;
use crate::check::describe;
use crate::hash::{BuildHashed, Hash128};
use crate::options::Options;
use crate::sched::{bare, cpu_of, is_device, is_interrupt, take};
use crate::search::Found;
use crate::setup::Ready;
use crate::verdict::Violation;
use crate::world::{Fault, with_ptr};

/// What a schedule costs, in the order of importance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Cost {
    pub(crate) interrupts: u32,
    pub(crate) preemptions: u32,
    steps: u32,
}

impl Cost {
    /// With one choice more. It is a preemption to leave a CPU whose code could have gone on.
    pub(crate) fn after(self, possible: &[u32], choice: u32, last: Option<usize>) -> Cost {
        let left = preempts(possible, choice, last);
        Cost {
            interrupts: self.interrupts + u32::from(is_interrupt(choice)),
            preemptions: self.preemptions + u32::from(left),
            steps: self.steps + 1,
        }
    }
}

/// What a run is to reach.
pub(crate) enum Goal {
    /// This property does not hold.
    Property(Property),
    /// This rule is broken.
    Rule(String),
}

/// More states than this are not looked at: then the run stays as it was found.
const PATIENCE: usize = 400_000;

struct Entry {
    parent: usize,
    choice: u32,
    depth: usize,
}

/// The cheapest run that reaches the goal, or none, if there is none or it is too far away.
pub(crate) fn cheapest(options: &Options, goal: &Goal) -> Option<Violation> {
    let mut walk = Walk {
        ready: Ready::new(options).ok()?,
        entries: vec![Entry { parent: 0, choice: 0, depth: 0 }],
        at: Vec::new(),
    };
    'again: loop {
        with_ptr(walk.ready.world, |w| {
            w.undo_to(0);
            w.classes.changed = false;
        });
        walk.entries.truncate(1);
        walk.at.clear();
        let mut seen: HashSet<u128, BuildHashed> = HashSet::default();
        let mut queue = BinaryHeap::from([Reverse((Cost::default(), 0_usize))]);
        let mut possible = Vec::new();
        while let Some(Reverse((cost, entry))) = queue.pop() {
            walk.go_to(entry);
            if let Some(fault) = walk.reached(goal) {
                let choices = with_ptr(walk.ready.world, |w| w.choices.clone());
                drop(walk);
                let mut violation = describe(options, fault, choices);
                violation.critical_pair = critical_pair(options, goal, &violation);
                return Some(violation);
            }
            let last = walk.at.last().map(|entry| cpu_of(walk.entries[*entry].choice));
            let (hash, changed, dead) = with_ptr(walk.ready.world, |w| {
                let mut hash: Hash128 = w.fingerprint();
                hash.mix(last.map_or(99, |cpu| cpu as u64));
                w.enabled(&mut possible);
                (hash.to_u128(), w.classes.changed, w.fault.is_some())
            });
            if changed {
                continue 'again;
            }
            if dead || !seen.insert(hash) {
                continue;
            }
            if seen.len() > PATIENCE {
                return None;
            }
            for choice in &possible {
                let depth = walk.entries[entry].depth + 1;
                walk.entries.push(Entry { parent: entry, choice: *choice, depth });
                queue.push(Reverse((cost.after(&possible, *choice, last), walk.entries.len() - 1)));
            }
        }
        return None;
    }
}

/// Where the search by cost is.
struct Walk {
    ready: Ready,
    entries: Vec<Entry>,
    /// The entries on the way from the start.
    at: Vec<usize>,
}

impl Walk {
    fn go_to(&mut self, entry: usize) {
        let mut path = vec![0; self.entries[entry].depth];
        let mut next = entry;
        for place in path.iter_mut().rev() {
            *place = next;
            next = self.entries[next].parent;
        }
        let common = path.iter().zip(&self.at).take_while(|(a, b)| a == b).count();
        with_ptr(self.ready.world, |w| w.undo_to(common));
        for entry in &path[common..] {
            take(self.ready.world, self.entries[*entry].choice, true);
        }
        self.at = path;
    }

    /// Does the last step reach the goal?
    fn reached(&self, goal: &Goal) -> Option<Fault> {
        let mut possible = Vec::new();
        with_ptr(self.ready.world, |w| {
            w.find_race();
            w.enabled(&mut possible);
            match goal {
                Goal::Property(property) => {
                    (w.broken & 1 << *property as u8 != 0).then(|| property_fault(*property, w.cpu))
                }
                Goal::Rule(rule) => {
                    let mut fault = w.fault.clone();
                    if fault.is_none() && possible.iter().all(|choice| is_device(*choice)) {
                        w.finish();
                        fault = w.fault.take();
                    }
                    fault.filter(|fault| fault.rule == *rule)
                }
            }
        })
    }
}

fn property_fault(property: Property, cpu: usize) -> Fault {
    let what = match property {
        Property::Late => "a handler finds a queued call while its CPU is offline",
        Property::Lost => "a queued call never runs: its CPU died with it",
        Property::Spurious => "an IPI is taken on an offline CPU",
        Property::Outside => "a call from another CPU runs while its CPU is outside the online mask",
        Property::Frozen => "a call from another CPU runs while the machine is frozen",
    };
    Fault {
        rule: property.letter().to_string(),
        cpu,
        text: format!("CPU {cpu}: {what}"),
        location: String::new(),
    }
}

/// The cheapest run in which `property` does not hold, whether the protocol promises it or not. The location is that of the last step.
#[must_use]
pub fn counterexample(options: &Options, property: Property) -> Option<Violation> {
    let mut violation = cheapest(options, &Goal::Property(property))?;
    if let Some(step) = violation.steps.last() {
        violation.location.clone_from(&step.location);
    }
    Some(violation)
}

/// Two neighbours of the schedule, on different CPUs, whose reversal makes the run pass: the last such pair, as indices of steps.
fn critical_pair(options: &Options, goal: &Goal, violation: &Violation) -> Option<(usize, usize)> {
    let choices: Vec<u32> = violation.choices.iter().map(|choice| bare(*choice)).collect();
    let step_of = |choice: usize| violation.steps.iter().position(|step| step.choice == choice);
    let ready = Ready::new(options).ok()?;
    let mut pair = None;
    // Fewer states are seen here than in a search, so what is shared is learnt first.
    for _ in 0..2 {
        for first in (0..choices.len().saturating_sub(1)).rev() {
            if cpu_of(choices[first]) == cpu_of(choices[first + 1]) {
                continue;
            }
            // The whole block of the first CPU that ends here goes behind the block of the other one that begins here.
            let begin = choices[..first]
                .iter()
                .rposition(|c| cpu_of(*c) != cpu_of(choices[first]))
                .map_or(0, |c| c + 1);
            let end = choices[first + 1..]
                .iter()
                .position(|c| cpu_of(*c) != cpu_of(choices[first + 1]))
                .map_or(choices.len(), |c| first + 1 + c);
            let mut reversed = choices.clone();
            reversed[begin..end].rotate_left(first + 1 - begin);
            if !reaches(&ready, goal, &reversed) {
                pair = step_of(first).zip(step_of(first + 1));
                break;
            }
        }
    }
    pair
}

/// Does a run reach the goal that makes these choices where they are possible, and then goes on by a fixed schedule?
fn reaches(ready: &Ready, goal: &Goal, choices: &[u32]) -> bool {
    with_ptr(ready.world, |w| w.undo_to(0));
    let mut found = Found::new();
    let mut possible = Vec::new();
    let mut wanted = choices.iter();
    for _ in 0..100_000 {
        with_ptr(ready.world, |w| w.enabled(&mut possible));
        let next = wanted.find(|choice| possible.contains(choice)).copied();
        let Some(choice) = next.or_else(|| possible.iter().copied().find(|choice| !is_device(*choice)))
        else {
            break;
        };
        take(ready.world, choice, true);
        let stop = found.look(ready);
        let hit = match goal {
            Goal::Property(property) => found.counts[*property as usize] > 0,
            Goal::Rule(rule) => found.fault.as_ref().is_some_and(|(fault, _)| fault.rule == *rule),
        };
        if hit {
            return true;
        }
        if stop {
            return false;
        }
    }
    found.look_at_end(ready);
    matches!(goal, Goal::Rule(rule) if found.fault.is_some_and(|(fault, _)| fault.rule == *rule))
}
