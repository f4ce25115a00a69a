//! What an engine is, and which there are. A new one is a value of [`Explore`], a name in
//! [`Engine`], and a line in [`engine`].

use std::ops::ControlFlow;
use std::time::Instant;

use crate::config::options::{Engine, MemoryModel, Options};
use crate::engine::dpor::Part;
use crate::engine::parallel::{Way, search_from};
use crate::engine::search::{End, Found, until_settled};
use crate::engine::{bounded, dpor, random};
use crate::machine::session::Ready;
use crate::vocab::progress::Progress;

/// One search: of what, since when, what it has found, and where it goes on and is left.
pub(crate) struct Exploration<'a> {
    pub(crate) ready: &'a Ready,
    pub(crate) options: &'a Options,
    pub(crate) began: Instant,
    pub(crate) found: &'a mut Found,
    pub(crate) way: &'a mut Way,
    pub(crate) progress: &'a mut dyn FnMut(&Progress) -> ControlFlow<()>,
}

/// An engine.
pub(crate) trait Explore {
    /// Searches until it is through, or a limit is reached.
    fn explore(&self, it: Exploration<'_>) -> End;

    /// If it comes to its end, has it seen everything? Otherwise it has made so many runs.
    fn sees_all(&self) -> bool {
        true
    }

    /// Does it take states with equal fingerprints for one?
    fn merges(&self) -> bool {
        false
    }

    /// Is what it merges sampled for an audit, and can it go on from a checkpoint?
    fn remembers(&self) -> bool {
        false
    }

    /// What its verdict rests on besides.
    fn assumes(&self) -> Option<&'static str> {
        None
    }

    /// Can it search with these options?
    ///
    /// # Errors
    /// It can't: why.
    fn refuse(&self, _: &Options) -> Result<(), String> {
        Ok(())
    }
}

struct Stateful;
struct Bounded(u32);
struct Random {
    runs: u64,
    seed: u64,
    /// Of PCT.
    depth: Option<u32>,
}
struct Traces;

impl Explore for Stateful {
    fn explore(&self, it: Exploration<'_>) -> End {
        let Exploration { ready, options, began, found, way, progress } = it;
        until_settled(ready, found, &mut |found| search_from(ready, options, began, found, way, progress))
    }

    fn merges(&self) -> bool {
        true
    }

    fn remembers(&self) -> bool {
        true
    }
}

impl Explore for Bounded {
    fn explore(&self, it: Exploration<'_>) -> End {
        let Exploration { ready, options, began, found, progress, .. } = it;
        until_settled(ready, found, &mut |found| {
            bounded::search(ready, options, self.0, began, found, progress)
        })
    }

    fn merges(&self) -> bool {
        true
    }
}

impl Explore for Random {
    fn explore(&self, it: Exploration<'_>) -> End {
        let Random { runs, seed, depth } = *self;
        random::search(it.ready, it.options, (runs, seed, depth), it.began, it.found, it.progress)
    }

    fn sees_all(&self) -> bool {
        false
    }
}

impl Explore for Traces {
    fn explore(&self, it: Exploration<'_>) -> End {
        let Exploration { ready, options, began, found, progress, .. } = it;
        until_settled(ready, found, &mut |found| {
            dpor::search(ready, options, Part::WHOLE, began, found, progress)
        })
    }

    fn assumes(&self) -> Option<&'static str> {
        Some("rules that compare CPUs which share no place are judged in one order of each trace")
    }

    fn refuse(&self, options: &Options) -> Result<(), String> {
        if options.memory == MemoryModel::Sc && !options.sleepers {
            return Ok(());
        }
        Err("the engine `dpor` explores sequentially consistent memory and waits that poll, and nothing else"
            .to_string())
    }
}

/// The engine of this name.
pub(crate) fn engine(of: Engine) -> Box<dyn Explore> {
    match of {
        Engine::Stateful => Box::new(Stateful),
        Engine::Dpor => Box::new(Traces),
        Engine::Random { runs, seed } => Box::new(Random { runs, seed, depth: None }),
        Engine::Pct { runs, seed, depth } => Box::new(Random { runs, seed, depth: Some(depth) }),
        Engine::Bounded { preemptions } => Box::new(Bounded(preemptions)),
    }
}

/// Can the engine of these options search with them?
///
/// # Errors
/// It can't: why, and which one can.
pub(crate) fn refuse(options: &Options) -> Result<(), String> {
    let (engine, name) = (engine(options.engine), options.engine.name());
    engine.refuse(options)?;
    if options.audit.merges > 0 && !engine.remembers() {
        return Err(format!(
            "the engine `{name}` merges no states that an audit could continue: take `stateful`"
        ));
    }
    Ok(())
}
