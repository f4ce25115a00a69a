//! The one waiting primitive, deadlines, and the ear for events.

use core::fmt;
use core::panic::Location;

use crate::event::Event;
use crate::platform::Memory;

/// Where somebody waits: what for, and who asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Site {
    /// What is waited for, e.g. `call: the function to return`.
    pub what: &'static str,
    /// The caller of the public function that waits.
    pub at: &'static Location<'static>,
}

impl Site {
    /// What a hotplug thread waits for that has nothing to do.
    pub(crate) const REQUEST: &'static str = "hotplug thread: a request";

    /// May this wait last without end, as nothing is owed? It is no stall, and never reported as one.
    #[must_use]
    pub fn has_no_end(&self) -> bool {
        self.what == Self::REQUEST
    }

    /// The site of `what`, on behalf of the caller.
    #[must_use]
    #[track_caller]
    pub fn here(what: &'static str) -> Self {
        Site { what, at: Location::caller() }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.what, self.at.file(), self.at.line())
    }
}

/// What the waiter may do meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WaitContext {
    /// A thread that may sleep and may be moved to another CPU: other threads can run.
    Task,
    /// Pinned, interrupts on: handlers run, the stopper does not.
    Spin,
    /// Interrupts off, or in the stopper: nothing else runs on this CPU until the wait ends.
    Frozen,
}

/// A point in time that only the port can read. [`Deadline::NEVER`] does not expire.
///
/// The library never looks at a clock: in a checker, "expired" is a choice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Deadline(pub usize);

impl Deadline {
    /// Never expires.
    pub const NEVER: Deadline = Deadline(0);
}

/// All that [`Wait::wait_until`] is told about one wait.
pub struct WaitFor<'a> {
    /// Where, and on whose behalf.
    pub site: Site,
    /// What may run meanwhile.
    pub context: WaitContext,
    /// When to give up.
    pub deadline: Deadline,
    /// Called by the port when the wait has become long, with its length in nanoseconds; it emits events that
    /// name who is missing. How long is long, and how often it is told again, is the port's choice.
    pub stalled: &'a dyn Fn(u64),
}

/// Waiting, time, and events.
///
/// # Safety
/// `wait_until` returns what `poll` returned, or `None` when the deadline is over and not before; never `None` for [`Deadline::NEVER`].
pub unsafe trait Wait: Memory {
    /// The point in time `ns` nanoseconds from now; never [`Deadline::NEVER`].
    fn deadline_in(&self, ns: u64) -> Deadline;

    /// Is `deadline` over?
    fn expired(&self, deadline: Deadline) -> bool;

    /// Calls `poll` until it returns something (then so does this), or until the deadline is over (`None`, after one
    /// last `poll`).
    ///
    /// `on` is the word whose change ends the wait: whoever changes it calls [`notify`](Self::notify) with its
    /// address. A port may ignore it and poll, or sleep on it. One that sleeps has to look at the word or at the condition once more
    /// when a `notify` would already find it:
    /// either it reads the word (acquire), polls, and sleeps only if the word is what it was, in one step as `notify` sees it
    /// (a futex); or it enrols as one that is to be woken, and polls after that.
    fn wait_until<R>(
        &self,
        on: &Self::Word,
        wait: &WaitFor<'_>,
        poll: impl FnMut() -> Option<R>,
    ) -> Option<R>;

    /// As [`wait_until`](Self::wait_until), for a condition of which a part changes without a `notify` for `on`: a thread that goes, an
    /// operation that is cancelled. A port whose waiters sleep does not sleep through that: it polls again after a
    /// millisecond at most. One whose waiters poll has nothing to do.
    #[track_caller]
    fn watch_until<R>(
        &self,
        on: &Self::Word,
        wait: &WaitFor<'_>,
        poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        self.wait_until(on, wait, poll)
    }

    /// The word at `on` has changed: wakes those that sleep on it.
    ///
    /// The word itself may be gone by now (a caller's stack that has returned), so a port uses the address only as a
    /// name and never reads through it.
    fn notify(&self, on: *const Self::Word) {
        let _ = on;
    }

    /// Something happened. `event` is only built by a port that listens, so events cost nothing elsewhere.
    ///
    /// Called from every context, interrupts off and the stopper included. `event` asks which CPU this is, and that must still be true
    /// when the event has been recorded: a port whose threads can be moved at any time disables preemption around both. Otherwise a
    /// thread adds to the log of a CPU that it has left, which may be dead by then.
    #[inline(always)]
    fn event(&self, event: impl FnOnce() -> Event) {
        let _ = event;
    }
}
