//! How long an operation may take: until a deadline expires, or until another CPU cancels it.
//!
//! One mechanism for all operations that wait in a thread. The bound is a property of the [`Task`] while [`Machine::within`] runs,
//! so each function that takes a `Task` has a bounded form, and everything that it waits for inside looks at the same two things:
//! a deadline, and the word of a [`Cancel`]. Without a bound, each single wait ends by the port's patience
//! ([`Cpus::timeout_ns`](crate::platform::Cpus::timeout_ns)). The way back of an operation that ends early always has the port's
//! patience: the bound that ended the operation would end its rollback, too.

use core::mem;
use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::context::{Context, Task};
use crate::machine::Machine;
use crate::platform::{Deadline, Memory, Platform, WaitFor, Word};

/// In a token: nobody has cancelled anything.
const READY: usize = 0;
const CANCELLED: usize = 1;
/// A stop is under way, and its number stands above.
const STOPS: usize = 2;
const NUMBER: u32 = 2;

const fn stops(epoch: usize) -> usize {
    epoch << NUMBER | STOPS
}

/// A token by which another CPU ends an operation early. One token may be shared by several operations; all of them end.
///
/// It stays cancelled: an operation that begins later ends at its first wait. [`rearm`](Self::rearm) makes it new.
pub struct Cancel<P: Memory> {
    word: P::Word,
}

impl<P: Memory> Cancel<P> {
    /// Nothing is cancelled.
    #[must_use]
    pub const fn new() -> Self {
        Cancel { word: P::Word::ZERO }
    }

    /// Has it been cancelled?
    pub fn is_cancelled(&self) -> bool {
        // Relaxed: who is cancelled reads nothing of the one that cancelled.
        self.word.load(Relaxed) == CANCELLED
    }

    /// Nothing is cancelled any more. No operation uses the token, as nobody has borrowed it.
    pub fn rearm(&mut self) {
        // Relaxed: who hands the token on publishes it.
        self.word.store(READY, Relaxed);
    }

    /// The stop number `epoch` begins on behalf of the token; false if it is cancelled. If another stop shares the token, that one
    /// is found by its own looks at the word.
    pub(crate) fn enter(&self, epoch: usize) -> bool {
        // Release: pairs with the acquire in `cancel`, which then finds the stop's word at this number.
        match self.word.compare_exchange(READY, stops(epoch), Release, Relaxed) {
            Ok(_) => true,
            Err(now) => now != CANCELLED,
        }
    }

    /// That stop has ended.
    pub(crate) fn leave(&self, epoch: usize) {
        // Relaxed: nothing is handed over. Fails if it was cancelled meanwhile, and stays so.
        let _ = self.word.compare_exchange(stops(epoch), READY, Relaxed, Relaxed);
    }
}

impl<P: Memory> Default for Cancel<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// How long an operation may take. A [`Deadline`] and a `&`[`Cancel`] are bounds, too.
pub struct Bound<'a, P: Memory> {
    /// `None`: the port's patience, for each wait anew.
    deadline: Option<Deadline>,
    cancel: Option<&'a Cancel<P>>,
}

impl<P: Memory> Clone for Bound<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Memory> Copy for Bound<'_, P> {}

impl<'a, P: Memory> Bound<'a, P> {
    /// Each wait ends by the port's patience.
    pub const PATIENCE: Self = Bound { deadline: None, cancel: None };

    /// The operation ends when `deadline` expires. [`Deadline::NEVER`]: it waits without end.
    #[must_use]
    pub const fn until(deadline: Deadline) -> Self {
        Bound { deadline: Some(deadline), cancel: None }
    }

    /// And it ends when `cancel` is cancelled.
    #[must_use]
    pub const fn or_cancelled(self, cancel: &'a Cancel<P>) -> Self {
        Bound { cancel: Some(cancel), ..self }
    }

    pub(crate) const fn cancel(&self) -> Option<&'a Cancel<P>> {
        self.cancel
    }

    /// Has nobody asked for a deadline?
    pub(crate) const fn is_patience(&self) -> bool {
        self.deadline.is_none()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(Cancel::is_cancelled)
    }
}

impl<P: Memory> From<Deadline> for Bound<'_, P> {
    fn from(deadline: Deadline) -> Self {
        Bound::until(deadline)
    }
}

impl<'a, P: Memory> From<&'a Cancel<P>> for Bound<'a, P> {
    fn from(cancel: &'a Cancel<P>) -> Self {
        Bound::PATIENCE.or_cancelled(cancel)
    }
}

/// On whose behalf something is waited for, and how long.
pub(crate) struct By<'a, P: Memory> {
    /// The caller of the public function.
    pub(crate) from: &'static Location<'static>,
    pub(crate) bound: Bound<'a, P>,
}

impl<P: Memory> Clone for By<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Memory> Copy for By<'_, P> {}

