//! The hotplug thread of each CPU: ONLINE callbacks run here, on the CPU that they are about.
//!
//! Control writes a request into the CPU's mailbox and waits for the answer; one request for each CPU at a time, as control holds the
//! hotplug lock. The threads of CPUs that come up together work at the same time.
//!
//! ```text
//!   EMPTY ── post ──> POSTED ── take ──> TAKEN ── answer ──> EMPTY
//!     ^                 │                  └── give up ──> GIVEN UP ── (undone) ──┐
//!     └── claim back ───┘<───────────────────────────────────────────────────────┘
//! ```
//! Control does not wait without end. What the thread has not taken is claimed back, and nothing happened. What it has taken is given
//! up: the callback may hang, and nobody can tell. Then the CPU is in quarantine: until the callback has returned and the thread has
//! undone its part, operations and changes of the state table end with [`HotplugError::Hung`], as the callback was promised that nobody
//! comes or goes, and that its own state stays. Nobody waits for that, and the hotplug lock is free.

use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::HotplugError;
use super::state::{Reason, StateId};
use super::walk::{Broken, Dir};
use crate::bound::By;
use crate::context::Task;
use crate::cpu::CpuId;
use crate::event::{Walk, What};
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{DataCell, Deadline, Memory, Platform, Site, WaitContext, WaitFor, Word};
use crate::stall::Part;

/// What a hotplug thread is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Request {
    /// Walk from the first state to the second.
    Walk(StateId, StateId),
    /// Undo such a walk.
    Back(StateId, StateId),
    /// Call one callback, of a state that is added (up) or removed (down).
    One(StateId, Dir),
    /// Undo such a call: in this direction.
    Undo(StateId, Dir),
    /// Return, to be parked.
    Park,
}

const EMPTY: usize = 0;
const POSTED: usize = 1;
const TAKEN: usize = 2;
const GIVEN_UP: usize = 3;

/// One request and one answer.
///
/// # Invariants
/// `request` is written by control while `state` is EMPTY, and by nobody else. `answer` is written by the thread while it is TAKEN
/// or GIVEN_UP, and read by control after it was EMPTY again. `hung` is read and written by control alone.
pub(crate) struct Mailbox<P: Memory> {
    state: P::Word,
    request: P::Cell<Request>,
    answer: P::Cell<Result<(), Broken>>,
    /// Which callback ran when control gave up.
    hung: P::Cell<StateId>,
}

