//! Calls that are withdrawn when a deadline expires, or when somebody cancels them, before their
//! function begins.
//!
//! ```text
//!   sender                                      target
//!   FREE -> QUEUED, push                        pop, QUEUED -> RUNNING, function, RUNNING -> DONE
//!   bound ends: QUEUED -> WITHDRAWN             pop, WITHDRAWN -> FREE: the function never begins
//!   DONE -> FREE
//! ```
//!
//! Withdrawing and beginning race by compare-and-swap, and one of them wins. So a call that is
//! reported as withdrawn never runs, and its function may live on the caller's stack. A function that
//! has begun is waited for, whatever the bound says: it uses what the caller lent it. A withdrawn slot
//! stays in the target's list until the target gets to it. That is why the slot is `'static`.
//!
//! The other forms that wait have no bound: their slots are the CPU's own or on the caller's stack,
//! and can't stay behind. They wait, and the port hears who is missing.

use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{Call, CallError, Csd, csd};
use crate::bound::{Bound, By};
use crate::context::{IrqOff, MaySpin};
use crate::cpu::CpuId;
use crate::event::{CallInfo, CallKey, Form, Ran, What};
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{Deadline, Platform, Site, WaitFor, Word};

const ONE: &str = "call_single_until: the function to return";
const MANY: &str = "call_many_until: the functions to return";

/// What became of a [`call_many_until`](Machine::call_many_until), CPU by CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "some CPUs may not have run the function"]
pub struct Answers<const W: usize> {
    /// The function returned on these.
    pub ran: CpuMask<W>,
    /// These did not begin it before the deadline. They never will.
    pub withdrawn: CpuMask<W>,
    /// The slots of these are in use, by a call that was withdrawn before. Nothing was sent to them.
    pub busy: CpuMask<W>,
}

