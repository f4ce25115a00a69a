//! What the port asks of Linux: futexes, signals, time, and nothing else.
//!
//! Two signals matter. [`IPI`] nudges a thread to look at its pending word, and is what the hard mask closes. [`NMI`] is
//! open whenever the CPU runs at all. Every other asynchronous signal is blocked on the threads of CPUs, so that it goes
//! to a thread of the program around the machine.

use std::mem::MaybeUninit;
use std::ptr;

/// The signal behind every inter-processor and device interrupt. A standard signal: sending it never fails, and it
/// latches one bit, as an APIC does.
pub(crate) const IPI: libc::c_int = libc::SIGUSR1;
/// The signal behind [`halt_hard`](standstill::platform::Cpus::halt_hard) and behind power-off.
pub(crate) const NMI: libc::c_int = libc::SIGUSR2;

/// Monotonic time in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// How a futex wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    /// By a wake, a signal, or because the word had another value.
    Maybe,
    /// The time was over.
    Timeout,
}

/// Sleeps while the word at `word` is `value`, for at most `ns` (for ever if `None`).
///
/// # Safety
/// `word` can be read for as long as the call takes.
pub(crate) unsafe fn futex_wait(word: *const u32, value: u32, ns: Option<u64>) -> Woken {
    let ts = ns.map(|ns| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as _,
    });
    let timeout = ts.as_ref().map_or(ptr::null(), ptr::from_ref);
    let op = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the caller keeps the word readable, and `timeout` is null or points to `ts`.
    let r = unsafe { libc::syscall(libc::SYS_futex, word, op, value, timeout) };
    // SAFETY: reads this thread's errno.
    if r == -1 && unsafe { *libc::__errno_location() } == libc::ETIMEDOUT {
        Woken::Timeout
    } else {
        Woken::Maybe
    }
}

/// Wakes up to `count` sleepers on `word`. The address is only a name: a private futex is not read by a wake.
pub(crate) fn futex_wake(word: *const u32, count: i32) {
    let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel uses the address as a key and does not read it.
    unsafe { libc::syscall(libc::SYS_futex, word, op, count) };
}

/// The kernel's number of the calling thread.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: no arguments, can't fail.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Sends `signal` to the thread `tid` of this process.
pub(crate) fn signal_thread(tid: i32, signal: libc::c_int) {
    // SAFETY: plain system calls. The thread is one that we started and have not joined.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal) };
}

/// A set of signals.
pub(crate) fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set; the numbers are valid.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &s in signals {
            libc::sigaddset(set.as_mut_ptr(), s);
        }
        set.assume_init()
    }
}

/// All signals but those by which a thread faults on its own account.
fn asynchronous() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set; the numbers are valid.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for s in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT] {
            libc::sigdelset(set.as_mut_ptr(), s);
        }
        set.assume_init()
    }
}

fn mask(how: libc::c_int, set: &libc::sigset_t) -> libc::sigset_t {
    let mut old = MaybeUninit::uninit();
    // SAFETY: both sets are valid; with a valid `how` the call can't fail and writes the old mask.
    unsafe {
        libc::pthread_sigmask(how, set, old.as_mut_ptr());
        old.assume_init()
    }
}

/// Blocks every asynchronous signal on the calling thread and returns the mask before.
pub(crate) fn block_all() -> libc::sigset_t {
    mask(libc::SIG_BLOCK, &asynchronous())
}

/// Brings back a mask from [`block_all`].
pub(crate) fn set_mask(old: &libc::sigset_t) {
    mask(libc::SIG_SETMASK, old);
}

/// Blocks one signal on the calling thread.
pub(crate) fn block(signal: libc::c_int) {
    mask(libc::SIG_BLOCK, &set_of(&[signal]));
}

/// Unblocks one signal on the calling thread; if it is pending, its handler has run when this returns.
pub(crate) fn unblock(signal: libc::c_int) {
    mask(libc::SIG_UNBLOCK, &set_of(&[signal]));
}

/// Takes whatever [`IPI`] and [`NMI`] are pending for the calling thread, which blocks both.
pub(crate) fn drop_pending() {
    let set = set_of(&[IPI, NMI]);
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: valid set and time; no information is asked for.
    while unsafe { libc::sigtimedwait(&set, ptr::null_mut(), &zero) } > 0 {}
}

/// The type of the handlers.
pub(crate) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs `handler` for `signal`: on the interrupted stack, system calls restarted, and `signal` itself blocked until it
/// returns, so that a storm of signals can't pile up frames.
pub(crate) fn install(signal: libc::c_int, handler: Handler) {
    // SAFETY: all-zero is a valid `sigaction`; it is filled in below.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the mask is a valid set, the action is complete, and the handler has the type that SA_SIGINFO asks for.
    let r = unsafe {
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signal, &action, ptr::null_mut())
    };
    assert_eq!(r, 0, "sigaction({signal}) failed: is it a signal that this system lets a program handle?");
}

/// Blocks `signal` in the context that a handler returns to. `sigreturn` would undo a change of the thread's mask.
///
/// # Safety
/// `context` is the third argument of a handler that runs.
pub(crate) unsafe fn block_in_context(context: *mut libc::c_void, signal: libc::c_int) {
    // SAFETY: the caller says that it is the kernel's ucontext, which the handler owns.
    unsafe { libc::sigaddset(&mut (*context.cast::<libc::ucontext_t>()).uc_sigmask, signal) };
}

/// Runs `f` and keeps errno as it was: what a handler owes the code that it interrupted.
pub(crate) fn keep_errno(f: impl FnOnce()) {
    // SAFETY: this thread's errno. It is looked up again afterwards only on the same thread: a handler stays on it.
    let errno = unsafe { *libc::__errno_location() };
    f();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Binds the calling thread to the `n`-th of the cores that it may run on.
pub(crate) fn pin_to_core(n: usize) {
    // SAFETY: an all-zero set is valid, and the sizes are right.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut allowed) != 0 {
            return;
        }
        let count = libc::CPU_COUNT(&allowed) as usize;
        let bits = 8 * size_of::<libc::cpu_set_t>();
        if let Some(core) = (0..bits).filter(|&c| libc::CPU_ISSET(c, &allowed)).nth(n % count.max(1)) {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut one);
            // A refusal costs speed and nothing else.
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &one);
        }
    }
}

/// Timers of the calling thread fire when they say, not up to 50 µs later.
pub(crate) fn sharp_timers() {
    // SAFETY: takes plain numbers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000_u64, 0, 0, 0) };
}

/// Lets another thread have the core.
pub(crate) fn yield_core() {
    std::thread::yield_now();
}

/// Writes `parts` to standard error without a lock or an allocation.
pub(crate) fn write_err(parts: &[&str]) {
    for p in parts {
        // SAFETY: the buffer is valid for its length. A short or failed write has no better place to be told.
        unsafe { libc::write(2, p.as_ptr().cast(), p.len()) };
    }
}
