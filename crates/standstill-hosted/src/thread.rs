//! Threads of the simulated kernel: coroutines that stay on one CPU between two switches.

use std::cell::UnsafeCell;
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicPtr, AtomicUsize};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};
use standstill::CpuId;
use standstill::context::Task;
use standstill_sched::Entry;

use crate::board::here;
use crate::firmware::Leave;
use crate::irq;

/// Why a thread was switched out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Out {
    /// It can go on.
    Yield,
    /// It waits to be woken, or for its `wake_at`.
    Wait,
    /// Its CPU leaves with it: nothing of this context ever runs again.
    Leave(Leave),
}

/// The code of a thread.
pub(crate) type Code = Box<dyn FnOnce(&mut Task) + Send>;

type Context = Coroutine<(), Out, (), DefaultStack>;

/// One thread. Leaked, so that wakers and reports may hold on to it.
pub(crate) struct Thread {
    pub(crate) name: &'static str,
    entry: Entry<Thread>,
    /// Owned by the CPU that runs the thread, or by whoever starts or ends it under the queue's lock.
    context: UnsafeCell<Option<Context>>,
    way_out: AtomicPtr<Yielder<(), Out>>,
    /// The word that it sleeps on, 0 for none, and its neighbour in that word's bucket; under the bucket's lock.
    pub(crate) sleeps_on: AtomicUsize,
    pub(crate) bucket_next: AtomicPtr<Thread>,
}

// SAFETY: everything but `context` is atomic. `context` is touched by one CPU at a time, as its comment says, and the
// stack behind it holds only what the thread's code put there: that code is `Send`, and its switches happen in this
// crate, with nothing on the stack that is tied to the OS thread.
unsafe impl Sync for Thread {}
// SAFETY: as above.
unsafe impl Send for Thread {}

impl Deref for Thread {
    type Target = Entry<Thread>;

    fn deref(&self) -> &Entry<Thread> {
        &self.entry
    }
}

impl Thread {
    pub(crate) fn leak(name: &'static str, home: CpuId, bound: bool) -> &'static Thread {
        Box::leak(Box::new(Thread {
            name,
            entry: Entry::new(home, bound),
            context: UnsafeCell::new(None),
            way_out: AtomicPtr::new(ptr::null_mut()),
            sleeps_on: AtomicUsize::new(0),
            bucket_next: AtomicPtr::new(ptr::null_mut()),
        }))
    }

    /// Gives it a new context that will run `code`.
    ///
    /// # Safety
    /// The thread is gone and not in a queue, and nobody else starts it.
    pub(crate) unsafe fn load(&'static self, stack: DefaultStack, code: Code) {
        let context = Coroutine::with_stack(stack, move |way_out: &Yielder<(), Out>, ()| {
            self.way_out.store(ptr::from_ref(way_out).cast_mut(), Relaxed);
            // The first run begins in the scheduler's section, as each return from `switch_out` does.
            irq::end_of_switch();
            // SAFETY: (1) this is a thread with interrupts on and preempt count 0, and its code gets the token by
            // reference, for uses in that state. (2) This is the only place that makes one, once for each context.
            let mut task = unsafe { Task::new() };
            code(&mut task);
            irq::begin_of_switch();
        });
        // SAFETY: the caller says that nobody else touches it.
        unsafe { *self.context.get() = Some(context) };
    }

    /// Runs it until it is switched out; `None` when its code returned. Inside a section of the scheduler.
    ///
    /// # Safety
    /// The caller is the idle context of the CPU that the thread is on, and took it from the queue.
    pub(crate) unsafe fn resume(&self) -> Option<Out> {
        // SAFETY: the caller's CPU owns the context as long as the thread is its running one.
        let context = unsafe { &mut *self.context.get() };
        match context.as_mut()?.resume(()) {
            corosensei::CoroutineResult::Yield(out) => Some(out),
            corosensei::CoroutineResult::Return(()) => None,
        }
    }

    /// Takes back the stack of a thread that will not run again.
    ///
    /// # Safety
    /// 1. The thread's code returned, or nothing uses what is on its stack any more.
    /// 2. The caller owns the context.
    pub(crate) unsafe fn unload(&self) -> Option<DefaultStack> {
        // SAFETY: the caller owns it (2).
        let mut context = unsafe { (*self.context.get()).take() }?;
        // SAFETY: what is on the stack is given up (1): a CPU that loses power runs no destructors.
        unsafe { context.force_reset() };
        Some(context.into_stack())
    }

    /// Leaves this thread for its CPU's idle context. Returns when it is resumed, maybe on another CPU.
    ///
    /// # Safety
    /// The caller runs on this thread's context, in a section of the scheduler.
    unsafe fn suspend(&self, out: Out) {
        // SAFETY: the pointer was set when the context started, and lives as long as that.
        unsafe { (*self.way_out.load(Relaxed)).suspend(out) };
    }
}

/// Switches the calling thread out. Returns when it is resumed, maybe on another CPU.
///
/// # Panics
/// If the caller is not preemptible: it would take its CPU's state along.
pub(crate) fn switch_out(out: Out) {
    let section = irq::enter();
    let cpu = here();
    assert!(
        section.was_on() && cpu.preempt.load(Relaxed) == 0,
        "a thread that holds interrupts or preemption off waits or sleeps: give the `Task` back first"
    );
    let thread = cpu.thread().expect("only threads are switched out");
    // SAFETY: `current` is the context that runs here, and the section is open.
    unsafe { thread.suspend(out) };
    drop(section);
}

/// Leaves a thread's context for good.
pub(crate) fn abandon(thread: &'static Thread, leave: Leave) -> ! {
    // SAFETY: the caller (firmware.rs) runs on top of this thread with everything closed.
    unsafe { thread.suspend(Out::Leave(leave)) };
    // Its CPU never resumes it: the idle context goes to the firmware at once.
    std::process::abort();
}
