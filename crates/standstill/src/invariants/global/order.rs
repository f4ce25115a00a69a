//! Rule 5: calls of one sender to one target in one form run in the order they were sent.
//!
//! Two calls are in order only if the push of the first was over before the second was announced: an interrupt may send between
//! the announcement and the push of the context below it, and either is then right.

use core::hash::{Hash, Hasher};

use crate::cpu::CpuId;
use crate::event::{CallInfo, CallKey, Event, Form, What};
use crate::invariants::{Checks, Verdict};

/// How many pending calls are watched at a time.
const PENDING: usize = 64;

/// A call that has not begun.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Sent {
    key: CallKey,
    sender: CpuId,
    form: Form,
    pushed: bool,
    /// The calls, by their place in the list, that must begin before it.
    after: u64,
}

impl Sent {
    const NONE: Sent = Sent {
        key: CallKey { slot: 0, to: CpuId::BOOT },
        sender: CpuId::BOOT,
        form: Form::Single,
        pushed: false,
        after: 0,
    };

    fn line(&self) -> (CpuId, CpuId, Form) {
        (self.sender, self.key.to, self.form)
    }
}

/// The pending calls, sorted by sender, target and form, and among equals in the order of their announcement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Order {
    sent: [Sent; PENDING],
    len: usize,
    overflowed: u64,
}

impl Order {
    pub(super) const fn new() -> Self {
        Order { sent: [Sent::NONE; PENDING], len: 0, overflowed: 0 }
    }

    pub(super) const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    pub(super) fn feed(&mut self, e: &Event, checks: &mut Checks) -> Verdict {
        match e.what {
            What::CallQueued(info) => {
                self.insert(&info);
                Ok(())
            }
            What::CallPushed { key, .. } => {
                // The last of this key: an earlier one was pushed before its slot could be used again.
                if let Some(sent) = self.sent[..self.len].iter_mut().rfind(|sent| sent.key == key) {
                    sent.pushed = true;
                }
                Ok(())
            }
            What::CallBegin(info, _) => match self.remove(info.key) {
                Some(sent) => checks.ask(
                    5,
                    sent.after == 0,
                    e,
                    "a call overtook an earlier one of the same sender, target and form",
                ),
                None => Ok(()),
            },
            What::CallLost(info) | What::CallDiscarded(info) => {
                self.remove(info.key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn insert(&mut self, info: &CallInfo) {
        if self.len == PENDING {
            self.overflowed += 1;
            return;
        }
        let mut new = Sent { key: info.key, sender: info.sender, form: info.form, ..Sent::NONE };
        let sent = &self.sent[..self.len];
        let place = sent.partition_point(|old| old.line() <= new.line());
        for (at, old) in sent.iter().enumerate() {
            if old.pushed && old.line() == new.line() {
                new.after |= 1 << at;
            }
        }
        self.sent[place..=self.len].rotate_right(1);
        self.sent[place] = new;
        self.len += 1;
        for sent in &mut self.sent[..self.len] {
            sent.after = open_bit(sent.after, place);
        }
    }

    /// The first call of this key: it is the one that began.
    fn remove(&mut self, key: CallKey) -> Option<Sent> {
        let place = self.sent[..self.len].iter().position(|sent| sent.key == key)?;
        let gone = self.sent[place];
        self.sent[place..self.len].rotate_left(1);
        self.len -= 1;
        self.sent[self.len] = Sent::NONE;
        for sent in &mut self.sent[..self.len] {
            sent.after = close_bit(sent.after, place);
        }
        Some(gone)
    }
}

/// Only what is pending.
impl Hash for Order {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sent[..self.len].hash(state);
    }
}

/// The bits below `place`.
fn below(place: usize) -> u64 {
    (1 << place) - 1
}

/// Moves the bits from `place` on up by one; the bit `place` is then 0.
fn open_bit(bits: u64, place: usize) -> u64 {
    bits & below(place) | (bits & !below(place)) << 1
}

/// Takes out the bit `place` and moves the ones above down.
fn close_bit(bits: u64, place: usize) -> u64 {
    bits & below(place) | (bits >> 1) & !below(place)
}
