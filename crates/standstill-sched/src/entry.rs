//! What the scheduler knows of one thread.

use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize};

use standstill::CpuId;

/// What a thread does; protected by the lock of its CPU's queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// On no CPU: it has not started, is parked, or has ended.
    Off,
    /// It can run.
    Ready,
    /// It runs.
    Running,
    /// It waits to be woken, or for its `wake_at`.
    Blocked,
}

/// The scheduler's part of a thread `T`, which dereferences to it.
pub struct Entry<T> {
    /// Where it goes when it can.
    pub home: CpuId,
    /// It runs at home and nowhere else.
    pub bound: bool,
    /// A wake came before it was blocked: its next wait ends at once.
    pub woken: AtomicBool,
    /// When a blocked thread becomes ready by itself; [`u64::MAX`] is never.
    pub wake_at: AtomicU64,
    cpu: AtomicUsize,
    state: AtomicU8,
    /// The next one in the queue of the ready: null, or from a `&'static T`.
    pub(crate) next: AtomicPtr<T>,
}

impl<T> Entry<T> {
    /// Of a thread that is on no CPU yet.
    #[must_use]
    pub const fn new(home: CpuId, bound: bool) -> Self {
        Entry {
            home,
            bound,
            woken: AtomicBool::new(false),
            wake_at: AtomicU64::new(u64::MAX),
            cpu: AtomicUsize::new(home.index()),
            state: AtomicU8::new(State::Off as u8),
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The CPU that it is on. Stable under the lock of that CPU's queue.
    pub fn cpu(&self) -> CpuId {
        // Acquire: pairs with `set_cpu`.
        CpuId::new(self.cpu.load(Acquire))
    }

    /// Moves it; under the locks of both queues.
    pub fn set_cpu(&self, cpu: CpuId) {
        // Release: pairs with `cpu`.
        self.cpu.store(cpu.index(), Release);
    }

    /// What it does.
    pub fn state(&self) -> State {
        // Relaxed: the lock of the queue orders it.
        match self.state.load(Relaxed) {
            1 => State::Ready,
            2 => State::Running,
            3 => State::Blocked,
            _ => State::Off,
        }
    }

    /// Changes what it does.
    pub fn set_state(&self, state: State) {
        // Relaxed: the lock of the queue orders it.
        self.state.store(state as u8, Relaxed);
    }
}
