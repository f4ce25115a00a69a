//! Who knows something: the numbers of those that have a clock, and a view.

use crate::vocab::limits::MAX_CPUS;

/// The most words that are known.
pub(crate) const WORDS: usize = 1024;

/// The index of somebody who knows something.
pub(crate) type Knower = usize;

pub(crate) const fn cpu(cpu: usize) -> Knower {
    cpu
}

pub(crate) const fn seen(cpu: usize) -> Knower {
    MAX_CPUS + cpu
}

pub(crate) const fn fenced(cpu: usize) -> Knower {
    2 * MAX_CPUS + cpu
}

/// `kind` is the number of the pending bit.
pub(crate) const fn ipi(cpu: usize, kind: u32) -> Knower {
    3 * MAX_CPUS + 3 * cpu + kind as usize
}

/// All sequentially consistent fences: only their views count.
pub(crate) const FENCES: Knower = 6 * MAX_CPUS;
/// The words, or their messages, come behind the others.
pub(crate) const FIRST_WORD: Knower = FENCES + 1;
