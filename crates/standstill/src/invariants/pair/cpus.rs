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
    /// It left the online mask, and nobody has noted its death yet.
    pub(super) leaves: bool,
    sync: Handshake,
    pub(super) operation: Option<Operation>,
    /// A failure is to be injected there.
    pub(super) armed: Option<StateId>,
}

/// Where a CPU was when an operation on it began.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Bits {
    online: bool,
    active: bool,
    accepting: bool,
    parked: bool,
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
        | What::InjectionArmed { who, .. }
        | What::InjectionDropped { who, .. }
        | What::ActiveSet { who }
        | What::ActiveCleared { who }
        | What::AcceptingSet { who }
        | What::AcceptingCleared { who }
        | What::OnlineSet { who }
        | What::OnlineCleared { who }
        | What::ThreadsParked { who }
        | What::ThreadsUnparked { who }
        | What::SyncMoved { who, .. }
        | What::CallbacksGivenUp { who }
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
        leaves: false,
        sync: Handshake::NEW,
        operation: None,
        armed: None,
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
                self.leaves = true;
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
                checks.ask(
                    44,
                    self.online,
                    e,
                    "the threads of a CPU are unparked before it is online: nobody has waited for that",
                )
            }
            What::SyncMoved { from, to, .. } => {
                let legal = self.sync.step(from, to);
                if let Some(operation) = self.operation.as_mut() {
                    // Given up on a CPU that has answered: it may be on its way still, so nothing is undone.
                    operation.stuck |= to == Sync::GivenUp && from == Sync::Alive;
                }
                checks.ask(49, legal, e, "the handshake takes a step that it has not")
            }
            What::CallbacksGivenUp { .. } => {
                if let Some(operation) = self.operation.as_mut() {
                    operation.stuck = true;
                }
                Ok(())
            }
            What::CpuDies => {
                self.died = true;
                Ok(())
            }
            What::DeadSeen { .. } => {
                self.leaves = false;
                let died = core::mem::replace(&mut self.died, false);
                checks.ask(53, died, e, "a death is noted that did not happen, or a second time")
            }
            What::UpEnd { ok, .. } | What::DownEnd { ok, .. } => {
                let operation = self.operation;
                let verdict = walk::feed(self, e, checks);
                let Some(operation) = operation else { return verdict };
                if ok {
                    let noted =
                        checks.ask(53, !self.died, e, "an operation succeeds and a death was not noted");
                    verdict.and(noted).and(self.fits(operation.target, e, checks))
                } else {
                    verdict.and(self.is_as_before(&operation, e, checks))
                }
            }
            _ => walk::feed(self, e, checks),
        }
    }

    /// A failed operation leaves the CPU as it was, unless it may not be dead, or the way back failed.
    fn is_as_before(&self, operation: &Operation, e: &Event, checks: &mut Checks) -> Verdict {
        let before = operation.began;
        // A CPU that may not be dead can't be taken further down.
        if operation.stuck || self.leaves {
            return Ok(());
        }
        if self.online && !before.online {
            // Why it could not leave again, no event says.
            return checks.ask(
                37,
                operation.undone_down_to(StateId::AP_ONLINE),
                e,
                "a CPU did not leave again, and not all of its ONLINE callbacks were undone",
            );
        }
        checks.ask(
            37,
            self.accepting == before.accepting,
            e,
            "a CPU takes calls as it did not before the operation that failed",
        )?;
        checks.ask(
            37,
            self.active == before.active,
            e,
            "a CPU is not active as it was before the operation that failed",
        )?;
        checks.ask(
            37,
            !self.online || self.parked == before.parked,
            e,
            "threads are not as before the operation that failed",
        )?;
        checks.ask(
            37,
            operation.undone_down_to(StateId::OFFLINE),
            e,
            "an operation failed, and not all that had succeeded was undone",
        )
    }

    pub(super) const fn bits(&self) -> Bits {
        Bits { online: self.online, active: self.active, accepting: self.accepting, parked: self.parked }
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

/// The handshake. A step is announced before the exchange that takes it, so where both sides may move it, both announce, and one of them is
/// too late: "given up" beside "alive", or beside "online". Which, the next step shows: it goes on from where the winner moved to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Handshake {
    /// Where the CPU has moved it, or is about to.
    at: Sync,
    /// Control has given up, or is about to, if it is there still.
    given_up: Option<Sync>,
}

impl Handshake {
    const NEW: Handshake = Handshake { at: Sync::Dead, given_up: None };

    fn step(&mut self, from: Sync, to: Sync) -> bool {
        let Handshake { at, given_up } = *self;
        if to == Sync::GivenUp {
            self.given_up = Some(from);
            // The CPU may have got further since control looked.
            let been = matches!(from, Sync::Kicked | Sync::Alive) && from <= at && at <= Sync::Online;
            return been && given_up.is_none_or(|before| before < from);
        }
        self.at = to;
        // Who goes on from where the CPU went to knows that the CPU won.
        self.given_up = given_up.filter(|before| to != Sync::Kicked && *before >= from);
        match (from, to) {
            (Sync::GivenUp, Sync::Kicked) => given_up.is_some(),
            (Sync::Dead, Sync::Kicked)
            | (Sync::Kicked, Sync::Alive)
            | (Sync::Alive, Sync::Online)
            | (Sync::Online, Sync::Dying)
            | (Sync::Dying, Sync::Dead) => at == from,
            _ => false,
        }
    }
}
