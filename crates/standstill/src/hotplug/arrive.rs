//! The way up, on the CPU that comes.

use super::SyncWord;
use super::walk::Dir;
use crate::context::IrqOff;
use crate::cpu::CpuId;
use crate::event::{Sync, What};
use crate::machine::Machine;
use crate::platform::{Platform, TooLate, WaitContext};

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// The first thing a started CPU does, interrupts off.
    #[doc(alias = "start_secondary")]
    pub(crate) fn come_up(&self, me: CpuId, incarnation: usize) -> Result<(), TooLate> {
        self.emit(|| What::CpuStarted { incarnation });
        let at = |step| SyncWord { incarnation, step };
        if !self.move_sync(me, at(Sync::Kicked), Sync::Alive) {
            return Err(TooLate);
        }
        self.halt_if_told(me);
        // SAFETY: interrupts are off until the port opens them after this function.
        let off = unsafe { IrqOff::new() };
        self.walk_irqs_off(&off, me, Dir::Up);
        self.check_starting_queue(me);
        // Others may come up beside this one, and one of them may stop the machine: not as long as it does.
        let door = &self.stop.door;
        door.lock(
            self,
            WaitContext::Frozen,
            "cpu_up: the stop by another CPU to end",
            self.hotplug.operation.from(),
        );
        // The point of no return for both sides: whoever waits gives up before it, or waits for the bits below.
        let in_time = self.move_sync(me, at(Sync::Alive), Sync::Online);
        if in_time {
            self.open_stopper(me);
            self.set_online(me);
        }
        door.unlock(&self.platform);
        if !in_time {
            self.walk_irqs_off(&off, me, Dir::Down);
            // What its callbacks did comes before whatever was not allowed meanwhile: pairs with the
            // acquire of `nothing_is_loose`.
            self.hotplug.loose.remove_last(me);
            self.halt_if_told(me);
            return Err(TooLate);
        }
        self.halt_if_told(me);
        self.platform.notify(self.accepting.word_of(me));
        Ok(())
    }

    /// Is this CPU in its STARTING callbacks?
    pub(crate) fn is_coming_up(&self, me: CpuId) -> bool {
        self.sync_of(me).step == Sync::Alive
    }
}
