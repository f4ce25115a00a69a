//! Each CPU as the others see it: masks, threads, handshake, death. Rules 32, 44, 49, 52, 53.

use super::walk::{self, Operation};
use crate::cpu::CpuId;
use crate::event::{Event, Sync, What};
use crate::hotplug::StateId;
use crate::invariants::{Checks, Verdict};

/// What the log has told about one CPU so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Cpu {
    pub(super) online: bool,
    active: bool,
    accepting: bool,
    parked: bool,
    /// It said that it dies, and nobody has noted it yet.
    died: bool,
    /// Unknown until the first step.
    sync: Option<Sync>,
    pub(super) operation: Option<Operation>,
}

/// The CPU that an event is about, if it is about one.
pub(super) fn subject(e: &Event) -> Option<CpuId> {
    match e.what {
        What::DownBegin { who, .. }
        | What::DownEnd { who, .. }
        | What::UpBegin { who, .. }
        | What::UpEnd { who, .. }
        | What::StateEnter { who, .. }
        | What::StateLeave { who, .. }
        | What::ActiveSet { who }
        | What::ActiveCleared { who }
        | What::AcceptingSet { who }
        | What::AcceptingCleared { who }
        | What::OnlineSet { who }
        | What::OnlineCleared { who }
        | What::ThreadsParked { who }
        | What::ThreadsUnparked { who }
        | What::SyncMoved { who, .. }
        | What::DeadSeen { who } => Some(who),
        What::StopBegin { leaving, .. } => leaving,
        What::CpuDies => Some(e.cpu),
        _ => None,
    }
}

impl Cpu {
    pub(super) const NEW: Cpu = Cpu {
        online: false,
        active: false,
        accepting: false,
        parked: false,
        died: false,
        sync: None,
        operation: None,
    };

    pub(super) fn feed(&mut self, e: &Event, checks: &mut Checks) -> Verdict {
        match e.what {
            What::ActiveSet { .. } => {
                self.active = true;
                checks.ask(32, self.online, e, "a CPU becomes active that is not online")
            }
            What::ActiveCleared { .. } => {
                self.active = false;
                Ok(())
            }
            What::AcceptingSet { .. } => {
                self.accepting = true;
                Ok(())
            }
            What::AcceptingCleared { .. } => {
                self.accepting = false;
                Ok(())
            }
            What::OnlineSet { .. } => {
                self.online = true;
                Ok(())
            }
            What::OnlineCleared { .. } => {
                self.online = false;
                checks.ask(32, !self.active, e, "a CPU leaves the online mask and is still active")?;
                checks.ask(44, self.parked, e, "a CPU leaves and its bound threads are not parked")
            }
            What::StopBegin { .. } => checks.ask(
                44,
                self.parked,
                e,
                "the stop of a CPU that leaves begins and its threads are not parked",
            ),
            What::ThreadsParked { .. } => {
                self.parked = true;
                Ok(())
            }
            What::ThreadsUnparked { .. } => {
                self.parked = false;
                checks.ask(44, self.online, e, "the threads of a CPU are unparked and it is not online")
            }
            What::SyncMoved { to, .. } => {
                let from = self.sync.replace(to);
                checks.ask(
                    49,
                    from.is_none_or(|from| legal(from, to)),
                    e,
                    "the handshake takes a step that it has not",
                )
            }
            What::CpuDies => {
                self.died = true;
                Ok(())
            }
            What::DeadSeen { .. } => {
                let died = core::mem::replace(&mut self.died, false);
                checks.ask(53, died, e, "a death is noted that did not happen, or a second time")
            }
            What::UpEnd { ok: true, .. } => {
                let target = self.operation.map(|op| op.target);
                let verdict = walk::feed(self, e, checks);
                verdict.and(target.map_or(Ok(()), |target| self.fits(target, e, checks)))
            }
            What::DownEnd { ok: true, .. } => {
                let target = self.operation.map(|op| op.target);
                let verdict = walk::feed(self, e, checks);
                let noted =
                    checks.ask(53, !self.died, e, "a CPU is said to be down and nobody noted its death");
                verdict.and(noted).and(target.map_or(Ok(()), |target| self.fits(target, e, checks)))
            }
            _ => walk::feed(self, e, checks),
        }
    }

    /// Do masks and threads fit a CPU that rests in `state`?
    fn fits(&self, state: StateId, e: &Event, checks: &mut Checks) -> Verdict {
        let up = state >= StateId::AP_ONLINE;
        let whole = state == StateId::ACTIVE;
        checks.ask(52, self.online == up, e, "the online mask does not fit the state that was reached")?;
        checks.ask(
            52,
            self.accepting == up,
            e,
            "whether the CPU accepts calls does not fit the state that was reached",
        )?;
        checks.ask(52, self.active == whole, e, "the active mask does not fit the state that was reached")?;
        checks.ask(52, !whole || !self.parked, e, "a CPU is active and its threads are parked")
    }
}

/// May the handshake go from `from` to `to`?
fn legal(from: Sync, to: Sync) -> bool {
    match to {
        Sync::Kicked => from == Sync::Dead,
        Sync::Alive => from == Sync::Kicked,
        Sync::Released => from == Sync::Alive,
        Sync::Online => from == Sync::Released,
        Sync::Dying => from == Sync::Online,
        Sync::GivenUp => matches!(from, Sync::Kicked | Sync::Alive),
        // A start signal that could not be sent; a late CPU that found that nobody waits for it.
        Sync::Dead => matches!(from, Sync::Dying | Sync::Kicked | Sync::GivenUp),
    }
}
