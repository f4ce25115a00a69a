//! One work in each CPU's own block, for what its stopper is to do by a certain time.
//!
//! A work that nobody waits for any more can't be taken out of its stopper's list: the list has no way back, and its CPU may be the
//! one that does not answer. So the work lies in the block of the CPU that it is for, and stays in the list; what is taken back is the
//! right to run it. It points to a function on the stack of the one that waits, who returns only when that right is taken back, or
//! was used up.
//!
//! ```text
//!   FREE ── claim ──> OWNED ── queue ──> QUEUED ── take ──> RUNNING ── finish ──> DONE ── free ──> FREE
//!    ^                  ^                  │   └─ refuse ──────────────────────> REFUSED ── free ──┘
//!    │                  │              claim back
//!    │                take                 v
//!    └─── take ──────── │ ───────────── CLAIMED                (in the list, and nobody's)
//!                       └── REOWNED <── claim ──┘ └── queue ──> QUEUED    (it is in the list: no push)
//! ```
//! `take`, `finish` and `refuse` are the stopper's, the others the owner's. Each is one atomic step, and carries a number that each claim
//! raises: so a work that was taken back does not run, or is running already, and nobody mistakes the next owner's use for his own. The
//! last work of a CPU never ends: the CPU frees it before it dies, and its owner waits for the death.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::receipts::StopError;
use super::stage::Stage;
use super::work::{Body, Kind, Link};
use crate::bound::By;
use crate::context::Pinned;
use crate::cpu::CpuId;
use crate::event::{What, WorkKey};
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{DataCell, Deadline, Memory, Platform, Site, WaitContext, WaitFor, Word};

const FREE: usize = 0;
const OWNED: usize = 1;
const QUEUED: usize = 2;
const RUNNING: usize = 3;
const DONE: usize = 4;
const REFUSED: usize = 5;
const CLAIMED: usize = 6;
const REOWNED: usize = 7;
const STATE: usize = 7;
/// Above it, 29 bits.
const NUMBER: usize = 8;
const NUMBERS: usize = (1 << VALUE) - NUMBER;
/// Above that, the value of a function that has returned.
const VALUE: u32 = 32;

/// The work. Its first field is its link.
///
/// # Invariants
/// `body` is written by the owner before it queues the work, and read by the stopper that took it.
#[repr(C)]
pub(crate) struct Slot<P: Memory> {
    link: Link<P>,
    /// (value, number, state).
    state: P::Word,
    body: P::Cell<Body>,
}

/// The right to use a slot, once.
#[derive(Clone, Copy)]
pub(crate) struct Use {
    /// The number, in its place in the word.
    number: usize,
    /// It was in the list when it was claimed.
    linked: bool,
}

impl<P: Memory> Slot<P> {
    pub(crate) const fn new() -> Self {
        Slot { link: Link::new(Kind::Slot), state: P::Word::ZERO, body: P::Cell::EMPTY }
    }

    fn is_free(&self) -> bool {
        matches!(self.state.load(Relaxed) & STATE, FREE | CLAIMED)
    }

    fn claim(&self) -> Option<Use> {
        let seen = self.state.load(Relaxed);
        let (linked, to) = match seen & STATE {
            FREE => (false, OWNED),
            CLAIMED => (true, REOWNED),
            _ => return None,
        };
        let number = (seen & NUMBERS).wrapping_add(NUMBER) & NUMBERS;
        // Acquire: pairs with `free`, and with `take` of a work that was claimed back: the link and the body are nobody's.
        self.state.compare_exchange(seen, number | to, Acquire, Relaxed).ok()?;
        Some(Use { number, linked })
    }

    /// Hands the filled work to the stopper; true if it has to be pushed. If not, it is in the list, and its IPI is on the way.
    fn queue(&self, using: Use) -> bool {
        let queued = using.number | QUEUED;
        // Release: pairs with the acquire of `take`: publishes the body. Acquire: the stopper that popped it is done with the link.
        let reowned = using.number | REOWNED;
        if using.linked && self.state.compare_exchange(reowned, queued, Release, Acquire).is_ok() {
            return false;
        }
        // Relaxed: the push publishes it.
        self.state.store(queued, Relaxed);
        true
    }

