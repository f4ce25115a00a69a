//! Random numbers that are the same for the same seed: splitmix64.

/// A stream of random numbers.
pub(crate) struct Rng(u64);

impl Rng {
    /// That of one case of a class.
    pub(crate) fn of(seed: u64, class: &str, case: u64) -> Rng {
        let class = class.bytes().fold(0_u64, |all, byte| all.wrapping_mul(257) + u64::from(byte));
        let mut rng = Rng(seed ^ class.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Rng(rng.next() ^ case.wrapping_mul(0xbf58_476d_1ce4_e5b9))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// From 0 to below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True so many times out of a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
