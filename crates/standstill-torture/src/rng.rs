//! Random numbers: one stream for each thread and one for each CPU's handlers, all from one seed.
//!
//! A stream is a counter that steps by an odd constant, and each number is the counter, mixed. As a step is one
//! `fetch_add`, a stream can be shared with interrupt handlers, and no number is given out twice.
//!
//! What is random is what the workloads *choose*. When the choices meet is up to the machine, so two runs with one
//! seed are alike, not equal.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The odd constant nearest to 2^64 divided by the golden ratio: its multiples spread evenly.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers.
#[derive(Debug)]
pub struct Rng(AtomicU64);

impl Rng {
    /// Stream number `stream` of `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        // Mixed twice, so that the streams of one seed, and stream 0 of two seeds, start far from each other.
        Rng(AtomicU64::new(mix(mix(seed).wrapping_add(stream.wrapping_mul(STEP)))))
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        // Relaxed: the number publishes nothing.
        mix(self.0.fetch_add(STEP, Relaxed).wrapping_add(STEP))
    }

    /// A number below `n`, all equally likely up to one part in 2^64 / n.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&self, n: usize) -> usize {
        assert!(n > 0, "there is no number below 0");
        let wide = u128::from(self.next()) * n as u128;
        (wide >> 64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A bijection of the 64-bit numbers that looks random: shifts and odd multipliers in turn.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream_and_streams_differ() {
        let (a, b, c) = (Rng::new(7, 0), Rng::new(7, 0), Rng::new(7, 1));
        let same = (0..100).filter(|_| a.next() == b.next()).count();
        assert_eq!(same, 100);
        let a = Rng::new(7, 0);
        let same = (0..100).filter(|_| a.next() == c.next()).count();
        assert_eq!(same, 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "plain arithmetic, and a lot of it")]
    fn below_stays_below_and_reaches_everything() {
        let rng = Rng::new(1, 1);
        let mut seen = [0_usize; 7];
        for _ in 0..7000 {
            seen[rng.below(7)] += 1;
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "plain arithmetic, and a lot of it")]
    fn one_in_n_is_about_one_in_n() {
        let rng = Rng::new(3, 0);
        let hits = (0..64_000).filter(|_| rng.one_in(64)).count();
        assert!((800..1200).contains(&hits), "{hits}");
    }
}
