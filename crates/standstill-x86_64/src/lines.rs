//! Device lines: which CPU each is aimed at, and how they leave a CPU that leaves.
//!
//! Every line has one vector, the same on all CPUs. Lines are edges: pins of an I/O APIC, or message-signalled.
//!
//! A line leaves a CPU in two steps. With interrupts on, before the stop, it is aimed elsewhere, and [`SETTLE_NS`] are waited
//! out, so that what is on its way still arrives and is handled here. In the stop, what is latched here and was not taken is
//! sent to the line's new CPU again, as an interrupt with the same vector.
//!
//! **Bound**: an interrupt that is on its way for longer than [`SETTLE_NS`], and arrives after the look in the stop, is lost. A *level*
//! line can't be sent again (the end of an interrupt that was sent does not reach the I/O APIC), so it is not offered.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicUsize};

use standstill::CpuId;
use standstill::hotplug::Reason;

use crate::apic::{self, Message};
use crate::cpu;
use crate::irq;
use crate::time::delay_ns;

/// How many lines there can be.
pub const MAX_LINES: usize = 32;
/// The vector of line 0; the others follow.
pub const FIRST_VECTOR: u8 = 0x40;
/// How long an interrupt may be on its way from its device to the local APIC.
pub const SETTLE_NS: u64 = 50_000;

/// How a line's device is told which CPU to interrupt, with which vector.
pub trait Source: Sync {
    /// From now on the device interrupts `to` with `vector`. Under the lock of the lines, interrupts off.
    fn aim(&self, vector: u8, to: CpuId);
}

struct Line {
    source: &'static dyn Source,
    route: AtomicUsize,
}

/// All lines of a machine.
pub struct Lines {
    locked: AtomicBool,
    count: AtomicUsize,
    all: [core::cell::UnsafeCell<Option<Line>>; MAX_LINES],
}

// SAFETY: a line is written once, before the count that makes it visible is released, and only read after.
unsafe impl Sync for Lines {}

impl Lines {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Lines {
            locked: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            all: [const { core::cell::UnsafeCell::new(None) }; MAX_LINES],
        }
    }

    /// Adds a line and aims it at `to`. Returns its number; `None` if there is no room.
    pub fn add(&self, source: &'static dyn Source, to: CpuId) -> Option<usize> {
        self.locked(|| {
            let line = self.count.load(Relaxed);
            if line == MAX_LINES {
                return None;
            }
            // SAFETY: nobody looks at it before the store below, and the lock keeps other writers away.
            unsafe { *self.all[line].get() = Some(Line { source, route: AtomicUsize::new(to.index()) }) };
            self.count.store(line + 1, Release);
            source.aim(vector(line), to);
            Some(line)
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Acquire)
    }

    /// The CPU that `line` is aimed at.
    pub fn route(&self, line: usize) -> Option<CpuId> {
        Some(CpuId::new(self.get(line)?.route.load(Relaxed)))
    }

    fn get(&self, line: usize) -> Option<&Line> {
        // SAFETY: lines below the count are not written any more.
        if line < self.count() { unsafe { (*self.all[line].get()).as_ref() } } else { None }
    }

    fn each(&self) -> impl Iterator<Item = (usize, &Line)> {
        (0..self.count()).filter_map(|line| Some((line, self.get(line)?)))
    }

    /// Aims each line of `from` at another CPU that `takes` lines, and waits until what was on its way has arrived.
    ///
    /// # Errors
    /// Nobody else takes lines.
    pub fn aim_away(&self, from: CpuId, cpus: usize, takes: impl Fn(CpuId) -> bool) -> Result<(), Reason> {
        self.locked(|| {
            for (n, line) in self.each().filter(|(_, line)| line.route.load(Relaxed) == from.index()) {
                let to = (0..cpus)
                    .map(|k| CpuId::new((n + k) % cpus))
                    .find(|&cpu| cpu != from && takes(cpu))
                    .ok_or(Reason { code: -28, text: "no other online CPU can take its device lines" })?;
                line.aim(n, to);
            }
            Ok(())
        })?;
        delay_ns(SETTLE_NS);
        Ok(())
    }

    /// The last look, on `from` in its last stop: what is latched here goes to where its line is aimed now.
    ///
    /// # Errors
    /// A line is still aimed here.
    pub fn hand_over(&self, from: CpuId) -> Result<(), Reason> {
        if self.each().any(|(_, line)| line.route.load(Relaxed) == from.index()) {
            return Err(Reason { code: -16, text: "a device line is still aimed at it" });
        }
        for (n, line) in self.each() {
            if apic::is_latched(vector(n)) {
                let to = CpuId::new(line.route.load(Relaxed));
                apic::send(cpu::block(to).apic_id(), Message::Fixed(vector(n)));
            }
        }
        Ok(())
    }

    /// Aims the lines whose turn it is at `back`, which takes lines again.
    pub fn come_back(&self, back: CpuId, cpus: usize) {
        self.locked(|| {
            for (n, line) in self.each().filter(|(n, _)| n % cpus == back.index()) {
                line.aim(n, back);
            }
        });
    }

    fn locked<R>(&self, f: impl FnOnce() -> R) -> R {
        let on = irq::close();
        while self.locked.swap(true, Acquire) {
            core::hint::spin_loop();
        }
        let result = f();
        self.locked.store(false, Release);
        irq::open_if(on);
        result
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    fn aim(&self, line: usize, to: CpuId) {
        self.route.store(to.index(), Relaxed);
        self.source.aim(vector(line), to);
    }
}

/// The vector of `line`.
#[must_use]
pub const fn vector(line: usize) -> u8 {
    FIRST_VECTOR + line as u8
}

/// The line of `vector`, if it is one.
#[must_use]
pub const fn line_of(vector: u8) -> Option<usize> {
    let line = vector.wrapping_sub(FIRST_VECTOR) as usize;
    if line < MAX_LINES { Some(line) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_lines_match() {
        for line in 0..MAX_LINES {
            assert_eq!(line_of(vector(line)), Some(line));
        }
        assert_eq!(line_of(FIRST_VECTOR - 1), None);
        assert_eq!(line_of(vector(MAX_LINES - 1) + 1), None);
        assert_eq!(line_of(irq::vector::CALL), None);
    }
}
