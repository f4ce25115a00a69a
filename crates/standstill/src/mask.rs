//! Sets of CPUs: [`CpuMask`] as a value, [`AtomicCpuMask`] as shared state of a machine.
//!
//! `W` is the number of 64-bit words. A machine of `N` CPUs needs `N / 64` rounded up; stable Rust can't
//! compute that in a type, so [`Machine`](crate::Machine) takes both and checks them at compile time.

use core::fmt;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::cpu::CpuId;
use crate::platform::{Memory, Word};

const BITS: usize = 64;
const _: () = assert!(usize::BITS == 64, "standstill keeps 64 CPUs in a word: it needs a 64-bit target");

/// A set of CPUs, by value: `W` words of 64 CPUs each.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "cpumask")]
pub struct CpuMask<const W: usize = 1> {
    words: [usize; W],
}

impl<const W: usize> CpuMask<W> {
    /// No CPU at all.
    pub const EMPTY: Self = CpuMask { words: [0; W] };
    /// How many CPUs the mask can hold.
    pub const CAPACITY: usize = W * BITS;

    /// The CPUs `0..n`.
    ///
    /// # Panics
    /// If `n` is more than [`CAPACITY`](Self::CAPACITY).
    #[must_use]
    pub const fn first_n(n: usize) -> Self {
        assert!(n <= Self::CAPACITY, "more CPUs than the mask can hold");
        let mut words = [0; W];
        let mut w = 0;
        while w < W {
            let left = n.saturating_sub(w * BITS);
            words[w] = if left >= BITS { usize::MAX } else { (1 << left) - 1 };
            w += 1;
        }
        CpuMask { words }
    }

    /// Just `cpu`.
    #[must_use]
    pub fn of(cpu: CpuId) -> Self {
        let mut mask = Self::EMPTY;
        mask.insert(cpu);
        mask
    }

    /// Is `cpu` in the set? A number beyond the capacity is not.
    #[must_use]
    pub const fn contains(&self, cpu: CpuId) -> bool {
        let (w, bit) = split(cpu);
        w < W && self.words[w] & bit != 0
    }

    /// Adds `cpu`.
    ///
    /// # Panics
    /// If `cpu` is beyond the capacity.
    pub fn insert(&mut self, cpu: CpuId) {
        let (w, bit) = split(cpu);
        self.words[w] |= bit;
    }

    /// Removes `cpu`, if it is in.
    pub fn remove(&mut self, cpu: CpuId) {
        let (w, bit) = split(cpu);
        if w < W {
            self.words[w] &= !bit;
        }
    }

    /// Is no CPU in the set?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// How many CPUs are in the set.
    #[must_use]
    #[doc(alias = "cpumask_weight")]
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// The lowest CPU of the set.
    #[must_use]
    #[doc(alias = "cpumask_first")]
    pub fn first(&self) -> Option<CpuId> {
        self.at_or_after(0)
    }

    /// The highest CPU of the set.
    #[must_use]
    #[doc(alias = "cpumask_last")]
    pub fn last(&self) -> Option<CpuId> {
        let w = self.words.iter().rposition(|word| *word != 0)?;
        Some(CpuId::new(w * BITS + self.words[w].ilog2() as usize))
    }

    /// The lowest CPU of the set whose number is more than `cpu`'s.
    #[must_use]
    #[doc(alias = "cpumask_next")]
    pub fn after(&self, cpu: CpuId) -> Option<CpuId> {
        self.at_or_after(cpu.index() + 1)
    }

    fn at_or_after(&self, start: usize) -> Option<CpuId> {
        let mut w = start / BITS;
        let mut keep = usize::MAX << (start % BITS);
        while w < W {
            let word = self.words[w] & keep;
            if word != 0 {
                return Some(CpuId::new(w * BITS + word.trailing_zeros() as usize));
            }
            keep = usize::MAX;
            w += 1;
        }
        None
    }

    /// The CPUs in ascending order.
    #[must_use]
    #[doc(alias = "for_each_cpu")]
    pub fn iter(&self) -> Iter<'_, W> {
        Iter { mask: self, next: 0 }
    }

    /// The CPUs that are in both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// The CPUs that are in either set.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// The CPUs of this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    /// Is each CPU of this set in `other` too?
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.without(other).is_empty()
    }

    fn zip(&self, other: &Self, f: impl Fn(usize, usize) -> usize) -> Self {
        let mut words = self.words;
        for (mine, theirs) in words.iter_mut().zip(&other.words) {
            *mine = f(*mine, *theirs);
        }
        CpuMask { words }
    }
}

#[inline]
const fn split(cpu: CpuId) -> (usize, usize) {
    (cpu.index() / BITS, 1 << (cpu.index() % BITS))
}

/// The CPUs of a [`CpuMask`] in ascending order.
#[derive(Clone, Debug)]
pub struct Iter<'a, const W: usize> {
    mask: &'a CpuMask<W>,
    next: usize,
}

impl<const W: usize> Iterator for Iter<'_, W> {
    type Item = CpuId;

    fn next(&mut self) -> Option<CpuId> {
        let cpu = self.mask.at_or_after(self.next)?;
        self.next = cpu.index() + 1;
        Some(cpu)
    }
}

