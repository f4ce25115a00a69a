//! Threads of the simulated kernel: coroutines that stay on one CPU between two switches.

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};
use standstill::CpuId;
use standstill::context::Task;

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

/// What a thread does; protected by the lock of its CPU's queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    Gone,
    Ready,
    Running,
    Blocked,
}

/// The code of a thread.
pub(crate) type Code = Box<dyn FnOnce(&mut Task) + Send>;

type Context = Coroutine<(), Out, (), DefaultStack>;

/// One thread. Leaked, so that wakers and reports may hold on to it.
pub(crate) struct Thread {
    pub(crate) name: &'static str,
    /// Where it goes when it can.
    pub(crate) home: CpuId,
    /// It runs at home and nowhere else.
    pub(crate) bound: bool,

    /// Owned by the CPU that runs the thread, or by whoever starts or ends it under the queue's lock.
    context: UnsafeCell<Option<Context>>,
    way_out: AtomicPtr<Yielder<(), Out>>,
    cpu: AtomicUsize,
    state: AtomicU8,
    /// A wake came while it was still running; its next wait ends at once.
    pub(crate) woken: AtomicBool,
    /// When a waiting thread goes on by itself; [`u64::MAX`] is never.
    pub(crate) wake_at: AtomicU64,
    /// The next one in the queue of the ready.
    pub(crate) next: AtomicPtr<Thread>,
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

impl Thread {
    pub(crate) fn leak(name: &'static str, home: CpuId, bound: bool) -> &'static Thread {
        Box::leak(Box::new(Thread {
            name,
            home,
            bound,
            context: UnsafeCell::new(None),
            way_out: AtomicPtr::new(ptr::null_mut()),
            cpu: AtomicUsize::new(home.index()),
            state: AtomicU8::new(State::Gone as u8),
            woken: AtomicBool::new(false),
            wake_at: AtomicU64::new(u64::MAX),
            next: AtomicPtr::new(ptr::null_mut()),
            sleeps_on: AtomicUsize::new(0),
            bucket_next: AtomicPtr::new(ptr::null_mut()),
        }))
    }

    /// The CPU that it is on. Stable under the lock of that CPU's queue.
    pub(crate) fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu.load(Acquire))
    }

    /// Moves it; under the locks of both queues.
    pub(crate) fn set_cpu(&self, cpu: CpuId) {
        self.cpu.store(cpu.index(), Release);
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Relaxed) {
            1 => State::Ready,
            2 => State::Running,
            3 => State::Blocked,
            _ => State::Gone,
        }
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Relaxed);
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
