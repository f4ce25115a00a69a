//! The cheapest run: fewest interrupts, then fewest preemptions, then fewest steps.
//!
//! Rounds of a search depth first that does not go where a bound is exceeded. First it looks at everything without interrupts, then
//! at everything with one, and so on, until a run reaches the goal. With so many interrupts it does the same for preemptions, and at last looks for the fewest
//! steps among what is left. A state is not looked at again if it was reached before at no higher cost. A preemption depends on who
//! moved last: where those count, that is part of the state.
//!
//! Where there is too much to look at, preemptions come first: there are far fewer runs with none, or with one.

use crate::result::cost::Cost;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Instant;

use standstill::Property;

use crate::base::hash::{BuildHashed, Hash128};
use crate::config::options::Options;
use crate::engine::search::Found;
use crate::machine::session::Ready;
use crate::machine::step::take;
use crate::machine::world::with_ptr;
use crate::result::replay::describe;
use crate::result::retarget::along;
use crate::result::verdict::Violation;
use crate::vocab::choice::{cpu_of, is_device};
use crate::vocab::fault::Fault;
use crate::vocab::progress::Progress;
use crate::vocab::step::Step;

/// What a run is to reach.
pub(crate) enum Goal {
    /// This property does not hold.
    Property(Property),
    /// This rule is broken.
    Rule(String),
}

/// More states than this are not looked at before the plan changes.
const PATIENCE: u64 = 500_000;
/// How often somebody is asked whether to go on.
const REPORT: u64 = 0xfff;

/// A run that reaches the goal.
struct Reached {
    cost: Cost,
    fault: Fault,
    choices: Vec<u32>,
}

/// A place that was taken to be quiet is shared: what was looked at does not count.
struct Again;

type Report<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// The cheapest run that reaches the goal, or none, if there is none or it is too far away.
pub(crate) fn cheapest(options: &Options, goal: &Goal, progress: Report<'_>) -> Option<Violation> {
    // It ends with what it looks for.
    let options = &Options { keep_going: false, ..options.clone() };
    let mut walk = Walk {
        ready: Ready::new(options).ok()?,
        goal,
        began: Instant::now(),
        nodes: Vec::new(),
        choices: Vec::new(),
        seen: HashMap::default(),
        states: 0,
        last_counts: false,
        refused: false,
        tired: false,
        stopped: false,
    };
    let reached = loop {
        if let Ok(reached) = walk.rounds(progress) {
            break reached?;
        }
        with_ptr(walk.ready.world, |w| {
            w.undo_to(0);
            w.reduction.classes.changed = false;
        });
    };
    drop(walk);
    let mut violation = describe(options, reached.fault, reached.choices);
    violation.critical_pair = pair(options, goal, &violation.choices, &violation.steps, progress);
    Some(violation)
}

/// One state on the way from the set-up to where the search is.
struct Node {
    /// Where its choices begin in the list of all.
    first: usize,
    /// The one to try next.
    next: usize,
    cost: Cost,
    last: Option<usize>,
}

/// The search.
struct Walk<'a> {
    ready: Ready,
    goal: &'a Goal,
    began: Instant,
    nodes: Vec<Node>,
    choices: Vec<u32>,
    /// At what cost each state was reached.
    seen: HashMap<u128, Cost, BuildHashed>,
    states: u64,
    /// Who moved last is part of the state.
    last_counts: bool,
    /// A bound kept the round from going on somewhere.
    refused: bool,
    /// Out of patience, or somebody wants an end.
    tired: bool,
    /// Somebody wants an end.
    stopped: bool,
}

