//! The stage word on its way down: who looks where, and who passes it on.
//!
//! If all CPUs of a stop looked at one word, each stage would be fetched by all of them from one cache line. So each group (`tree.rs`) has a copy of the stage
//! word. The first CPU of a group that enters a stop becomes the group's **relay**: it looks one level higher, passes what it sees on to the copy, and then does what the
//! stage asks of itself. A relay may be the relay of the next level's group too. The group at the root has no copy: its members (the CPUs of a small machine; the
//! relays of a larger one) look at the stage word. So does the lowest group that all CPUs of the stop are in.
//!
//! # Why nobody waits for ever
//! Who looks at a copy found that another CPU had become the relay for this stop, or for a later one. A relay is in the loop already, and leaves it only when it has passed
//! on a word that ends the stop for its group: EXIT, abandoned, or a later stop. It never waits for its group. So a CPU that does not answer keeps nobody else from
//! seeing that the stop was abandoned.
//!
//! # Ordering
//! A copy is raised with release from what its relay read with acquire, so who acquires a copy has seen what the one that moved the stage had seen. A copy only
//! grows, as a relay that is late for an abandoned stop may meet the one of the next stop; and it only ever holds what the stage word held before.

use core::sync::atomic::Ordering::{Relaxed, Release};

#[cfg(feature = "study")]
use super::stage::At;
use super::stage::{is_later, is_later_epoch};
use super::work::Part;
use crate::cpu::CpuId;
use crate::machine::Machine;
use crate::platform::{Memory, Platform, Word};

/// A group's copy of the stage word.
pub(crate) struct Copied<P: Memory> {
    word: P::Word,
    /// The last stop that has a relay for this group.
    relayed: P::Word,
}

impl<P: Memory> Copied<P> {
    pub(crate) const fn new() -> Self {
        Copied { word: P::Word::ZERO, relayed: P::Word::ZERO }
    }

    /// True if the caller becomes the relay for stop `epoch`; false if there is one.
    fn take(&self, epoch: usize) -> bool {
        let mut seen = self.relayed.load(Relaxed);
        while is_later_epoch(epoch, seen) {
            // Relaxed: nothing is read by who knows that there is a relay; what it passes on is released by itself.
            match self.relayed.compare_exchange(seen, epoch, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// As if the copy had been raised up to `at` so far.
    #[cfg(feature = "study")]
    pub(super) fn spend(&self, at: At) {
        self.word.store(at.pack(), Relaxed);
        self.relayed.store(at.epoch, Relaxed);
    }

    fn raise(&self, to: usize) {
        let mut seen = self.word.load(Relaxed);
        while is_later(to, seen) {
            match self.word.compare_exchange(seen, to, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

/// Where a CPU looks at the stage during one stop.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Post {
    /// It looks at its group's copy of this level; at the stage word itself, if that is the top.
    level: usize,
    /// The levels below for whose groups it is the relay, as bits.
    relays: usize,
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// `me` enters a stop: takes what there is to relay.
    pub(super) fn take_post(&self, me: CpuId, part: Part) -> Post {
        let shape = self.shape();
        let mut post = Post { level: 0, relays: 0 };
        while post.level < part.top {
            if let Some(host) = shape.host(post.level, me.index()) {
                let host = &self.cpu[host];
                // Alone in its group, it need not pass on anything. A CPU that is early or late may see this otherwise than the rest of its group:
                // then one looks at the copy that has no other reader, or passes it on to nobody.
                if !host.acks.is_lonely() {
                    if !host.copied.take(part.epoch) {
                        break;
                    }
                    post.relays |= 1 << post.level;
                }
            }
            post.level += 1;
        }
        if post.level == part.top {
            post.level = shape.top();
        }
        post
    }

    /// The word that a CPU at this post looks at.
    #[inline(always)]
    pub(super) fn stage_word(&self, me: CpuId, post: Post) -> &P::Word {
        let shape = self.shape();
        if post.level < shape.top()
            && let Some(host) = shape.host(post.level, me.index())
        {
            return &self.cpu[host].copied.word;
        }
        &self.stop.at
    }

    /// Passes `word` on, from the largest group to the smallest.
    #[inline(always)]
    pub(super) fn relay(&self, me: CpuId, post: Post, word: usize) {
        if post.relays == 0 {
            return;
        }
        let shape = self.shape();
        for level in (0..post.level).rev().filter(|level| post.relays >> level & 1 != 0) {
            if let Some(host) = shape.host(level, me.index()) {
                let copied = &self.cpu[host].copied.word;
                self.cpu[host].copied.raise(word);
                self.platform.notify(&raw const *copied);
            }
        }
    }
}
