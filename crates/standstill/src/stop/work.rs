//! The FIFO of one stopper, and what can be in it.
//!
//! The list's head carries the enabled flag: null means closed, `OPEN` is the end of an open list. So closing and taking what is
//! queued are one exchange, and a work can't be queued behind the back of the one that closes: every push either comes before and is
//! answered, or finds the stopper closed.
//!
//! ```text
//!   head = null   <── close ──   head = OPEN   <── take ──   head = work -> ... -> OPEN
//!          closed  ── open ──>          open    ── push ─>          open
//! ```
//!
//! Only the stopper's own CPU opens, closes and takes.

use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::context::Pinned;
use crate::platform::{DataCell, Memory, Pointer, Word};

/// What a link is the first field of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A [`StopWork`].
    One,
    /// The CPU's part in a stop of several CPUs.
    Multi,
    /// The CPU's own [`Slot`](super::slot::Slot).
    Slot,
}

/// The link of a list element.
///
/// # Invariants
/// It is in at most one list, and alive while it is in one.
#[repr(C)]
pub(crate) struct Link<P: Memory> {
    next: P::Ptr<Link<P>>,
    kind: Kind,
}

impl<P: Memory> Link<P> {
    pub(crate) const fn new(kind: Kind) -> Self {
        Link { next: P::Ptr::NULL, kind }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }
}

/// The end of an open list; no link has this address.
fn open<P: Memory>() -> *mut Link<P> {
    ptr::without_provenance_mut(1)
}

/// How a push ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The stopper is closed.
    Closed,
    /// It is in the list, which was empty: the pusher sends the IPI.
    First,
    /// It is in the list.
    Behind,
}

/// The works of one CPU's stopper.
pub(crate) struct Works<P: Memory> {
    head: P::Ptr<Link<P>>,
    /// What was taken and has not run yet. Only the own CPU's stopper uses it.
    batch: P::Ptr<Link<P>>,
}

impl<P: Memory> Works<P> {
    /// Closed.
    pub(crate) const fn new() -> Self {
        Works { head: P::Ptr::NULL, batch: P::Ptr::NULL }
    }

    /// Has the stopper something to do?
    pub(crate) fn pending(&self) -> bool {
        let head = self.head.load(Relaxed);
        !head.is_null() && head != open()
    }

    /// Is the stopper open? Stable only on its own CPU.
    pub(crate) fn is_open(&self) -> bool {
        !self.head.load(Relaxed).is_null()
    }

    /// Own CPU only.
    pub(crate) fn open(&self) {
        debug_assert!(!self.is_open());
        // Relaxed: who pushes reads nothing of this CPU, and the work runs here, behind this.
        self.head.store(open(), Relaxed);
    }

    /// # Safety
    /// 1. `link` is in no list.
    /// 2. It stays alive until it was popped.
    pub(crate) unsafe fn push(&self, link: *const Link<P>) -> Pushed {
        let mut head = self.head.load_for_cas();
        loop {
            if head.is_null() {
                return Pushed::Closed;
            }
            // SAFETY: alive by (2), and nobody else knows it by (1).
            unsafe { &*link }.next.store(head, Relaxed);
            // Release: publishes the work; pairs with the acquire of `pop`.
            match self.head.compare_exchange(head, link.cast_mut(), Release, Relaxed) {
                Ok(_) if head == open() => return Pushed::First,
                Ok(_) => return Pushed::Behind,
                Err(now) => head = now,
            }
        }
    }

    /// The next work in the order of arrival. Own stopper only.
    pub(crate) fn pop(&self) -> Option<*const Link<P>> {
        if self.batch.load(Relaxed).is_null() {
            if !self.pending() {
                return None;
            }
            // Acquire: pairs with the release of each push.
            let taken = self.head.swap(open(), Acquire);
            self.batch.store(Self::reverse(taken), Relaxed);
        }
        self.pop_batch()
    }

    /// Closes the stopper and hands out what was queued, also what was taken before, in the order of arrival. Own stopper only.
    pub(crate) fn close(&self, mut refuse: impl FnMut(*const Link<P>)) {
        // Acquire: pairs with the release of each push that comes before: its link is read here. Who comes after sees the stopper closed
        // and nothing else.
        let taken = self.head.swap(ptr::null_mut(), Acquire);
        while let Some(link) = self.pop_batch() {
            refuse(link);
        }
        self.batch.store(Self::reverse(taken), Relaxed);
        while let Some(link) = self.pop_batch() {
            refuse(link);
        }
    }

