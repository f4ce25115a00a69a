//! The public entries: a whole check, and one run again.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use standstill_io::words;

use crate::result::assumptions::assumptions;
use crate::result::audit::audit;
use crate::engine::bounded;
use crate::result::checkpoint;
use crate::result::checkpoint::Checkpoint;
use crate::engine::dpor::{self, Part};
use crate::result::keep::Keeper;
use crate::config::options::{Engine, Options};
use crate::engine::parallel::{Way, search_from};
use crate::engine::random;
use crate::base::room;
use crate::machine::step::take;
use crate::vocab::choice::{bare, cpu_of, is_device};
use crate::engine::search::{End, Found};
use crate::machine::session::{Ready, SETUP};
use crate::result::shrink::{Cost, Goal, cheapest};
use crate::machine::store_buffers::drain_all;
use crate::result::verdict::{ReplayError, Run, Verdict, Violation};
use crate::vocab::progress::{Bound, Coverage, Progress};
use crate::vocab::step::Step;
use crate::machine::world::{World, with_ptr};
use crate::vocab::fault::Fault;

/// Checks what `options` say. `progress` is called now and then and may stop the search.
pub fn check(options: &Options, progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Verdict {
    let began = Instant::now();
    let mut found = Found::new();
    let enough = options.room.as_ref().map_or(Ok(()), |room| room.begin());
    let ready = match enough.and_then(|()| Ready::new(options)) {
        Ok(ready) => ready,
        Err(error) => {
            let coverage = Coverage::Bounded { states: 0, by: Bound::Stopped };
            let fails_in_setup = error.starts_with(SETUP);
            return Verdict { error: Some(error), fails_in_setup, ..found.verdict(coverage, began) };
        }
    };
    let mut way = match begin_from(&ready, options, began) {
        Ok(way) => way,
        Err(error) => {
            let coverage = Coverage::Bounded { states: 0, by: Bound::Stopped };
            return Verdict { error: Some(error), ..found.verdict(coverage, began) };
        }
    };
    let before = way.from.as_ref().map_or(0, |from| from.time_ns);
    let end = match options.engine {
        Engine::Stateful => until_settled(&ready, &mut found, &mut |found| {
            search_from(&ready, options, began, found, &mut way, progress)
        }),
        Engine::Bounded { preemptions } => until_settled(&ready, &mut found, &mut |found| {
            bounded::search(&ready, options, preemptions, began, found, progress)
        }),
        Engine::Random { runs, seed } => {
            random::search(&ready, options, (runs, seed, None), began, &mut found, progress)
        }
        Engine::Pct { runs, seed, depth } => {
            random::search(&ready, options, (runs, seed, Some(depth)), began, &mut found, progress)
        }
        Engine::Dpor => until_settled(&ready, &mut found, &mut |found| {
            dpor::search(&ready, options, Part::WHOLE, began, found, progress)
        }),
    };
    let states = found.states;
    let runs = found.runs;
    let coverage = match end {
        End::Exhausted if matches!(options.engine, Engine::Random { .. } | Engine::Pct { .. }) => {
            Coverage::Random { runs }
        }
        End::Exhausted => Coverage::Exhausted { states },
        End::Bounded(by) => Coverage::Bounded { states, by },
        End::Again => Coverage::Bounded { states, by: Bound::Stopped },
    };
    let fault = found.fault.take();
    let complete = matches!(coverage, Coverage::Exhausted { .. });
    let sample = found.sample.take();
    let mut verdict = found.verdict(coverage, began);
    let expirations = with_ptr(ready.world, |w| w.phase.may_expire);
    verdict.assumptions = assumptions(options, crate::scenario::begins(options), expirations);
    if matches!(coverage, Coverage::Bounded { by: Bound::Bytes, .. }) {
        verdict.out_of_memory = options.room.as_ref().and_then(|room| room.why());
    }
    // The tables are gone: what comes now has their memory.
    room::settle();
    let audited = sample.map(|sample| audit(&ready, options, &sample, complete, progress));
    drop(ready);
    match audited.transpose() {
        Ok(audited) => verdict.audited = audited,
        Err(differs) => verdict.error = Some(differs),
    }
    verdict.violation = fault.map(|(fault, choices)| {
        let goal = Goal::Rule(fault.rule.clone());
        let shrunk = options.shrink.then(|| cheapest(options, &goal, progress)).flatten();
        shrunk.unwrap_or_else(|| describe(options, fault, choices))
    });
    verdict.time_ns += before;
    verdict.not_kept = end_at(options, way).err();
    verdict
}

/// Where the search begins: where it was left, if it was, and somebody wants it to go on.
fn begin_from(ready: &Ready, options: &Options, began: Instant) -> Result<Way, String> {
    checkpoint::refuse(options)?;
    let Some(path) = &options.checkpoint else { return Ok(Way::default()) };
    let from = Checkpoint::read(path, options)?;
    let birth = with_ptr(ready.world, World::fingerprint);
    if from.as_ref().is_some_and(|from| from.birth != birth) {
        return Err(format!(
            "the checkpoint {} is of no use: this process begins in another state than the one that wrote it, so the scenario is not deterministic",
            words::path(path)
        ));
    }
    if from.as_ref().is_some_and(|from| !from.fits(ready, options)) {
        return Err(format!(
            "the checkpoint {} is of no use: what is left to do is not possible: take it away, and the search begins anew",
            words::path(path)
        ));
    }
    let before = Duration::from_nanos(from.as_ref().map_or(0, |from| from.time_ns));
    Ok(Way { from, keeper: Keeper::new(options, birth, began, before), kept: None })
}

/// Takes the file away, if nothing is left to do; else it was kept, or could not be.
fn end_at(options: &Options, way: Way) -> Result<(), String> {
    let Some(path) = &options.checkpoint else { return Ok(()) };
    if let Some(kept) = way.kept {
        return kept;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!(
            "the search has ended, and its checkpoint {} can't be removed: {error}",
            words::path(path)
        )),
        _ => Ok(()),
    }
}

