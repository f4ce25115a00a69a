//! The stopper of one CPU: runs works before anything else there.

use super::work::{Kind, Link, Pushed, StopWork, WorkState};
use crate::context::Pinned;
use crate::cpu::CpuId;
use crate::event::{What, WorkKey};
use crate::machine::{Machine, PinGuard};
use crate::platform::{Ipi, Platform};

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Runs the works of this CPU until none is left. Interrupts are on; nothing else runs here meanwhile.
    #[doc(alias = "cpu_stopper_thread")]
    pub(crate) fn run_works(&self, me: CpuId) {
        let mine = &self.cpu[me.index()].stop;
        while let Some(link) = self.next_work(me) {
            let key = WorkKey { work: link.addr(), to: me };
            // SAFETY: a popped link is alive until its work is finished below.
            match unsafe { &*link }.kind() {
                Kind::One => {
                    self.emit(|| What::WorkBegin(key));
                    let work = link.cast::<StopWork<P>>();
                    // SAFETY: a `One` link is the first field of a `StopWork`, pushed with its whole address, and popped here.
                    let body = unsafe { (*work).body() };
                    // SAFETY: this is the stopper, so the caller stays on its CPU and interrupts are on; the function is alive, as its
                    // caller waits for `finish`, or it is `'static`.
                    let value = unsafe { (body.run)(body.arg, &mut Pinned::new()) };
                    self.emit(|| What::WorkEnd(key));
                    // SAFETY: as above.
                    self.platform.notify(unsafe { StopWork::finish(work, WorkState::Ran(value)) });
                }
                Kind::Multi => {
                    if let Some(part) = mine.multi.take() {
                        self.emit(|| What::WorkBegin(key));
                        self.run_stop(me, part);
                        self.emit(|| What::WorkEnd(key));
                    }
                }
                Kind::Slot => {
                    let slot = &self.cpu[me.index()].slot;
                    if slot.take() {
                        self.emit(|| What::WorkBegin(key));
                        // SAFETY: taken.
                        let body = unsafe { slot.body() };
                        // SAFETY: as above; its owner waits for `finish`.
                        let value = unsafe { (body.run)(body.arg, &mut Pinned::new()) };
                        self.emit(|| What::WorkEnd(key));
                        self.platform.notify(slot.finish(value));
                    }
                }
            }
        }
    }

    /// None once this CPU has stopped the others: they would not come.
    fn next_work(&self, me: CpuId) -> Option<*const Link<P>> {
        if self.halt.is_taken() { None } else { self.cpu[me.index()].stop.works.pop() }
    }

    /// Queues `link` for `to`, which was announced, and wakes its stopper.
    ///
    /// # Safety
    /// 1. `link` is in no list, and stays alive until it was popped.
    /// 2. What belongs to it is filled in.
    pub(super) unsafe fn push_work(
        &self,
        _pin: &PinGuard<'_, P, N, W>,
        to: CpuId,
        link: *const Link<P>,
    ) -> bool {
        let key = WorkKey { work: link.addr(), to };
        // SAFETY: the contract of this function.
        match unsafe { self.cpu[to.index()].stop.works.push(link) } {
            Pushed::Closed => {
                self.emit(|| What::WorkTurnedAway(key));
                return false;
            }
            Pushed::First => {
                self.emit(|| What::IpiSent { to, why: Ipi::Stop });
                self.platform.send_ipi(to, Ipi::Stop);
            }
            Pushed::Behind => {}
        }
        true
    }

    /// This CPU's stopper takes works from now on. Before its online bit is set: who sees the bit may queue a work.
    pub(crate) fn open_stopper(&self, me: CpuId) {
        self.emit(|| What::StopperOpened);
        self.cpu[me.index()].stop.works.open();
    }

    /// This CPU's stopper takes no more works, and all that are queued are answered: refused. Called by its last work.
    pub(crate) fn close_stopper(&self, me: CpuId) {
        let mine = &self.cpu[me.index()].stop;
        let mut refused = 0;
        let mut dropped = None;
        // If the last work came by the slot, nobody waits for its end but for this CPU's.
        let slot = &self.cpu[me.index()].slot;
        slot.vanish();
        mine.works.close(|link| {
            let key = WorkKey { work: link.addr(), to: me };
            // SAFETY: handed out by `close`, so popped.
            match unsafe { &*link }.kind() {
                Kind::One => {
                    self.emit(|| What::WorkRefused(key));
                    refused += 1;
                    // SAFETY: as in `run_works`.
                    self.platform.notify(unsafe { StopWork::<P>::finish(link.cast(), WorkState::Refused) });
                }
                Kind::Multi => {
                    // Left behind by a stop that was given up; or of a pair, which does not ask who is online, while nobody waits for
                    // this CPU's death any more: then its part will never be played.
                    if let Some(part) = mine.multi.take() {
                        dropped = Some(part.epoch);
                        self.emit(|| What::WorkRefused(key));
                        refused += 1;
                    }
                }
                Kind::Slot => {
                    if slot.take() {
                        self.emit(|| What::WorkRefused(key));
                        refused += 1;
                        self.platform.notify(slot.refuse());
                    }
                }
            }
        });
        if let Some(epoch) = dropped {
            self.abandon_epoch(epoch);
        }
        self.emit(|| What::StopperClosed { refused });
    }
}
