//! The checker checked: states that the search merged are continued from both of the runs that led there.
//!
//! # What it is for
//! The search goes on from one of two runs that lead to states with the same fingerprint. If the fingerprint leaves out something that
//! makes a difference (a cell, what a context remembers after a cut of its loop), the other run's future is never seen. So some
//! of these merges are sampled, and each is *continued*: both runs are made again, and after both the same schedules follow. What each step does
//! is compared, access by access and event by event, and so is the state after it: its fingerprint, what can happen next, what each context is
//! about to do, which promise broke, and how the run ends. A state is a promise about its whole future, so the schedules go on until nothing
//! has to happen any more: each choice that is possible at the merge begins one, and the rest of each is drawn at random.
//!
//! A run that is made again has to come to the fingerprint that it came to before: that finds code that is not deterministic. And
//! after a search that saw everything, nothing new may be learnt ([`crate::reduction::visibility`], [`crate::reduction::movers`]) on the way.
//!
//! # The sample
//! The states whose fingerprints, mixed with the seed, are the smallest: as many as there is room for. So it does not depend on the order of
//! the search, and all merges into a state of the sample are seen: whatever is in the sample in the end was in it from its first visit. Of the
//! merges into one state four are kept, each with the same probability.
//!
//! # What it can't find
//! A difference that no drawn schedule comes to; one that begins where the fingerprints of 128 bits collide by chance.

use crate::engine::sample::Sample;
use std::ops::ControlFlow;
use std::time::Instant;

use crate::config::options::Options;
use crate::engine::random::Rng;
use crate::machine::session::Ready;
use crate::machine::state::Life;
use crate::machine::step::take;
use crate::machine::world::with_ptr;
use crate::vocab::choice::{bare, cpu_of, is_device};
use crate::vocab::progress::Progress;

#[cfg(test)]
mod tests;

/// What an audit did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Audited {
    /// So many merges were continued from both sides.
    pub merges: u64,
    /// By so many schedules.
    pub schedules: u64,
    /// So many steps of theirs were compared.
    pub steps: u64,
}

/// What can be told of a state.
#[derive(PartialEq, Eq)]
struct Here {
    hash: u128,
    enabled: Vec<u32>,
    /// What each context is about to do, in words.
    about: Vec<String>,
}

/// A step, and the state after it.
struct Turn {
    choice: u32,
    did: Vec<String>,
    broken: u8,
    /// The rule that broke, and where.
    fault: Option<(String, usize)>,
    after: Here,
    /// How the run ended, if it did.
    end: Option<(u128, Option<String>)>,
}

/// More steps of a schedule are not compared.
const LONGEST: usize = 1_000;
/// So many schedules follow each merge, or one for each choice that is possible there.
const SCHEDULES: usize = 4;

/// Where two runs that should be alike differ, in words.
type Differs = String;

/// Continues merges of the sample. `complete`: the search saw everything. `progress` may end it.
pub(crate) fn audit(
    ready: &Ready,
    options: &Options,
    sample: &Sample,
    complete: bool,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Audited, Differs> {
    let began = Instant::now();
    let mut audited = Audited::default();
    let mut walker = Walker { ready, complete, steps: 0 };
    let merged = sample
        .states
        .iter()
        .flat_map(|(key, state)| state.later.iter().map(move |later| (key, state, later)));
    for (key, state, later) in merged.take(options.audit.merges as usize) {
        let mut rng = Rng::new(*key ^ audited.merges);
        walker.lead(&state.first, state.hash)?;
        let begin = walker.here();
        let possible = begin.enabled.len().max(1);
        for schedule in 0..possible.max(SCHEDULES) {
            walker.lead(&state.first, state.hash)?;
            let turns = walker.walk(schedule % possible, &mut rng)?;
            walker.lead(later, state.hash)?;
            walker.follow(&begin, &turns).map_err(|differs| {
                format!(
                    "the fingerprint merged two different states, after {} and after {} steps: {differs}\n  the one: {}\n  the other: {}",
                    state.first.len(),
                    later.len(),
                    words(&state.first, &turns),
                    words(later, &turns)
                )
            })?;
            audited.schedules += 1;
        }
        audited.merges += 1;
        let now = Progress {
            states: audited.merges,
            steps: walker.steps,
            runs: audited.schedules,
            depth: state.first.len(),
            time_ns: began.elapsed().as_nanos() as u64,
        };
        if progress(&now).is_break() {
            break;
        }
    }
    audited.steps = walker.steps;
    with_ptr(ready.world, |w| w.undo_to(0));
    Ok(audited)
}

/// A schedule, as in a replay file.
fn words(run: &[u32], turns: &[Turn]) -> String {
    let all = run.iter().copied().chain(turns.iter().map(|turn| turn.choice));
    all.map(|choice| format!("{choice:x}")).collect::<Vec<_>>().join(" ")
}

struct Walker<'a> {
    ready: &'a Ready,
    complete: bool,
    steps: u64,
}

