//! Calls to one CPU.

use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

use super::{Call, CallError, Csd, Func, csd};
use crate::context::{Context, IrqOff, MaySpin, no_unwind};
use crate::cpu::CpuId;
use crate::event::{CallKey, Form, What};
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{DataCell, Deadline, Ipi, Platform, Site, WaitFor, Word};

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Runs `f` on `to`, in its interrupt handler, and waits until it returned. On the caller's own CPU it runs in place, with
    /// interrupts off.
    ///
    /// What the caller wrote before is visible in `f`, and what `f` wrote is visible after.
    ///
    /// Context: thread or pinned, interrupts on.
    ///
    /// # Errors
    /// [`NoSuchCpu`](CallError::NoSuchCpu), [`Offline`](CallError::Offline), [`InterruptsOff`](CallError::InterruptsOff): nothing
    /// ran. [`Lost`](CallError::Lost): accepted, and its CPU died (study protocols).
    #[doc(alias = "smp_call_function_single")]
    #[track_caller]
    pub fn call_single<C, F>(&self, _ctx: &mut C, to: CpuId, f: &F) -> Result<(), CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        let from = Location::caller();
        self.may_wait()?;
        let csd = Csd::new();
        {
            let pin = self.pinned();
            if to == pin.cpu() {
                self.emit(|| What::CallInPlace { form: Form::SingleWait });
                self.with_irqs_off(f);
                return Ok(());
            }
            let call = self.call_of(f, Form::SingleWait, from, pin.cpu());
            // SAFETY: 1. this function does not return before the csd was taken and its function returned: it waits below.
            // 2. so `f` outlives the call. 3. `pin` keeps the caller on its CPU.
            unsafe { self.post(to, &csd, call)? };
        }
        self.wait_for_csd::<C>(&csd, to, from)
    }

    /// Runs `f` on `to`, in its interrupt handler, and does not wait. `csd` is in use until the target took the call, which is
    /// before `f` starts: so `f` may send it again.
    ///
    /// On the caller's own CPU it runs in a handler too, as soon as interrupts are on.
    ///
    /// Context: any; also interrupt handlers and sections with interrupts off.
    ///
    /// # Errors
    /// [`NoSuchCpu`](CallError::NoSuchCpu), [`Offline`](CallError::Offline), [`Busy`](CallError::Busy): nothing was queued.
    #[doc(alias = "smp_call_function_single_async")]
    #[track_caller]
    pub fn call_single_async<F>(
        &self,
        _ctx: &impl Context,
        to: CpuId,
        csd: &'static Csd<P>,
        f: &'static F,
    ) -> Result<(), CallError>
    where
        F: Fn(&IrqOff<'_>) + Sync,
    {
        let pin = self.pinned();
        let call = self.call_of(f, Form::Async, Location::caller(), pin.cpu());
        // SAFETY: 1., 2. `csd` and `f` are `'static`. 3. `pin`.
        unsafe { self.post(to, csd, call) }
    }

    /// As [`call_single_async`](Self::call_single_async), with the calling CPU's own slot.
    ///
    /// Context: any.
    ///
    /// # Errors
    /// As there; [`Busy`](CallError::Busy) while this CPU's last call of this form is still queued.
    #[doc(alias = "smp_call_function_single")]
    #[track_caller]
    pub fn call_single_nowait<F>(
        &self,
        _ctx: &impl Context,
        to: CpuId,
        f: &'static F,
    ) -> Result<(), CallError>
    where
        F: Fn(&IrqOff<'_>) + Sync,
    {
        let pin = self.pinned();
        let call = self.call_of(f, Form::Single, Location::caller(), pin.cpu());
        // SAFETY: 1. the slot is part of the machine, which outlives its queues. 2. `f` is `'static`. 3. `pin`.
        unsafe { self.post(to, &self.cpu[pin.cpu().index()].call.slot, call) }
    }

    /// Runs `f` on one CPU of `mask`, the caller's own if it is in it, waits, and says which it was.
    ///
    /// Context: thread or pinned, interrupts on.
    ///
    /// # Errors
    /// [`Offline`](CallError::Offline) with the CPU that was tried last, if none of the mask is online;
    /// [`NoSuchCpu`](CallError::NoSuchCpu) if it has no CPU of this machine;
    /// [`EmptyMask`](CallError::EmptyMask); [`InterruptsOff`](CallError::InterruptsOff);
    /// [`Lost`](CallError::Lost).
    #[doc(alias = "smp_call_function_any")]
    #[track_caller]
    pub fn call_any<C, F>(&self, ctx: &mut C, mask: &CpuMask<W>, f: &F) -> Result<CpuId, CallError>
    where
        C: MaySpin,
        F: Fn(&IrqOff<'_>) + Sync,
    {
        let mut left = *mask;
        let mut refused = CallError::EmptyMask;
        loop {
            let me = self.platform.this_cpu();
            let Some(to) =
                (if left.contains(me) { Some(me) } else { left.after(me).or_else(|| left.first()) })
            else {
                return Err(refused);
            };
            match self.call_single(ctx, to, f) {
                Ok(()) => return Ok(to),
                // A CPU that may come back says more than one that does not exist.
                Err(CallError::NoSuchCpu(_)) if refused.is_retryable() => {}
                Err(error @ (CallError::Offline(_) | CallError::NoSuchCpu(_))) => refused = error,
                Err(error) => return Err(error),
            }
            left.remove(to);
        }
    }

    /// Whoever waits must have its interrupts on.
    pub(super) fn may_wait(&self) -> Result<(), CallError> {
        if self.platform.irqs_on() { Ok(()) } else { Err(CallError::InterruptsOff) }
    }

    pub(super) fn call_of<F>(
        &self,
        f: &F,
        form: Form,
        from: &'static Location<'static>,
        sender: CpuId,
    ) -> Call
    where
        F: Fn(&IrqOff<'_>) + Sync,
    {
        Call {
            func: Func::of::<F>(),
            arg: ptr::from_ref(f).cast(),
            from,
            sender,
            form,
            done: ptr::null(),
            withdrawable: false,
        }
    }

    /// Runs `f` here and now, with interrupts off.
    pub(super) fn with_irqs_off<F: Fn(&IrqOff<'_>)>(&self, f: &F) {
        let flags = self.platform.irq_save();
        // SAFETY: interrupts are off from the line above to the line below, which also keeps the caller on its CPU.
        let off = unsafe { IrqOff::new() };
        no_unwind(|| f(&off));
        // SAFETY: `flags` are from the save above.
        unsafe { self.platform.irq_restore(flags) };
    }

    /// Queues `call` for `to`, or refuses it.
    ///
    /// # Safety
    /// 1. `csd` outlives the call: it stays alive until a receiver took it.
    /// 2. The function and what it points to stay alive until it returned.
    /// 3. The caller stays on its CPU, with the stopper off, from before this call until after it.
    #[inline]
    pub(super) unsafe fn post(&self, to: CpuId, csd: &Csd<P>, call: Call) -> Result<(), CallError> {
        // Relaxed: nothing is read for having seen the bit; the push finds whatever the queue holds. And it is not seen any more by who comes
        // after the stop (or the pass of the stoppers) in which it was taken out.
        if !self.accepting.has(to) {
            // SAFETY: 2. and 3. are passed on.
            return unsafe { self.post_refused(to, call) };
        }
        // Acquire: pairs with the receiver's release of the slot, so that it has read `call` before it is overwritten.
        if csd.state.compare_exchange(csd::FREE, csd::BUSY, Acquire, Relaxed).is_err() {
            self.emit(|| What::CallBusy { to, form: call.form });
            return Err(CallError::Busy);
        }
        // SAFETY: the exchange made this caller the slot's only user until it is pushed.
        unsafe { csd.call.write(call) };
        self.emit(|| What::CallQueued(call.info(csd.address(), to)));
        // SAFETY: a csd that was FREE is in no list, and lives long enough by (1). The address is that of the whole csd, as the
        // receiver casts it back.
        let was_empty = unsafe { self.cpu[to.index()].call.queue.push(ptr::from_ref(csd).cast()) };
        self.emit(|| What::CallPushed { key: CallKey { slot: csd.address(), to }, was_empty });
        if was_empty {
            self.emit(|| What::IpiSent { to, why: Ipi::Call });
            self.platform.send_ipi(to, Ipi::Call);
        }
        Ok(())
    }

    /// The target takes no calls: an error, or, before the machine was booted, run in place.
    ///
    /// # Safety
    /// As 2. and 3. of `post`.
    #[cold]
    unsafe fn post_refused(&self, to: CpuId, call: Call) -> Result<(), CallError> {
        // Relaxed: it does not change after the boot; before it, nobody knows which CPUs there are.
        if to.index() >= N || (self.is_booted() && !self.possible.has(to)) {
            return Err(CallError::NoSuchCpu(to));
        }
        if !self.is_booted() && to == self.platform.this_cpu() {
            self.emit(|| What::CallInPlace { form: call.form });
            // SAFETY: the function is alive by (2).
            self.with_irqs_off(&|off: &IrqOff<'_>| unsafe { call.run(off) });
            return Ok(());
        }
        self.emit(|| What::CallRefused { to, form: call.form });
        Err(CallError::Offline(to))
    }

    fn wait_for_csd<C: MaySpin>(
        &self,
        csd: &Csd<P>,
        to: CpuId,
        from: &'static Location<'static>,
    ) -> Result<(), CallError> {
        let site = Site { what: "call_single: the function to return", at: from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, to);
        let wait = WaitFor { site, context: C::WAIT, deadline: Deadline::NEVER, stalled: &stalled };
        // Acquire: pairs with the receiver's release in `flush`, so that what the function wrote is visible.
        let answer = self.platform.wait_until(&csd.state, &wait, || match csd.state.load(Acquire) {
            csd::BUSY => None,
            state => Some(state == csd::FREE),
        });
        let ran = answer == Some(true);
        self.emit(|| What::CallReturned { key: CallKey { slot: csd.address(), to }, ran });
        if ran { Ok(()) } else { Err(CallError::Lost(to)) }
    }
}
