//! Interrupts of this CPU, and inter-processor interrupts to another.

use core::hash::Hash;

use crate::cpu::CpuId;
use crate::mask::CpuMask;
use crate::platform::Memory;

/// Why a CPU is interrupted by another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ipi {
    /// Its call queue is no longer empty: run [`Entry::on_call_ipi`](crate::platform::Entry::on_call_ipi).
    Call,
    /// Its stopper has work: run [`Entry::run_stopper`](crate::platform::Entry::run_stopper) as soon as the
    /// CPU's thread context is preemptible.
    Stop,
    /// Halt for good: run [`Entry::on_halt_ipi`](crate::platform::Entry::on_halt_ipi).
    Halt,
}

/// Interrupts.
///
/// There are two masks. The *local* disable ([`irq_save`](Self::irq_save)) may be lazy: a port may leave the
/// hardware alone, note an interrupt that arrives, and take it when the mask opens (powerpc does, the hosted
/// port does). The *hard* disable ([`hard_irq_disable`](Self::hard_irq_disable)) closes the hardware.
///
/// # Safety
/// 1. Between `irq_save` and the matching `irq_restore` no interrupt handler runs on this CPU, NMIs aside.
/// 2. An interrupt that arrives while they are off is not lost: it is taken when they are on again.
/// 3. Between `preempt_disable` and `preempt_enable` the context stays on its CPU, and the CPU's stopper does not
///    run on it. The calls nest.
/// 4. `send_ipi` makes everything that the sender wrote before visible to the handler.
/// 5. A [`Ipi::Stop`] that arrives while the CPU's context is not preemptible is not forgotten: the stopper runs at
///    the latest in the `preempt_enable` (or at the restore of interrupts) that makes it preemptible.
pub unsafe trait Irq: Memory {
    /// What `irq_save` found.
    type Flags: Copy + Hash;

    /// The CPU that runs the caller. Stable only while the caller can't be moved.
    fn this_cpu(&self) -> CpuId;

    /// Closes the local interrupts and returns whether they were open. A port may note the caller's location
    /// for [`Sched::runs`](crate::platform::Sched::runs).
    #[track_caller]
    fn irq_save(&self) -> Self::Flags;

    /// Brings back what `irq_save` found, the hard mask included.
    ///
    /// # Safety
    /// `flags` is from the matching `irq_save` on this CPU.
    unsafe fn irq_restore(&self, flags: Self::Flags);

    /// Are the local interrupts open?
    fn irqs_on(&self) -> bool;

    /// Closes the hardware's mask. The next `irq_restore` opens it again.
    ///
    /// The caller has closed the local interrupts before.
    fn hard_irq_disable(&self);

    /// Keeps the caller on its CPU and the stopper off it.
    fn preempt_disable(&self);

    /// Undoes one `preempt_disable`; the last one runs a stopper that had to wait.
    ///
    /// # Safety
    /// Matches a `preempt_disable` of the same context.
    unsafe fn preempt_enable(&self);

    /// Interrupts `to`. Never fails, never waits for `to`; legal from any context, to itself too.
    fn send_ipi(&self, to: CpuId, why: Ipi);

    /// Interrupts each CPU of `to`. A port overrides it where its hardware has clusters.
    fn send_ipi_mask<const W: usize>(&self, to: &CpuMask<W>, why: Ipi) {
        for cpu in to {
            self.send_ipi(cpu, why);
        }
    }
}
