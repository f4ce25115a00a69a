//! Time: the TSC, measured once against the PIT, and the APIC timer with it.
//!
//! The TSCs of all CPUs must count together and at one rate, as they do on CPUs that call theirs invariant, and under QEMU.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::instructions::port::Port;

use crate::apic;

const PIT_HZ: u64 = 1_193_182;
/// For how long the PIT is watched, and how often.
const WINDOW_NS: u64 = 10_000_000;
const WINDOWS: usize = 4;

static START: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds for each tick of the TSC, times 2^32.
static SCALE: AtomicU64 = AtomicU64::new(1 << 32);
/// Ticks of the APIC timer for each nanosecond, times 2^32.
static TIMER_SCALE: AtomicU64 = AtomicU64::new(1 << 32);

#[inline]
fn tsc() -> u64 {
    // SAFETY: every x86-64 CPU has a TSC.
    unsafe { _rdtsc() }
}

/// Nanoseconds since [`calibrate`].
#[inline]
#[must_use]
pub fn now_ns() -> u64 {
    let ticks = tsc().wrapping_sub(START.load(Relaxed));
    ((u128::from(ticks) * u128::from(SCALE.load(Relaxed))) >> 32) as u64
}

/// How many ticks of the APIC timer `ns` nanoseconds are: at least one, at most all that fit.
#[must_use]
pub fn timer_ticks(ns: u64) -> u32 {
    let ticks = (u128::from(ns) * u128::from(TIMER_SCALE.load(Relaxed))) >> 32;
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// Keeps the CPU busy for `ns` nanoseconds.
pub fn delay_ns(ns: u64) {
    let until = now_ns() + ns;
    while now_ns() < until {
        core::hint::spin_loop();
    }
}

/// Measures the TSC and the APIC timer: 40 ms on the boot CPU, its APIC enabled, interrupts off.
///
/// # Safety
/// Nobody else uses channel 2 of the PIT and the port of its gate.
pub unsafe fn calibrate() {
    let (mut gate, mut command, mut channel) =
        (Port::<u8>::new(0x61), Port::<u8>::new(0x43), Port::<u8>::new(0x42));
    let count = (PIT_HZ * WINDOW_NS / 1_000_000_000) as u16;
    let mut best = (u64::MAX, 0);
    for _ in 0..WINDOWS {
        // SAFETY: channel 2, one shot, the speaker off: nothing but the output bit that is read below depends on it.
        let seen = unsafe {
            let open = (gate.read() & !0b10) | 0b01;
            gate.write(open & !0b01);
            command.write(0b1011_0000);
            channel.write(count as u8);
            channel.write((count >> 8) as u8);
            gate.write(open);
            apic::run_timer_masked();
            let before = tsc();
            while gate.read() & 0x20 == 0 {}
            let ticks = tsc() - before;
            (ticks, u64::from(u32::MAX - apic::timer_left()))
        };
        // A virtual CPU that does not run at the end of a window sees it late, never early.
        best = best.min(seen);
    }
    let (ticks, timer) = best;
    apic::arm_timer(apic::SPURIOUS, 0);
    SCALE.store(scale(WINDOW_NS, ticks), Relaxed);
    TIMER_SCALE.store(scale(timer, WINDOW_NS), Relaxed);
    START.store(tsc(), Ordering::Release);
}

/// `a / b`, times 2^32.
fn scale(a: u64, b: u64) -> u64 {
    ((u128::from(a) << 32) / u128::from(b.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_keep_nine_digits() {
        // A TSC of 2.5 GHz.
        let ns = ((25_000_000_000_u128 * u128::from(scale(10_000_000, 25_000_000))) >> 32) as u64;
        assert!(ns.abs_diff(10_000_000_000) <= 10, "{ns}");
    }
}