impl Walk<'_> {
    fn rounds(&mut self, progress: Report<'_>) -> Result<Option<Reached>, Again> {
        self.rest(false);
        let mut bounds = Cost { interrupts: 0, ..Cost::MOST };
        let mut best = None;
        while best.is_none() {
            best = self.round(bounds, false, progress)?;
            if best.is_none() && self.tired {
                return if self.stopped { Ok(None) } else { self.few_preemptions(progress) };
            }
            if best.is_none() && !self.refused {
                return Ok(None);
            }
            bounds.interrupts += u32::from(best.is_none());
        }
        self.rest(true);
        bounds.preemptions = 0;
        while best.as_ref().is_some_and(|best| bounds.preemptions < best.cost.preemptions) && !self.tired {
            match self.round(bounds, false, progress)? {
                Some(reached) => best = Some(reached),
                None => bounds.preemptions += 1,
            }
        }
        self.fewest_steps(bounds, best, progress)
    }

    /// As [`rounds`](Self::rounds), with preemptions before interrupts.
    fn few_preemptions(&mut self, progress: Report<'_>) -> Result<Option<Reached>, Again> {
        self.rest(true);
        let mut bounds = Cost { preemptions: 0, ..Cost::MOST };
        let mut best = None;
        while best.is_none() {
            best = self.round(bounds, false, progress)?;
            if best.is_none() && (self.tired || !self.refused) {
                return Ok(None);
            }
            bounds.preemptions += u32::from(best.is_none());
        }
        self.rest(true);
        bounds.interrupts = 0;
        while best.as_ref().is_some_and(|best| bounds.interrupts < best.cost.interrupts) && !self.tired {
            match self.round(bounds, false, progress)? {
                Some(reached) => best = Some(reached),
                None => bounds.interrupts += 1,
            }
        }
        self.fewest_steps(bounds, best, progress)
    }

    fn fewest_steps(
        &mut self,
        mut bounds: Cost,
        best: Option<Reached>,
        progress: Report<'_>,
    ) -> Result<Option<Reached>, Again> {
        match best {
            Some(best) if !self.stopped => {
                self.rest(true);
                bounds.steps = best.cost.steps - 1;
                Ok(Some(self.round(bounds, true, progress)?.unwrap_or(best)))
            }
            best => Ok(best),
        }
    }

    /// New patience.
    fn rest(&mut self, last_counts: bool) {
        self.last_counts = last_counts;
        (self.tired, self.states) = (self.stopped, 0);
    }

    /// Looks for a run within the bounds: any, or the one with the fewest steps.
    fn round(
        &mut self,
        mut bounds: Cost,
        fewest: bool,
        progress: Report<'_>,
    ) -> Result<Option<Reached>, Again> {
        with_ptr(self.ready.world, |w| w.undo_to(0));
        self.seen.clear();
        self.nodes.clear();
        self.choices.clear();
        self.refused = false;
        let mut best = None;
        let (mut cost, mut last, mut possible) = (Cost::default(), None, Vec::new());
        loop {
            if let Some(fault) = self.reached(&mut possible) {
                let choices = with_ptr(self.ready.world, |w| w.recorder.choices.clone());
                best = Some(Reached { cost, fault, choices });
                bounds.steps = cost.steps.saturating_sub(1);
                if !fewest {
                    return Ok(best);
                }
            } else if self.is_new(cost, last)? {
                self.states += 1;
                if self.states & REPORT == 0 {
                    self.report(progress);
                }
                if self.tired {
                    return Ok(best);
                }
                let first = self.choices.len();
                self.choices.extend_from_slice(&possible);
                self.nodes.push(Node { first, next: first, cost, last });
            }
            // The next choice within the bounds.
            loop {
                let Some(node) = self.nodes.last_mut() else { return Ok(best) };
                let Some(choice) = self.choices.get(node.next).copied() else {
                    self.choices.truncate(node.first);
                    self.nodes.pop();
                    continue;
                };
                node.next += 1;
                cost = node.cost.after(&self.choices[node.first..], choice, node.last);
                if !cost.is_within(bounds) {
                    self.refused = true;
                    continue;
                }
                last = Some(cpu_of(choice));
                let depth = self.nodes.len() - 1;
                with_ptr(self.ready.world, |w| w.undo_to(depth));
                take(self.ready.world, choice, true);
                break;
            }
        }
    }

    /// Was this state not reached before at no higher cost, and does it go on?
    fn is_new(&mut self, cost: Cost, last: Option<usize>) -> Result<bool, Again> {
        let (hash, changed, dead) = with_ptr(self.ready.world, |w| {
            let mut hash: Hash128 = w.full_fingerprint();
            if self.last_counts {
                hash.mix(last.map_or(99, |cpu| cpu as u64));
            }
            (hash.to_u128(), w.reduction.classes.changed, w.step.fault.is_some())
        });
        if changed {
            return Err(Again);
        }
        // What does not count is no reason to look again.
        let cost =
            if self.last_counts { cost } else { Cost { interrupts: cost.interrupts, ..Cost::default() } };
        let known = self.seen.get(&hash).is_some_and(|seen| seen.is_within(cost));
        if dead || known {
            return Ok(false);
        }
        self.seen.insert(hash, cost);
        Ok(true)
    }

    fn report(&mut self, progress: Report<'_>) {
        let now = Progress {
            states: self.states,
            steps: with_ptr(self.ready.world, |w| w.recorder.steps),
            runs: 0,
            depth: self.nodes.len(),
            time_ns: self.began.elapsed().as_nanos() as u64,
        };
        let growth = (self.seen.capacity() * 2 * 33) as u64;
        let short = self.ready.options().room.as_ref().is_some_and(|room| room.is_short(growth));
        self.stopped |= short || progress(&now).is_break();
        self.tired |= self.stopped || self.states > PATIENCE;
    }

    /// Does the last step reach the goal? Also tells what is possible after it.
    fn reached(&self, possible: &mut Vec<u32>) -> Option<Fault> {
        with_ptr(self.ready.world, |w| {
            w.enabled(possible);
            match self.goal {
                Goal::Property(property) => (w.step.broken & 1 << *property as u8 != 0)
                    .then(|| property_fault(w.subject.monitor.property(*property as usize), w.cpu)),
                Goal::Rule(rule) => {
                    let mut fault = w.step.fault.clone();
                    if fault.is_none() && possible.iter().all(|choice| is_device(*choice)) {
                        w.finish();
                        fault = w.step.fault.take();
                    }
                    fault.filter(|fault| fault.rule == *rule)
                }
            }
        })
    }
}

