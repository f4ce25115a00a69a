//! Starting a CPU, and how it ends.

use core::fmt;

use crate::cpu::CpuId;
use crate::platform::Memory;

/// Why a CPU could not be started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StartError(pub &'static str);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Starting and ending CPUs.
///
/// # Safety
/// 1. A started CPU calls [`Entry::start_cpu`](crate::platform::Entry::start_cpu) with the incarnation given, on a
///    fresh context with interrupts off and preemption disabled, and nothing of the library before.
/// 2. `die` runs nothing else on that CPU, ever, but the store it is told to make; that store is the CPU's last access
///    to memory that others use, its own stack included.
/// 3. `halt` and `halt_hard` leave the CPU unable to run anything of the kernel.
/// 4. `start` and `start_each` make everything that their caller wrote before visible to the started CPUs, as `send_ipi` does to a handler.
/// 5. `fan_in` returns the same number each time.
pub unsafe trait Cpus: Memory {
    /// The port's patience, in nanoseconds: how long each single wait of a hotplug operation or a stop may take that has no other
    /// bound, e.g. for a started CPU to answer, for the stoppers to take their turn, or for a dying CPU to be dead. Generous: a virtual
    /// CPU may not run for seconds.
    fn timeout_ns(&self) -> u64 {
        10_000_000_000
    }

    /// How many CPUs may meet in one word, and so in one cache line, when all of them acknowledge a stage of a stop or look at it; at least 2. Larger machines
    /// use a tree of such words. CPUs are grouped by number, so that neighbours should be close to each other.
    #[inline(always)]
    fn fan_in(&self) -> usize {
        8
    }

    /// Starts `cpu`, which is not running. Returns when the start signal was sent.
    ///
    /// # Errors
    /// The port could not send it: nothing was started.
    fn start(&self, cpu: CpuId, incarnation: usize) -> Result<(), StartError>;

    /// Starts each of `cpus`, as [`start`](Self::start) does, and tells which could not be. Where hardware wants delays between signals (INIT and
    /// the start-up messages of x86), a port passes them once for all of these CPUs and not once for each.
    fn start_each(
        &self,
        cpus: impl Iterator<Item = (CpuId, usize)> + Clone,
        mut failed: impl FnMut(CpuId, StartError),
    ) where
        Self: Sized,
    {
        for (cpu, incarnation) in cpus {
            if let Err(error) = self.start(cpu, incarnation) {
                failed(cpu, error);
            }
        }
    }

    /// Ends this CPU: leaves its stack, stores `value` to `dead` (release) as the very last access, and stays deaf
    /// and still until it is started again. Interrupts are off and stay off.
    ///
    /// Nobody calls `notify` for this store: the CPU can't, as nothing may follow it. A port whose waiters sleep on the word wakes them by
    /// other means, or looks at it now and then.
    fn die(&self, dead: &Self::Word, value: usize) -> !;

    /// Halts this CPU for good: panic, reboot. It is never started again.
    fn halt(&self) -> !;

    /// Makes `cpu` call [`Entry::on_halt_ipi`](crate::platform::Entry::on_halt_ipi) by the strongest means there is
    /// (an NMI), even if its interrupts are off. It has called
    /// [`Entry::start_cpu`](crate::platform::Entry::start_cpu) by then, and need not be online; it may be
    /// dead by the time that the signal comes: then nothing has to happen.
    fn halt_hard(&self, cpu: CpuId);
}
