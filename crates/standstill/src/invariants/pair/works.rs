//! The fate of each work. Rules 22 and 25.

use super::{Table, WorkOrder};
use crate::cpu::CpuId;
use crate::event::{Event, What, WorkKey};
use crate::invariants::{Checks, Verdict};

/// A work is in the table while it is queued; the value is the CPU that queued it.
pub(super) fn feed<const SLOTS: usize>(
    works: &mut Table<WorkOrder, CpuId, SLOTS>,
    e: &Event,
    checks: &mut Checks,
) -> Verdict {
    let unwatched = works.overflowed() > 0;
    match e.what {
        What::WorkQueued(key) => {
            let free = works.get(key.into()).is_none();
            works.set(key.into(), e.cpu);
            checks.ask(22, free, e, "a work is queued that is queued already")
        }
        What::WorkTurnedAway(key) => {
            works.remove(key.into());
            Ok(())
        }
        What::WorkBegin(key) => {
            let queued = works.remove(key.into()).is_some();
            checks.ask(22, queued || unwatched, e, "a work runs that is not queued: it has had its fate")
        }
        What::WorkRefused(key) => {
            let queued = works.remove(key.into()).is_some();
            checks.ask(22, queued || unwatched, e, "a work is refused that is not queued: it has had its fate")
        }
        What::WorkClaimed(key) => {
            let queued = works.remove(key.into()).is_some();
            checks.ask(22, queued || unwatched, e, "a work is claimed back that is not queued: it has had its fate")
        }
        _ => Ok(()),
    }
}

/// Nothing may be queued. The violation's event is the queueing.
pub(super) fn finish<const SLOTS: usize>(
    works: &Table<WorkOrder, CpuId, SLOTS>,
    checks: &mut Checks,
) -> Verdict {
    let mut verdict = Ok(());
    for (&WorkOrder(work, to), &by) in works.iter() {
        let at = Event { cpu: by, what: What::WorkQueued(WorkKey { work, to }) };
        verdict = verdict.and(checks.ask(25, false, &at, "a queued work has no fate: it did not run"));
    }
    if works.len() == 0 {
        checks.count(25);
    }
    verdict
}
