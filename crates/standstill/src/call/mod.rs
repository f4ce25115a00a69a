//! Cross-CPU calls: run a function on another CPU, in its interrupt handler.
//!
//! # Vocabulary
//! A **csd** is the slot of one call to one CPU. A **board** is the slot of one call to many CPUs; each CPU has one as a
//! sender, and each target has one bit for each sender that has something on its board for it. A call is **accepted** (then it
//! runs exactly once, on its target, with interrupts off) or **refused** with an error (then nothing was queued).
//!
//! # Contexts
//! The forms that wait take a [`MaySpin`](crate::context::MaySpin) context: interrupts are on, so two CPUs that call each other both
//! answer. The forms without wait are legal everywhere, in handlers and with interrupts off too.
//!
//! # Order
//! Calls of one sender to one target in one form run in the order they were sent. Between forms, and between senders, there is
//! no order.
//!
//! # Why a target that is online can't be missed
//! The sender checks the mask and pushes in one section that keeps its stopper off. A CPU leaves the mask in a stop that needs every
//! stopper, or after a pass of every stopper: so each sender that saw the bit has finished its push by then, and the leaving
//! CPU's drain comes after.
//!
//! | file | what |
//! |---|---|
//! | `queue.rs` | the list |
//! | `single.rs` | one target: csd, wait, async |
//! | `many.rs` | many targets: boards |
//! | `flush.rs` | the receiving side: handler, drain, audit |
//! | `until.rs` | calls that are withdrawn when a deadline expires |
//! | `halt.rs` | `stop_others` |

mod flush;
mod halt;
mod many;
mod queue;
mod single;
mod until;

use core::any::type_name;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

use crate::context::{IrqOff, no_unwind};
use crate::cpu::CpuId;
use crate::event::{CallInfo, CallKey, Form};
use crate::places::Finder;
use crate::platform::{DataCell, Memory, Pointer, Word};
use many::Board;
use queue::{Kind, Node, Queue};

pub(crate) use halt::Halt;
pub use until::Answers;

/// Why a call did not run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallError {
    /// The machine has no CPU with this number: the caller's mistake.
    NoSuchCpu(CpuId),
    /// The mask is empty: the caller named no CPU.
    EmptyMask,
    /// The target is not online, or is leaving. Nothing was queued. Pick another CPU, or call again when it is back.
    Offline(CpuId),
    /// The slot is still in use by an earlier call, which its target has not taken yet. Nothing was
    /// queued.
    Busy,
    /// The caller waits with interrupts off: its token is wrong. Use a form without wait.
    InterruptsOff,
    /// The target did not begin the call before its deadline, or before it was cancelled. It was
    /// withdrawn, and never runs. Look at why the CPU does not answer, or call again with more time.
    Withdrawn(CpuId),
    /// The call was accepted, and its CPU died before it ran. Only protocols that do not promise L do this.
    Lost(CpuId),
}

impl CallError {
    /// May the same call succeed later, without a change by its caller? What is in the way can end by
    /// itself, or by another thread's doing. If not, the same call fails each time.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            CallError::Offline(_) | CallError::Busy | CallError::Withdrawn(_) | CallError::Lost(_) => true,
            CallError::NoSuchCpu(_) | CallError::EmptyMask | CallError::InterruptsOff => false,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NoSuchCpu(cpu) => write!(f, "this machine has no {cpu}"),
            CallError::EmptyMask => f.write_str("the mask is empty: name a CPU to call"),
            CallError::Offline(cpu) => {
                write!(f, "{cpu} is offline: nothing was sent; pick another CPU or bring it up")
            }
            CallError::Busy => f.write_str(
                "the slot is still in use by an earlier call: try again when its target has taken it",
            ),
            CallError::InterruptsOff => {
                f.write_str("a call that waits was made with interrupts off: use an async form")
            }
            CallError::Withdrawn(cpu) => {
                write!(f, "{cpu} did not begin the call in time: it was withdrawn, and never runs")
            }
            CallError::Lost(cpu) => write!(f, "{cpu} died with the call in its queue: it never ran"),
        }
    }
}

impl core::error::Error for CallError {}

