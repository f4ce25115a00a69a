//! The bus: one OS thread that is the devices and the slow part of the interconnect. It is no CPU: no stop freezes it.
//!
//! Call IPIs that travel are one bit for each target, as in an APIC's request register: a second one on its way to the same
//! CPU is the same one. Whoever sets the bit and finds it clear wakes the bus. Setting and clearing are read-modify-writes
//! with release and acquire, so what a sender wrote before is visible to the handler that answers the bit.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use standstill::CpuId;

use crate::board::Board;
use crate::irq;
use crate::os;
use crate::rng::Rng;

/// The mean gap between two bursts of the devices, when the CPUs keep up.
const GAP_NS: u64 = 60_000;
/// The longest gap, when they don't.
const MAX_GAP_NS: u64 = 20_000_000;

/// What the CPUs and the bus's thread share.
pub(crate) struct Bus {
    /// IPIs on their way, by target.
    flight: Box<[AtomicU64]>,
    /// Changed to wake the thread.
    kick: AtomicU32,
    devices: AtomicBool,
    /// The thread saw that the devices are off.
    quiet: AtomicBool,
    delayed: AtomicU64,
    seed: u64,
}

impl Bus {
    pub(crate) fn new(cpus: usize, seed: u64) -> Self {
        Bus {
            flight: (0..cpus.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            kick: AtomicU32::new(0),
            devices: AtomicBool::new(false),
            quiet: AtomicBool::new(true),
            delayed: AtomicU64::new(0),
            seed,
        }
    }

    pub(crate) fn delayed(&self) -> u64 {
        self.delayed.load(Relaxed)
    }

    /// Takes a call IPI for `to` on its way.
    pub(crate) fn carry(&self, to: CpuId) {
        let (word, bit) = place(to);
        self.delayed.fetch_add(1, Relaxed);
        if self.flight[word].fetch_or(bit, AcqRel) & bit == 0 {
            self.wake();
        }
    }

    /// `cpu` is reset: what is on its way to it is dropped.
    pub(crate) fn drop_for(&self, cpu: CpuId) {
        let (word, bit) = place(cpu);
        self.flight[word].fetch_and(!bit, AcqRel);
    }

    /// Wakes the thread.
    pub(crate) fn wake(&self) {
        self.kick.fetch_add(1, Release);
        os::futex_wake(self.kick.as_ptr(), 1);
    }

    /// Starts or stops the devices.
    pub(crate) fn set_devices(&self, on: bool) {
        self.quiet.store(false, Relaxed);
        self.devices.store(on, Release);
        self.wake();
    }

    /// The devices are off, and the thread knows it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Acquire)
    }
}

fn place(cpu: CpuId) -> (usize, u64) {
    (cpu.index() / 64, 1 << (cpu.index() % 64))
}

/// The body of the bus's thread. All asynchronous signals are blocked.
pub(crate) fn main(board: &'static Board) {
    os::sharp_timers();
    let bus = &board.bus;
    let mut thread = Thread {
        board,
        rng: Rng::new(bus.seed ^ 0x5bd1_e995),
        due: vec![0; board.config.cpus],
        gap: GAP_NS,
        next_burst: 0,
    };
    loop {
        let seen = bus.kick.load(Acquire);
        if board.power_off.load(Acquire) {
            return;
        }
        let now = os::now_ns();
        let next = thread.deliver(now).min(thread.burst(now));
        let ns = (next != u64::MAX).then(|| next.saturating_sub(os::now_ns()).max(1));
        // SAFETY: the word is part of a leaked board.
        unsafe { os::futex_wait(bus.kick.as_ptr(), seen, ns) };
    }
}

/// What only the bus's thread knows.
struct Thread {
    board: &'static Board,
    rng: Rng,
    /// When the IPI on its way to each CPU arrives; 0 for one that was not seen yet.
    due: Vec<u64>,
    gap: u64,
    next_burst: u64,
}

impl Thread {
    /// Delivers the IPIs whose time has come. Returns when the next one is due.
    fn deliver(&mut self, now: u64) -> u64 {
        let max = self.board.config.ipi_latency.map_or(1, |l| l.max_ns.max(1));
        let mut next = u64::MAX;
        for (w, word) in self.board.bus.flight.iter().enumerate() {
            let mut bits = word.load(Acquire);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                let cpu = w * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let due = &mut self.due[cpu];
                if *due == 0 {
                    *due = now + 1 + self.rng.below(max);
                }
                if *due > now {
                    next = next.min(*due);
                    continue;
                }
                *due = 0;
                // Still there, if its target was not reset.
                if word.fetch_and(!bit, AcqRel) & bit != 0 {
                    irq::raise(self.board.cpu(CpuId::new(cpu)), irq::CALL);
                }
            }
        }
        next
    }

    /// Lets the devices raise a few lines if it is time. Returns when it will be.
    fn burst(&mut self, now: u64) -> u64 {
        let bus = &self.board.bus;
        let lines = self.board.lines.count() as u64;
        if !bus.devices.load(Acquire) || lines == 0 {
            bus.quiet.store(true, Release);
            return u64::MAX;
        }
        if now >= self.next_burst {
            let count = 1 + self.rng.below(4);
            let mut fresh = true;
            for _ in 0..count {
                let line = self.rng.below(lines) as usize;
                fresh &= self.board.lines.raise(self.board, line);
            }
            // A line that is still pending says that the CPUs are behind.
            self.gap = if fresh { (self.gap / 2).max(GAP_NS) } else { (self.gap * 2).min(MAX_GAP_NS) };
            self.next_burst = os::now_ns() + self.gap / 2 + self.rng.below(self.gap);
        }
        self.next_burst
    }
}
