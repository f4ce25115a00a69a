//! The public entry: a whole check.

use crate::engine::explore::Exploration;
use crate::engine::explore::engine;
use crate::engine::snapshot::Keep;
use crate::result::replay::describe;
use crate::result::verdict::verdict_of;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use standstill_io::words;

use crate::base::room;
use crate::config::options::Options;
use crate::engine::parallel::Way;
use crate::engine::search::{End, Found};
use crate::machine::session::{Ready, SETUP};
use crate::machine::world::{World, with_ptr};
use crate::result::assumptions::assumptions;
use crate::result::audit::audit;
use crate::result::checkpoint;
use crate::result::keep::Keeper;
use crate::result::shrink::{Goal, cheapest};
use crate::result::verdict::Verdict;
use crate::vocab::progress::{Bound, Coverage, Progress};

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
            return Verdict { error: Some(error), fails_in_setup, ..verdict_of(found, coverage, began) };
        }
    };
    let mut way = match begin_from(&ready, options, began) {
        Ok(way) => way,
        Err(error) => {
            let coverage = Coverage::Bounded { states: 0, by: Bound::Stopped };
            return Verdict { error: Some(error), ..verdict_of(found, coverage, began) };
        }
    };
    let before = way.from.as_ref().map_or(0, |from| from.time_ns);
    let engine = engine(options.engine);
    let end = engine.explore(Exploration {
        ready: &ready,
        options,
        began,
        found: &mut found,
        way: &mut way,
        progress: &mut *progress,
    });
    let states = found.states;
    let runs = found.runs;
    let coverage = match end {
        End::Exhausted if !engine.sees_all() => Coverage::Random { runs },
        End::Exhausted => Coverage::Exhausted { states },
        End::Bounded(by) => Coverage::Bounded { states, by },
        End::Again => Coverage::Bounded { states, by: Bound::Stopped },
    };
    let fault = found.fault.take();
    let complete = matches!(coverage, Coverage::Exhausted { .. });
    let sample = found.sample.take();
    let mut verdict = verdict_of(found, coverage, began);
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
    let from = checkpoint::read(path, options)?;
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
    Ok(Way {
        from,
        keeper: Keeper::new(options, birth, began, before).map(|keeper| Box::new(keeper) as Box<dyn Keep>),
        kept: None,
    })
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
