//! Why a hotplug operation failed, and what is in the way.

use core::fmt;

use super::state::{Reason, Section, StateId};
use crate::cpu::CpuId;
use crate::platform::StartError;

/// Why a hotplug operation did not do what was asked. Unless it says otherwise, the CPU is as it was before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HotplugError {
    /// [`boot`](crate::Machine::boot) was not called yet.
    NotBooted,
    /// The machine has no CPU with this number.
    NoSuchCpu(CpuId),
    /// The CPU is not plugged in.
    NotPresent(CpuId),
    /// The CPU is not offline: take it down before it is unplugged.
    StillUp(CpuId),
    /// Hotplug is disabled at the moment.
    Disabled,
    /// It is the last online CPU.
    LastOnline(CpuId),
    /// It is the last CPU that the calling thread may run on: others are online, and not active.
    LastActive(CpuId),
    /// The caller holds the hotplug lock, or is a callback of another operation: it would wait for itself.
    HeldByCaller,
    /// A CPU can't rest in this state.
    NotARestState(StateId),
    /// The calling thread is bound to the CPU that is to leave.
    BoundCaller(CpuId),
    /// A callback refused; everything that was done has been undone, in reverse order.
    Veto {
        /// The CPU.
        cpu: CpuId,
        /// The state whose callback refused.
        state: StateId,
        /// Its name.
        name: &'static str,
        /// The callback's own words.
        reason: Reason,
    },
    /// A callback refused, and so did the one that was to undo another, or the CPU could not leave
    /// again: it is left as it was at that point, and [`state`](crate::Machine::state) says where it
    /// rests.
    RollbackFailed {
        /// The CPU.
        cpu: CpuId,
        /// The state whose callback refused to be undone, or in which the CPU rests.
        state: StateId,
        /// The callback's name.
        name: &'static str,
        /// Its words.
        reason: Reason,
        /// Why there was a rollback at all.
        first: Reason,
    },
    /// This did not leave the CPU in time: a thread, or what its stopper interrupted in its place.
    Occupied {
        /// The CPU.
        cpu: CpuId,
        /// Who is left.
        by: &'static str,
    },
    /// The CPU's interrupt lines have no other place.
    Lines {
        /// The CPU.
        cpu: CpuId,
        /// The port's words.
        reason: Reason,
    },
    /// The start signal could not be sent.
    Start {
        /// The CPU.
        cpu: CpuId,
        /// The port's words.
        error: StartError,
    },
    /// The started CPU did not answer in time. If it does so later, it dies.
    NoAnswer(CpuId),
    /// The CPU answered and then did not come online in time: it may be anywhere in its bring-up, so
    /// it is left alone, and can't be started again.
    GivenUp(CpuId),
    /// This CPU was given up by an earlier operation and still runs its callbacks. Until it has ended
    /// them, no CPU may leave, as it may send calls that no stop waits for, and no callback may
    /// change.
    Stuck(CpuId),
    /// The CPU left the online mask, and was not seen dead in time. It can't be started before it is.
    NotDead(CpuId),
    /// The deadline of the operation expired, or the port's patience, while it waited for this CPU. It was undone.
    Deadline {
        /// The CPU that did not answer, did not take its turn, or holds what the operation needs.
        missing: CpuId,
        /// What was waited for.
        what: &'static str,
    },
    /// The operation was cancelled, and undone.
    Cancelled {
        /// What was waited for.
        what: &'static str,
    },
    /// A callback on this CPU's own thread did not return in time, for this operation or for an earlier one. When it returns, its thread
    /// undoes what the operation had done on that CPU. Until then all operations, and changes of the state table, end with this.
    Hung {
        /// The CPU.
        cpu: CpuId,
        /// The state whose callback it is.
        state: StateId,
        /// Its name.
        name: &'static str,
    },
    /// Nothing can fail in this state.
    CannotFail(StateId),
    /// All slots of this section are taken.
    Full(Section),
    /// What the caller means is not installed in this state: it was removed, or another machine
    /// has it.
    NotInstalled(StateId),
}

