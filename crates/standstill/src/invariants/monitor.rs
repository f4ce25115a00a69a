//! All rules at once, for a log in one order.

use super::{Checks, Global, Local, Pair, Verdict};
use crate::cpu::CpuId;
use crate::event::Event;
use crate::protocol::Protocol;

/// Every rule, for the totally ordered log of a machine of `N` CPUs. It is bounded, can be cloned, and hashes by what it
/// remembers, so a checker can make it part of its state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Monitor<const N: usize, const SLOTS: usize = 32> {
    local: [Local; N],
    pair: Pair<SLOTS>,
    global: Global<N>,
}

impl<const N: usize, const SLOTS: usize> Monitor<N, SLOTS> {
    /// The monitor of a machine that runs `protocol`, from before its first event.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Monitor {
            local: core::array::from_fn(|cpu| Local::new(CpuId::new(cpu), protocol)),
            pair: Pair::new(protocol),
            global: Global::new(protocol),
        }
    }

    /// Looks at the next event.
    ///
    /// # Errors
    /// The first rule that the event breaks. All rules see it, and the monitor can be fed further.
    pub fn feed(&mut self, event: &Event) -> Verdict {
        let local = self.local.get_mut(event.cpu.index()).map_or(Ok(()), |local| local.feed(event));
        let pair = self.pair.feed(event);
        let global = self.global.feed(event);
        local.and(pair).and(global)
    }

    /// Looks at what is left when the machine is quiet: every operation has returned, no handler is due.
    ///
    /// # Errors
    /// The first rule that the end breaks.
    pub fn finish(&mut self) -> Verdict {
        // Each is asked, whatever the others say: all broken rules are counted.
        let mut verdict = Ok(());
        for local in &mut self.local {
            verdict = verdict.and(local.finish());
        }
        verdict.and(self.pair.finish()).and(self.global.finish())
    }

    /// How often each rule was asked and broken.
    #[must_use]
    pub fn checks(&self) -> Checks {
        let mut all = self.pair.checks().clone();
        all.merge(self.global.checks());
        for local in &self.local {
            all.merge(local.checks());
        }
        all
    }

    /// What did not fit and was not watched.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.pair.overflowed() + self.global.overflowed()
    }
}
