//! [`Histogram`]: a fixed-size distribution that any CPU can add to from any context.
//!
//! The buckets are log-linear: each power of two is cut into [`PARTS`] equal parts. A quantile is the upper end of its
//! bucket, so it is at most one part in [`PARTS`] too high and never too low; the minimum and the maximum are exact.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Into how many parts each power of two is cut.
pub(crate) const PARTS: u64 = 1 << PART_BITS;
const PART_BITS: u32 = 4;
/// One row for the values below [`PARTS`], one for each higher power of two.
const BUCKETS: usize = ((64 - PART_BITS as usize) + 1) * PARTS as usize;

/// A distribution of nanoseconds.
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

/// What is printed of a [`Histogram`]. All zero if nothing was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dist {
    /// How many values.
    pub n: u64,
    /// The smallest.
    pub min: u64,
    /// The mean.
    pub mean: u64,
    /// Half of the values are not above this.
    pub p50: u64,
    /// 99 of 100 values are not above this.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

impl Histogram {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Histogram {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }

    /// Adds a value.
    ///
    /// All accesses are relaxed: the counts publish nothing, and whoever needs them exact has joined the writers.
    pub fn record(&self, value: u64) {
        self.buckets[bucket(value)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
        self.min.fetch_min(value, Relaxed);
        self.max.fetch_max(value, Relaxed);
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|b| b.load(Relaxed)).sum()
    }

    /// The summary so far.
    #[must_use]
    pub fn dist(&self) -> Dist {
        let n = self.count();
        if n == 0 {
            return Dist::default();
        }
        let (min, max) = (self.min.load(Relaxed), self.max.load(Relaxed));
        Dist {
            n,
            min,
            mean: self.sum.load(Relaxed) / n,
            p50: self.quantile(n, 50).clamp(min, max),
            p99: self.quantile(n, 99).clamp(min, max),
            max,
        }
    }

    /// The upper end of the bucket that holds the value of rank `percent` of `n`.
    fn quantile(&self, n: u64, percent: u64) -> u64 {
        let rank = (n * percent).div_ceil(100);
        let mut seen = 0;
        for (i, b) in self.buckets.iter().enumerate() {
            seen += b.load(Relaxed);
            if seen >= rank {
                return upper(i);
            }
        }
        u64::MAX
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

const fn bucket(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    let power = 63 - value.leading_zeros();
    let part = (value >> (power - PART_BITS)) & (PARTS - 1);
    ((power - PART_BITS + 1) as u64 * PARTS + part) as usize
}

/// The largest value of bucket `i`.
const fn upper(i: usize) -> u64 {
    let (row, part) = (i as u64 / PARTS, i as u64 % PARTS);
    if row == 0 {
        return part;
    }
    let width = 1_u64 << (row - 1);
    // The last bucket ends at `u64::MAX`, so the sum must not overflow before the subtraction.
    (PARTS + part) * width + (width - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "plain arithmetic, and a lot of it")]
    fn buckets_cover_all_values_in_order_without_gaps() {
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper(BUCKETS - 1), u64::MAX);
        for i in 0..BUCKETS - 1 {
            assert_eq!(bucket(upper(i)), i);
            assert_eq!(bucket(upper(i) + 1), i + 1);
        }
    }

    #[test]
    fn a_bucket_is_at_most_one_part_wide() {
        for value in [1, 17, 1_000, 123_456, 1 << 40, u64::MAX / 3] {
            let up = upper(bucket(value));
            assert!(up >= value && up - value <= value / PARTS, "{value} {up}");
        }
    }

    #[test]
    fn empty_is_all_zero() {
        assert_eq!(Histogram::new().dist(), Dist::default());
    }

    #[test]
    #[cfg_attr(miri, ignore = "plain arithmetic, and a lot of it")]
    fn quantiles_of_a_known_distribution() {
        let h = Histogram::new();
        for v in 1..=1000 {
            h.record(v);
        }
        let d = h.dist();
        assert_eq!((d.n, d.min, d.mean, d.max), (1000, 1, 500, 1000));
        assert!((500..=532).contains(&d.p50), "{}", d.p50);
        assert!((990..=1000).contains(&d.p99), "{}", d.p99);
    }

    #[test]
    fn one_value_is_all_its_quantiles() {
        let h = Histogram::new();
        h.record(1_000_003);
        let d = h.dist();
        assert_eq!((d.min, d.p50, d.p99, d.max), (1_000_003, 1_000_003, 1_000_003, 1_000_003));
    }
}