impl HotplugError {
    /// May the same operation succeed later, without a change by its caller? What is in the way can
    /// end by itself, or by another thread's doing. If not, the same operation fails each time.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            HotplugError::NotBooted
            | HotplugError::NotPresent(_)
            | HotplugError::StillUp(_)
            | HotplugError::Disabled
            | HotplugError::LastOnline(_)
            | HotplugError::LastActive(_)
            | HotplugError::Veto { .. }
            | HotplugError::RollbackFailed { .. }
            | HotplugError::Occupied { .. }
            | HotplugError::Lines { .. }
            | HotplugError::Start { .. }
            | HotplugError::NoAnswer(_)
            | HotplugError::Stuck(_)
            | HotplugError::NotDead(_)
            | HotplugError::Deadline { .. }
            | HotplugError::Hung { .. }
            | HotplugError::Full(_) => true,
            // The token stays cancelled.
            HotplugError::Cancelled { .. } => false,
            HotplugError::NoSuchCpu(_)
            | HotplugError::HeldByCaller
            | HotplugError::NotARestState(_)
            | HotplugError::BoundCaller(_)
            | HotplugError::GivenUp(_)
            | HotplugError::CannotFail(_)
            | HotplugError::NotInstalled(_) => false,
        }
    }

    /// In a few words, for [`RollbackFailed`](Self::RollbackFailed).
    pub(super) fn why(&self) -> Reason {
        self.reason().unwrap_or(match self {
            HotplugError::Occupied { by, .. } => Reason { code: -16, text: by },
            HotplugError::Start { error, .. } => Reason { code: -5, text: error.0 },
            HotplugError::Stuck(_) => {
                Reason { code: -16, text: "a CPU that was given up is on its way still" }
            }
            HotplugError::NoAnswer(_) => Reason { code: -110, text: "the CPU does not answer" },
            HotplugError::NotDead(_) => Reason { code: -110, text: "the CPU was not seen dead in time" },
            HotplugError::Deadline { what, .. } => Reason { code: -110, text: what },
            HotplugError::Cancelled { what } => Reason { code: -125, text: what },
            HotplugError::Hung { name, .. } => Reason { code: -110, text: name },
            _ => Reason { code: -16, text: "the CPU can't do as asked" },
        })
    }

    /// This happened when `cpu` was to leave again, and it rests in `state`.
    pub(super) fn after(self, first: Reason, cpu: CpuId, state: StateId) -> HotplugError {
        HotplugError::RollbackFailed { cpu, state, name: "leaving again", reason: self.why(), first }
    }

    /// The port's or the callback's own reason, if it was one of those.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            HotplugError::Veto { reason, .. }
            | HotplugError::RollbackFailed { first: reason, .. }
            | HotplugError::Lines { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}

impl fmt::Display for HotplugError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBooted => f.write_str("the machine is not booted yet: try again when it is"),
            Self::NoSuchCpu(cpu) => write!(f, "this machine has no {cpu}"),
            Self::NotPresent(cpu) => write!(f, "{cpu} is not plugged in"),
            Self::StillUp(cpu) => write!(f, "{cpu} is not offline: take it down before it is unplugged"),
            Self::Disabled => {
                f.write_str("hotplug is disabled: try again when whoever disabled it enables it")
            }
            Self::LastOnline(cpu) => write!(f, "{cpu} is the last one online: bring up another CPU first"),
            Self::LastActive(cpu) => write!(
                f,
                "{cpu} is the last one that the calling thread may run on: activate another CPU first"
            ),
            Self::HeldByCaller => f.write_str(
                "the caller holds the hotplug lock or runs inside a callback: it would wait for itself",
            ),
            Self::NotARestState(state) => write!(f, "a CPU can't rest in state {state}"),
            Self::BoundCaller(cpu) => {
                write!(f, "the caller is bound to {cpu}: call from a thread that may move")
            }
            Self::Veto { cpu, state, name, reason } => {
                write!(f, "{cpu}: {name} (state {state}) refused: {reason}; everything was undone")
            }
            Self::RollbackFailed { cpu, state, name, reason, first } => write!(
                f,
                "{cpu}: after a refusal ({first}), {name} (state {state}) failed, too: {reason}; it is left as it was then"
            ),
            Self::Occupied { cpu, by } => write!(f, "{cpu}: {by} did not leave it in time"),
            Self::Lines { cpu, reason } => write!(f, "{cpu}: its interrupt lines can't move: {reason}"),
            Self::Start { cpu, error } => write!(f, "{cpu} could not be started: {error}"),
            Self::NoAnswer(cpu) => {
                write!(f, "{cpu} was started and did not answer; if it does so late, it dies")
            }
            Self::GivenUp(cpu) => {
                write!(f, "{cpu} answered and did not come online in time: it can't be started again")
            }
            Self::Stuck(cpu) => {
                write!(
                    f,
                    "nothing was changed: {cpu}, which was given up, runs its callbacks still; try again when it has ended them"
                )
            }
            Self::NotDead(cpu) => {
                write!(
                    f,
                    "{cpu} left and was not seen dead in time: try again when it is, it can't be started before"
                )
            }
            Self::Deadline { missing, what } => {
                write!(f, "{missing} did not answer in time ({what}); everything was undone: try again")
            }
            Self::Cancelled { what } => write!(f, "cancelled ({what}); everything was undone"),
            Self::Hung { cpu, state, name } => write!(
                f,
                "{cpu}: {name} (state {state}) did not return in time: no CPU can come or go until it has, \
                 and what it did is undone"
            ),
            Self::CannotFail(state) => write!(f, "nothing can fail in state {state}: no failure to inject"),
            Self::Full(section) => {
                write!(f, "all states of the section {section:?} are taken: remove one first")
            }
            Self::NotInstalled(state) => write!(f, "this is not installed in state {state} (any more)"),
        }
    }
}

impl core::error::Error for HotplugError {}
