//! [`Ground`]: what the workloads need from a port beyond [`Platform`].

use standstill::CpuId;
use standstill::context::{IrqOff, Task};
use standstill::platform::Platform;

/// The body of a thread. Runs once; the thread ends when it returns.
pub type Body = dyn Fn(&mut Task) + Sync;

/// The handler of a device line: the line's number, in interrupt context on the CPU that the line is aimed at.
pub type LineHandler = dyn Fn(usize, &IrqOff<'_>) + Sync;

/// A port that can run the torture.
pub trait Ground: Platform {
    /// Monotonic time in nanoseconds.
    fn now_ns(&self) -> u64;

    /// Starts a kernel thread that may run anywhere and prefers `home` while that CPU takes threads.
    fn spawn(&self, name: &'static str, home: CpuId, body: &'static Body);

    /// Lets other threads run for at least `ns` nanoseconds.
    fn sleep_ns(&self, task: &mut Task, ns: u64);

    /// Lets other threads run, if there are any; the thread may be moved to another CPU in here.
    fn yield_now(&self, task: &mut Task);

    /// Called by the thread that takes CPUs down and up, between two operations: a machine whose CPUs are plugged in and out while it runs
    /// does that here, so that nobody else operates on them meanwhile.
    fn between_operations(&self, task: &mut Task) {
        let _ = task;
    }

    /// Keeps `cpu` from running its first instruction, or lets it go on: a CPU that is slow to start. Says whether the
    /// port can.
    fn hold_start(&self, cpu: CpuId, held: bool) -> bool {
        let _ = (cpu, held);
        false
    }

    /// Keeps `cpu` from being seen dead after it left, or lets it go on: one that is slow to die. Says whether the port can.
    fn hold_death(&self, cpu: CpuId, held: bool) -> bool {
        let _ = (cpu, held);
        false
    }

    /// A device line of `cpu` can't be moved, or can again: so the CPU refuses to leave at the last moment. Says whether
    /// the port can.
    fn keep_line(&self, cpu: CpuId, kept: bool) -> bool {
        let _ = (cpu, kept);
        false
    }

    /// `cpu` is never down to its idle context as it is about to leave, or is again: so it refuses at the last moment. Says
    /// whether the port can.
    fn keep_busy(&self, cpu: CpuId, busy: bool) -> bool {
        let _ = (cpu, busy);
        false
    }

    /// Is this machine of no use after the torture? Then it may lose CPUs for good in the end.
    fn is_expendable(&self) -> bool {
        false
    }

    /// One turn of a busy loop.
    fn pause(&self);

    /// How many device lines there are.
    fn lines(&self) -> usize;

    /// Starts the devices: from now on each line interrupts again and again, and its handler runs `handler`.
    fn start_devices(&self, handler: &'static LineHandler);

    /// Stops the devices, waits until nothing is in flight, and says for all lines together how often one was raised
    /// and how often its handler ran for that: (raised, handled). Equal if no line was lost.
    fn stop_devices(&self, task: &mut Task) -> (u64, u64);
}