impl Walker<'_> {
    /// Makes a run of the search again: it has to come to where it came before.
    fn lead(&self, run: &[u32], hash: u128) -> Result<(), Differs> {
        let world = self.ready.world;
        with_ptr(world, |w| w.undo_to(0));
        for choice in run {
            let mut enabled = Vec::new();
            with_ptr(world, |w| {
                w.enabled(&mut enabled);
                w.reduction.movers.eager = w.eager(&enabled).is_some();
            });
            if !enabled.contains(&bare(*choice)) {
                return Err(
                    "the code is not deterministic: a run of the search can't be made again".to_string()
                );
            }
            take(world, *choice, true);
        }
        if with_ptr(world, |w| w.fingerprint().to_u128()) == hash {
            Ok(())
        } else {
            Err("the code is not deterministic: a run of the search was made again, and led elsewhere"
                .to_string())
        }
    }

    fn here(&self) -> Here {
        with_ptr(self.ready.world, |w| {
            let mut enabled = Vec::new();
            w.enabled(&mut enabled);
            let live = w.threads.iter().flatten().filter(|t| t.life == Life::Live);
            let about = live
                .map(|t| {
                    let (name, cpu, kind, at) = (t.name, t.cpu, t.op.kind, t.op.at);
                    let waits = if t.blocked { ", which does not hold" } else { "" };
                    format!("the {name} of CPU {cpu} is about to do {kind:?} at {at}{waits}")
                })
                .collect();
            Here { hash: w.fingerprint().to_u128(), enabled, about }
        })
    }

    /// One step.
    fn step(&mut self, choice: u32) -> Turn {
        let world = self.ready.world;
        self.ready.record();
        take(world, choice, true);
        self.steps += 1;
        let steps = self.ready.recorded();
        let did = steps
            .iter()
            .map(|step| {
                format!("CPU {} as {:?}: {:?} at {}", step.cpu, step.context, step.what, step.location)
            })
            .collect();
        let (broken, fault) = with_ptr(world, |w| {
            w.step.race = None;
            // Who knows of what is no part of a state: see `memory/clocks.rs`.
            (w.step.broken, w.step.fault.take().filter(|fault| fault.rule != "race"))
        });
        let after = self.here();
        let ends = fault.is_none() && after.enabled.iter().all(|choice| is_device(*choice));
        let end = ends.then(|| {
            with_ptr(world, |w| {
                w.finish();
                (w.end_hash().to_u128(), w.step.fault.take().map(|fault| fault.rule))
            })
        });
        Turn { choice, did, broken, fault: fault.map(|fault| (fault.rule, fault.cpu)), after, end }
    }

    /// Waits that the search moves left come first; else one of `enabled`.
    fn choose(&self, enabled: &[u32], choose: impl FnOnce(&[u32]) -> u32) -> u32 {
        with_ptr(self.ready.world, |w| {
            let eager = w.eager(enabled);
            w.reduction.movers.eager = eager.is_some();
            eager
        })
        .unwrap_or_else(|| choose(enabled))
    }

    /// Makes a schedule that begins with the choice `first` of those that are possible.
    fn walk(&mut self, first: usize, rng: &mut Rng) -> Result<Vec<Turn>, Differs> {
        let mut turns: Vec<Turn> = Vec::new();
        let mut enabled = self.here().enabled;
        while !enabled.is_empty() && turns.len() < LONGEST {
            let begins = turns.is_empty();
            let choice = self.choose(&enabled, |enabled| {
                enabled[if begins { first % enabled.len() } else { rng.below(enabled.len()) }]
            });
            let turn = self.step(choice);
            self.learns_nothing()?;
            let over = turn.fault.is_some();
            enabled.clone_from(&turn.after.enabled);
            turns.push(turn);
            if over {
                break;
            }
        }
        Ok(turns)
    }

    fn learns_nothing(&self) -> Result<(), Differs> {
        let learnt = with_ptr(self.ready.world, |w| {
            let learnt = w.reduction.classes.changed || w.reduction.movers.changed;
            (w.reduction.classes.changed, w.reduction.movers.changed) = (false, false);
            learnt
        });
        if learnt && self.complete {
            return Err(
                "after a search that saw everything, a run shows that a place is shared that was not known to be: the search has missed something"
                    .to_string(),
            );
        }
        Ok(())
    }

    /// The same schedule, from the other side.
    fn follow(&mut self, begin: &Here, turns: &[Turn]) -> Result<(), Differs> {
        let here = self.here();
        same("", begin, &here)?;
        for (at, one) in turns.iter().enumerate() {
            let enabled = if at == 0 { &here.enabled } else { &turns[at - 1].after.enabled };
            let choice = self.choose(enabled, |_| one.choice);
            let who = format!("in step {} of the same schedule (CPU {}) ", at + 1, cpu_of(one.choice));
            if choice != one.choice {
                return Err(format!("{who}the other has a wait that ends and is moved left, {choice:x}"));
            }
            let other = self.step(choice);
            self.learns_nothing()?;
            let longer = one.did.len().max(other.did.len());
            for index in 0..longer {
                let [mine, its] =
                    [&one.did, &other.did].map(|did| did.get(index).map_or("nothing more", String::as_str));
                if mine != its {
                    return Err(format!("{who}the one does `{mine}`, and the other `{its}`"));
                }
            }
            if (one.broken, &one.fault) != (other.broken, &other.fault) {
                let [mine, its] = [one, &other].map(|turn| match &turn.fault {
                    Some((rule, cpu)) => format!("breaks {rule} on CPU {cpu}"),
                    None => format!("breaks no rule, and the properties {:#x}", turn.broken),
                });
                return Err(format!("{who}the one {mine}, and the other {its}"));
            }
            same(&who, &one.after, &other.after)?;
            if one.end != other.end {
                return Err(format!("{who}they come to different ends: {:x?} and {:x?}", one.end, other.end));
            }
        }
        Ok(())
    }
}

/// Nothing tells the two states apart.
fn same(who: &str, one: &Here, other: &Here) -> Result<(), Differs> {
    if one.enabled != other.enabled {
        let (one, other) = (&one.enabled, &other.enabled);
        return Err(format!("{who}what can happen then differs: {one:x?} and {other:x?}"));
    }
    if let Some((one, other)) = one.about.iter().zip(&other.about).find(|(one, other)| one != other) {
        return Err(format!("{who}they differ in what comes: {one}; {other}"));
    }
    if one.hash != other.hash {
        return Err(format!("{who}they come to states with different fingerprints"));
    }
    Ok(())
}
