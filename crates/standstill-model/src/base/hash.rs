//! Hashes: 128 bits for states, in two lanes that share nothing but their input.

use std::hash::{Hash, Hasher};

use crate::base::arena::steady;

const A: u64 = 0x9e37_79b9_7f4a_7c15;
const B: u64 = 0xd6e8_feb8_6659_fd93;
const C: u64 = 0xff51_afd7_ed55_8ccd;

/// A hash of 128 bits: of a history (order matters, [`mix`](Self::mix)) or of a set (it does not, [`add`](Self::add)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub(crate) struct Hash128(pub(crate) u64, pub(crate) u64);

impl Hash128 {
    pub(crate) const ZERO: Hash128 = Hash128(0, 0);

    #[inline(always)]
    pub(crate) fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(A);
        self.0 ^= self.0 >> 32;
        self.1 = (self.1.rotate_left(41).wrapping_add(word)).wrapping_mul(B);
        self.1 ^= self.1 >> 29;
    }

    #[inline(always)]
    pub(crate) fn mix_hash(&mut self, other: Hash128) {
        self.mix(other.0);
        self.mix(other.1);
    }

    /// Adds an element to a set.
    #[inline(always)]
    pub(crate) fn add(&mut self, other: Hash128) {
        self.0 = self.0.wrapping_add(other.0);
        self.1 = self.1.wrapping_add(other.1);
    }

    /// Takes an element out of a set.
    #[inline(always)]
    pub(crate) fn sub(&mut self, other: Hash128) {
        self.0 = self.0.wrapping_sub(other.0);
        self.1 = self.1.wrapping_sub(other.1);
    }

    /// The hash of a place and its value; zero for the value zero, so that places nobody has touched count for nothing.
    #[inline(always)]
    pub(crate) fn of_cell(addr: usize, value: u64) -> Hash128 {
        if value == 0 {
            return Hash128::ZERO;
        }
        let mut hash = Hash128(A, C);
        hash.mix(addr as u64);
        hash.mix(value);
        hash.mix(B);
        hash
    }

    pub(crate) const fn to_u128(self) -> u128 {
        (self.0 as u128) << 64 | self.1 as u128
    }

    /// The hash of a value.
    pub(crate) fn of<T: Hash + ?Sized>(value: &T) -> Hash128 {
        let mut hasher = Feed(Hash128(C, A));
        value.hash(&mut hasher);
        hasher.0
    }
}

/// Feeds a `Hash128` with what `Hash` writes.
struct Feed(Hash128);

impl Hasher for Feed {
    fn finish(&self) -> u64 {
        self.0.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.0.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.0.mix(u64::from_le_bytes(last) ^ (rest.len() as u64) << 56);
        }
    }

    #[inline(always)]
    fn write_u8(&mut self, word: u8) {
        self.0.mix(u64::from(word));
    }

    #[inline(always)]
    fn write_u32(&mut self, word: u32) {
        self.0.mix(u64::from(word));
    }

    #[inline(always)]
    fn write_u64(&mut self, word: u64) {
        self.0.mix(word);
    }

    #[inline(always)]
    fn write_usize(&mut self, word: usize) {
        // It may be an address.
        self.0.mix(steady(word) as u64);
    }
}

/// For sets of hashes: they are hashed already.
#[derive(Default, Clone, Copy)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline(always)]
    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }

    #[inline(always)]
    fn write_u128(&mut self, word: u128) {
        self.0 ^= word as u64 ^ (word >> 64) as u64;
    }

    #[inline(always)]
    fn write_usize(&mut self, word: usize) {
        let word = (word as u64).wrapping_mul(A);
        self.0 = self.0.rotate_left(5) ^ word ^ word >> 32;
    }
}

/// Builds [`Hashed`].
#[derive(Default, Clone, Copy)]
pub(crate) struct BuildHashed;

impl std::hash::BuildHasher for BuildHashed {
    type Hasher = Hashed;

    fn build_hasher(&self) -> Hashed {
        Hashed::default()
    }
}