impl<'a, P: Memory> By<'a, P> {
    /// The same caller and deadline, past the point where it can be cancelled.
    pub(crate) const fn to_the_end(self) -> By<'a, P> {
        By { bound: Bound { cancel: None, ..self.bound }, ..self }
    }

    /// The same caller, with the port's patience: for the way back.
    pub(crate) const fn patient(self) -> By<'static, P> {
        By { from: self.from, bound: Bound::PATIENCE }
    }
}

/// What a [`Task`] remembers of its bound.
///
/// # Invariants
/// `cancel` is null, or a token of the machine at the address `machine` that is alive as long as the task remembers it.
#[derive(Clone, Copy)]
pub(crate) struct TaskBound {
    machine: usize,
    deadline: Option<Deadline>,
    cancel: *const (),
}

impl TaskBound {
    pub(crate) const NONE: TaskBound = TaskBound { machine: 0, deadline: None, cancel: ptr::null() };
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// What `by` allows from now on, as one deadline for all that is waited for together.
    pub(crate) fn settled<'b>(&self, by: By<'b, P>) -> By<'b, P> {
        By { bound: Bound { deadline: Some(self.limit(by.bound)), ..by.bound }, ..by }
    }

    /// Runs `f`, in which every operation of this machine on `task` that waits ends by `bound`: hotplug operations, changes of the
    /// state table, stops, `quiesce`. What ends early says so in its error; see there where it rests.
    ///
    /// ```
    /// # use standstill::{Bound, Cancel, CpuId, HotplugError, Machine, context::Task, platform::Platform};
    /// # fn f<P: Platform>(machine: &Machine<P, 8>, task: &mut Task, stop: &Cancel<P>) -> Result<(), HotplugError> {
    /// let deadline = machine.platform().deadline_in(200_000_000);
    /// machine.within(task, Bound::until(deadline).or_cancelled(stop), |task| {
    ///     machine.cpu_down(task, CpuId::new(3))
    /// })
    /// # }
    /// ```
    ///
    /// An inner `within` counts, and not the outer one. A call to another CPU has a bound of its own:
    /// [`call_single_until`](Self::call_single_until), [`call_many_until`](Self::call_many_until).
    pub fn within<'b, R>(
        &self,
        task: &mut Task,
        bound: impl Into<Bound<'b, P>>,
        f: impl FnOnce(&mut Task) -> R,
    ) -> R {
        struct Restore<'a>(&'a mut Task, TaskBound);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.bound = self.1;
            }
        }
        let Bound { deadline, cancel } = bound.into();
        let cancel = cancel.map_or(ptr::null(), |cancel| ptr::from_ref(cancel).cast());
        let inner = TaskBound { machine: self.address(), deadline, cancel };
        let outer = mem::replace(&mut task.bound, inner);
        let task = Restore(task, outer);
        f(task.0)
    }

    /// Ends every operation of this machine whose bound has `token`: the one that is under way at its next look, the ones that wait
    /// for their turn, and those that begin later. A stop that has reached RUN runs to its end, and so does a CPU that is about to
    /// leave for good.
    ///
    /// Context: any, also on the CPU whose thread waits. It does not wait for the operations to end.
    pub fn cancel(&self, _ctx: &impl Context, token: &Cancel<P>) {
        // Acquire: pairs with the release of `enter`: the stop of that number, if there is one, is found in the stop's word.
        let before = token.word.swap(CANCELLED, Acquire);
        if before & STOPS != 0 {
            self.abandon_epoch(before >> NUMBER);
        }
    }

    /// The bound of what `task` does with this machine.
    pub(crate) fn bound_of<'b>(&self, task: &Task) -> Bound<'b, P> {
        let TaskBound { machine, deadline, cancel } = task.bound;
        if machine != self.address() {
            return Bound::PATIENCE;
        }
        // SAFETY: null, or alive, by the type's invariant: `within` borrows the token until it takes it out of the task again, and the
        // caller runs inside it. It is of this machine's type, as it is of this machine. Nobody else has the task: there is one for each
        // thread.
        Bound { deadline, cancel: unsafe { cancel.cast::<Cancel<P>>().as_ref() } }
    }

    /// When a wait that begins now gives up.
    pub(crate) fn limit(&self, bound: Bound<'_, P>) -> Deadline {
        bound.deadline.unwrap_or_else(|| self.patience())
    }

    /// How long one thing is waited for, from now.
    pub(crate) fn patience(&self) -> Deadline {
        self.platform.deadline_in(self.platform.timeout_ns())
    }

    /// Waits as `wait` says, and gives up when `bound` is cancelled, too. The wait's deadline is the bound's.
    #[track_caller]
    pub(crate) fn wait_within<R>(
        &self,
        on: &P::Word,
        wait: &WaitFor<'_>,
        bound: Bound<'_, P>,
        mut poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let Some(cancel) = bound.cancel else { return self.platform.wait_until(on, wait, poll) };
        // Nobody announces at `on` that the token was cancelled.
        let seen = || poll().map(Some).or_else(|| cancel.is_cancelled().then_some(None));
        self.platform.watch_until(on, wait, seen).flatten()
    }
}
