//! Small random numbers for the port's own choices.

use std::sync::atomic::{AtomicU64, Ordering};

/// A generator that one CPU or thread uses; a handler that uses it in between costs quality and nothing else.
#[derive(Debug)]
pub(crate) struct Rng(AtomicU64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Rng(AtomicU64::new(seed))
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&self, n: u64) -> u64 {
        // splitmix64: an add and a finaliser.
        let mut z = self.0.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.store(z, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(n)) >> 64) as u64
    }
}