    /// The owner takes it back from the stopper; false if that has taken it, or refused it.
    fn claim_back(&self, using: Use) -> bool {
        // Relaxed: nothing ran, and the body stays as it is until the next owner has claimed the work.
        self.state.compare_exchange(using.number | QUEUED, using.number | CLAIMED, Relaxed, Relaxed).is_ok()
    }

    /// The stopper has popped it. True if it is to run; else nobody waits for it.
    pub(crate) fn take(&self) -> bool {
        let mut seen = self.state.load(Relaxed);
        loop {
            let (to, runs) = match seen & STATE {
                CLAIMED => (FREE, false),
                REOWNED => (OWNED, false),
                // QUEUED; nothing else is ever in a list. If it were, it would show: the work would run again.
                _ => (RUNNING, true),
            };
            // Acquire: pairs with `queue`. Release: pairs with the acquire of `claim` and `queue`: the link is out of the list.
            match self.state.compare_exchange(seen, seen & !STATE | to, AcqRel, Relaxed) {
                Ok(_) => return runs,
                Err(now) => seen = now,
            }
        }
    }

    /// # Safety
    /// The caller took the work.
    pub(crate) unsafe fn body(&self) -> Body {
        // SAFETY: written before it was queued, and not again before it is free.
        unsafe { self.body.read() }
    }

    /// The function has returned; the caller took the work.
    pub(crate) fn finish(&self, value: i32) -> *const P::Word {
        self.move_on((value as u32 as usize) << VALUE | DONE)
    }

    /// The stopper closes, and took the work.
    pub(crate) fn refuse(&self) -> *const P::Word {
        self.move_on(REFUSED)
    }

    /// The work is this CPU's last: it never ends, and nothing of it is used any more.
    pub(crate) fn vanish(&self) {
        if self.state.load(Relaxed) & STATE == RUNNING {
            self.move_on(FREE);
        }
    }

    fn move_on(&self, to: usize) -> *const P::Word {
        let number = self.state.load(Relaxed) & NUMBERS;
        // Release: pairs with the acquire of `outcome`: what the function did is visible; or with that of the next claim.
        self.state.store(number | to, Release);
        &raw const self.state
    }

    /// What became of it, once that is known.
    fn outcome(&self, using: Use) -> Option<End> {
        // Acquire: pairs with `finish`.
        let seen = self.state.load(Acquire);
        match seen & (NUMBERS | STATE) ^ using.number {
            DONE => Some(End::Returned((seen >> VALUE) as u32 as i32)),
            REFUSED => Some(End::Refused),
            _ => None,
        }
    }

    /// The owner has done with it.
    fn free(&self, using: Use) -> *const P::Word {
        // Release: pairs with the acquire of the next claim.
        self.state.store(using.number | FREE, Release);
        &raw const self.state
    }
}

