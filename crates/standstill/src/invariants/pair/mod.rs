//! The rules that tie two CPUs together: what one queued and another ran, what one started and another finished.

mod calls;
mod cpus;
mod walk;
mod works;

use self::calls::Pending;
use self::cpus::Cpu;
use self::works::Queued;
use super::table::{Key, Table, mix};
use super::{Checks, Verdict};
use crate::cpu::CpuId;
use crate::event::{CallKey, Event, What, WorkKey};
use crate::protocol::Protocol;

/// The monitor of what crosses CPUs. It eats the events of all CPUs in any order that keeps cause before effect: each CPU's own in
/// the order in which it emitted them, and a queueing before what was queued runs.
///
/// It remembers `SLOTS` calls, `SLOTS` works and `SLOTS` CPUs at a time. What does not fit is counted and not watched; from the
/// first overflow on, a call or work that is unknown is taken to be one of those.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pair<const SLOTS: usize> {
    protocol: Protocol,
    calls: Table<CallOrder, Pending, SLOTS>,
    works: Table<WorkOrder, Queued, SLOTS>,
    cpus: Table<CpuId, Cpu, SLOTS>,
    checks: Checks,
}

impl<const SLOTS: usize> Pair<SLOTS> {
    /// The monitor of a machine that runs `protocol`, from before its first event.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        Pair { protocol, calls: Table::new(), works: Table::new(), cpus: Table::new(), checks: Checks::new() }
    }

    /// Looks at one event. After a violation the monitor goes on from what the event says.
    ///
    /// # Errors
    /// The first rule that the event breaks.
    pub fn feed(&mut self, event: &Event) -> Verdict {
        match event.what {
            What::CallQueued(_)
            | What::CallReleased(_)
            | What::CallBegin(..)
            | What::CallEnd(_)
            | What::CallReturned { .. }
            | What::CallExpired(_)
            | What::CallDiscarded(_)
            | What::CallLost(_) => calls::feed(&mut self.calls, event, &self.protocol, &mut self.checks),
            What::WorkQueued(_)
            | What::WorkTurnedAway(_)
            | What::WorkClaimed(_)
            | What::WorkBegin(_)
            | What::WorkRefused(_) => works::feed(&mut self.works, event, &mut self.checks),
            _ => {
                let Some(who) = cpus::subject(event) else { return Ok(()) };
                let mut cpu = self.cpus.get(who).copied().unwrap_or(Cpu::NEW);
                let verdict = cpu.feed(event, &mut self.checks);
                self.cpus.set(who, cpu);
                verdict
            }
        }
    }

    /// Looks at what is left when the machine is quiet: every operation has returned and every handler has run.
    ///
    /// # Errors
    /// The first rule that the end breaks; the others are counted.
    pub fn finish(&mut self) -> Verdict {
        let calls = calls::finish(&self.calls, &mut self.checks);
        let works = works::finish(&self.works, &mut self.checks);
        calls.and(works)
    }

    /// How many calls and works are queued or run at this point of the log.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.calls.len() + self.works.len()
    }

    /// How many calls, works and CPUs found no slot and were not watched.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.calls.overflowed() + self.works.overflowed() + self.cpus.overflowed()
    }

    /// Counts from zero from here on how often each rule is asked and broken. What the rules remember stays.
    pub fn restart_checks(&mut self) {
        self.checks = Checks::new();
    }

    /// How often each rule was asked and broken.
    #[must_use]
    pub const fn checks(&self) -> &Checks {
        &self.checks
    }
}

/// A [`CallKey`] with an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct CallOrder(usize, CpuId);

impl From<CallKey> for CallOrder {
    fn from(key: CallKey) -> Self {
        CallOrder(key.slot, key.to)
    }
}

impl Key for CallOrder {
    fn spread(self) -> usize {
        mix(self.0 ^ mix(self.1.index() + 1))
    }
}

/// A [`WorkKey`] with an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct WorkOrder(usize, CpuId);

impl From<WorkKey> for WorkOrder {
    fn from(key: WorkKey) -> Self {
        WorkOrder(key.work, key.to)
    }
}

impl Key for WorkOrder {
    fn spread(self) -> usize {
        mix(self.0 ^ mix(self.1.index() + 1))
    }
}

impl Key for CpuId {
    fn spread(self) -> usize {
        self.index()
    }
}
