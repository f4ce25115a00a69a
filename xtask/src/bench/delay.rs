//! How fast Linux's delay loop is.
//!
//! Linux finds that out on each CPU as that comes up for the first time, by comparing its clock with its timer. Where the CPUs have to share cores
//! the two never agree, and each CPU takes seconds until it gives up: with 64 of them the boot takes four minutes. It can be told.

use std::time::Duration;

/// For how long the clock is watched.
#[cfg(target_arch = "x86_64")]
const WATCHED: Duration = Duration::from_millis(100);

/// The word of the command line, for a kernel with this configuration. None if the host's clock is not the one that Linux will see.
pub(super) fn word(config: &str) -> Option<String> {
    let hz = ticks_per_second(config)?;
    Some(format!(" lpj={}", clock_hz()? / hz))
}

/// How often Linux's timer ticks in a second.
fn ticks_per_second(config: &str) -> Option<u64> {
    config.lines().find_map(|line| line.strip_prefix("CONFIG_HZ="))?.parse().ok().filter(|hz| *hz > 0)
}

/// The rate of the time-stamp counter. QEMU's CPUs count as the host's do.
#[cfg(target_arch = "x86_64")]
fn clock_hz() -> Option<u64> {
    // SAFETY: every x86-64 CPU has this counter, and no operating system that QEMU runs on keeps programs from reading it.
    let ticks = || unsafe { core::arch::x86_64::_rdtsc() };
    let (began, before) = (std::time::Instant::now(), ticks());
    std::thread::sleep(WATCHED);
    let (took, ticked) = (began.elapsed(), ticks().wrapping_sub(before));
    rate(ticked, took)
}

#[cfg(not(target_arch = "x86_64"))]
fn clock_hz() -> Option<u64> {
    None
}

/// So many ticks in that time, for each second.
fn rate(ticks: u64, time: Duration) -> Option<u64> {
    u64::try_from(u128::from(ticks) * 1_000_000_000 / time.as_nanos().max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_the_timer_is_in_the_configuration() {
        assert_eq!(ticks_per_second("CONFIG_HZ_250=y\nCONFIG_HZ=250\n"), Some(250));
        assert_eq!(ticks_per_second("CONFIG_HZ_250=y\n"), None);
        assert_eq!(ticks_per_second("CONFIG_HZ=0\n"), None);
    }

    #[test]
    fn ticks_by_time() {
        assert_eq!(rate(260_000_000, Duration::from_millis(100)), Some(2_600_000_000));
    }
}