/// What became of a work that was waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It returned this.
    Returned(i32),
    /// Its CPU does not run, or left before its turn.
    Refused,
    /// The bound was reached first: it did not run, and will not.
    TakenBack,
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    fn slot(&self, cpu: CpuId) -> &Slot<P> {
        &self.cpu[cpu.index()].slot
    }

    /// Runs `f` by the stopper of `cpu`, or takes it back when the bound is reached.
    pub(crate) fn run_on_stopper<F>(&self, cpu: CpuId, f: &F, by: By<'_, P>) -> Result<i32, StopError<W>>
    where
        F: Fn(&mut Pinned<'_>) -> i32 + Sync,
    {
        if cpu.index() >= N {
            return Err(StopError::NoSuchCpu(cpu));
        }
        if !self.is_booted() && cpu == self.platform.this_cpu() {
            let _pin = self.pinned();
            // SAFETY: preemption is off until `_pin` is dropped, and a thread has its interrupts on.
            let mut pinned = unsafe { Pinned::new() };
            return Ok(f(&mut pinned));
        }
        // SAFETY: `f` is alive until this returns; `finish_use` returns when it does not run any more.
        let begun = unsafe { self.begin_use(cpu, Body::of(f, by.from), by) };
        let end = begun.map_or_else(
            |end| end,
            |using| {
                let end = self.finish_use(cpu, using, by);
                if end != End::TakenBack {
                    self.free_slot(cpu, using);
                }
                end
            },
        );
        match end {
            End::Returned(value) => Ok(value),
            End::Refused => Err(self.turned_away(cpu)),
            End::TakenBack if by.bound.is_cancelled() => Err(StopError::Cancelled),
            End::TakenBack => Err(StopError::Deadline { stage: Stage::None, missing: CpuMask::of(cpu) }),
        }
    }

    /// Queues `body` for `cpu`, once the slot is free.
    ///
    /// # Safety
    /// What `body` points to is alive until the work was taken back, was refused or has returned, or the CPU has died in it.
    pub(crate) unsafe fn begin_use(&self, cpu: CpuId, body: Body, by: By<'_, P>) -> Result<Use, End> {
        let slot = self.slot(cpu);
        // Free almost always: then nobody asks for the time.
        let using = slot.claim().or_else(|| self.await_slot(cpu, by)).ok_or(End::TakenBack)?;
        // SAFETY: claimed, and not queued yet: nobody else uses it.
        unsafe { slot.body.write(body) };
        let pin = self.pinned();
        self.emit(|| What::WorkQueued(slot.key(cpu)));
        // SAFETY: 1. one that has to be pushed is in no list, and it is part of the machine. 2. above.
        if slot.queue(using) && !unsafe { self.push_work(&pin, cpu, (&raw const *slot).cast()) } {
            self.platform.notify(slot.free(using));
            return Err(End::Refused);
        }
        Ok(using)
    }

    fn await_slot(&self, cpu: CpuId, by: By<'_, P>) -> Option<Use> {
        let slot = self.slot(cpu);
        let site = Site { what: "stop_one_cpu: its turn", at: by.from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, cpu);
        let deadline = self.limit(by.bound);
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        // What is looked at is free, and the claim may fail still.
        loop {
            self.wait_within(&slot.state, &wait, by.bound, || slot.is_free().then_some(()))?;
            if let Some(using) = slot.claim() {
                return Some(using);
            }
        }
    }

    /// Waits for the end of a work, and frees the slot. When the bound is reached, it is taken back if it has not begun.
    fn finish_use(&self, cpu: CpuId, using: Use, by: By<'_, P>) -> End {
        let slot = self.slot(cpu);
        let site = Site { what: "stop_one_cpu: the work to end", at: by.from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, cpu);
        let deadline = self.limit(by.bound);
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        let end = self.wait_within(&slot.state, &wait, by.bound, || self.outcome(cpu, using));
        end.or_else(|| self.take_back(cpu, using).then_some(End::TakenBack)).unwrap_or_else(|| {
            // It has begun, and points to the caller's stack.
            let wait = WaitFor { deadline: Deadline::NEVER, ..wait };
            self.platform
                .wait_until(&slot.state, &wait, || self.outcome(cpu, using))
                .unwrap_or(End::TakenBack)
        })
    }

    /// What became of the work, once that is known.
    pub(crate) fn outcome(&self, cpu: CpuId, using: Use) -> Option<End> {
        self.slot(cpu).outcome(using)
    }

    /// Takes the work back, unless its stopper has it.
    pub(crate) fn take_back(&self, cpu: CpuId, using: Use) -> bool {
        let slot = self.slot(cpu);
        let taken = slot.claim_back(using);
        if taken {
            self.emit(|| What::WorkClaimed(slot.key(cpu)));
            // Others may wait for it.
            self.platform.notify(&raw const slot.state);
        }
        taken
    }

    /// Its end was seen: the next one may have the slot.
    pub(crate) fn free_slot(&self, cpu: CpuId, using: Use) {
        self.platform.notify(self.slot(cpu).free(using));
    }
}

impl<P: Memory> Slot<P> {
    fn key(&self, to: CpuId) -> WorkKey {
        WorkKey { work: core::ptr::from_ref(self).addr(), to }
    }
}