    fn pop_batch(&self) -> Option<*const Link<P>> {
        let link = self.batch.load(Relaxed);
        // SAFETY: a link of the batch is alive until it was popped, which is now.
        self.batch.store(unsafe { link.as_ref() }?.next.load(Relaxed), Relaxed);
        Some(link)
    }

    /// Turns a taken list round; the result ends in null.
    fn reverse(mut taken: *mut Link<P>) -> *mut Link<P> {
        let mut first = ptr::null_mut();
        while !taken.is_null() && taken != open() {
            // SAFETY: a link of a list is alive until it was popped, and the list belongs to the caller.
            let link = unsafe { &*taken };
            let rest = link.next.load(Relaxed);
            link.next.store(first, Relaxed);
            first = taken;
            taken = rest;
        }
        first
    }
}

/// What a [`StopWork`] runs.
#[derive(Clone, Copy, Hash)]
pub(crate) struct Body {
    pub(crate) run: unsafe fn(*const (), &mut Pinned<'_>) -> i32,
    pub(crate) arg: *const (),
    pub(crate) from: &'static Location<'static>,
}

impl Body {
    pub(crate) fn of<F: Fn(&mut Pinned<'_>) -> i32 + Sync>(f: &F, from: &'static Location<'static>) -> Self {
        Body { run: run::<F>, arg: ptr::from_ref(f).cast(), from }
    }
}

/// # Safety
/// `arg` is a `&F` that is alive until this returns.
unsafe fn run<F: Fn(&mut Pinned<'_>) -> i32 + Sync>(arg: *const (), pinned: &mut Pinned<'_>) -> i32 {
    // SAFETY: the contract of this function.
    (unsafe { &*arg.cast::<F>() })(pinned)
}

/// What became of a work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WorkState {
    /// It was never queued.
    Idle,
    /// It is queued, or runs.
    Queued,
    /// It ran and returned this.
    Ran(i32),
    /// Its CPU was offline, or left the machine before it could run. It did not run.
    Refused,
}

impl WorkState {
    fn pack(self) -> usize {
        match self {
            WorkState::Idle => 0,
            WorkState::Queued => 1,
            WorkState::Refused => 2,
            WorkState::Ran(value) => 3 | (value as u32 as usize) << 8,
        }
    }

    fn unpack(word: usize) -> Self {
        match word & 0xff {
            0 => WorkState::Idle,
            1 => WorkState::Queued,
            2 => WorkState::Refused,
            _ => WorkState::Ran((word >> 8) as u32 as i32),
        }
    }
}

/// A work for one stopper, owned by the caller, for [`stop_one_cpu_nowait`](crate::Machine::stop_one_cpu_nowait): a `static`, or
/// leaked.
///
/// # Invariants
/// `body` is written only by who moved `state` to queued, and read only by the stopper that popped the work.
#[doc(alias = "cpu_stop_work")]
#[repr(C)]
pub struct StopWork<P: Memory> {
    link: Link<P>,
    state: P::Word,
    body: P::Cell<Body>,
}

impl<P: Memory> StopWork<P> {
    /// A work that was never queued.
    #[must_use]
    pub const fn new() -> Self {
        StopWork { link: Link::new(Kind::One), state: P::Word::ZERO, body: P::Cell::EMPTY }
    }

    /// What became of it. Acquire: what the function wrote is visible once it says `Ran`.
    pub fn state(&self) -> WorkState {
        WorkState::unpack(self.state.load(Acquire))
    }

    /// Takes the work for a new use; false if it is still queued.
    pub(crate) fn claim(&self) -> bool {
        let was = self.state.load(Relaxed);
        was != WorkState::Queued.pack()
            // Acquire: pairs with `finish`, so that the stopper is done with `body`.
            && self.state.compare_exchange(was, WorkState::Queued.pack(), Acquire, Relaxed).is_ok()
    }

    /// The claimed work could not be queued.
    pub(crate) fn refuse(&self) {
        // Release: pairs with the acquire of the next claim, so that `fill` comes before it.
        self.state.store(WorkState::Refused.pack(), Release);
    }

    /// # Safety
    /// The caller claimed the work and has not queued it yet.
    pub(crate) unsafe fn fill(&self, body: Body) {
        // SAFETY: the claim made the caller its only user.
        unsafe { self.body.write(body) };
    }

    /// # Safety
    /// The caller popped the work.
    pub(crate) unsafe fn body(&self) -> Body {
        // SAFETY: written before the push that the pop observed.
        unsafe { self.body.read() }
    }

