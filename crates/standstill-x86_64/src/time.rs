//! Time: the TSC, measured once against the PIT, and the APIC timer with it.
//!
//! The TSCs of all CPUs must count together and at one rate, as they do on CPUs that call theirs invariant, and under QEMU.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::instructions::port::Port;

use crate::apic;

const PIT_HZ: u64 = 1_193_182;
/// For how long the PIT is watched, in its ticks, and how often: 10 ms.
const WINDOW: u16 = (PIT_HZ / 100) as u16;
const WINDOWS: usize = 4;
/// How often a window is tried that the PIT's 55 ms do not cover, as the host ran something else meanwhile.
const TRIES: usize = 100;
/// The clocks are read together so often; the reading that took the least time counts.
const READS: usize = 3;

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
/// A virtual CPU may stand still at any moment. So the ends of a window are not where the PIT says that time is over, but where all three clocks were read
/// together, and how long that took says how far they may be apart.
///
/// # Panics
/// If there is no PIT, so that no window can be measured.
///
/// # Safety
/// Nobody else uses channel 2 of the PIT and the port of its gate.
pub unsafe fn calibrate() {
    let window = (0..TRIES).filter_map(|_| {
        // SAFETY: the caller's promise.
        unsafe { start_clocks() };
        // SAFETY: they run, and the promise.
        measure(|| unsafe { read_clocks() })
    });
    let best = window.take(WINDOWS).min_by_key(|window| window.unsure);
    apic::arm_timer(apic::SPURIOUS, 0);
    let window = best.expect("the PIT's channel 2 counts: without it nothing says how fast the TSC is");
    SCALE.store(scale(window.ns, window.tsc), Relaxed);
    TIMER_SCALE.store(scale(window.timer, window.ns), Relaxed);
    START.store(tsc(), Ordering::Release);
}

/// The PIT and the APIC timer count down from the top.
///
/// # Safety
/// As [`calibrate`].
unsafe fn start_clocks() {
    let (mut gate, mut command, mut channel) =
        (Port::<u8>::new(0x61), Port::<u8>::new(0x43), Port::<u8>::new(0x42));
    // SAFETY: channel 2, one shot, the speaker off: nothing but its count and its output bit depends on it.
    unsafe {
        let open = (gate.read() & !0b10) | 0b01;
        gate.write(open & !0b01);
        command.write(0b1011_0000);
        channel.write(u8::MAX);
        channel.write(u8::MAX);
        gate.write(open);
    }
    apic::run_timer_masked();
}

/// All clocks, read together.
///
/// # Safety
/// As [`calibrate`].
unsafe fn read_clocks() -> Clocks {
    let (mut gate, mut command, mut channel) =
        (Port::<u8>::new(0x61), Port::<u8>::new(0x43), Port::<u8>::new(0x42));
    let before = tsc();
    // SAFETY: latches the count of channel 2, which is then read in two bytes.
    let pit = unsafe {
        command.write(0b1000_0000);
        u16::from_le_bytes([channel.read(), channel.read()])
    };
    let timer = u32::MAX - apic::timer_left();
    let took = tsc() - before;
    // SAFETY: reading changes nothing.
    let over = unsafe { gate.read() } & 0x20 != 0;
    Clocks { tsc: before, took, pit: u16::MAX - pit, timer, over }
}

/// One reading of all clocks.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    tsc: u64,
    /// Ticks of the TSC from the first clock to the last.
    took: u64,
    /// Ticks since the start.
    pit: u16,
    timer: u32,
    /// The PIT has reached its end, and has begun anew.
    over: bool,
}

/// What the clocks counted in the same time.
#[derive(Clone, Copy, Debug)]
struct Window {
    ns: u64,
    tsc: u64,
    timer: u64,
    /// For how many millionths of the window the clocks may be apart.
    unsure: u64,
}

/// Watches the clocks for a window. `None` if it became longer than the PIT can count.
fn measure(mut read: impl FnMut() -> Clocks) -> Option<Window> {
    let mut sharp = || {
        let all = [(); READS].map(|()| read());
        all.into_iter().min_by_key(|clocks| clocks.took).filter(|_| all.iter().all(|clocks| !clocks.over))
    };
    let first = sharp()?;
    let last = loop {
        let last = sharp()?;
        if last.pit >= first.pit + WINDOW {
            break last;
        }
    };
    let tsc = last.tsc - first.tsc;
    Some(Window {
        ns: u64::from(last.pit - first.pit) * 1_000_000_000 / PIT_HZ,
        tsc,
        timer: u64::from(last.timer - first.timer),
        unsure: (first.took + last.took) * 1_000_000 / tsc.max(1),
    })
}

/// `a / b`, times 2^32.
fn scale(a: u64, b: u64) -> u64 {
    ((u128::from(a) << 32) / u128::from(b.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clocks that are read on a CPU that the host takes away whenever `stolen` says for how long, in nanoseconds. TSC: 2 GHz, timer: 1 GHz.
    fn clocks(mut stolen: impl FnMut() -> u64) -> impl FnMut() -> Clocks {
        let mut now = 0;
        let mut read = move || {
            now += 1_000 + stolen();
            now
        };
        move || {
            let (tsc, pit, timer, end, over) = (read(), read(), read(), read(), read());
            let ticks = |at: u64| at * PIT_HZ / 1_000_000_000;
            let over = ticks(over) >= u64::from(u16::MAX);
            Clocks { tsc: 2 * tsc, took: 2 * (end - tsc), pit: ticks(pit) as u16, timer: timer as u32, over }
        }
    }

    fn is_right(window: Window) -> bool {
        let off = |got: u64, right: u64| got.abs_diff(right) * 1_000 / right;
        off(window.tsc, 2 * window.ns) == 0 && off(window.timer, window.ns) == 0
    }

    #[test]
    fn clocks_that_are_read_in_peace_are_measured_right() {
        let window = measure(clocks(|| 0)).expect("nothing disturbs it");
        assert!(is_right(window) && window.unsure < 1_000, "{window:?}");
    }

    #[test]
    fn a_cpu_that_is_taken_away_measures_right_or_knows_that_it_is_unsure() {
        let mut right = 0;
        for seed in 1..2_000_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let stolen = || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // For up to 8 ms, at one of 6 places.
                if (random >> 33) % 6 == 0 { (random >> 40) % 8_000_000 } else { 0 }
            };
            if let Some(window) = measure(clocks(stolen)) {
                assert!(is_right(window) || window.unsure > 1_000, "{seed}: {window:?}");
                right += u32::from(is_right(window));
            }
        }
        assert!(right > 500, "{right}");
    }

    #[test]
    fn a_window_beyond_the_end_of_the_pit_is_none() {
        let mut reads = 0;
        let stolen = || {
            reads += 1;
            if reads == 20 { 60_000_000 } else { 0 }
        };
        assert!(measure(clocks(stolen)).is_none());
    }

    #[test]
    fn ratios_keep_nine_digits() {
        // A TSC of 2.5 GHz.
        let ns = ((25_000_000_000_u128 * u128::from(scale(10_000_000, 25_000_000))) >> 32) as u64;
        assert!(ns.abs_diff(10_000_000_000) <= 10, "{ns}");
    }
}
