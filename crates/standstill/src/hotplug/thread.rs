//! The hotplug thread of each CPU: ONLINE callbacks run here, on the CPU that they are about.
//!
//! Control writes a request into the CPU's mailbox and waits for the answer; one request for each CPU at a time, as control holds the hotplug
//! lock. The threads of CPUs that come up together work at the same time.

use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::state::{Reason, StateId};
use super::walk::{Broken, Dir, Veto};
use crate::context::Task;
use crate::cpu::CpuId;
use crate::event::Walk;
use crate::machine::Machine;
use crate::platform::{DataCell, Deadline, Memory, Platform, Site, WaitContext, WaitFor, Word};

/// What a hotplug thread is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Request {
    /// Walk from the first state to the second.
    Walk(StateId, StateId),
    /// Undo such a walk.
    Back(StateId, StateId, Reason),
    /// Call one callback.
    One(StateId, Dir),
    /// Return, to be parked.
    Park,
}

/// One request and one answer.
///
/// # Invariants
/// `request` is written by control while `asked == answered`, and read by the thread while they differ; `answer` the other
/// way round.
pub(crate) struct Mailbox<P: Memory> {
    /// How many requests were made. Release by control, acquire by the thread.
    asked: P::Word,
    /// How many were answered. Release by the thread, acquire by control.
    answered: P::Word,
    request: P::Cell<Request>,
    answer: P::Cell<Result<(), Broken>>,
}

impl<P: Memory> Mailbox<P> {
    pub(crate) const fn new() -> Self {
        Mailbox {
            asked: P::Word::ZERO,
            answered: P::Word::ZERO,
            request: P::Cell::EMPTY,
            answer: P::Cell::EMPTY,
        }
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// The body of a CPU's hotplug thread; returns when it is to be parked.
    pub(crate) fn serve(&self, task: &mut Task, from: &'static Location<'static>) {
        let me = self.platform.this_cpu();
        let mail = &self.cpu[me.index()].hotplug.mailbox;
        loop {
            let answered = mail.answered.load(Relaxed);
            let site = Site { what: "hotplug thread: a request", at: from };
            let wait =
                WaitFor { site, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &|_| () };
            self.platform
                .wait_until(&mail.asked, &wait, || (mail.asked.load(Acquire) != answered).then_some(()));
            // SAFETY: control wrote it before the release that was just acquired, and writes no more before the answer.
            let request = unsafe { mail.request.read() };
            // It works for the one that holds the lock for writing.
            task.deals_with(self.address());
            task.writer = true;
            let answer = match request {
                Request::Walk(from, to) => self.walk(task, me, from, to),
                Request::Back(from, to, first) => self.walk_back(task, me, from, to, first),
                Request::One(state, dir) => {
                    let walk = if dir == Dir::Up { Walk::Up } else { Walk::Down };
                    self.call_in_thread(task, me, state, dir, walk).map_err(Broken::Vetoed)
                }
                Request::Park => Ok(()),
            };
            task.writer = false;
            // SAFETY: control reads it only after the release below.
            unsafe { mail.answer.write(answer) };
            mail.answered.store(answered + 1, Release);
            self.platform.notify(&raw const mail.answered);
            if request == Request::Park {
                return;
            }
        }
    }

    pub(super) fn ask_for_walk(&self, who: CpuId, from: StateId, to: StateId) -> Result<(), Broken> {
        if from == to { Ok(()) } else { self.ask(who, Request::Walk(from, to)) }
    }

    pub(super) fn ask_for_rollback(
        &self,
        who: CpuId,
        from: StateId,
        to: StateId,
        first: Reason,
    ) -> Result<(), Broken> {
        if from == to { Ok(()) } else { self.ask(who, Request::Back(from, to, first)) }
    }

    pub(super) fn ask_for_one(&self, who: CpuId, state: StateId, dir: Dir) -> Result<(), Veto> {
        self.ask(who, Request::One(state, dir)).map_err(|broken| match broken {
            Broken::Vetoed(veto) | Broken::Twice(_, veto) => veto,
        })
    }

    pub(super) fn ask_to_park(&self, who: CpuId) {
        // Nothing in it can fail.
        let _ = self.ask(who, Request::Park);
    }

    fn ask(&self, who: CpuId, request: Request) -> Result<(), Broken> {
        self.request(who, request);
        self.await_reply(who);
        self.reply(who)
    }

    /// The first third of [`ask_for_walk`](Self::ask_for_walk), for CPUs that walk together; there has to be a way to go.
    pub(super) fn post_walk(&self, who: CpuId, from: StateId, to: StateId) {
        self.request(who, Request::Walk(from, to));
    }

    fn request(&self, who: CpuId, request: Request) {
        let mail = &self.cpu[who.index()].hotplug.mailbox;
        let asked = mail.asked.load(Relaxed) + 1;
        // SAFETY: the last request was answered (acquire below), and only the holder of the lock asks.
        unsafe { mail.request.write(request) };
        mail.asked.store(asked, Release);
        self.platform.notify(&raw const mail.asked);
    }

    /// Waits until `who` has answered what was posted last.
    #[track_caller]
    pub(super) fn await_reply(&self, who: CpuId) {
        let mail = &self.cpu[who.index()].hotplug.mailbox;
        let asked = mail.asked.load(Relaxed);
        let site = Site::here("hotplug: the callbacks on the CPU's own thread");
        let stalled = |waited_ns| self.report_stall(site, waited_ns, who);
        let wait = WaitFor { site, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &stalled };
        self.platform
            .wait_until(&mail.answered, &wait, || (mail.answered.load(Acquire) == asked).then_some(()));
    }

    /// What `who` has answered last. Control has waited for it.
    pub(super) fn reply(&self, who: CpuId) -> Result<(), Broken> {
        // SAFETY: written before the release that control acquired in `await_reply`, and not again before the next request.
        unsafe { self.cpu[who.index()].hotplug.mailbox.answer.read() }
    }
}
