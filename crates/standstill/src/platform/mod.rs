//! What a machine must offer: traits and nothing else.
//!
//! A port implements [`Memory`], [`Irq`], [`Wait`], [`Cpus`] and [`Sched`] for one type; [`Platform`] is
//! all of them. In return it gets [`Entry`], the functions that it calls from its interrupt handlers,
//! its scheduler and its bring-up path.
//!
//! | trait | answers |
//! |---|---|
//! | [`Memory`] | how shared memory is read and written (a checker puts itself here) |
//! | [`Irq`] | which CPU is this, are its interrupts on, how does another one get an IPI |
//! | [`Wait`] | how to wait, how long is too long, who listens to events |
//! | [`Cpus`] | how a CPU is started, and how it dies |
//! | [`Sched`] | how threads leave a CPU and come back |
//!
//! All of them are `unsafe` to implement: the library's soundness rests on what they say.

mod cpus;
mod entry;
mod irq;
mod sched;
mod wait;

pub use smpmem::{DataCell, Datum, Memory, PlainCell, Pointer, Word, native_memory};

pub use cpus::{Cpus, StartError};
pub use entry::{Entry, TooLate};
pub use irq::{Ipi, Irq};
pub use sched::{Runs, Sched, Vacate};
pub use wait::{Deadline, Site, Wait, WaitContext, WaitFor};

/// A machine that Standstill can run on: all the traits of this module.
pub trait Platform: Memory + Irq + Wait + Cpus + Sched {}

impl<P: Memory + Irq + Wait + Cpus + Sched> Platform for P {}