impl<'a, const W: usize> IntoIterator for &'a CpuMask<W> {
    type Item = CpuId;
    type IntoIter = Iter<'a, W>;

    fn into_iter(self) -> Iter<'a, W> {
        self.iter()
    }
}

impl<const W: usize> FromIterator<CpuId> for CpuMask<W> {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        let mut mask = Self::EMPTY;
        for cpu in cpus {
            mask.insert(cpu);
        }
        mask
    }
}

impl<const W: usize> Default for CpuMask<W> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// As Linux prints CPU lists: `0-3,8`. The empty set prints `none`.
impl<const W: usize> fmt::Display for CpuMask<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut from = match self.first() {
            Some(cpu) => cpu,
            None => return f.write_str("none"),
        };
        let mut comma = "";
        loop {
            let mut to = from;
            while self.contains(CpuId::new(to.index() + 1)) {
                to = CpuId::new(to.index() + 1);
            }
            write!(f, "{comma}{}", from.index())?;
            if to != from {
                write!(f, "-{}", to.index())?;
            }
            comma = ",";
            from = match self.after(to) {
                Some(cpu) => cpu,
                None => return Ok(()),
            };
        }
    }
}

impl<const W: usize> fmt::Debug for CpuMask<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuMask({self})")
    }
}

/// A set of CPUs that all CPUs share.
///
/// Everybody may look; only the library changes one, as its safety rests on the machine's masks.
///
/// Who finds a CPU in the set (acquire) sees what was done before it was put there (release). Who finds it missing learns nothing else. Two
/// looks at different words are not one instant: [`snapshot`](Self::snapshot) is exact only while nobody
/// changes the mask, which callers get from the hotplug lock.
pub struct AtomicCpuMask<P: Memory, const W: usize = 1> {
    words: [P::Word; W],
}

impl<P: Memory, const W: usize> AtomicCpuMask<P, W> {
    /// No CPU at all.
    #[must_use]
    pub const fn new() -> Self {
        AtomicCpuMask { words: [const { P::Word::ZERO }; W] }
    }

    /// Is `cpu` in the set? Acquire: pairs with the release of `insert`.
    #[inline]
    #[track_caller]
    pub fn contains(&self, cpu: CpuId) -> bool {
        let (w, bit) = split(cpu);
        w < W && self.words[w].load(Acquire) & bit != 0
    }

    /// The word that changes when `cpu` comes or goes: what its waiters sleep on.
    pub(crate) fn word_of(&self, cpu: CpuId) -> &P::Word {
        &self.words[split(cpu).0]
    }

    /// As [`contains`](Self::contains), relaxed: for who is ordered after the last change by other means (the hotplug lock, or the boot), or needs
    /// the bit alone.
    #[inline]
    #[track_caller]
    pub(crate) fn has(&self, cpu: CpuId) -> bool {
        let (w, bit) = split(cpu);
        w < W && self.words[w].load(Relaxed) & bit != 0
    }

    /// Adds `cpu`; release.
    #[track_caller]
    pub(crate) fn insert(&self, cpu: CpuId) {
        let (w, bit) = split(cpu);
        self.words[w].fetch_or(bit, Release);
    }

    /// Removes `cpu`. Relaxed: a bit that is gone hands nothing over. What the other bits of the word say stays published, as a
    /// read-modify-write goes on with what it found.
    #[track_caller]
    pub(crate) fn remove(&self, cpu: CpuId) {
        let (w, bit) = split(cpu);
        self.words[w].fetch_and(!bit, Relaxed);
    }

    /// As [`remove`](Self::remove), as the last thing that `cpu` does for those who wait for that.
    /// Release: what it did before is seen by who finds the bit gone (acquire).
    #[track_caller]
    pub(crate) fn remove_last(&self, cpu: CpuId) {
        let (w, bit) = split(cpu);
        self.words[w].fetch_and(!bit, Release);
    }

    /// Replaces the whole set, word by word. Relaxed: the caller publishes it afterwards, with whatever it is a part of.
    #[track_caller]
    pub(crate) fn assign(&self, mask: &CpuMask<W>) {
        for w in 0..W {
            self.words[w].store(mask.words[w], Relaxed);
        }
    }

    /// The set as a value; acquire for each word.
    #[track_caller]
    pub fn snapshot(&self) -> CpuMask<W> {
        let mut words = [0; W];
        for (value, shared) in words.iter_mut().zip(&self.words) {
            *value = shared.load(Acquire);
        }
        CpuMask { words }
    }

    /// As [`snapshot`](Self::snapshot), relaxed; see [`has`](Self::has).
    #[track_caller]
    pub(crate) fn now(&self) -> CpuMask<W> {
        let mut words = [0; W];
        for (value, shared) in words.iter_mut().zip(&self.words) {
            *value = shared.load(Relaxed);
        }
        CpuMask { words }
    }
}

impl<P: Memory, const W: usize> Default for AtomicCpuMask<P, W> {
    fn default() -> Self {
        Self::new()
    }
}
