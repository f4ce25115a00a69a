//! The fate of each call. Rules 1, 3, 6, 12.
//!
//! ```text
//!   with wait:     queued ── begin ── end ── returned          without:   queued ── released ── begin ── end
//!                     └────── lost ───────── returned                        │         └─ queued again: the slot is free
//!                                                                            └─ lost
//!   with deadline: queued ── expired ── discarded: never begins
//!                               └────── begin: the target was faster, and the sender waits on
//! ```

use super::{CallOrder, Table};
use crate::event::{CallInfo, Event, What};
use crate::invariants::{Checks, Verdict};
use crate::protocol::{Property, Protocol};

/// Where a call is that has not been released or begun yet, or that its sender waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Slot {
    /// Nothing is in it.
    Free,
    Queued,
    /// With wait: its deadline expired while it was queued, so it may be withdrawn.
    Expired,
    /// With wait: its function runs.
    Begun,
    /// With wait: its function ended.
    Ended,
    /// With wait: its CPU died with it.
    Lost,
}

/// A call that left its slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Taken {
    None,
    /// Released, and about to begin.
    Released,
    Running,
}

/// All that goes on under one key. Without wait there may be two calls: one that was taken and one that is queued again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pending {
    slot: Slot,
    taken: Taken,
    info: CallInfo,
}

pub(super) fn feed<const SLOTS: usize>(
    calls: &mut Table<CallOrder, Pending, SLOTS>,
    e: &Event,
    protocol: &Protocol,
    checks: &mut Checks,
) -> Verdict {
    let key = match e.what {
        What::CallQueued(info)
        | What::CallBegin(info, _)
        | What::CallLost(info)
        | What::CallDiscarded(info) => info.key,
        What::CallReleased(key)
        | What::CallEnd(key)
        | What::CallReturned { key, .. }
        | What::CallExpired(key) => key,
        _ => return Ok(()),
    };
    let order = CallOrder::from(key);
    if let What::CallQueued(info) = e.what {
        let old = calls.get(order).copied();
        let taken = old.map_or(Taken::None, |old| if info.form.waits() { Taken::None } else { old.taken });
        calls.set(order, Pending { slot: Slot::Queued, taken, info });
        let free = old.is_none_or(|old| old.slot == Slot::Free && !info.form.waits());
        return checks.ask(3, free, e, "a slot is queued that is still in use");
    }
    let unwatched = calls.overflowed() > 0;
    let Some(old) = calls.get(order).copied() else {
        let detail = match e.what {
            What::CallBegin(..) => "a call begins that is not queued, or begins for the second time",
            What::CallReleased(_) => "a slot is released that is not queued",
            What::CallEnd(_) => "a call ends that did not begin",
            What::CallExpired(_) | What::CallDiscarded(_) => "a call is withdrawn that is not pending",
            What::CallReturned { .. } => "a sender goes on from a call that it did not queue",
            _ => "a call is lost that is not queued",
        };
        return checks.ask(1, unwatched, e, detail);
    };
    let waits = old.info.form.waits();
    let mut now = old;
    let verdict = match e.what {
        What::CallReleased(_) => {
            if !waits {
                (now.slot, now.taken) = (Slot::Free, Taken::Released);
            }
            checks.ask(1, old.slot == Slot::Queued, e, "a slot is released that is not queued").and(
                checks.ask(
                    6,
                    !waits,
                    e,
                    "the slot of a sender that waits is released before its function ran",
                ),
            )
        }
        What::CallBegin(..) => {
            let pending = matches!(old.slot, Slot::Queued | Slot::Expired);
            let ready = old.taken == Taken::Released || pending;
            if old.taken != Taken::Released {
                now.slot = if waits { Slot::Begun } else { Slot::Free };
            }
            now.taken = Taken::Running;
            checks.ask(1, ready, e, "a call begins that is not queued, or begins for the second time")
        }
        What::CallEnd(_) => {
            now.taken = Taken::None;
            if old.slot == Slot::Begun {
                now.slot = Slot::Ended;
            }
            checks.ask(1, old.taken == Taken::Running, e, "a call ends that did not begin")
        }
        What::CallExpired(_) => {
            if waits && old.slot == Slot::Queued {
                now.slot = Slot::Expired;
            }
            checks.ask(6, waits, e, "a call without wait has a deadline")
        }
        What::CallDiscarded(_) => {
            now.slot = Slot::Free;
            checks.ask(
                1,
                old.slot == Slot::Expired,
                e,
                "a call is discarded that its sender did not withdraw",
            )
        }
        What::CallReturned { ran, .. } => {
            now.slot = Slot::Free;
            let fits = old.slot == if ran { Slot::Ended } else { Slot::Lost };
            checks.ask(6, fits, e, "a sender that waits goes on, and its call has not ended as it is told")
        }
        _ => {
            now.slot = if waits { Slot::Lost } else { Slot::Free };
            let promised = protocol.promises().contains(&Property::Lost);
            let queued = matches!(old.slot, Slot::Queued | Slot::Expired);
            checks.ask(1, queued, e, "a call is lost that is not queued").and(checks.ask(
                1,
                !promised,
                e,
                "an accepted call never ran: its CPU died with it",
            ))
        }
    };
    if now.slot == Slot::Free && now.taken == Taken::None {
        calls.remove(order);
    } else {
        calls.set(order, now);
    }
    verdict
}

/// Nothing may be pending. The violation's event is the queueing of the call, as the sender knows it.
pub(super) fn finish<const SLOTS: usize>(
    calls: &Table<CallOrder, Pending, SLOTS>,
    checks: &mut Checks,
) -> Verdict {
    let mut verdict = Ok(());
    for (_, call) in calls.iter() {
        let at = Event { cpu: call.info.sender, what: What::CallQueued(call.info) };
        let (rule, detail) = match (call.slot, call.taken) {
            (Slot::Ended | Slot::Lost, _) => {
                (12, "the call has its fate, and the sender that waits did not go on")
            }
            // A withdrawn one may wait for its target to come by.
            (Slot::Expired, _) => continue,
            (Slot::Queued, _) => (1, "an accepted call did not run"),
            (Slot::Free | Slot::Begun, _) => (1, "a call was taken from its slot and did not end"),
        };
        verdict = verdict.and(checks.ask(rule, false, &at, detail));
    }
    if calls.len() == 0 {
        checks.count(1);
        checks.count(12);
    }
    verdict
}
