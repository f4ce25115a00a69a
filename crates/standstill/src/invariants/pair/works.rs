//! The fate of each work. Rules 22 and 25.

use super::{Table, WorkOrder};
use crate::cpu::CpuId;
use crate::event::{Event, What, WorkKey};
use crate::invariants::{Checks, Verdict};

/// The uses of one work that have no fate yet. A stopper that took a work for a stop that was abandoned meanwhile says so
/// late: by then the work may be queued for the next one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Queued {
    times: u32,
    /// The CPU that queued it last.
    by: CpuId,
}

pub(super) fn feed<const SLOTS: usize>(
    works: &mut Table<WorkOrder, Queued, SLOTS>,
    e: &Event,
    checks: &mut Checks,
) -> Verdict {
    let unwatched = works.overflowed() > 0;
    let (key, detail) = match e.what {
        What::WorkQueued(key) => {
            let times = works.get(key.into()).map_or(0, |queued| queued.times);
            works.set(key.into(), Queued { times: times + 1, by: e.cpu });
            return Ok(());
        }
        What::WorkBegin(key) => (key, "a work runs that is not queued: it has had its fate"),
        What::WorkRefused(key) => (key, "a work is refused that is not queued: it has had its fate"),
        What::WorkClaimed(key) => (key, "a work is claimed back that is not queued: it has had its fate"),
        What::WorkTurnedAway(key) => (key, "a work is turned away that nobody queued"),
        _ => return Ok(()),
    };
    let before = works.get(key.into()).copied();
    match before {
        Some(Queued { times, by }) if times > 1 => {
            works.set(key.into(), Queued { times: times - 1, by });
        }
        _ => {
            works.remove(key.into());
        }
    }
    checks.ask(22, before.is_some() || unwatched, e, detail)
}

/// Nothing may be queued. The violation's event is the queueing.
pub(super) fn finish<const SLOTS: usize>(
    works: &Table<WorkOrder, Queued, SLOTS>,
    checks: &mut Checks,
) -> Verdict {
    let mut verdict = Ok(());
    for (&WorkOrder(work, to), &Queued { by, .. }) in works.iter() {
        let at = Event { cpu: by, what: What::WorkQueued(WorkKey { work, to }) };
        verdict = verdict.and(checks.ask(25, false, &at, "a queued work has no fate: it did not run"));
    }
    if works.len() == 0 {
        checks.count(25);
    }
    verdict
}
