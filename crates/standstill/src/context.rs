//! Contexts as tokens: what the caller may do is in the type of what it holds.
//!
//! | token | means | got from |
//! |---|---|---|
//! | [`Task`] | a thread: may sleep, may be moved to another CPU | the port, once for each thread |
//! | [`Pinned`] | stays on its CPU, the stopper can't run, interrupts are on | [`Machine::pin`](crate::Machine::pin), or a stopper's work |
//! | [`IrqOff`] | interrupts are off, in a section or in a handler | [`Machine::irq_off`](crate::Machine::irq_off), or a call's function |
//! | [`Stopped`] | inside RUN: every other CPU of the stop is frozen | a stop's function |
//! | [`HotplugRead`](crate::HotplugRead) | no CPU comes or goes | [`Machine::cpus_read_lock`](crate::Machine::cpus_read_lock) |
//!
//! A token can't leave its thread (none is `Send`), and a stronger one is borrowed from a weaker one, so that the weaker one
//! can't be used meanwhile: inside `pin` there is no `Task`, and whatever needs one does not compile there.

use core::marker::PhantomData;
use core::ops::Deref;

use crate::bound::TaskBound;
use crate::platform::WaitContext;

/// A value that stays on its thread.
type Local<'a> = PhantomData<(&'a mut (), *mut ())>;

/// A thread: it may sleep, and it may be moved to another CPU while it does.
///
/// It remembers what it holds of the hotplug lock, so that a nested reader never waits for the writer that waits for it,
/// and that a callback may stop the machine while its operation holds the lock.
pub struct Task {
    /// How many times this thread holds the hotplug lock for reading.
    pub(crate) readers: usize,
    /// This thread works for the one that holds the hotplug lock for writing.
    pub(crate) writer: bool,
    /// The machine whose lock that is, by its address.
    machine: usize,
    /// How long what the thread does may take.
    pub(crate) bound: TaskBound,
    _local: Local<'static>,
}

impl Task {
    /// The token of the calling thread.
    ///
    /// # Safety
    /// 1. The caller is a thread (no interrupt handler, no stopper) with interrupts on and preempt count 0, and so it is
    ///    whenever it uses the token.
    /// 2. There is one token for each thread.
    #[must_use]
    pub unsafe fn new() -> Self {
        Task { readers: 0, writer: false, machine: 0, bound: TaskBound::NONE, _local: PhantomData }
    }

    /// Whatever the thread holds, it is of the machine at this address.
    ///
    /// # Panics
    /// If it is of another one: a thread holds the hotplug lock of one machine at a time.
    pub(crate) fn deals_with(&mut self, machine: usize) {
        let holds = self.readers > 0 || self.writer;
        assert!(!holds || self.machine == machine, "the thread holds the hotplug lock of another machine");
        self.machine = machine;
    }
}

/// Proof that the caller stays on its CPU and is in the stopper's way; interrupts are on.
pub struct Pinned<'a> {
    _local: Local<'a>,
}

impl Pinned<'_> {
    /// # Safety
    /// Preemption is disabled and interrupts are on for as long as the token lives.
    pub(crate) unsafe fn new() -> Self {
        Pinned { _local: PhantomData }
    }
}

/// Proof that the interrupts of this CPU are off.
pub struct IrqOff<'a> {
    _local: Local<'a>,
}

impl IrqOff<'_> {
    /// The token of a section that the library did not open: an interrupt handler of the port.
    ///
    /// # Safety
    /// Interrupts are off, and the caller stays on its CPU, for as long as the token lives.
    #[must_use]
    pub unsafe fn new() -> Self {
        IrqOff { _local: PhantomData }
    }
}

/// Proof that the caller runs a stop's function: its interrupts are off, and every other CPU of the stop is frozen or
/// runs that function too.
pub struct Stopped<'a> {
    off: IrqOff<'a>,
}

impl Stopped<'_> {
    /// # Safety
    /// The stage is RUN, this CPU is active in it and has its interrupts off, for as long as the token lives.
    pub(crate) unsafe fn new() -> Self {
        Stopped { off: IrqOff { _local: PhantomData } }
    }
}

impl<'a> Deref for Stopped<'a> {
    type Target = IrqOff<'a>;

    fn deref(&self) -> &IrqOff<'a> {
        &self.off
    }
}

/// Runs `f`, which must not unwind: other CPUs use what is on the stacks that it would unwind. If it does, the kernel is aborted (a
/// panic while panicking); with `panic = "abort"` this is nothing.
#[inline(always)]
pub(crate) fn no_unwind<R>(f: impl FnOnce() -> R) -> R {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a function that other CPUs wait for, or whose data they use, must not unwind");
        }
    }
    let bomb = Bomb;
    let result = f();
    core::mem::forget(bomb);
    result
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Task {}
    impl Sealed for super::Pinned<'_> {}
    impl Sealed for super::IrqOff<'_> {}
    impl Sealed for super::Stopped<'_> {}
}

/// Any context.
pub trait Context: sealed::Sealed {}

impl Context for Task {}
impl Context for Pinned<'_> {}
impl Context for IrqOff<'_> {}
impl Context for Stopped<'_> {}

/// A context that may wait for another CPU's handler: its own interrupts are on, so that it answers meanwhile.
#[diagnostic::on_unimplemented(
    message = "this context must not wait for another CPU",
    note = "with interrupts off, two CPUs that call each other would wait for ever: use `call_single_async`"
)]
pub trait MaySpin: Context {
    /// What may run while this context waits.
    #[doc(hidden)]
    const WAIT: WaitContext;
}

impl MaySpin for Task {
    const WAIT: WaitContext = WaitContext::Task;
}

impl MaySpin for Pinned<'_> {
    const WAIT: WaitContext = WaitContext::Spin;
}
