//! What a step touches: the ground on which two steps are called dependent.
//!
//! A **touch** is a place and how it is used. Two touches of one place *conflict* unless both read or both *set* it (to raise a
//! bit twice is to raise it once, in either order). Places are words of memory, by their addresses, and what the scheduler itself
//! looks at, by small numbers:
//!
//! | place | used by |
//! |---|---|
//! | who occupies a CPU; whether its hotplug thread is parked | the conditions that wait for that; threads that end, begin or move |
//! | a CPU's power | who sends to it (reads); its start and its death |
//! | whether a CPU is off | the conditions that wait for that; its start and its death |
//! | a CPU's scheduling | each step of that CPU (reads); who starts it, evicts it, moves a thread there, or blocks its thread |
//! | a pending bit | who sends (sets); who takes it, starts the CPU, or dies with it |
//! | a CPU's interrupt lines | its device interrupts (read); who aims them |
//! | a thread | each step on its stack; who moves it |
//! | the deadlines that may still be over | each that is |

use crate::vocab::limits::{MAX_CPUS, THREADS};

/// How a place is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Reads,
    /// A bit is raised.
    Sets,
    Writes,
}

impl How {
    pub(crate) fn conflicts(self, other: How) -> bool {
        self != other || self == How::Writes
    }
}

/// One place, as one step uses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Touch {
    pub(crate) place: usize,
    pub(crate) how: How,
    /// What it held before and after, if it was changed.
    pub(crate) old: usize,
    pub(crate) new: usize,
}

/// Memory begins here.
pub(crate) const FIRST_ADDRESS: usize = 4096;

pub(crate) const fn occupied(cpu: usize) -> usize {
    1 + cpu
}

pub(crate) const fn parked(cpu: usize) -> usize {
    64 + cpu
}

/// Is it off? A condition may wait for that.
pub(crate) const fn off(cpu: usize) -> usize {
    96 + cpu
}

pub(crate) const fn power(cpu: usize) -> usize {
    128 + cpu
}

pub(crate) const fn scheduling(cpu: usize) -> usize {
    192 + cpu
}

pub(crate) const fn lines(cpu: usize) -> usize {
    256 + cpu
}

/// `bit` is a bit of `Cpu::pending`.
pub(crate) const fn pending(cpu: usize, bit: u8) -> usize {
    512 + cpu * 8 + bit as usize
}

pub(crate) const fn thread(thread: usize) -> usize {
    1024 + thread
}

pub(crate) const EXPIRATIONS: usize = 2048;

const _: () = assert!(MAX_CPUS <= 32 && 1024 + THREADS < EXPIRATIONS, "no place has two numbers");

/// The touches of the step that is being made, while somebody wants to know them.
#[derive(Default)]
pub(crate) struct Touches {
    on: bool,
    /// Does the access that is made conflict with anybody's?
    pub(crate) shared: bool,
    list: Vec<Touch>,
}

impl Touches {
    /// Touches are noted from here on; these are there already.
    pub(crate) fn begin(&mut self, list: Vec<Touch>) {
        self.on = true;
        self.list = list;
    }

    /// Ends that: all places once, each with its strongest use.
    pub(crate) fn end(&mut self) -> Vec<Touch> {
        self.on = false;
        let mut list = std::mem::take(&mut self.list);
        // Stable, so the first and the last of a place are found.
        list.sort_by_key(|touch| touch.place);
        list.dedup_by(|next, kept| {
            let same = next.place == kept.place;
            if same {
                if next.how != kept.how {
                    let reads = kept.how == How::Reads;
                    kept.how = How::Writes;
                    kept.old = if reads { next.old } else { kept.old };
                }
                if next.how != How::Reads {
                    kept.new = next.new;
                }
            }
            same
        });
        list
    }

    pub(crate) fn add(&mut self, place: usize, how: How) {
        self.change(place, how, 0, 0);
    }

    pub(crate) fn change(&mut self, place: usize, how: How, old: usize, new: usize) {
        if self.on {
            self.list.push(Touch { place, how, old, new });
        }
    }

    /// An access to a word. Those that conflict with nobody's are left out.
    #[inline]
    pub(crate) fn word(&mut self, place: usize, old: usize, new: Option<usize>) {
        if self.on && self.shared {
            let how = if new.is_some() { How::Writes } else { How::Reads };
            self.change(place, how, old, new.unwrap_or(old));
        }
    }
}
