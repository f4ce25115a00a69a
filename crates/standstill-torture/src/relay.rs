//! [`Relay`]: a call that its own handler sends on, with the slot that it came in: free when the handler begins.

use alloc::boxed::Box;
use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use standstill::context::{Context, IrqOff, Task};
use standstill::event::Form;
use standstill::{CallError, Csd};

use crate::ground::Ground;
use crate::once::Once;
use crate::rules::Rule;
use crate::shared::Core;

/// How often it is sent on.
const HOPS: u32 = 6;
/// How long its last handler is waited for at the end.
const LAST_NS: u64 = 2_000_000_000;

type Handler = dyn Fn(&IrqOff<'_>) + Sync;

/// One chain of calls at a time.
pub(crate) struct Relay<P: Ground> {
    csd: Csd<P>,
    handler: Once<&'static Handler>,
    hops: AtomicU32,
    accepted: AtomicU64,
    ran: AtomicU64,
}

impl<P: Ground> Relay<P> {
    pub(crate) fn leak<const N: usize, const W: usize>(core: &'static Core<P, N, W>) -> &'static Self {
        let relay: &'static Relay<P> = Box::leak(Box::new(Relay {
            csd: Csd::new(),
            handler: Once::new(),
            hops: AtomicU32::new(0),
            accepted: AtomicU64::new(0),
            ran: AtomicU64::new(0),
        }));
        relay.handler.set(Box::leak(Box::new(|off: &IrqOff<'_>| relay.take(core, off))));
        relay
    }

    /// Has the chain ended? Acquire: pairs with the release of the last handler.
    fn is_idle(&self) -> bool {
        self.ran.load(Acquire) == self.accepted.load(Relaxed)
    }

    /// Begins a chain, if there is none.
    pub(crate) fn begin<const N: usize, const W: usize>(
        &'static self,
        core: &'static Core<P, N, W>,
        task: &mut Task,
    ) {
        if self.is_idle() {
            self.hops.store(HOPS, Relaxed);
            core.pinned(task, |pinned| self.send(core, pinned));
        }
    }

    fn take<const N: usize, const W: usize>(&'static self, core: &'static Core<P, N, W>, off: &IrqOff<'_>) {
        core.form(Form::Async).ran();
        let hops = self.hops.load(Relaxed);
        if hops > 0 && !core.stopping() {
            self.hops.store(hops - 1, Relaxed);
            self.send(core, off);
        }
        self.ran.fetch_add(1, Release);
    }

    fn send<const N: usize, const W: usize>(&'static self, core: &'static Core<P, N, W>, ctx: &impl Context) {
        let Some(handler) = self.handler.get() else { return };
        let me = core.ground().this_cpu();
        let dice = core.dice(me);
        let to = if dice.one_in(3) { me } else { core.any_cpu(dice) };
        // Before: the next handler may run before this one goes on.
        self.accepted.fetch_add(1, Relaxed);
        let sent = core.machine.call_single_async(ctx, to, &self.csd, handler);
        let busy = matches!(sent, Err(CallError::Busy));
        core.rules.check(Rule::Taken, !busy, |rule| core.failure(rule, me));
        let counts = core.form(Form::Async);
        if busy {
            counts.busy();
        } else {
            counts.sent(1);
        }
        if sent.is_err() {
            self.accepted.fetch_sub(1, Relaxed);
            counts.refused(u64::from(!busy));
        }
    }

    /// Nothing is sent any more: waits for the last handler. What has not run then was lost.
    pub(crate) fn finish<const N: usize, const W: usize>(&self, core: &Core<P, N, W>, task: &mut Task) {
        let until = core.ground().now_ns() + LAST_NS;
        while !self.is_idle() && core.ground().now_ns() < until {
            core.ground().sleep_ns(task, 1_000_000);
        }
        let missing = self.accepted.load(Relaxed).saturating_sub(self.ran.load(Acquire));
        core.form(Form::Async).lost(missing);
    }
}
