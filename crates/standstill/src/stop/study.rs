//! For tests and checkers: what else takes years.

use core::sync::atomic::Ordering::Relaxed;

use super::stage::{At, LAST_EPOCH, Stage};
use crate::machine::Machine;
use crate::platform::{Platform, Word};

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// As if stops had used all numbers but for the last `left`: then numbers are used again. To be called
    /// before the boot, while nobody else uses the machine.
    pub fn spend_epochs(&self, left: usize) {
        let at = At::new(LAST_EPOCH - left, Stage::Exit);
        // Relaxed, all: no other CPU runs.
        self.stop.at.store(at.pack(), Relaxed);
        self.stop.done.store(at.pack(), Relaxed);
        for cpu in &self.cpu {
            cpu.acks.spend(at);
            cpu.copied.spend(at);
            cpu.stop.progress.store(at.pack(), Relaxed);
        }
    }
}