fn property_fault((letter, text): (char, &str), cpu: usize) -> Fault {
    Fault { rule: letter.to_string(), cpu, text: format!("CPU {cpu}: {text}"), location: String::new() }
}

/// The cheapest run in which `property` does not hold, whether the protocol promises it or not. The location is that of the last step. `progress`
/// is called now and then and may stop the search: then there is none, or one that is not the cheapest.
#[must_use]
pub fn counterexample(options: &Options, property: Property, progress: Report<'_>) -> Option<Violation> {
    let mut violation = cheapest(options, &Goal::Property(property), progress)?;
    if let Some(step) = violation.steps.last() {
        violation.location.clone_from(&step.location);
    }
    Some(violation)
}

/// Two neighbours of the schedule, on different CPUs, whose reversal makes the run pass: the last such pair, as indices of `steps`. `rule` is what
/// the schedule breaks: a property's letter, or as in [`Violation::rule`].
#[must_use]
pub fn critical_pair(
    options: &Options,
    rule: &str,
    choices: &[u32],
    steps: &[Step],
    progress: Report<'_>,
) -> Option<(usize, usize)> {
    let property = Property::ALL.into_iter().find(|property| property.letter().to_string() == rule);
    let goal = property.map_or_else(|| Goal::Rule(rule.to_string()), Goal::Property);
    pair(options, &goal, choices, steps, progress)
}

fn pair(
    options: &Options,
    goal: &Goal,
    choices: &[u32],
    steps: &[Step],
    progress: Report<'_>,
) -> Option<(usize, usize)> {
    let step_of = |choice: usize| steps.iter().position(|step| step.choice == choice);
    let ready = Ready::new(options).ok()?;
    for first in (0..choices.len().saturating_sub(1)).rev() {
        if cpu_of(choices[first]) == cpu_of(choices[first + 1]) {
            continue;
        }
        if progress(&Progress::default()).is_break() {
            return None;
        }
        // The whole block of the first CPU that ends here goes behind the block of the other one that begins here.
        let begin =
            choices[..first].iter().rposition(|c| cpu_of(*c) != cpu_of(choices[first])).map_or(0, |c| c + 1);
        let end = choices[first + 1..]
            .iter()
            .position(|c| cpu_of(*c) != cpu_of(choices[first + 1]))
            .map_or(choices.len(), |c| first + 1 + c);
        let mut reversed = choices.to_vec();
        reversed[begin..end].rotate_left(first + 1 - begin);
        if passes(&ready, goal, &reversed) {
            return step_of(first).zip(step_of(first + 1));
        }
    }
    None
}

/// Does nothing break in a run along this schedule? A call that is lost instead of late is no cure.
fn passes(ready: &Ready, goal: &Goal, choices: &[u32]) -> bool {
    let broken = |found: &Found| {
        let counts = |property: Property| found.counts[property as usize] > 0;
        let hit = match goal {
            Goal::Property(property) => counts(*property),
            Goal::Rule(_) => false,
        };
        hit || counts(Property::Late) || counts(Property::Lost) || found.fault.is_some()
    };
    let mut found = Found::new();
    let (_, complete) = along(ready, choices, &mut found, broken);
    if complete {
        found.look_at_end(ready);
    }
    complete && !broken(&found)
}
