//! The handlers of device lines: interrupt context, interrupts off, and async calls sent from there, as in the mail.

use standstill::context::IrqOff;

use crate::ground::Ground;
use crate::kit::CsdSlot;
use crate::shared::Core;

/// How many csds the handlers of one CPU have.
pub(crate) const DEPTH: usize = 8;

/// For how long a handler looks after its device before it sends, at most, while a CPU is about to leave.
const WORK_NS: usize = 30_000;

/// What device handlers send with: one row of slots for each CPU, which only that CPU's handlers use.
pub(crate) struct Device<P: Ground, const N: usize, const W: usize, D: 'static> {
    pub(crate) core: &'static Core<P, N, W>,
    pub(crate) slots: &'static [CsdSlot<P, W, D>],
}

impl<P, const N: usize, const W: usize, D> Device<P, N, W, D>
where
    P: Ground,
    D: Fn(&IrqOff<'_>) + Sync,
{
    /// The handler of every line.
    ///
    /// While a CPU is about to leave, a handler works a little and then sends all it has to that CPU, so that some are inside a
    /// handler when the disable stage begins: the window of the race, at its widest. The workload is the same for every protocol, which
    /// is what makes their outcomes comparable.
    pub(crate) fn handle(&self, _line: usize, off: &IrqOff<'_>) {
        let core = self.core;
        if core.is_held() {
            return;
        }
        let me = core.ground().this_cpu();
        let dice = core.dice(me);
        let victim = core.victim().filter(|victim| *victim != me);
        if victim.is_some() {
            core.busy_ns(dice.below(WORK_NS) as u64);
        }
        let row = &self.slots[me.index() * DEPTH..][..DEPTH];
        let wanted = if victim.is_some() { DEPTH } else { 1 };
        let free = row.iter().filter(|csd_slot| core.settled(csd_slot.slot.record)).take(wanted);
        for CsdSlot { csd, slot } in free {
            let to = victim.unwrap_or_else(|| core.any_cpu(dice));
            core.post_one(slot.record, to, |to| core.machine.call_single_async(off, to, csd, &slot.handler));
        }
    }
}
