//! Calls to many CPUs: boards.
//!
//! A sender has one board with one call on it, and a target has one bit for each sender. So memory is a word for each 64 senders on
//! each target, not a slot for each pair. The order of steps is what makes it safe:
//!
//! 1. the sender claims its board (`left`: 0 to CLAIMED), writes the call and then the number of targets into `left`;
//! 2. for each target it sets its bit (release); who turns a word from zero pushes the target's node for that word, under the same IPI
//!    rule as a csd;
//! 3. the target swaps the word to zero (acquire), and for each bit reads the board, *then* counts itself off `left`: the last one
//!    has given the board back, though functions may still run;
//! 4. a sender that waits has a `Done` on its stack, which each target counts down after the function returned.
//!
//! "Online" in the forms below means: takes calls ([`accepting`](Machine::accepting)). Where CPUs leave
//! in a stop, that is the same for whoever can send. Without one
//! ([`Protocol::pins_online`](crate::Protocol::pins_online)), a CPU that leaves is left out from the
//! moment that it refuses, and runs its last works and DYING callbacks after that.
//!
//! A board is in use only until all targets have read it, so a sender that waits for its own board waits for handlers of other CPUs to get
//! to it: for what is queued there before, and not for the board's own function.

use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::{Call, CallError};
use crate::context::{Context, IrqOff, MaySpin, no_unwind};
use crate::cpu::CpuId;
use crate::event::{CallKey, Form, What};
use crate::machine::{Machine, PinGuard};
use crate::mask::{AtomicCpuMask, CpuMask};
use crate::platform::{DataCell, Deadline, Ipi, Memory, Platform, Site, WaitFor, Word};

/// `left` of a board that is being written.
const CLAIMED: usize = usize::MAX;

/// The slot of one call to many CPUs. See the module for the order of accesses.
pub(super) struct Board<P: Memory> {
    /// How many targets have still to read the call; 0: free.
    pub(super) left: P::Word,
    pub(super) call: P::Cell<Call>,
}

impl<P: Memory> Board<P> {
    pub(super) const fn new() -> Self {
        Board { left: P::Word::ZERO, call: P::Cell::EMPTY }
    }

    /// Acquire: pairs with the release of each target that read the board, as their counts are one release sequence.
    fn claim(&self) -> bool {
        self.left.compare_exchange(0, CLAIMED, Acquire, Relaxed).is_ok()
    }
}