/// Searches again until nothing that was taken to be quiet turns out to be shared.
pub(crate) fn until_settled(
    ready: &Ready,
    found: &mut Found,
    search: &mut dyn FnMut(&mut Found) -> End,
) -> End {
    loop {
        match search(found) {
            End::Again => {
                with_ptr(ready.world, |w| {
                    w.undo_to(0);
                    w.reduction.classes.changed = false;
                    w.reduction.movers.changed = false;
                });
                *found = Found::new();
            }
            end => return end,
        }
    }
}

/// Tells the whole story of a fault.
pub(crate) fn describe(options: &Options, fault: Fault, choices: Vec<u32>) -> Violation {
    let (steps, cost) =
        replay_counted(options, &choices).map(|(run, cost)| (run.steps, cost)).unwrap_or_default();
    Violation {
        rule: fault.rule,
        cpu: fault.cpu,
        text: fault.text,
        location: fault.location,
        steps,
        interrupts: cost.interrupts,
        preemptions: cost.preemptions,
        critical_pair: None,
        choices,
    }
}

/// Runs the schedule `choices` again.
///
/// # Errors
/// The schedule is not one of these options, or of this version of the code.
pub fn replay(options: &Options, choices: &[u32]) -> Result<Run, ReplayError> {
    replay_counted(options, choices).map(|(run, _)| run)
}

fn replay_counted(options: &Options, choices: &[u32]) -> Result<(Run, Cost), ReplayError> {
    let ready = Ready::new(options).map_err(ReplayError::BadOptions)?;
    let mut result = replay_in(&ready, choices)?;
    let learnt = with_ptr(ready.world, |w| std::mem::take(&mut w.reduction.classes.learnt_prepared));
    if learnt && result.0.violation.is_none() {
        // Who used a word before it was known what the word is for is seen now.
        with_ptr(ready.world, |w| w.undo_to(0));
        result = replay_in(&ready, choices)?;
    }
    Ok(result)
}

fn replay_in(ready: &Ready, choices: &[u32]) -> Result<(Run, Cost), ReplayError> {
    ready.record();
    let mut found = Found::new();
    let (mut possible, mut cost, mut last) = (Vec::new(), Cost::default(), None);
    for (at, choice) in choices.iter().enumerate() {
        with_ptr(ready.world, |w| w.enabled(&mut possible));
        let meant = with_ptr(ready.world, |w| w.may_be_meant(*choice));
        if !meant && !possible.contains(&bare(*choice)) {
            return Err(ReplayError::Diverged { at, choice: *choice, possible });
        }
        cost = cost.after(&possible, *choice, last);
        last = Some(cpu_of(*choice));
        with_ptr(ready.world, |w| {
            (w.step.budget, w.step.blocks) = (Some(*choice >> 16 & 0x7fff), Some(*choice >> 31 != 0));
        });
        take(ready.world, *choice, true);
        found.look(ready, true);
    }
    let steps = ready.recorded();
    // What is left in the buffers is nobody's business.
    drain_all(ready.world);
    with_ptr(ready.world, |w| w.enabled(&mut possible));
    let complete = possible.iter().all(|choice| is_device(*choice));
    Ok((told(ready, found, steps, cost, complete), cost))
}

/// The story of a run. `complete`: nothing has to happen any more.
pub(crate) fn told(ready: &Ready, mut found: Found, steps: Vec<Step>, cost: Cost, complete: bool) -> Run {
    if complete {
        found.look_at_end(ready);
    }
    let (interrupts, preemptions) = (cost.interrupts, cost.preemptions);
    let violation = found.fault.map(|(fault, choices)| Violation {
        rule: fault.rule,
        cpu: fault.cpu,
        text: fault.text,
        location: fault.location,
        steps: steps.clone(),
        interrupts,
        preemptions,
        critical_pair: None,
        choices,
    });
    Run { steps, violation, properties: found.counts, complete, interrupts, preemptions }
}
