//! What a step of the machine touches besides memory. See [`crate::reduction::footprint`].

use crate::machine::world::World;
use crate::reduction::footprint::{How, off, pending, power, scheduling, thread};
use crate::vocab::pending::PENDING_CALL;
use crate::vocab::pending::PENDING_HALT;
use crate::vocab::pending::PENDING_STOP;

impl World {
    /// The CPU is started, dies or halts.
    pub(crate) fn touch_power(&mut self, cpu: usize) {
        self.reduction.touches.add(power(cpu), How::Writes);
        self.reduction.touches.add(off(cpu), How::Writes);
        self.reduction.touches.add(scheduling(cpu), How::Writes);
        self.reduction.touches.add(thread(cpu), How::Writes);
        for bit in [PENDING_CALL, PENDING_STOP, PENDING_HALT] {
            self.reduction.touches.change(
                pending(cpu, bit),
                How::Writes,
                usize::from(self.cpus[cpu].pending & bit),
                0,
            );
        }
    }

    /// The condition that `thread` waits for is looked at.
    pub(crate) fn touch_watch(&mut self, thread: usize) {
        if let Some(t) = &self.threads[thread] {
            for (place, _) in t.watch.iter() {
                self.reduction.touches.add(place, How::Reads);
            }
        }
    }
}
