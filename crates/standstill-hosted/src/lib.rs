//! Standstill's hosted port: a machine of many CPUs in one Linux process.
//!
//! | on the machine | here |
//! |---|---|
//! | a CPU | an OS thread, which is its firmware, and a context on a stack of its own |
//! | an IPI | a bit in the target's pending word, and one signal when the word was zero |
//! | a latency of the interconnect | some IPIs travel through the bus's thread |
//! | interrupts off | a lazy mask in memory; behind it the OS's signal mask as the hard one |
//! | the stopper | runs on top of whatever was interrupted, at the end of the interrupt |
//! | a thread of the kernel | a coroutine on the run queue of a CPU, moved when switched out |
//! | a device line | a route in the controller; one OS thread raises lines |
//! | a CPU that dies | its context is dropped for good; its OS thread waits for the start signal |
//! | an NMI | a second signal, which no mask of the machine closes |
//!
//! ```no_run
//! use standstill::{CpuId, Protocol};
//! use standstill_hosted::{Config, run};
//!
//! let answer = run::<64, 1, _>(Config::new(4), Protocol::STANDSTILL, |machine, task| {
//!     machine.cpu_up(task, CpuId::new(1)).expect("CPU 1 comes up");
//!     machine.call_single(task, CpuId::new(1), &|_| println!("on CPU 1"))
//! });
//! assert_eq!(answer, Ok(()));
//! ```
//!
//! Scheduling is cooperative: a thread is switched out where it waits, sleeps or yields. What interrupts it are
//! interrupts and the stopper. A thread that computes for long without any of these keeps its CPU from going offline,
//! and is named by the stall report.
//!
//! A machine's memory is never freed: a CPU may be halted at any point with pointers to it. One machine costs a few
//! megabytes at most, plus the stacks, which are.

#![cfg(target_os = "linux")]

mod board;
mod bus;
mod config;
mod crash;
mod firmware;
mod ground;
mod irq;
mod lines;
mod memory;
mod os;
mod queue;
mod rng;
mod run;
mod sched;
#[cfg(test)]
mod testing;
mod thread;
mod wait;

pub use config::{Config, Latency, Observer, Stats};
pub use irq::Flags;
pub use run::run;

use standstill::CpuId;
use standstill::context::Task;

use crate::board::Board;

/// The platform: a handle to one machine's hardware.
#[derive(Clone, Copy)]
pub struct Hosted {
    board: &'static Board,
}

impl Hosted {
    /// The hardware of a new machine. [`run()`] does this, builds the machine and boots it.
    ///
    /// # Panics
    /// If there is no CPU.
    #[must_use]
    pub fn new(config: Config) -> Self {
        assert!(config.cpus > 0, "a machine has at least one CPU");
        Hosted { board: Board::leak(config) }
    }

    /// How many CPUs are possible.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.board.config.cpus
    }

    /// What the port counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.board.stats()
    }

    /// Starts a thread that may run anywhere and prefers `home` while that CPU takes threads.
    ///
    /// # Panics
    /// If there is no memory for its stack.
    pub fn spawn_once(&self, name: &'static str, home: CpuId, code: impl FnOnce(&mut Task) + Send + 'static) {
        self.board.start_thread(name, home, Box::new(code));
    }
}
