//! The heap: talc behind a lock that closes interrupts.

use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use lock_api::{GuardNoSend, RawMutex};
use standstill_x86_64::irq;
use talc::TalcLock;
use talc::source::Manual;

/// As `lock::SpinLock`, in the shape that talc wants.
pub(crate) struct Raw {
    locked: AtomicBool,
    were_on: AtomicBool,
}

// SAFETY: the exchange lets one in at a time.
unsafe impl RawMutex for Raw {
    const INIT: Raw = Raw { locked: AtomicBool::new(false), were_on: AtomicBool::new(false) };
    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        let on = irq::close();
        while self.locked.swap(true, Acquire) {
            core::hint::spin_loop();
        }
        self.were_on.store(on, Relaxed);
    }

    fn try_lock(&self) -> bool {
        let on = irq::close();
        if self.locked.swap(true, Acquire) {
            irq::open_if(on);
            return false;
        }
        self.were_on.store(on, Relaxed);
        true
    }

    unsafe fn unlock(&self) {
        let on = self.were_on.load(Relaxed);
        self.locked.store(false, Release);
        irq::open_if(on);
    }
}

#[global_allocator]
static HEAP: TalcLock<Raw, Manual> = TalcLock::new(Manual);

/// Gives the heap its memory.
///
/// # Safety
/// It is RAM, mapped where it is, and nobody else uses it.
pub(crate) unsafe fn add(start: usize, bytes: usize) {
    // SAFETY: the caller's promise.
    let end = unsafe { HEAP.lock().claim(start as *mut u8, bytes) };
    assert!(end.is_some(), "not enough memory for a heap");
}
