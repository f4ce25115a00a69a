//! The interrupt controller of the device lines: routes, and an account of every raise.
//!
//! A line is pending from its raise until its handler starts, on one CPU at a time; a raise in between is answered by the
//! same handler run and counted as coalesced. Raises and changes of routes exclude each other by the controller's lock, so
//! once [`hand_over`](Lines::hand_over) has found no route to a CPU and moved what was pending there, nothing comes after.

use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

use standstill::CpuId;
use standstill::context::IrqOff;
use standstill::hotplug::Reason;
use standstill_torture::LineHandler;

use crate::board::{Board, Cpu};
use crate::irq;

struct Line {
    /// The CPU that it is aimed at.
    route: AtomicUsize,
    pending: AtomicBool,
}

/// All lines of a machine.
pub(crate) struct Lines {
    lock: Mutex<()>,
    all: Box<[Line]>,
    cpus: usize,
    raised: AtomicU64,
    handled: AtomicU64,
    coalesced: AtomicU64,
    handler: AtomicPtr<&'static LineHandler>,
}

impl Lines {
    pub(crate) fn new(lines: usize, cpus: usize) -> Self {
        Lines {
            lock: Mutex::new(()),
            // Only the boot CPU runs at first; the others get theirs when they are up.
            all: (0..lines)
                .map(|_| Line { route: AtomicUsize::new(0), pending: AtomicBool::new(false) })
                .collect(),
            cpus,
            raised: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            coalesced: AtomicU64::new(0),
            handler: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Inside a section, as handlers take it, too.
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn coalesced(&self) -> u64 {
        self.coalesced.load(Relaxed)
    }

    /// How often a line became pending, and how often a handler ran for that.
    pub(crate) fn account(&self) -> (u64, u64) {
        // In this order, so that a handler run that is counted has its raise counted.
        let handled = self.handled.load(Acquire);
        (self.raised.load(Acquire), handled)
    }

    pub(crate) fn set_handler(&self, handler: &'static LineHandler) {
        self.handler.store(Box::into_raw(Box::new(handler)), Release);
    }

    /// A device raises `line`. False if it was still pending.
    pub(crate) fn raise(&self, board: &Board, line: usize) -> bool {
        let _section = irq::enter();
        let _lock = self.lock();
        let l = &self.all[line];
        if l.pending.swap(true, AcqRel) {
            self.coalesced.fetch_add(1, Relaxed);
            return false;
        }
        self.raised.fetch_add(1, Release);
        deliver(board.cpu(CpuId::new(l.route.load(Relaxed))), line);
        true
    }

    /// Runs the handlers of the lines that are pending at `cpu`: in its interrupt handler.
    pub(crate) fn take(&self, cpu: &Cpu, off: &IrqOff<'_>) {
        // SAFETY: null, or the leaked reference from `set_handler`.
        let handler = unsafe { self.handler.load(Acquire).as_ref() };
        for (w, word) in cpu.lines.iter().enumerate() {
            let mut bits = word.swap(0, AcqRel);
            while bits != 0 {
                let line = w * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                // First: a raise from here on is a new one.
                self.all[line].pending.store(false, Release);
                if let Some(handler) = handler {
                    handler(line, off);
                }
                self.handled.fetch_add(1, Release);
            }
        }
    }

    /// Aims the lines of `from` at other online CPUs. What is pending there is still handled there, or handed over later.
    pub(crate) fn aim_away(&self, board: &'static Board, from: CpuId) -> Result<(), Reason> {
        let _section = irq::enter();
        let _lock = self.lock();
        let entry = board.entry();
        for (i, line) in self.all.iter().enumerate() {
            if line.route.load(Relaxed) == from.index() {
                let to = (0..self.cpus)
                    .map(|k| (i + k) % self.cpus)
                    .find(|&c| c != from.index() && entry.is_online(CpuId::new(c)))
                    .ok_or(Reason { code: -28, text: "no other online CPU can take its device lines" })?;
                line.route.store(to, Relaxed);
            }
        }
        Ok(())
    }

    /// Moves what is pending at `from` to where the lines are aimed now. On `from`, interrupts off, in its last stop.
    pub(crate) fn hand_over(&self, board: &'static Board, from: CpuId) -> Result<(), Reason> {
        let _section = irq::enter();
        let _lock = self.lock();
        if self.all.iter().any(|l| l.route.load(Relaxed) == from.index()) {
            return Err(Reason { code: -16, text: "a device line is still aimed at it" });
        }
        for (w, word) in board.cpu(from).lines.iter().enumerate() {
            let mut bits = word.swap(0, AcqRel);
            while bits != 0 {
                let line = w * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                deliver(board.cpu(CpuId::new(self.all[line].route.load(Relaxed))), line);
            }
        }
        Ok(())
    }

    /// Aims each line at its own CPU where that is online or `back`, which takes lines again.
    pub(crate) fn rebalance(&self, board: &'static Board, back: CpuId) {
        let _section = irq::enter();
        let _lock = self.lock();
        for (i, line) in self.all.iter().enumerate() {
            if i % self.cpus == back.index() && board.entry().is_online(back) {
                line.route.store(back.index(), Relaxed);
            }
        }
    }
}

/// Makes `line` pending at `cpu` and interrupts it. Under the controller's lock.
fn deliver(cpu: &Cpu, line: usize) {
    cpu.lines[line / 64].fetch_or(1 << (line % 64), AcqRel);
    irq::raise(cpu, irq::LINES);
}

#[cfg(test)]
mod tests;