impl<const W: usize> Answers<W> {
    /// Did each CPU run it that was online?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.withdrawn.is_empty() && self.busy.is_empty()
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// As [`call_single`](Self::call_single), and withdraws the call if `to` has not begun it when
    /// `bound` ends: when its deadline expires, or another CPU [cancels](Self::cancel) its token. Then
    /// the function never runs. A function that has begun is waited for to its end.
    ///
    /// A withdrawn call leaves `csd` in use until `to` gets to it; a call with the same slot is
    /// [`Busy`](CallError::Busy) until then.
    ///
    /// Context: thread or pinned, interrupts on. On the caller's own CPU the function runs in place.
    ///
    /// # Errors
    /// [`Withdrawn`](CallError::Withdrawn): the function did not begin in time. [`Busy`](CallError::Busy),
    /// [`NoSuchCpu`](CallError::NoSuchCpu), [`Offline`](CallError::Offline), [`InterruptsOff`](CallError::InterruptsOff): nothing
    /// was sent. [`Lost`](CallError::Lost): accepted, and its CPU died (study protocols).
    #[track_caller]
    pub fn call_single_until<'b, C, F>(
        &self,
        _ctx: &mut C,
        to: CpuId,
        csd: &'static Csd<P>,
        bound: impl Into<Bound<'b, P>>,
        f: &F,
    ) -> Result<(), CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        let by = By { from: Location::caller(), bound: bound.into() };
        self.may_wait()?;
        {
            let pin = self.pinned();
            if to == pin.cpu() {
                self.emit(|| What::CallInPlace { form: Form::SingleWait });
                self.with_irqs_off(f);
                return Ok(());
            }
            let call = Call { withdrawable: true, ..self.call_of(f, Form::SingleWait, by.from, pin.cpu()) };
            // SAFETY: 1. `csd` is `'static`. 2. `answer` below returns only when the function has returned or never begins.
            // 3. `pin`.
            unsafe { self.post(to, csd, call)? };
        }
        self.answer::<C>(csd, to, ONE, self.settled(by))
    }

    /// As [`call_many`](Self::call_many), and withdraws the call from each CPU that has not begun it when
    /// `bound` ends, as [`call_single_until`](Self::call_single_until) does.
    /// CPU `n` is asked by `slots[n]`, which stays in use as described there.
    ///
    /// Context: thread or pinned, interrupts on.
    ///
    /// # Errors
    /// [`InterruptsOff`](CallError::InterruptsOff): nothing was sent. [`Lost`](CallError::Lost): one CPU died with the call (study
    /// protocols).
    ///
    /// # Panics
    /// If a CPU of `mask` that takes calls has no slot. Nothing was sent then.
    #[track_caller]
    pub fn call_many_until<'b, C, F>(
        &self,
        _ctx: &mut C,
        mask: &CpuMask<W>,
        slots: &'static [Csd<P>],
        bound: impl Into<Bound<'b, P>>,
        f: &F,
    ) -> Result<Answers<W>, CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        let by = By { from: Location::caller(), bound: bound.into() };
        self.may_wait()?;
        let mut answers = Answers { ran: CpuMask::EMPTY, withdrawn: CpuMask::EMPTY, busy: CpuMask::EMPTY };
        let mut asked = CpuMask::<W>::EMPTY;
        {
            let pin = self.pinned();
            // Relaxed: as in `post`, which looks again.
            let mut targets = mask.and(&self.accepting.now());
            targets.remove(pin.cpu());
            let without = targets.iter().find(|to| to.index() >= slots.len());
            assert!(without.is_none(), "call_many_until: {} slots, and none for {without:?}", slots.len());
            for to in &targets {
                let call =
                    Call { withdrawable: true, ..self.call_of(f, Form::SingleWait, by.from, pin.cpu()) };
                // SAFETY: 1. the slots are `'static`. 2. `answer` is called for each below. 3. `pin`.
                match unsafe { self.post(to, &slots[to.index()], call) } {
                    Ok(()) => asked.insert(to),
                    Err(CallError::Busy) => answers.busy.insert(to),
                    // It left since the mask was read.
                    Err(_) => {}
                }
            }
        }
        // One bound for all of them.
        let by = self.settled(by);
        let mut lost = None;
        for to in &asked {
            match self.answer::<C>(&slots[to.index()], to, MANY, by) {
                Ok(()) => answers.ran.insert(to),
                Err(CallError::Withdrawn(_)) => answers.withdrawn.insert(to),
                Err(error) => lost = Some(error),
            }
        }
        lost.map_or(Ok(answers), Err)
    }

    /// Waits for the end of a call that was sent, or withdraws it.
    fn answer<C: MaySpin>(
        &self,
        csd: &Csd<P>,
        to: CpuId,
        what: &'static str,
        by: By<'_, P>,
    ) -> Result<(), CallError> {
        let site = Site { what, at: by.from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, to);
        let key = CallKey { slot: csd.address(), to };
        let end = || {
            // Acquire: pairs with the target's release in `run_withdrawable`, so that what the function wrote is visible.
            let state = csd.state.load(Acquire);
            (state != csd::BUSY && state != csd::RUNNING).then_some(state)
        };
        let wait = WaitFor { site, context: C::WAIT, deadline: self.limit(by.bound), stalled: &stalled };
        let state = match self.wait_within(&csd.state, &wait, by.bound, end) {
            Some(state) => state,
            None => {
                self.emit(|| What::CallExpired(key));
                // Relaxed: the target has not touched what the caller lends, and does not once this succeeds.
                if csd.state.compare_exchange(csd::BUSY, csd::WITHDRAWN, Relaxed, Relaxed).is_ok() {
                    return Err(CallError::Withdrawn(to));
                }
                // It has begun, or has even ended.
                let wait = WaitFor { deadline: Deadline::NEVER, ..wait };
                self.platform.wait_until(&csd.state, &wait, end).unwrap_or(csd::LOST)
            }
        };
        let ran = state == csd::DONE;
        self.emit(|| What::CallReturned { key, ran });
        // Release: pairs with the acquire of the next one that claims the slot.
        csd.state.store(csd::FREE, Release);
        if ran { Ok(()) } else { Err(CallError::Lost(to)) }
    }

    /// The target's side: runs the call in `csd`, unless it was withdrawn.
    ///
    /// # Safety
    /// `csd` was popped from this CPU's queue and not released yet, and `call` is what it holds.
    pub(super) unsafe fn run_withdrawable(&self, csd: *const Csd<P>, call: &Call, me: CpuId, how: Ran) {
        let key = CallKey { slot: csd.addr(), to: me };
        // SAFETY: slots of calls that can be withdrawn are `'static`.
        let state = unsafe { &(*csd).state };
        // Relaxed: the sender wrote the call before the push, which the take has seen. Only the sender's exchange may come first.
        if state.compare_exchange(csd::BUSY, csd::RUNNING, Relaxed, Relaxed).is_err() {
            self.discard(state, || call.info(csd.addr(), me));
            return;
        }
        self.run_call(call, me, || self.emit(|| What::CallBegin(call.info(csd.addr(), me), how)));
        self.emit(|| What::CallEnd(key));
        // Release: pairs with the acquire of the sender, which sets the slot free.
        state.store(csd::DONE, Release);
        self.platform.notify(state);
    }

    /// As [`run_withdrawable`](Self::run_withdrawable), for a call whose CPU died with it.
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn lose_withdrawable(&self, csd: *const Csd<P>, call: &Call, dead: CpuId) {
        // SAFETY: as there.
        let state = unsafe { &(*csd).state };
        // Relaxed: as there; the sender reads nothing of a call that is lost.
        if state.compare_exchange(csd::BUSY, csd::LOST, Relaxed, Relaxed).is_err() {
            self.discard(state, || call.info(csd.addr(), dead));
            return;
        }
        self.emit(|| What::CallLost(call.info(csd.addr(), dead)));
        self.platform.notify(state);
    }

    /// The slot of a call that was withdrawn leaves the list.
    fn discard(&self, state: &P::Word, info: impl FnOnce() -> CallInfo) {
        self.emit(|| What::CallDiscarded(info()));
        // Release: pairs with the acquire of the next one that claims the slot: the call in it was read before.
        state.store(csd::FREE, Release);
    }
}
