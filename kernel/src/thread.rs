//! Kernel threads, and the switch between two stacks.

use alloc::boxed::Box;
use core::arch::naked_asm;
use core::ops::Deref;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize};

use standstill::CpuId;
use standstill::context::Task;
use standstill_sched::Entry;
use standstill_torture::Body;

use crate::lock::Closed;
use crate::sched;

/// Room for the thread, an interrupt on top of it, its stopper, and an interrupt on top of that.
const STACK_BYTES: usize = 64 << 10;
/// At the lower end of each stack.
const CANARY: u64 = 0x5ca1_ab1e_dead_beef;

/// Why a thread was switched out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Out {
    Yield,
    Wait,
    Park,
    End,
}

/// What a thread runs.
pub(crate) enum Code {
    Body(&'static Body),
    /// The hotplug thread of its CPU.
    Hotplug,
}

/// A thread. Never freed: queues and wakers point to it. What belongs to the scheduler is written under the lock of the queue that it is on.
pub(crate) struct Thread {
    pub(crate) name: &'static str,
    entry: Entry<Thread>,
    code: Code,
    out: AtomicU8,
    /// Where its registers are while it does not run.
    pub(crate) sp: AtomicUsize,
    stack: AtomicUsize,
    pub(crate) sleeps_on: AtomicUsize,
    pub(crate) bucket_next: AtomicPtr<Thread>,
}

impl Deref for Thread {
    type Target = Entry<Thread>;

    fn deref(&self) -> &Entry<Thread> {
        &self.entry
    }
}

impl Thread {
    pub(crate) fn leak(name: &'static str, home: CpuId, code: Code) -> &'static Thread {
        let bound = matches!(code, Code::Hotplug);
        let stack = Box::leak(alloc::vec![0_u128; STACK_BYTES / 16].into_boxed_slice());
        stack[0] = u128::from(CANARY);
        let words = stack.len();
        // A stack as `switch` leaves one: six registers, then where it returns to; above it, nothing to return to.
        stack[words - 1] = start as *const () as usize as u128;
        Box::leak(Box::new(Thread {
            name,
            entry: Entry::new(home, bound),
            code,
            out: AtomicU8::new(Out::Yield as u8),
            sp: AtomicUsize::new((&raw const stack[words - 1]).addr() - 6 * 8),
            stack: AtomicUsize::new(stack.as_ptr().addr()),
            sleeps_on: AtomicUsize::new(0),
            bucket_next: AtomicPtr::new(core::ptr::null_mut()),
        }))
    }

    pub(crate) fn out(&self) -> Out {
        match self.out.load(Relaxed) {
            0 => Out::Yield,
            1 => Out::Wait,
            2 => Out::Park,
            _ => Out::End,
        }
    }

    pub(crate) fn set_out(&self, out: Out) {
        self.out.store(out as u8, Relaxed);
    }

    /// Has it kept within its stack?
    pub(crate) fn is_sound(&self) -> bool {
        // SAFETY: the lower end of its stack, which is never freed.
        unsafe { (self.stack.load(Relaxed) as *const u64).read_volatile() == CANARY }
    }
}

/// The first code of a thread, interrupts off as after each switch.
extern "C" fn start() -> ! {
    let thread = sched::current().expect("only threads start here");
    standstill_x86_64::irq::open_if(true);
    // SAFETY: 1. this is a thread with interrupts on and preempt count 0, and its code gets the token by reference, for uses in that
    // state. 2. This is the only place that makes one, once for each thread.
    let mut task = unsafe { Task::new() };
    match thread.code {
        Code::Body(body) => body(&mut task),
        Code::Hotplug => loop {
            // SAFETY: the body of the CPU's one bound hotplug thread.
            unsafe { crate::entry().serve_hotplug(&mut task) };
            let _closed = Closed::new();
            sched::switch_out(Out::Park);
        },
    }
    let _closed = Closed::new();
    sched::switch_out(Out::End);
    unreachable!("a thread that ended was run again");
}

/// Saves the registers that a function keeps, and the stack, to `*save`; goes on where `to` was saved.
///
/// # Safety
/// Interrupts are off; `to` was saved by this function, or is a fresh stack, and is used once.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch(save: *const AtomicUsize, to: usize) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