    /// The work is over; returns what to notify. The work may be gone when this returns.
    ///
    /// # Safety
    /// The caller popped the work.
    pub(crate) unsafe fn finish(this: *const Self, state: WorkState) -> *const P::Word {
        // SAFETY: alive until the store below: who waits for it returns only after that.
        let word = unsafe { &raw const (*this).state };
        // SAFETY: as above. Release: pairs with the acquire of `state` and `claim`.
        unsafe { &*word }.store(state.pack(), Release);
        word
    }
}

impl<P: Memory> Default for StopWork<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// A CPU's part in a stop: which stop, and what it does there. One word, which the CPU reads when it takes the work: from its own cache line, where masks
/// of the stop would have to be fetched by all CPUs from one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Part {
    pub(crate) epoch: usize,
    /// It runs the function.
    pub(crate) active: bool,
    /// It will be gone after it.
    pub(crate) leaves: bool,
    /// The stop has two disable stages. Here and not only in the plan, which may be the next stop's when a CPU is late for one that was abandoned.
    pub(crate) split: bool,
    /// It acknowledges the first stage and goes its way.
    pub(crate) pass: bool,
    /// It gives up when the port's patience ends, on behalf of the caller, whose CPU this is: that thread can't while its CPU is in the stop.
    pub(crate) watches: bool,
    /// The level at which all CPUs of the stop meet.
    pub(crate) top: usize,
}

impl Part {
    pub(super) const fn pack(self) -> usize {
        self.epoch << 12
            | self.top << 7
            | (self.watches as usize) << 6
            | (self.pass as usize) << 5
            | (self.split as usize) << 4
            | (self.leaves as usize) << 3
            | (self.active as usize) << 2
            | QUEUED
    }

    pub(super) const fn unpack(word: usize) -> Part {
        Part {
            epoch: word >> 12,
            top: word >> 7 & 31,
            watches: word & 64 != 0,
            pass: word & 32 != 0,
            split: word & 16 != 0,
            leaves: word & 8 != 0,
            active: word & 4 != 0,
        }
    }
}

/// The work for a CPU's [`Part`] in the stop of several CPUs that is in flight. One for each CPU is enough, as those stops take turns.
///
/// ```text
///   IDLE ── 1 arm ──> QUEUED(p) ── 2 take ──> IDLE          the stopper plays part p
///                        │
///                        └ 3 claim ──> CLAIMED ── 2 take ──> IDLE     nothing runs
///                                         └ 1 arm ──> QUEUED(p')      it is still in the list: no push
/// ```
/// 1 by the one that stops the machine, 2 by the stopper that popped it, 3 by the one that gave up on the stop of `p`. Each is one
/// atomic step, so a work that was given up on either does not run, or is running already.
#[repr(C)]
pub(crate) struct MultiWork<P: Memory> {
    link: Link<P>,
    state: P::Word,
}

const IDLE: usize = 0;
const CLAIMED: usize = 1;
const QUEUED: usize = 2;

impl<P: Memory> MultiWork<P> {
    pub(crate) const fn new() -> Self {
        MultiWork { link: Link::new(Kind::Multi), state: P::Word::ZERO }
    }

    /// Arms it for a stop; true if it has to be pushed.
    ///
    /// What the stop is to do is not handed over here, but with the stop's first stage: until then a CPU that has taken its part reads nothing of
    /// it but hints.
    pub(crate) fn arm(&self, part: Part) -> bool {
        // Acquire: pairs with `take`: its stopper is done with the link, which the push is about to write.
        self.state.swap(part.pack(), Acquire) & 3 == IDLE
    }

    /// It could not be pushed.
    pub(crate) fn disarm(&self) {
        self.state.store(IDLE, Relaxed);
    }

    /// Takes it back from that stop; false if its stopper has taken it.
    pub(crate) fn claim_back(&self, part: Part) -> bool {
        // Relaxed: what is claimed does not run, so nobody reads what belongs to it.
        self.state.compare_exchange(part.pack(), CLAIMED, Relaxed, Relaxed).is_ok()
    }

    /// The stopper popped it: what is it for?
    pub(crate) fn take(&self) -> Option<Part> {
        // Release: pairs with `arm`: the link was popped before this, and its list turned round.
        let state = self.state.swap(IDLE, Release);
        (state & 3 == QUEUED).then(|| Part::unpack(state))
    }
}
