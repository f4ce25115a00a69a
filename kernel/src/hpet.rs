//! The HPET, as a clock that no interrupt flag stops: one of its timers sends NMIs to one CPU, through a pin of the I/O APIC.

use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::{Acquire, Release};

use alloc::boxed::Box;

use standstill::CpuId;
use standstill_x86_64::ioapic::IoApic;

const CAPABILITIES: usize = 0x000;
const CONFIGURATION: usize = 0x010;
const COUNTER: usize = 0x0f0;
/// Timer 0, which every HPET has, and which can repeat.
const TIMER: usize = 0x100;
const COMPARATOR: usize = 0x108;

const RUNS: u64 = 1;
const INTERRUPTS: u64 = 1 << 2;
const REPEATS: u64 = 1 << 3;
const SETS_ACCUMULATOR: u64 = 1 << 6;
const ROUTE_SHIFT: u32 = 9;

/// Between two NMIs.
const PERIOD_FS: u64 = 1_000_000_000_000_000;

/// The pin that the NMIs come from.
struct Line {
    chip: IoApic,
    pin: u32,
}

static LINE: AtomicPtr<Line> = AtomicPtr::new(core::ptr::null_mut());

/// Starts the clock; from here on `to` gets an NMI each second. Nothing happens if no pin of `chip` above those of old devices can be wired to it.
///
/// # Safety
/// 1. An HPET's registers are mapped at `page`, uncached, and nobody else uses it. 2. `to` has a handler for NMIs.
pub(crate) unsafe fn start(page: usize, chip: IoApic, to: CpuId) {
    let at = |register: usize| (page + register) as *mut u64;
    // SAFETY: 1.: both are registers of the mapped page, aligned to their eight bytes; reading them changes nothing.
    let (capabilities, timer) = unsafe { (at(CAPABILITIES).read_volatile(), at(TIMER).read_volatile()) };
    let (tick_fs, pins) = (capabilities >> 32, (timer >> 32) as u32);
    let Some(pin) =
        (16..32).find(|pin| pins & 1 << pin != 0 && (chip.first..chip.first + chip.pins()).contains(pin))
    else {
        return;
    };
    let line = Box::leak(Box::new(Line { chip, pin: pin - chip.first }));
    LINE.store(line, Release);
    aim(to);
    let ticks = PERIOD_FS / tick_fs.max(1);
    // SAFETY: 1., and 2.: what it starts are NMIs. The comparator is written twice: first what comes first, then the period.
    unsafe {
        at(CONFIGURATION).write_volatile(0);
        at(COUNTER).write_volatile(0);
        at(TIMER).write_volatile(INTERRUPTS | REPEATS | SETS_ACCUMULATOR | u64::from(pin) << ROUTE_SHIFT);
        at(COMPARATOR).write_volatile(ticks);
        at(COMPARATOR).write_volatile(ticks);
        at(CONFIGURATION).write_volatile(RUNS);
    }
}

/// The NMIs go to `to` from now on. Nobody else uses the I/O APIC meanwhile.
pub(crate) fn aim(to: CpuId) {
    // SAFETY: null, or leaked.
    if let Some(line) = unsafe { LINE.load(Acquire).as_ref() } {
        line.chip.aim_nmi(line.pin, to);
    }
}
