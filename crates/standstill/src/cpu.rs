//! [`CpuId`]: the number of a CPU, from 0 up to the machine's size.

use core::fmt;

/// The number of a CPU, counted from 0 without gaps.
///
/// It is the library's own number, never a hardware id: APIC ids are sparse and 32 bits wide, and
/// translating between the two is the port's business.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(u32);

impl CpuId {
    /// The CPU that boots the machine. Nothing else is special about it.
    pub const BOOT: CpuId = CpuId(0);

    /// The CPU with number `index`.
    ///
    /// # Panics
    /// If `index` does not fit 32 bits.
    #[must_use]
    #[inline]
    pub const fn new(index: usize) -> Self {
        assert!(index <= u32::MAX as usize, "a CPU number has 32 bits");
        CpuId(index as u32)
    }

    /// The number, as an index into per-CPU arrays.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU {}", self.0)
    }
}

impl fmt::Debug for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU {}", self.0)
    }
}
