//! What happens in a step of a run, for reports.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What the checked code announces: any value that can be shown.
pub trait Event: Any + fmt::Debug + Send + Sync {}

impl<E: Any + fmt::Debug + Send + Sync> Event for E {}

/// What an IPI is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IpiKind {
    /// The target runs calls.
    Call,
    /// The target's stopper is woken.
    Stop,
    /// The target halts for good.
    Halt,
}

/// Which part of a CPU's code a step belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Context {
    /// A thread; the idle context too.
    Thread {
        /// Its name.
        name: &'static str,
    },
    /// The stopper.
    Stopper,
    /// An interrupt handler.
    Handler {
        /// How many contexts it is nested in.
        depth: u8,
        /// Of which interrupt.
        kind: Interrupt,
    },
}

/// An interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Interrupt {
    /// A call IPI.
    Call,
    /// A halt IPI or NMI.
    Halt,
    /// A device.
    Device,
}

/// One step of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// The CPU.
    pub cpu: usize,
    /// What it runs.
    pub context: Context,
    /// What it does.
    pub what: StepWhat,
    /// `file:line`.
    pub location: String,
    /// The CPU's interrupts are open.
    pub irqs_on: bool,
    /// The choice of the schedule that this step belongs to.
    pub choice: usize,
}

/// What happens in a step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StepWhat {
    /// Shared memory is accessed.
    Access {
        /// How.
        op: Access,
        /// The name of the place.
        cell: String,
        /// What was read (for a store: what was written).
        value: u64,
        /// What was written by a read-modify-write.
        written: Option<u64>,
        /// The ordering, as in `core::sync::atomic`.
        order: &'static str,
    },
    /// The code announces what happens.
    Event(Arc<dyn Event>),
    /// An interrupt is taken.
    TakeInterrupt(Interrupt),
    /// Its handler returns.
    ReturnFromInterrupt(Interrupt),
    /// An IPI is sent.
    SendIpi {
        /// To whom.
        to: usize,
        /// Why.
        why: IpiKind,
    },
    /// The stopper takes the CPU.
    StopperBegins,
    /// The stopper gives it back.
    StopperEnds,
    /// Another thread takes the CPU.
    SwitchTo(&'static str),
    /// The CPU's interrupts are closed.
    CloseIrqs,
    /// The CPU's interrupts are opened.
    OpenIrqs,
    /// The context waits.
    Wait(String),
    /// A deadline is over.
    Expire,
    /// The oldest entry of the store buffer reaches memory.
    Drain {
        /// The name of the place.
        cell: String,
        /// The value.
        value: u64,
    },
    /// A started CPU begins to run.
    Start,
    /// The CPU is dead.
    Die,
}

impl StepWhat {
    /// The event, if it is one of this type.
    #[must_use]
    pub fn event<E: Event>(&self) -> Option<&E> {
        let StepWhat::Event(event) = self else { return None };
        let event: &dyn Any = &**event;
        event.downcast_ref()
    }
}

/// How memory is accessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names of the operations")]
pub enum Access {
    Load,
    Store,
    Swap,
    CompareExchange,
    FetchAdd,
    FetchSub,
    FetchOr,
    FetchAnd,
    Fence,
    CellRead,
    CellWrite,
}
