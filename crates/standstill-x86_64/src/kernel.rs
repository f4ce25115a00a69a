//! [`Kernel`]: what the kernel brings along.

use standstill::CpuId;
use standstill::event::Event;
use standstill::hotplug::Reason;
use standstill::platform::{Entry, Vacate, WaitContext};

/// What the port needs from the kernel that it is part of. There is one kernel, so nothing takes a `self`.
///
/// # Safety
/// 1. `entry` is the machine that was built with this platform.
/// 2. `idle_stack` is 16-byte aligned, mapped, large enough, and used by nothing else until that CPU is dead.
/// 3. The scheduler keeps the numbered promises of [`standstill::platform::Sched`] through the functions of the same names,
///    and switches threads only with interrupts off and [`cpu::preempt_count`](crate::cpu::preempt_count) 0.
pub unsafe trait Kernel: Sized + Send + Sync + 'static {
    /// Does the kernel want events? If not, they cost nothing.
    const LISTENS: bool;

    /// How long a CPU needs from the INIT to the first SIPI. Ten milliseconds by the book; CPUs of this century and virtual ones
    /// need next to nothing.
    const INIT_DELAY_NS: u64 = 10_000_000;

    /// The machine.
    fn entry() -> &'static dyn Entry;

    /// The top of the stack of `cpu`'s idle context. Called by control before `cpu` is started.
    fn idle_stack(cpu: CpuId) -> usize;

    /// The first thing on a started CPU, interrupts off: load the kernel's own descriptor tables.
    fn started(cpu: CpuId);

    /// This CPU is online: open its interrupts and idle for ever. The preempt count is 0.
    fn run() -> !;

    /// Does it want them now? An event is only built if so.
    fn listens() -> bool {
        true
    }

    /// Something happened. In every context, interrupts off and NMI included.
    fn event(event: &Event);

    /// Lets the calling thread sleep until somebody [wakes](Self::wake) `word`, until time `until_ns`, or for no reason. `over` is asked
    /// at least once after the thread can be woken; if it says true there is no sleep. On the idle context, or before there are threads, it returns
    /// at once.
    fn sleep_on(word: usize, until_ns: u64, over: &mut dyn FnMut() -> bool);

    /// Wakes the threads that sleep on `word`. In every context but NMI. The caller has changed the word, and had a sequentially consistent fence after that.
    fn wake(word: usize);

    /// May a wait that can't sleep halt the CPU until it is told? Worth it on a virtual machine with more CPUs than its host has
    /// cores, where a CPU that spins keeps the awaited one from running. At least one CPU should not, or nobody notices a machine that hangs.
    fn may_doze(context: WaitContext) -> bool {
        let _ = context;
        false
    }

    /// A wait that can't sleep has taken `waited_ns` so far: the kernel's watchdog may want to know.
    fn spinning(waited_ns: u64) {
        let _ = waited_ns;
    }

    /// An NMI that is not the port's own found the CPU at address `at`: a watchdog's, or somebody pressed a button. Takes no lock that it does not
    /// give up; may end the machine, and stop the other CPUs for that.
    fn nmi(at: u64) {
        let _ = at;
    }

    /// As in [`Sched`](standstill::platform::Sched).
    fn evict(cpu: CpuId);
    /// As in [`Sched`](standstill::platform::Sched).
    fn readmit(cpu: CpuId);
    /// As in [`Sched`](standstill::platform::Sched).
    ///
    /// # Errors
    /// The thread can't leave.
    fn vacate(cpu: CpuId) -> Result<(), Vacate>;
    /// As in [`Sched`](standstill::platform::Sched).
    fn occupied(cpu: CpuId) -> Option<&'static str>;
    /// As in [`Sched`](standstill::platform::Sched).
    fn only_idle_left() -> bool;
    /// As in [`Sched`](standstill::platform::Sched).
    fn park_threads(cpu: CpuId);
    /// As in [`Sched`](standstill::platform::Sched).
    fn unpark_threads(cpu: CpuId);
    /// As in [`Sched`](standstill::platform::Sched); most kernels pass it on to [`Lines`](crate::lines::Lines).
    ///
    /// # Errors
    /// There is no room for a line elsewhere.
    fn aim_lines_away(cpu: CpuId) -> Result<(), Reason>;
    /// As in [`Sched`](standstill::platform::Sched).
    ///
    /// # Errors
    /// A line is still aimed at it.
    fn lines_left(cpu: CpuId) -> Result<(), Reason>;
    /// As in [`Sched`](standstill::platform::Sched).
    fn lines_back(cpu: CpuId);

    /// The name of the thread that `cpu` runs, or `idle`.
    fn thread_name(cpu: CpuId) -> &'static str;
}
