//! The call queue of one CPU: a lock-free list that anybody pushes to and its CPU takes whole.
//!
//! ```text
//!   push:  node.next = head;  head: compare-and-swap to node, release   (1)
//!   take:  head: exchange with null, acquire                            (2)
//! ```
//!
//! (1) publishes the node and everything the sender wrote before; (2) observes it for every node of the list, as the pushes form
//! one release sequence. The list grows at its head, so a taken chain is reversed once to run in the order of arrival.
//! There is no ABA: nothing is ever taken from the middle.
//!
//! **The IPI rule**: whoever pushes to an empty list sends the IPI, nobody else does. So a list that is not empty has an IPI in
//! flight to its CPU, or its CPU is about to take it. A list must be empty when its CPU comes online, or the rule is dead for
//! ever: nobody would find it empty again.

use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::platform::{Memory, Pointer};

/// What a node is the first field of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A [`Csd`](super::Csd).
    Csd,
    /// The target's own node that stands for the requests of many boards.
    Board,
}

/// The link of a list element.
///
/// # Invariants
/// It is in at most one list, and alive while it is in one.
#[repr(C)]
pub(crate) struct Node<P: Memory> {
    next: P::Ptr<Node<P>>,
    kind: Kind,
}

impl<P: Memory> Node<P> {
    pub(crate) const fn new(kind: Kind) -> Self {
        Node { next: P::Ptr::NULL, kind }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }
}

/// The list.
pub(crate) struct Queue<P: Memory> {
    head: P::Ptr<Node<P>>,
}

impl<P: Memory> Queue<P> {
    pub(crate) const fn new() -> Self {
        Queue { head: P::Ptr::NULL }
    }

    /// Adds `node` and says whether the list was empty.
    ///
    /// # Safety
    /// 1. `node` is in no list.
    /// 2. It stays alive until it was taken.
    pub(crate) unsafe fn push(&self, node: *const Node<P>) -> bool {
        let mut head = self.head.load_for_cas();
        loop {
            // SAFETY: alive by (2); this CPU alone knows the node until the exchange below succeeds, by (1).
            unsafe { &*node }.next.store(head, Relaxed);
            match self.head.compare_exchange(head, node.cast_mut(), Release, Relaxed) {
                Ok(_) => return head.is_null(),
                Err(now) => head = now,
            }
        }
    }

    /// Takes all nodes, in the order of their arrival.
    pub(crate) fn take(&self) -> Chain<P> {
        let mut taken = self.head.swap(ptr::null_mut(), Acquire);
        let mut first = ptr::null_mut();
        while !taken.is_null() {
            // SAFETY: a node of the list is alive until it was taken, and nobody else has this chain: the swap took it.
            let node = unsafe { &*taken };
            let rest = node.next.load(Relaxed);
            node.next.store(first, Relaxed);
            first = taken;
            taken = rest;
        }
        Chain { first }
    }

    /// Relaxed: for assertions of the queue's own CPU, at times when nobody may push; nothing is read for it.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Relaxed).is_null()
    }
}

/// Nodes that were taken and belong to the taker.
pub(crate) struct Chain<P: Memory> {
    first: *mut Node<P>,
}

impl<P: Memory> Chain<P> {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Unlinks the first node. The chain has forgotten it before the caller lets anybody reuse it.
    pub(crate) fn pop(&mut self) -> Option<*const Node<P>> {
        if self.first.is_null() {
            return None;
        }
        let node = self.first;
        // SAFETY: a node of a chain is alive until it was popped.
        self.first = unsafe { &*node }.next.load(Relaxed);
        Some(node)
    }

    /// Calls `f` with each node and keeps them.
    pub(crate) fn each(&self, mut f: impl FnMut(*const Node<P>)) {
        let mut node = self.first;
        while !node.is_null() {
            f(node);
            // SAFETY: as in `pop`; `f` lets nobody reuse the node, as it is still ours.
            node = unsafe { &*node }.next.load(Relaxed);
        }
    }
}
