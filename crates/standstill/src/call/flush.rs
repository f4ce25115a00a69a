//! The receiving side: the handler, the drain of a CPU that leaves, and the look at what a dead one left behind.

use core::ptr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::many::Done;
use super::queue::{Kind, Node};
use super::{Call, CallCpu, Csd, csd};
use crate::context::IrqOff;
use crate::cpu::CpuId;
use crate::event::{CallInfo, CallKey, Ran, What};
use crate::machine::Machine;
use crate::platform::{DataCell, Memory, Platform, Pointer, Word};

impl<P: Memory, const W: usize> CallCpu<P, W> {
    /// Which request word the node is for.
    fn word_of(&self, node: *const Node<P>) -> usize {
        (node.addr() - self.nodes.as_ptr().addr()) / size_of::<Node<P>>()
    }
}

/// The senders whose bits are set in word `w`.
fn senders(w: usize, mut bits: usize) -> impl Iterator<Item = CpuId> {
    core::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(CpuId::new(w * 64 + bit))
    })
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// The handler of a call IPI on this CPU, interrupts off.
    #[doc(alias = "generic_smp_call_function_single_interrupt")]
    #[inline]
    pub(crate) fn handle_call_ipi(&self, me: CpuId) {
        // Relaxed: this CPU alone changes its bit.
        if !self.online.has(me) {
            self.report_late(me);
        }
        self.flush(me, Ran::Handler);
    }

    /// Runs what is queued for this CPU, interrupts off; says whether there was anything.
    #[doc(alias = "flush_smp_call_function_queue")]
    #[inline]
    pub(crate) fn flush(&self, me: CpuId, how: Ran) -> bool {
        let mut chain = self.cpu[me.index()].call.queue.take();
        let found = !chain.is_empty();
        while let Some(node) = chain.pop() {
            // SAFETY: a popped node is alive until it is released below.
            match unsafe { &*node }.kind() {
                // SAFETY: a `Csd` node is the first field of a csd, and was pushed with its whole address.
                Kind::Csd => unsafe { self.run_csd(node.cast(), me, how) },
                Kind::Board => self.run_boards(self.cpu[me.index()].call.word_of(node), me, how),
            }
        }
        found
    }

    /// Runs what is queued until nothing is left. Bounded, as by now every sender is refused.
    pub(crate) fn drain(&self, me: CpuId, how: Ran) {
        while self.flush(me, how) {}
    }

    /// # Safety
    /// `csd` was popped from this CPU's queue and not released yet.
    unsafe fn run_csd(&self, csd: *const Csd<P>, me: CpuId, how: Ran) {
        let slot = csd.addr();
        // SAFETY: alive and ours, by the contract.
        let state = unsafe { &raw const (*csd).state };
        // SAFETY: written before the push (release) that the take (acquire) observed; not overwritten before the release below.
        let call = unsafe { (*csd).call.read() };
        if call.withdrawable {
            // SAFETY: the contract of this function, and `call` was just read.
            unsafe { self.run_withdrawable(csd, &call, me, how) };
            return;
        }
        let key = CallKey { slot, to: me };
        if call.form.waits() {
            self.run_call(&call, me, || self.emit(|| What::CallBegin(call.info(slot, me), how)));
            self.emit(|| What::CallEnd(key));
        } else {
            self.emit(|| What::CallReleased(key));
        }
        // Release: pairs with the acquire of the sender that waits, or of the next one that claims the slot.
        // SAFETY: still alive: a waiting sender returns only after this store, an async csd is `'static`.
        unsafe { &*state }.store(csd::FREE, Release);
        if call.form.waits() {
            self.platform.notify(state);
        } else {
            // Nobody waits for the slot: who finds it in use is refused.
            self.run_call(&call, me, || self.emit(|| What::CallBegin(call.info(slot, me), how)));
            self.emit(|| What::CallEnd(key));
        }
    }

    /// Runs the calls of all boards that asked for this CPU in word `w`.
    fn run_boards(&self, w: usize, me: CpuId, how: Ran) {
        // Acquire: pairs with the release of each sender's bit: its board is readable. Release: the node is popped before, so a
        // sender that finds zero (acquire) may push it again.
        let bits = self.cpu[me.index()].call.requests[w].swap(0, AcqRel);
        for sender in senders(w, bits) {
            let call = self.take_from_board(sender);
            let slot = self.slot_of(&call, sender);
            let key = CallKey { slot, to: me };
            if !call.form.waits() {
                self.emit(|| What::CallReleased(key));
            }
            self.give_back_board(sender);
            self.run_call(&call, me, || self.emit(|| What::CallBegin(call.info(slot, me), how)));
            self.emit(|| What::CallEnd(key));
            if !call.done.is_null() {
                // SAFETY: the sender waits until this count is 0, and this CPU has not counted itself off yet.
                let left = unsafe { &raw const (*call.done.cast::<Done<P, W>>()).left };
                // SAFETY: as above. Release: pairs with the sender's acquire, of the last count, which goes on with the release of each one before.
                if unsafe { &*left }.fetch_sub(1, Release) == 1 {
                    self.platform.notify(left);
                }
            }
        }
    }

    fn take_from_board(&self, sender: CpuId) -> Call {
        // SAFETY: the sender's bit was set, so the board was written before and is not free until this target counts itself off.
        unsafe { self.cpu[sender.index()].call.board.call.read() }
    }

    fn give_back_board(&self, sender: CpuId) {
        let left = &self.cpu[sender.index()].call.board.left;
        // Release: this target's read of the board comes before the next claim (acquire); the last count goes on with the release of each
        // one before.
        if left.fetch_sub(1, Release) == 1 {
            self.platform.notify(left);
        }
    }

    fn slot_of(&self, call: &Call, sender: CpuId) -> usize {
        if call.done.is_null() {
            ptr::from_ref(&self.cpu[sender.index()].call.board).addr()
        } else {
            call.done.addr()
        }
    }

    /// Runs one function, with its name where a stall report finds it.
    #[inline]
    pub(super) fn run_call(&self, call: &Call, me: CpuId, begin: impl FnOnce()) {
        let running = &self.cpu[me.index()].call.running;
        running.store(ptr::from_ref(call.func).cast_mut(), Relaxed);
        begin();
        // SAFETY: callers run a call only before they release its sender, or it is `'static`. Interrupts are off: this is a
        // handler, or a drain in RUN.
        unsafe { call.run(&IrqOff::new()) };
        running.store(ptr::null_mut(), Relaxed);
    }

    /// The mail's warning, with its debug info: a call IPI is taken while this CPU is offline. Names what is still queued, and
    /// who sent it, before any of it runs.
    #[cold]
    fn report_late(&self, me: CpuId) {
        self.emit(|| What::IpiSpurious);
        let cpu = &self.cpu[me.index()].call;
        let chain = cpu.queue.take();
        chain.each(|node| self.each_call(node, me, |info| self.emit(|| What::CallLate(info))));
        // Back for the flush that follows. The order stays, and no IPI is owed: this handler is the one.
        let mut chain = chain;
        while let Some(node) = chain.pop() {
            // SAFETY: just popped, so in no list, and not released.
            unsafe { cpu.queue.push(node) };
        }
    }

    /// Calls `f` for each call that `node` stands for, and changes nothing.
    fn each_call(&self, node: *const Node<P>, me: CpuId, mut f: impl FnMut(CallInfo)) {
        // SAFETY: the node is in a chain that the caller owns.
        match unsafe { &*node }.kind() {
            Kind::Csd => {
                // SAFETY: as in `flush` and `run_csd`.
                let call = unsafe { (*node.cast::<Csd<P>>()).call.read() };
                // SAFETY: as above. Relaxed: it may be withdrawn a moment later; this is for reports.
                let withdrawn = unsafe { (*node.cast::<Csd<P>>()).state.load(Relaxed) } == csd::WITHDRAWN;
                if !(call.withdrawable && withdrawn) {
                    f(call.info(node.addr(), me));
                }
            }
            Kind::Board => {
                let cpu = &self.cpu[me.index()].call;
                let w = cpu.word_of(node);
                for sender in senders(w, cpu.requests[w].load(Acquire)) {
                    let call = self.take_from_board(sender);
                    f(call.info(self.slot_of(&call, sender), me));
                }
            }
        }
    }

    /// After `dead` is dead: whatever is still in its queue is lost. Names it, sets the slots free and answers those who wait, so
    /// that nobody hangs and the queue is empty for the next start.
    pub(crate) fn audit_dead_queue(&self, dead: CpuId) {
        let cpu = &self.cpu[dead.index()].call;
        let mut chain = cpu.queue.take();
        while let Some(node) = chain.pop() {
            // SAFETY: popped and not released.
            match unsafe { &*node }.kind() {
                Kind::Csd => {
                    let csd = node.cast::<Csd<P>>();
                    // SAFETY: as in `run_csd`.
                    let (state, call) = unsafe { (&raw const (*csd).state, (*csd).call.read()) };
                    if call.withdrawable {
                        // SAFETY: popped and not released; `call` was just read.
                        unsafe { self.lose_withdrawable(csd, &call, dead) };
                        continue;
                    }
                    self.emit(|| What::CallLost(call.info(csd.addr(), dead)));
                    let end = if call.form.waits() { csd::LOST } else { csd::FREE };
                    // SAFETY: as in `run_csd`. Release: as there.
                    unsafe { &*state }.store(end, Release);
                    self.platform.notify(state);
                }
                Kind::Board => {
                    self.each_call(node, dead, |info| self.emit(|| What::CallLost(info)));
                    self.lose_boards(cpu.word_of(node), dead);
                }
            }
        }
    }

    fn lose_boards(&self, w: usize, dead: CpuId) {
        let bits = self.cpu[dead.index()].call.requests[w].swap(0, AcqRel);
        for sender in senders(w, bits) {
            let call = self.take_from_board(sender);
            self.give_back_board(sender);
            if !call.done.is_null() {
                // SAFETY: as in `run_boards`.
                let done = unsafe { &*call.done.cast::<Done<P, W>>() };
                done.lost.insert(dead);
                let left = &raw const done.left;
                // SAFETY: as in `run_boards`. Release: as there; it also publishes the bit in `lost`.
                if unsafe { &*left }.fetch_sub(1, Release) == 1 {
                    self.platform.notify(left);
                }
            }
        }
    }

    /// The DYING step's assertion: the queue of this CPU is empty, and nobody can push any more.
    pub(crate) fn check_dying_queue(&self, me: CpuId) {
        let empty = self.cpu[me.index()].call.is_empty();
        self.emit(|| What::DyingQueue { empty });
        debug_assert!(
            empty || !matches!(self.protocol.drain, crate::Drain::RunStart | crate::Drain::Pass),
            "a call was queued after the drain"
        );
    }

    /// The bring-up's assertion: a leftover would kill the IPI rule for ever.
    pub(crate) fn check_starting_queue(&self, me: CpuId) {
        assert!(
            self.cpu[me.index()].call.is_empty(),
            "a CPU comes up with calls of its former life in its queue"
        );
    }
}