impl<P: Memory> Mailbox<P> {
    pub(crate) const fn new() -> Self {
        Mailbox {
            state: P::Word::ZERO,
            request: P::Cell::EMPTY,
            answer: P::Cell::EMPTY,
            hung: P::Cell::EMPTY,
        }
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// The body of a CPU's hotplug thread; returns when it is to be parked.
    pub(crate) fn serve(&self, task: &mut Task, from: &'static Location<'static>) {
        let me = self.platform.this_cpu();
        let mail = &self.cpu[me.index()].hotplug.mailbox;
        let site = Site { what: Site::REQUEST, at: from };
        loop {
            let wait =
                WaitFor { site, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &|_| () };
            let posted = || (mail.state.load(Relaxed) == POSTED).then_some(());
            self.platform.wait_until(&mail.state, &wait, posted);
            // Acquire: pairs with the release of `request`. Fails if control has claimed it back.
            if mail.state.compare_exchange(POSTED, TAKEN, Acquire, Relaxed).is_err() {
                continue;
            }
            // SAFETY: control wrote it before the release that was just acquired, and writes no more before the answer.
            let request = unsafe { mail.request.read() };
            // It works for the one that holds the lock for writing.
            task.deals_with(self.address());
            task.writer = true;
            let answer = self.obey(task, me, request);
            // SAFETY: control reads it only after the release below.
            unsafe { mail.answer.write(answer) };
            // Release: pairs with the acquire of `await_reply`. Fails if control gave up.
            if mail.state.compare_exchange(TAKEN, EMPTY, Release, Relaxed).is_err() {
                self.undo_what_was_given_up(task, me, request, answer);
                // Relaxed: nobody waits for this; the next request comes after `loose` was seen empty.
                mail.state.store(EMPTY, Relaxed);
                // Release: pairs with the acquire of `nothing_is_loose`.
                self.hotplug.loose.remove_last(me);
            }
            task.writer = false;
            self.platform.notify(&raw const mail.state);
            if request == Request::Park {
                return;
            }
        }
    }

    fn obey(&self, task: &mut Task, me: CpuId, request: Request) -> Result<(), Broken> {
        match request {
            Request::Walk(from, to) => self.walk(task, me, from, to),
            Request::Back(from, to) => self.walk_back(task, me, from, to).map_err(Broken::Vetoed),
            Request::One(state, dir) | Request::Undo(state, dir) => {
                let walk = if dir == Dir::Up { Walk::Up } else { Walk::Down };
                self.call_in_thread(task, me, state, dir, walk).map_err(Broken::Vetoed)
            }
            Request::Park => Ok(()),
        }
    }

    /// The operation has ended without this CPU. Puts it back to where it was, as far as callbacks let it: it rests where one refuses.
    fn undo_what_was_given_up(
        &self,
        task: &mut Task,
        me: CpuId,
        request: Request,
        answer: Result<(), Broken>,
    ) {
        match request {
            Request::Walk(from, to) if answer.is_ok() => {
                let _ = self.walk_back(task, me, to, from);
            }
            Request::One(state, dir) => {
                if answer.is_ok() {
                    let _ = self.obey(task, me, Request::Undo(state, dir.back()));
                }
                return self.take_out_if(dir == Dir::Up, me, state);
            }
            Request::Undo(state, dir) => return self.take_out_if(dir == Dir::Down, me, state),
            Request::Walk(..) | Request::Back(..) => {}
            Request::Park => return,
        }
        if self.began(me) == StateId::ACTIVE && self.state(me).next() == StateId::ACTIVE {
            self.become_active(me);
        }
    }

    /// The state was being `added`, and is torn down everywhere, unless another CPU hangs in it, too: that one needs it still.
    fn take_out_if(&self, added: bool, me: CpuId, state: StateId) {
        // Relaxed: the quarantine keeps everybody else from the table.
        if added && self.hotplug.loose.now() == CpuMask::of(me) {
            self.uninstall(state);
        }
    }

    pub(super) fn ask_for_walk(
        &self,
        who: CpuId,
        from: StateId,
        to: StateId,
        by: By<'_, P>,
    ) -> Result<(), HotplugError> {
        if from == to { Ok(()) } else { self.ask(who, Request::Walk(from, to), by) }
    }

    pub(super) fn ask_for_rollback(
        &self,
        who: CpuId,
        from: StateId,
        to: StateId,
        first: Reason,
        by: By<'_, P>,
    ) -> Result<(), HotplugError> {
        if from == to {
            return Ok(());
        }
        self.request(who, Request::Back(from, to));
        self.await_reply(who, by.patient())?;
        self.reply(who).map_err(|broken| match broken {
            Broken::Vetoed(veto) | Broken::Twice(_, veto) => Broken::Twice(first, veto).into(),
        })
    }

    /// Makes the thread return, so that it can be parked. Nothing in it can hang, once it runs.
    pub(super) fn ask_to_park(&self, who: CpuId, by: By<'_, P>) -> Result<(), HotplugError> {
        self.ask(who, Request::Park, by)
    }

    pub(super) fn ask(&self, who: CpuId, request: Request, by: By<'_, P>) -> Result<(), HotplugError> {
        self.request(who, request);
        self.await_reply(who, by)?;
        Ok(self.reply(who)?)
    }

    /// The first third of [`ask`](Self::ask), for CPUs that work together.
    pub(super) fn request(&self, who: CpuId, request: Request) {
        let mail = &self.cpu[who.index()].hotplug.mailbox;
        // SAFETY: the last request was answered (acquire below, or that of `nothing_is_loose`) or claimed back, and only the holder of
        // the lock asks.
        unsafe { mail.request.write(request) };
        // Release: pairs with the acquire of the thread that takes it.
        mail.state.store(POSTED, Release);
        self.platform.notify(&raw const mail.state);
    }

    /// Waits until `who` has answered what was posted last. If it does not in time, the request is taken back, or given up.
    pub(super) fn await_reply(&self, who: CpuId, by: By<'_, P>) -> Result<(), HotplugError> {
        let mail = &self.cpu[who.index()].hotplug.mailbox;
        let site = Site { what: REPLY, at: by.from };
        let stalled = |waited_ns| self.report_stall(site, waited_ns, who);
        let deadline = self.limit(by.bound);
        let wait = WaitFor { site, context: WaitContext::Task, deadline, stalled: &stalled };
        // Acquire: pairs with the release of the answer.
        let answered = || (mail.state.load(Acquire) == EMPTY).then_some(());
        let reply = || self.wait_within(&mail.state, &wait, by.bound, answered);
        if self.awaiting(who, Part::Cpu, reply).is_some() {
            return Ok(());
        }
        // Relaxed: nothing has happened.
        if mail.state.compare_exchange(POSTED, EMPTY, Relaxed, Relaxed).is_ok() {
            return Err(self.ended_early(by, who, REPLY));
        }
        // SAFETY: control wrote it, and nobody else does.
        if unsafe { mail.request.read() } != Request::Park {
            let runs = self.runs(who);
            // First noted, then given up: the thread takes itself out when it has come to its end.
            self.hotplug.loose.insert(who);
            if mail.state.compare_exchange(TAKEN, GIVEN_UP, Relaxed, Relaxed).is_ok() {
                // SAFETY: control, which holds the hotplug lock, is the only one that uses it.
                unsafe { mail.hung.write(runs) };
                self.emit(|| What::CallbacksGivenUp { who });
                return Err(self.hung(who));
            }
            self.hotplug.loose.remove(who);
        }
        // It has answered at this moment, or is about to.
        let wait = WaitFor { deadline: Deadline::NEVER, ..wait };
        self.platform.wait_until(&mail.state, &wait, answered);
        Ok(())
    }

    /// What `who` has answered last. Control has waited for it.
    pub(super) fn reply(&self, who: CpuId) -> Result<(), Broken> {
        // SAFETY: written before the release that control acquired in `await_reply`, and not again before the next request.
        unsafe { self.cpu[who.index()].hotplug.mailbox.answer.read() }
    }

    /// The state whose callback runs on `who` at this moment.
    fn runs(&self, who: CpuId) -> StateId {
        // SAFETY: control wrote it; nobody writes before the thread has come to its end, and then only who holds the lock.
        let request = unsafe { self.cpu[who.index()].hotplug.mailbox.request.read() };
        let at = self.state(who);
        match request {
            Request::Walk(from, to) | Request::Back(from, to) if to > from => at.next(),
            Request::One(state, _) | Request::Undo(state, _) => state,
            _ => at,
        }
    }

    /// Which callback of `who` was given up. It may have returned since, and its thread be on the way back.
    pub(super) fn hung(&self, who: CpuId) -> HotplugError {
        // SAFETY: the holder of the hotplug lock wrote it when it gave up, and the caller holds that lock now.
        let state = unsafe { self.cpu[who.index()].hotplug.mailbox.hung.read() };
        let name = self.hotplug.table.get(state).map_or("(no callback)", |installed| installed.name);
        HotplugError::Hung { cpu: who, state, name }
    }
}

/// What control waits for.
pub(super) const REPLY: &str = "hotplug: the callbacks on the CPU's own thread";
