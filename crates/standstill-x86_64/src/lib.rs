//! Standstill on x86-64: the traits of [`standstill::platform`] for a kernel that runs on the bare machine.
//!
//! | module | what |
//! |---|---|
//! | [`kernel`] | [`Kernel`]: what the kernel brings along, mostly its scheduler |
//! | [`apic`] | the local APIC, as memory or as registers, and the interrupts that CPUs send each other |
//! | [`cpu`] | the block of one CPU, found through the GS base |
//! | [`irq`] | masks, preemption, and the stopper at the end of an interrupt |
//! | `doze` | waits of contexts that can't sleep, on machines with more CPUs than cores |
//! | [`polls`] | how a CPU that polls before it halts is asked without an interrupt |
//! | [`power`] | INIT-SIPI-SIPI, and how a CPU parks |
//! | [`trampoline`] | the first code of a started CPU, below 1 MiB |
//! | [`lines`] | device interrupts, and how they leave a CPU |
//! | [`ioapic`], [`madt`], [`present`], [`time`] | the hardware around |
//!
//! # What a kernel does
//! 1. Maps the first 4 GiB where they are, at least the trampoline's page, the APICs and itself.
//! 2. [`apic::find`], [`cpu::install`] for each CPU that may ever exist, [`cpu::enter`] on the boot CPU, [`time::calibrate`],
//!    [`trampoline::install`].
//! 3. Sends the vectors of [`irq::vector`] to [`irq::handle`], and calls [`irq::interrupt_exit`] at the end of every interrupt. If its idle CPUs
//!    poll before they halt, [`polls`] spares them the interrupts; then every interrupt begins with [`polls::end`].
//! 4. Implements [`Kernel`], builds a `Machine<X86<Self>, N, W>` and boots it.
//!
//! What the port promises, its bounds, and what was never run is in `docs/bare-metal.md`.

#![no_std]
#![cfg(target_arch = "x86_64")]

pub mod apic;
pub mod cpu;
mod doze;
pub mod host;
pub mod ioapic;
pub mod irq;
pub mod kernel;
pub mod learned;
pub mod lines;
pub mod madt;
mod memory;
pub mod polls;
pub mod power;
pub mod present;
mod sched;
pub mod time;
pub mod trampoline;
mod wait;
#[cfg(feature = "torture")]
pub mod workloads;

use core::marker::PhantomData;

pub use kernel::Kernel;

/// The platform: x86-64 with the scheduler and the tables of kernel `K`.
pub struct X86<K>(PhantomData<K>);

impl<K: Kernel> X86<K> {
    /// The platform. The hardware is one, so all values are the same.
    #[must_use]
    pub const fn new() -> Self {
        X86(PhantomData)
    }
}

impl<K: Kernel> Default for X86<K> {
    fn default() -> Self {
        Self::new()
    }
}
