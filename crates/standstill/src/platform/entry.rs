//! What a port calls: the machine, seen from interrupt handlers, the scheduler and the bring-up path.

use crate::context::Task;
use crate::cpu::CpuId;

/// The entries of a [`Machine`](crate::Machine), object-safe, so that a port keeps one `&'static dyn Entry` and
/// does not care how many CPUs the machine was built for.
///
/// # Safety
/// Only [`Machine`](crate::Machine) implements it; ports may rely on every promise below.
pub unsafe trait Entry: Sync {
    /// The handler of [`Ipi::Call`](crate::platform::Ipi::Call): runs the calls that are queued for this CPU.
    ///
    /// # Safety
    /// On the CPU that got the IPI, in interrupt context with interrupts off.
    unsafe fn on_call_ipi(&self);

    /// The handler of [`Ipi::Halt`](crate::platform::Ipi::Halt), and of the NMI behind
    /// [`Cpus::halt_hard`](crate::platform::Cpus::halt_hard).
    ///
    /// # Safety
    /// On the CPU that got it, in interrupt or NMI context.
    unsafe fn on_halt_ipi(&self) -> !;

    /// Has this CPU's stopper work?
    fn stopper_pending(&self) -> bool;

    /// Runs this CPU's stopper until it has no more work. May not return: a CPU that leaves the machine dies in here.
    ///
    /// # Safety
    /// 1. On top of a preemptible context (preempt count 0, thread or idle), after the end-of-interrupt, with interrupts on.
    /// 2. Nothing else but interrupt handlers runs on this CPU until it returns.
    unsafe fn run_stopper(&self);

    /// The first call of a started CPU. `Ok`: the CPU is online; the port opens the interrupts and goes to its idle
    /// loop. `Err`: somebody gave up on this start; the port leaves the CPU as [`Cpus::die`](crate::platform::Cpus::die)
    /// would, without a store.
    ///
    /// # Safety
    /// As [`Cpus`](crate::platform::Cpus) says in its point 1.
    unsafe fn start_cpu(&self, incarnation: usize) -> Result<(), TooLate>;

    /// The body of the hotplug thread that is bound to each CPU. Returns when the thread is to be parked; after
    /// [`Sched::unpark_threads`](crate::platform::Sched::unpark_threads) the port calls it again.
    ///
    /// # Safety
    /// On a thread that is bound to its CPU, and on no other thread of that CPU before it has returned.
    unsafe fn serve_hotplug(&self, task: &mut Task);

    /// One turn of the idle loop. A CPU that left the online mask without dying in its stopper (protocols that do not
    /// stay deaf) dies here.
    ///
    /// # Safety
    /// In the idle context of this CPU, interrupts on, preempt count 0.
    unsafe fn idle(&self);

    /// Is `cpu` in the online mask?
    fn is_online(&self, cpu: CpuId) -> bool;
}

/// A started CPU found that its start was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLate;