/// A function and its name, without its type.
pub(crate) struct Func {
    run: unsafe fn(*const (), &IrqOff<'_>),
    name: fn() -> &'static str,
}

impl Func {
    /// The entry of `F`.
    pub(crate) const fn of<F: Fn(&IrqOff<'_>) + Sync>() -> &'static Func {
        const { &Func { run: run::<F>, name: type_name::<F> } }
    }

    pub(crate) fn name(&self) -> &'static str {
        (self.name)()
    }
}

/// # Safety
/// `arg` is a `&F` that is alive until this returns.
unsafe fn run<F: Fn(&IrqOff<'_>) + Sync>(arg: *const (), off: &IrqOff<'_>) {
    // SAFETY: the contract of this function.
    let f = unsafe { &*arg.cast::<F>() };
    no_unwind(|| f(off));
}

impl Hash for Func {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// What a slot holds: which function, on what, for whom.
#[derive(Clone, Copy, Hash)]
pub(crate) struct Call {
    func: &'static Func,
    arg: *const (),
    from: &'static Location<'static>,
    sender: CpuId,
    form: Form,
    /// Where a sender that waits counts its targets (a `Done`); null for the forms without wait and for a csd.
    done: *const (),
    /// May its sender withdraw it? Then the slot goes through RUNNING and DONE. See `until.rs`.
    withdrawable: bool,
}

impl Call {
    #[inline]
    fn info(&self, slot: usize, to: CpuId) -> CallInfo {
        CallInfo {
            key: CallKey { slot, to },
            sender: self.sender,
            form: self.form,
            func: self.func.name(),
            from: self.from,
        }
    }

    /// Runs the function.
    ///
    /// # Safety
    /// The function's argument is alive: the sender waits for this call, or handed in a `'static` one.
    #[inline]
    unsafe fn run(&self, off: &IrqOff<'_>) {
        // SAFETY: `func` was made for the type behind `arg`, which is alive by the contract.
        unsafe { (self.func.run)(self.arg, off) }
    }
}

/// States of a csd. `FREE` to `BUSY` by the sender's compare-and-swap (acquire: the last use is over); back by the receiver's
/// store (release).
mod csd {
    pub(super) const FREE: usize = 0;
    pub(super) const BUSY: usize = 1;
    /// Its CPU died with it. The sender that waits turns it into an error; a csd without waiter is set free.
    pub(super) const LOST: usize = 2;
    /// Of a call that can be withdrawn: its function runs.
    pub(super) const RUNNING: usize = 3;
    /// It has returned, and the sender that waits sets the slot free.
    pub(super) const DONE: usize = 4;
    /// It was withdrawn, and its target sets the slot free.
    pub(super) const WITHDRAWN: usize = 5;
}

/// The slot of one call to one CPU, owned by the caller.
///
/// For [`call_single_async`](crate::Machine::call_single_async) it is a `static` (or leaked): it is in the target's list until
/// the target took it, and no borrow that ends earlier could be sound.
///
/// # Invariants
/// `call` is written only by who moved `state` from FREE to BUSY, and read only by who took the node from a list.
///
/// It has a cache line of its own, which goes from the sender to the target and back with each call.
#[doc(alias = "call_single_data")]
#[repr(C, align(64))]
pub struct Csd<P: Memory> {
    node: Node<P>,
    state: P::Word,
    call: P::Cell<Call>,
}

impl<P: Memory> Csd<P> {
    /// A free slot.
    #[must_use]
    pub const fn new() -> Self {
        Csd { node: Node::new(Kind::Csd), state: P::Word::ZERO, call: P::Cell::EMPTY }
    }

    /// Is no call pending in it? A hint, which orders nothing (relaxed): a slot is released before its function starts, so the function may
    /// still run, and who wants the slot claims it by a call.
    pub fn is_free(&self) -> bool {
        self.state.load(Relaxed) == csd::FREE
    }

    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }
}

impl<P: Memory> Default for Csd<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// The calls' part of one CPU. In this order what others write when they call it, its slot, and its board lie on cache lines of their own, the board on one.
#[repr(C)]
pub(crate) struct CallCpu<P: Memory, const W: usize> {
    /// What others queued for this CPU.
    queue: Queue<P>,
    /// One bit for each sender that has something for this CPU on its board.
    requests: [P::Word; W],
    /// The node that is in `queue` while the request word of the same index is not zero.
    nodes: [Node<P>; W],
    /// This CPU's slot for `call_single_nowait`.
    slot: Csd<P>,
    /// This CPU's board, as a sender.
    board: Board<P>,
    /// The function that runs here now, for reports.
    running: P::Ptr<Func>,
}

impl<P: Memory, const W: usize> CallCpu<P, W> {
    pub(crate) fn places(&self, finder: &mut Finder) {
        finder.see("call queue", &self.queue);
        finder.see("call requests", &self.requests);
        finder.see("node of the call requests", &self.nodes);
        finder.see("call board", &self.board);
        finder.see("own call slot", &self.slot);
        finder.see("running function", &self.running);
    }

    pub(crate) const fn new() -> Self {
        CallCpu {
            queue: Queue::new(),
            requests: [const { P::Word::ZERO }; W],
            nodes: [const { Node::new(Kind::Board) }; W],
            board: Board::new(),
            slot: Csd::new(),
            running: P::Ptr::NULL,
        }
    }

    /// Is nothing queued for this CPU?
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The name of the function that runs here now.
    pub(crate) fn running(&self) -> Option<&'static str> {
        let func = self.running.load(Relaxed);
        // SAFETY: either null or from a `&'static Func`.
        unsafe { func.as_ref() }.map(Func::name)
    }
}
