//! The way up, on the CPU that comes.

use core::panic::Location;

use super::SyncWord;
use core::sync::atomic::Ordering::Release;

use super::walk::Dir;
use crate::context::IrqOff;
use crate::cpu::CpuId;
use crate::event::{Sync, What};
use crate::machine::Machine;
use crate::platform::{Deadline, Platform, Site, TooLate, WaitContext, WaitFor, Word};

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// The first thing a started CPU does, interrupts off.
    #[doc(alias = "start_secondary")]
    pub(crate) fn come_up(&self, me: CpuId, incarnation: usize) -> Result<(), TooLate> {
        self.emit(|| What::CpuStarted { incarnation });
        let at = |step| SyncWord { incarnation, step };
        if !self.move_sync(me, at(Sync::Kicked), Sync::Alive) {
            return Err(TooLate);
        }
        self.await_release(me, at(Sync::Alive));
        if self.sync_of(me) != at(Sync::Released) {
            // Released and given up before it looked: it was counted, and runs no callbacks.
            self.hotplug.loose.fetch_sub(1, Release);
            return Err(TooLate);
        }
        // SAFETY: interrupts are off until the port opens them after this function.
        let off = unsafe { IrqOff::new() };
        self.walk_irqs_off(&off, me, Dir::Up);
        self.check_starting_queue(me);
        // The point of no return for both sides: whoever waits gives up before it, or waits for the bits below.
        if !self.move_sync(me, at(Sync::Released), Sync::Online) {
            self.walk_irqs_off(&off, me, Dir::Down);
            // Release: what this CPU did comes before whatever was not allowed meanwhile.
            self.hotplug.loose.fetch_sub(1, Release);
            return Err(TooLate);
        }
        self.open_stopper(me);
        self.set_online(me);
        // Against the fence of `stop_others`: it sees this CPU online and halts it, or is seen here.
        self.platform.fence();
        if self.halt.is_taken() {
            self.halt_self(me);
        }
        self.platform.notify(self.accepting.word_of(me));
        Ok(())
    }

    /// Is this CPU in its STARTING callbacks?
    pub(crate) fn is_coming_up(&self, me: CpuId) -> bool {
        self.sync_of(me).step == Sync::Released
    }

    /// Waits for control to say go, or to have given up.
    fn await_release(&self, me: CpuId, alive: SyncWord) {
        let site = Site { what: "cpu_up: the release by the control CPU", at: Location::caller() };
        let wait =
            WaitFor { site, context: WaitContext::Frozen, deadline: Deadline::NEVER, stalled: &|_| () };
        let sync = &self.cpu[me.index()].hotplug.sync;
        self.platform.wait_until(sync, &wait, || (self.sync_of(me) != alive).then_some(()));
    }
}