/// Where the targets of a waiting sender are counted, on its stack.
pub(super) struct Done<P: Memory, const W: usize> {
    /// How many functions have still to return.
    pub(super) left: P::Word,
    /// The targets that died with the call.
    pub(super) lost: AtomicCpuMask<P, W>,
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Runs `f` on each online CPU of `mask` but the caller's own, at the same time, and waits until all returned. Returns the CPUs
    /// that ran it.
    ///
    /// Context: thread or pinned, interrupts on. The caller's CPU is the one that it is on when the call is sent.
    ///
    /// # Errors
    /// [`InterruptsOff`](CallError::InterruptsOff): nothing ran.
    #[doc(alias = "smp_call_function_many")]
    #[track_caller]
    pub fn call_many<C, F>(&self, _ctx: &mut C, mask: &CpuMask<W>, f: &F) -> Result<CpuMask<W>, CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        self.many_and_wait::<C, F>(Form::ManyWait, mask, false, |_| true, f, Location::caller())
    }

    /// As [`call_many`](Self::call_many), on all other online CPUs.
    ///
    /// Context: as there.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "smp_call_function")]
    #[track_caller]
    pub fn call_all<C, F>(&self, _ctx: &mut C, f: &F) -> Result<CpuMask<W>, CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        let all = CpuMask::first_n(N);
        self.many_and_wait::<C, F>(Form::AllWait, &all, false, |_| true, f, Location::caller())
    }

    /// Runs `f` on every online CPU, the caller's own included, and waits. Returns the CPUs that ran it.
    ///
    /// Without a stop ([`Protocol::REFUSE`](crate::Protocol::REFUSE)) a CPU that is leaving is left out
    /// while it still runs: from when it takes no calls any more until it is dead.
    ///
    /// Context: thread or pinned, interrupts on.
    ///
    /// # Errors
    /// As [`call_many`](Self::call_many).
    #[track_caller]
    pub fn on_each_cpu<C, F>(&self, _ctx: &mut C, f: &F) -> Result<CpuMask<W>, CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        let all = CpuMask::first_n(N);
        self.many_and_wait::<C, F>(Form::AllWait, &all, true, |_| true, f, Location::caller())
    }

    /// Runs `f` on every online CPU of `mask`, the caller's own too if it is in it, and waits. Returns the CPUs that ran it.
    ///
    /// Context: thread or pinned, interrupts on.
    ///
    /// # Errors
    /// As [`call_many`](Self::call_many).
    #[track_caller]
    pub fn on_each_cpu_mask<C, F>(
        &self,
        _ctx: &mut C,
        mask: &CpuMask<W>,
        f: &F,
    ) -> Result<CpuMask<W>, CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        self.many_and_wait::<C, F>(Form::ManyWait, mask, true, |_| true, f, Location::caller())
    }

    /// Asks `cond` once for each online CPU of `mask`, here and in ascending order, then runs `f` on those for which it was
    /// true, and waits. Returns the CPUs that ran it. `cond` must not wait: the caller can't be moved meanwhile.
    ///
    /// Context: thread or pinned, interrupts on.
    ///
    /// # Errors
    /// As [`call_many`](Self::call_many).
    #[doc(alias = "on_each_cpu_cond_mask")]
    #[track_caller]
    pub fn on_each_cpu_cond<C, F>(
        &self,
        _ctx: &mut C,
        mask: &CpuMask<W>,
        cond: impl FnMut(CpuId) -> bool,
        f: &F,
    ) -> Result<CpuMask<W>, CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        self.many_and_wait::<C, F>(Form::ManyWait, mask, true, cond, f, Location::caller())
    }

    /// Runs `f` on each online CPU of `mask` but the caller's own, and does not wait. Returns the CPUs that will run it.
    ///
    /// Context: any.
    ///
    /// # Errors
    /// [`Busy`](CallError::Busy): the last call from this CPU to many has not been read by all its targets yet; nothing was
    /// queued.
    #[doc(alias = "smp_call_function_many")]
    #[track_caller]
    pub fn call_many_async<F>(
        &self,
        _ctx: &impl Context,
        mask: &CpuMask<W>,
        f: &'static F,
    ) -> Result<CpuMask<W>, CallError>
    where
        F: Fn(&IrqOff<'_>) + Sync,
    {
        self.many_and_go(Form::Many, mask, f, Location::caller())
    }

    /// As [`call_many_async`](Self::call_many_async), on all other online CPUs.
    ///
    /// Context: any.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "smp_call_function")]
    #[track_caller]
    pub fn call_all_async<F>(&self, _ctx: &impl Context, f: &'static F) -> Result<CpuMask<W>, CallError>
    where
        F: Fn(&IrqOff<'_>) + Sync,
    {
        self.many_and_go(Form::All, &CpuMask::first_n(N), f, Location::caller())
    }

    fn many_and_go<F>(
        &self,
        form: Form,
        mask: &CpuMask<W>,
        f: &'static F,
        from: &'static Location<'static>,
    ) -> Result<CpuMask<W>, CallError>
    where
        F: Fn(&IrqOff<'_>) + Sync,
    {
        let pin = self.pinned();
        let me = pin.cpu();
        if !self.cpu[me.index()].call.board.claim() {
            self.emit(|| What::CallBusy { to: me, form });
            return Err(CallError::Busy);
        }
        // Relaxed: as in `post`.
        let mut targets = mask.and(&self.accepting.now());
        targets.remove(me);
        // SAFETY: 1. the board was claimed. 2. `f` is `'static`. 3. `pin`.
        unsafe { self.post_board(&pin, &targets, self.call_of(f, form, from, me)) };
        Ok(targets)
    }

    fn many_and_wait<C, F>(
        &self,
        form: Form,
        mask: &CpuMask<W>,
        me_too: bool,
        mut cond: impl FnMut(CpuId) -> bool,
        f: &F,
        from: &'static Location<'static>,
    ) -> Result<CpuMask<W>, CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        self.may_wait()?;
        let done: Done<P, W> = Done { left: P::Word::ZERO, lost: AtomicCpuMask::new() };
        let mut ran;
        let mut targets;
        let sender;
        {
            let pin = self.pinned_with_board::<C>(from);
            let me = pin.cpu();
            sender = me;
            // Relaxed: as in `post`.
            ran = mask.and(&self.accepting.now());
            if !self.is_booted() && mask.contains(me) {
                ran.insert(me);
            }
            if !me_too {
                ran.remove(me);
            }
            for cpu in &ran.clone() {
                if !no_unwind(|| cond(cpu)) {
                    ran.remove(cpu);
                }
            }
            targets = ran;
            targets.remove(me);
            done.left.store(targets.len(), Relaxed);
            let call = Call { done: ptr::from_ref(&done).cast(), ..self.call_of(f, form, from, me) };
            // SAFETY: 1. the board was claimed with the pin. 2. this function returns only after every target counted itself off
            // `done`, which is after its function returned: `f` and `done` outlive that. 3. `pin`.
            unsafe { self.post_board(&pin, &targets, call) };
            if ran.contains(me) {
                self.emit(|| What::CallInPlace { form });
                self.with_irqs_off(f);
            }
        }
        self.wait_for_done::<C>(&done, &targets, sender, from);
        // Relaxed: who put a CPU in there counted it off after that, which was waited for.
        Ok(ran.without(&done.lost.now()))
    }

    /// Pins the caller to a CPU and claims that CPU's board, waiting for it where it has to.
    fn pinned_with_board<C: MaySpin>(&self, from: &'static Location<'static>) -> PinGuard<'_, P, N, W> {
        let site = Site { what: "call_many: the targets of this CPU's last call to read it", at: from };
        loop {
            let pin = self.pinned();
            let board = &self.cpu[pin.cpu().index()].call.board;
            if board.claim() {
                return pin;
            }
            let me = pin.cpu();
            drop(pin);
            let stalled = |waited_ns| {
                for cpu in &self.accepting.now() {
                    if self.has_not_read(cpu, me) {
                        self.report_stall(site, waited_ns, cpu);
                    }
                }
            };
            let wait = WaitFor { site, context: C::WAIT, deadline: Deadline::NEVER, stalled: &stalled };
            self.platform.wait_until(&board.left, &wait, || (board.left.load(Relaxed) == 0).then_some(()));
        }
    }

    /// Puts `call` on the claimed board of this CPU and asks each target for it.
    ///
    /// # Safety
    /// 1. The caller has claimed its CPU's board.
    /// 2. The function, what it points to, and `done` outlive the last target's use.
    /// 3. The caller is pinned since before it looked at the mask of targets.
    unsafe fn post_board(&self, pin: &PinGuard<'_, P, N, W>, targets: &CpuMask<W>, call: Call) {
        let me = pin.cpu().index();
        let board = &self.cpu[me].call.board;
        // SAFETY: claimed, so nobody reads or writes it, by (1).
        unsafe { board.call.write(call) };
        // The count is complete before the first target can see its bit. Relaxed: the bits below publish it (release), and nobody else
        // but this CPU looks at a claimed board.
        board.left.store(targets.len(), Relaxed);
        let slot = if call.done.is_null() { ptr::from_ref(board).addr() } else { call.done.addr() };
        let mut to_interrupt = CpuMask::<W>::EMPTY;
        for to in targets {
            let target = &self.cpu[to.index()].call;
            self.emit(|| What::CallQueued(call.info(slot, to)));
            // Release: publishes the board, also if another sender's bit is there and its push was before this. Acquire: pairs with the target's swap to
            // zero, after which the node is out of the list and its link no longer written.
            let others = target.requests[me / 64].fetch_or(1 << (me % 64), AcqRel);
            let mut was_empty = false;
            if others == 0 {
                // SAFETY: 1. the node is in no list: it is pushed by the one that turns the word from zero, and the target
                // turns it to zero only after it popped the node. 2. it is part of the machine.
                was_empty = unsafe { target.queue.push(&target.nodes[me / 64]) };
            }
            self.emit(|| What::CallPushed { key: CallKey { slot, to }, was_empty });
            if was_empty {
                to_interrupt.insert(to);
                self.emit(|| What::IpiSent { to, why: Ipi::Call });
            }
        }
        self.platform.send_ipi_mask(&to_interrupt, Ipi::Call);
    }

    /// Has `target` something of `sender`'s board still to read? For reports.
    fn has_not_read(&self, target: CpuId, sender: CpuId) -> bool {
        let requests = &self.cpu[target.index()].call.requests[sender.index() / 64];
        requests.load(Relaxed) & 1 << (sender.index() % 64) != 0
    }

    fn wait_for_done<C: MaySpin>(
        &self,
        done: &Done<P, W>,
        targets: &CpuMask<W>,
        sender: CpuId,
        from: &'static Location<'static>,
    ) {
        let site = Site { what: "call_many: the functions to return", at: from };
        let stalled = |waited_ns| {
            for cpu in targets.iter() {
                if self.has_not_read(cpu, sender) || self.cpu[cpu.index()].call.running().is_some() {
                    self.report_stall(site, waited_ns, cpu);
                }
            }
        };
        let wait = WaitFor { site, context: C::WAIT, deadline: Deadline::NEVER, stalled: &stalled };
        // Acquire: pairs with each target's release when its function returned.
        self.platform.wait_until(&done.left, &wait, || (done.left.load(Acquire) == 0).then_some(()));
        for to in targets.iter() {
            self.emit(|| {
                let ran = !done.lost.has(to);
                What::CallReturned { key: CallKey { slot: ptr::from_ref(done).addr(), to }, ran }
            });
        }
    }
}
