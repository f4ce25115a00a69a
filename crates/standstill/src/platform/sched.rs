//! What the kernel's scheduler and interrupt controller do for a CPU that leaves or comes back.

use core::panic::Location;

use crate::cpu::CpuId;
use crate::hotplug::Reason;
use crate::platform::Memory;

/// What a CPU runs, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Runs {
    /// The name of the thread, handler or section.
    pub what: &'static str,
    /// Where it closed its interrupts, if it did and the port keeps note of it.
    pub irqs_off_at: Option<&'static Location<'static>>,
}

/// Why the calling thread could not be moved off a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Vacate {
    /// It is bound to that CPU.
    Bound,
    /// There is no other CPU to run on.
    Nowhere,
}

/// Threads and interrupt lines.
///
/// The calls come in this order. Down: `evict`, `vacate`, (ONLINE callbacks down), `aim_lines_away`, `park_threads`, `occupied` until it
/// is `None`, then in the stop, on the dying CPU with interrupts off: `only_idle_left`, `lines_left`. A failed operation ends with
/// `unpark_threads` (if they were parked), `lines_back`, `readmit` (if it was evicted in this operation). Up: `unpark_threads`, `lines_back`, (ONLINE
/// callbacks up), `readmit` as the last step. A CPU that
/// was never readmitted counts as evicted. `only_idle_left` and `lines_left` are asked once: what the
/// calls that are drained after them leave behind on the CPU is not looked at again.
///
/// # Safety
/// 1. After `vacate(cpu)` returned `Ok`, the caller is not on `cpu` and does not come back while `cpu` is evicted.
/// 2. `only_idle_left` is true only if everything but the idle context of this CPU has left it, and the context
///    that the stopper interrupted is the idle context: the library then discards it.
/// 3. After `lines_left` returned `Ok`, no device interrupt is aimed at this CPU; one that was raised before is
///    handled elsewhere.
pub unsafe trait Sched: Memory {
    /// From now on no thread that may run elsewhere is put on `cpu`; those that are there move off when they are next
    /// switched out.
    ///
    /// Another CPU may have looked a moment before, and be about to put a thread there. One pass of every
    /// stopper follows this call before [`occupied`](Self::occupied) is asked: so keep preemption off from
    /// the look to the end of the enqueueing. Sections that looked too early have ended when the pass
    /// has, and no lock is needed for it.
    fn evict(&self, cpu: CpuId);

    /// `cpu` takes threads again.
    fn readmit(&self, cpu: CpuId);

    /// Moves the calling thread off `cpu`, if it is on it.
    ///
    /// # Errors
    /// The thread can't leave.
    fn vacate(&self, cpu: CpuId) -> Result<(), Vacate>;

    /// What still keeps `cpu` from having only its idle context, or `None`. Polled after `evict` and
    /// `park_threads`.
    fn occupied(&self, cpu: CpuId) -> Option<&'static str>;

    /// Has this CPU nothing but its idle context left, and is that the one that the stopper interrupted?
    fn only_idle_left(&self) -> bool;

    /// Parks all threads that are bound to `cpu` and waits until they are. The hotplug thread has already returned from
    /// [`Entry::serve_hotplug`](crate::platform::Entry::serve_hotplug). A bound thread that waits in a
    /// [`Task`](crate::platform::WaitContext::Task) wait counts as parked, and stays in it until it is unparked: it may wait for the very lock
    /// that this operation holds.
    fn park_threads(&self, cpu: CpuId);

    /// Lets the threads that are bound to `cpu` run again, the hotplug thread included: it calls
    /// [`Entry::serve_hotplug`](crate::platform::Entry::serve_hotplug) anew.
    fn unpark_threads(&self, cpu: CpuId);

    /// Aims each device interrupt line that is aimed at `cpu` at another online CPU. Called with interrupts on, before
    /// the stop, so that what is in flight still arrives here.
    ///
    /// # Errors
    /// There is no room for a line elsewhere.
    fn aim_lines_away(&self, cpu: CpuId) -> Result<(), Reason>;

    /// Last look at the lines, on the dying CPU in the stop.
    ///
    /// # Errors
    /// A line is still aimed here.
    fn lines_left(&self, cpu: CpuId) -> Result<(), Reason>;

    /// `cpu` may get device interrupts again.
    fn lines_back(&self, cpu: CpuId);

    /// What `cpu` runs at this moment, as far as the port knows.
    fn runs(&self, cpu: CpuId) -> Runs;
}
