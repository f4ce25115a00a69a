//! The way down, on the CPU that goes.

use super::SyncWord;
use super::state::Reason;
use super::walk::Dir;
use crate::context::{IrqOff, Pinned};
use crate::cpu::CpuId;
use crate::event::{Ran, Sync, What};
use crate::machine::Machine;
use crate::platform::{DataCell, Platform};
use crate::protocol::Drain;

/// What the function on the CPU that goes returns.
pub(super) const LEFT: i32 = 0;
pub(super) const REFUSED: i32 = -1;

pub(super) const NOT_IDLE: Reason = Reason {
    code: -16,
    text: "a thread is still on the CPU, or its stopper did not interrupt its idle loop",
};

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// RUN on the CPU that goes: everybody else is frozen.
    #[doc(alias = "take_cpu_down")]
    pub(super) fn leave_in_run(&self, off: &IrqOff<'_>) -> i32 {
        let me = self.platform.this_cpu();
        if self.may_leave(me).is_err() {
            // The last step before RUN closed its queue; it stays, so it takes calls again.
            self.start_accepting(me);
            return REFUSED;
        }
        if self.protocol.drain == Drain::RunStart {
            // Still in the online mask, and nobody can send any more.
            self.drain(me, Ran::DrainInRun);
        }
        self.go_offline(off, me, Ran::DrainInRun);
        LEFT
    }

    /// The last moment to refuse. Past it the interrupted context is discarded.
    fn may_leave(&self, me: CpuId) -> Result<(), ()> {
        let refusal =
            if self.platform.only_idle_left() { self.platform.lines_left(me) } else { Err(NOT_IDLE) };
        refusal.map_err(|reason| {
            // SAFETY: control reads it after the stop, and no other access is on the way.
            unsafe { self.cpu[me.index()].hotplug.refusal.write(reason) };
        })
    }

    fn go_offline(&self, off: &IrqOff<'_>, me: CpuId, drain: Ran) {
        self.clear_online(me);
        self.walk_irqs_off(off, me, Dir::Down);
        if self.protocol.drain == Drain::Dying {
            self.flush(me, drain);
        }
        self.check_dying_queue(me);
        self.close_stopper(me);
        let at = self.sync_of(me);
        self.move_sync(me, at, Sync::Dying);
        self.dies_while_others_halt();
    }

    /// Without a stop, first part: senders are refused from here on. The CPU keeps answering those that were not.
    pub(super) fn turn_away(&self, pinned: &mut Pinned<'_>) -> i32 {
        self.irq_off(pinned, |_| {
            let me = self.platform.this_cpu();
            if self.may_leave(me).is_err() {
                return REFUSED;
            }
            if self.protocol.refuse_first {
                self.stop_accepting(me);
            } else {
                self.clear_online(me);
            }
            LEFT
        })
    }

    /// Without a stop, last part: every stopper has passed since, so nobody is still sending. Interrupts were open meanwhile, and a
    /// handler may have woken a thread that is bound to this CPU: so it looks once more, and may still refuse.
    pub(super) fn leave_alone(&self, pinned: &mut Pinned<'_>) -> i32 {
        self.irq_off(pinned, |off| {
            self.platform.hard_irq_disable();
            let me = self.platform.this_cpu();
            if self.may_leave(me).is_err() {
                if self.protocol.refuse_first {
                    self.start_accepting(me);
                } else {
                    self.set_online(me);
                }
                return REFUSED;
            }
            self.drain(me, Ran::Drain);
            self.go_offline(off, me, Ran::Drain);
            self.die(me)
        })
    }

    /// The end of this CPU: interrupts are off, it is out of every mask, and nothing on it is needed any more.
    #[doc(alias = "play_dead")]
    pub(crate) fn die(&self, me: CpuId) -> ! {
        let at = self.sync_of(me);
        self.emit(|| What::SyncMoved { who: me, from: at.step, to: Sync::Dead });
        self.emit(|| What::CpuDies);
        // The store is the port's, as its last access; it is a release and pairs with control's acquire.
        self.platform.die(&self.cpu[me.index()].hotplug.sync, SyncWord { step: Sync::Dead, ..at }.pack())
    }

    /// One turn of the idle loop: a CPU that left the mask with its interrupts open again dies here.
    #[inline]
    pub(crate) fn idle_turn(&self, me: CpuId) {
        if self.online.has(me) || self.sync_of(me).step != Sync::Dying {
            return;
        }
        self.platform.irq_save();
        self.platform.hard_irq_disable();
        self.die(me)
    }
}
