//! A fibre says what it is about to do, and is suspended.
use crate::base::fibre::Command;
use crate::base::fibre::Slot;
use crate::machine::state::Life;
use crate::machine::state::Op;
use crate::machine::state::OpKind;
use crate::machine::world::with;

/// Announces `op` and suspends.
pub(crate) fn announce(op: Op) -> Command {
    let slot: *const Slot = with(|w| {
        let thread = w.thread;
        let t = w.thread_mut();
        t.op = op;
        if op.kind != OpKind::Wait {
            t.blocked = false;
        }
        w.step.fused = false;
        &raw const w.stacks.slots[thread]
    });
    // SAFETY: the caller runs on the fibre of the current thread.
    unsafe { Slot::suspend(slot) }
}

/// The context does nothing any more.
pub(crate) fn rest_for_ever() -> ! {
    with(|w| w.thread_mut().life = Life::Done);
    loop {
        announce(Op::here(OpKind::Idle, 0));
    }
}
