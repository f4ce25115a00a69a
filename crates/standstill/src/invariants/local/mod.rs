//! The rules that one CPU's own events show, in the order in which it emitted them.

mod calls;
mod life;
mod stops;

use self::calls::Calls;
use self::life::Life;
use self::stops::Stops;
use super::{Checks, Verdict};
use crate::cpu::CpuId;
use crate::event::{Event, What};
use crate::protocol::Protocol;

/// The monitor of one CPU. It eats the events of this CPU only; others it ignores.
///
/// An interrupt handler's events may lie between any two events of the context it interrupted, properly nested. The monitor itself is not
/// re-entrant: a port that emits from handlers closes its interrupts around [`feed`](Self::feed).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Local {
    cpu: CpuId,
    protocol: Protocol,
    life: Life,
    calls: Calls,
    stops: Stops,
    checks: Checks,
}

impl Local {
    /// The monitor of `cpu`, from before its first event. The CPU counts as offline until it says otherwise.
    #[must_use]
    pub const fn new(cpu: CpuId, protocol: Protocol) -> Self {
        Local {
            cpu,
            protocol,
            life: Life::new(),
            calls: Calls::new(),
            stops: Stops::new(),
            checks: Checks::new(),
        }
    }

    /// Looks at one event. After a violation the monitor goes on from what the event says.
    ///
    /// # Errors
    /// The first rule that the event breaks.
    pub fn feed(&mut self, event: &Event) -> Verdict {
        if event.cpu != self.cpu {
            return Ok(());
        }
        if matches!(event.what, What::CpuStarted { .. }) {
            // A fresh context: what the former life left open died with it.
            self.calls.restart();
            self.stops.restart();
        }
        let online = self.life.online;
        // Every part sees the event, whatever the others say, so that each goes on from what happened.
        let life = self.life.feed(event, &self.protocol, self.stops.stopper_open(), &mut self.checks);
        let calls = self.calls.feed(event, &self.protocol, online, &mut self.checks);
        let stops = self.stops.feed(event, &self.protocol, online, &mut self.checks);
        life.and(calls).and(stops)
    }

    /// Looks at what is left when this CPU is quiet: all its contexts are between two operations of the library, or it is dead.
    ///
    /// # Errors
    /// The first rule that the end breaks.
    pub fn finish(&mut self) -> Verdict {
        let calls = self.calls.finish(self.cpu, &mut self.checks);
        if self.life.dead {
            return calls;
        }
        calls.and(self.stops.finish(self.cpu, &mut self.checks))
    }

    /// Which CPU this is.
    #[must_use]
    pub const fn cpu(&self) -> CpuId {
        self.cpu
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
