//! What the caller of a stop gets: a receipt for each CPU, or an error that names who is in the way.

use core::fmt;
use core::sync::atomic::Ordering::Relaxed;

use super::stage::Stage;
use crate::context::Task;
use crate::cpu::CpuId;
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{Platform, Word};

/// What became of a stop's function on one CPU. "Completed without running" does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Receipt {
    /// It was not asked for on this CPU, or the machine has no such CPU.
    NotAMember,
    /// It was asked for, and the CPU is not online. It did not run.
    Refused,
    /// It ran there, once, and returned this.
    Ran(i32),
}

impl Receipt {
    pub(crate) fn pack(self) -> usize {
        match self {
            Receipt::NotAMember => 0,
            Receipt::Refused => 1,
            Receipt::Ran(value) => 2 | (value as u32 as usize) << 8,
        }
    }

    pub(crate) fn unpack(word: usize) -> Self {
        match word & 0xff {
            0 => Receipt::NotAMember,
            1 => Receipt::Refused,
            _ => Receipt::Ran((word >> 8) as u32 as i32),
        }
    }
}

/// The receipts of the stop that has just ended. They are words of the machine (at 4096 CPUs they would not fit a kernel stack), so
/// the next stop, and any CPU that wants to come or go, waits until this is dropped. Leaking it blocks them for ever, and nothing else.
#[must_use = "a CPU may have refused, or the function may have failed there"]
pub struct Receipts<'a, P: Platform, const N: usize, const W: usize> {
    pub(super) machine: &'a Machine<P, N, W>,
    pub(super) task: &'a mut Task,
    /// This stop took the hotplug lock for reading and gives it back.
    pub(super) locked: bool,
}

impl<P: Platform, const N: usize, const W: usize> Receipts<'_, P, N, W> {
    /// The receipt of `cpu`.
    #[must_use]
    pub fn of(&self, cpu: CpuId) -> Receipt {
        match self.machine.cpu.get(cpu.index()) {
            Some(cpu) => Receipt::unpack(cpu.stop.receipt.load(Relaxed)),
            None => Receipt::NotAMember,
        }
    }

    /// Each CPU with its receipt, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (CpuId, Receipt)> + '_ {
        (0..N).map(CpuId::new).map(|cpu| (cpu, self.of(cpu)))
    }

    /// On how many CPUs it ran.
    #[must_use]
    pub fn ran(&self) -> usize {
        self.iter().filter(|(_, receipt)| matches!(receipt, Receipt::Ran(_))).count()
    }

    /// The first value that is not 0, with its CPU.
    ///
    /// # Errors
    /// That value.
    #[doc(alias = "stop_machine")]
    pub fn first_failure(&self) -> Result<(), (CpuId, i32)> {
        self.iter()
            .find_map(|(cpu, receipt)| match receipt {
                Receipt::Ran(value) if value != 0 => Some((cpu, value)),
                _ => None,
            })
            .map_or(Ok(()), Err)
    }
}

impl<P: Platform, const N: usize, const W: usize> Drop for Receipts<'_, P, N, W> {
    fn drop(&mut self) {
        self.machine.stop.turn.unlock(&self.machine.platform);
        if self.locked {
            self.machine.read_unlock(self.task);
        }
    }
}

/// Why a stop did not run its function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StopError<const W: usize> {
    /// The deadline expired before RUN, or the port's patience: nothing ran anywhere. `missing` had not
    /// acknowledged `stage` (empty: the last one did at the same moment). In stage NONE it had not begun:
    /// another stop, or a hotplug operation, was under way; or, for the work of one stopper, that stopper
    /// (`missing`) did not come to it. Call again when they answer.
    Deadline {
        /// The stage that was not finished.
        stage: Stage,
        /// Who had not acknowledged it.
        missing: CpuMask<W>,
    },
    /// It was cancelled before RUN: nothing ran anywhere.
    Cancelled,
    /// None of the CPUs that were to run it is online.
    NoneOnline,
    /// The mask is empty: the caller named no CPU to run it.
    EmptyMask,
    /// The machine has no CPU with this number: the caller's mistake. It did not run anywhere.
    NoSuchCpu(CpuId),
    /// This CPU is not online, or left before its turn. It did not run there.
    Offline(CpuId),
    /// The work is still queued by an earlier call.
    Busy,
    /// The form for a CPU that comes up was called on another one: use [`stop_machine`](crate::Machine::stop_machine).
    NotComingUp(CpuId),
    /// The two CPUs of a pair are one.
    SameCpu(CpuId),
}

impl<const W: usize> StopError<W> {
    /// May the same call succeed later, without a change by its caller? What is in the way can end by
    /// itself, or by another thread's doing. If not, the same call fails each time.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            StopError::Deadline { .. } | StopError::NoneOnline | StopError::Offline(_) | StopError::Busy => {
                true
            }
            // The token stays cancelled.
            StopError::Cancelled
            | StopError::EmptyMask
            | StopError::NoSuchCpu(_)
            | StopError::NotComingUp(_)
            | StopError::SameCpu(_) => false,
        }
    }
}

impl<const W: usize> fmt::Display for StopError<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopError::Deadline { stage: Stage::None, missing } if !missing.is_empty() => write!(
                f,
                "the stopper of CPU {missing} did not come to the work in time: it did not run; try again when it answers"
            ),
            StopError::Deadline { stage: Stage::None, .. } => f.write_str(
                "the stop did not get its turn before the deadline: a hotplug operation or another stop is under way; try again",
            ),
            StopError::Deadline { stage, missing } if missing.is_empty() => {
                write!(
                    f,
                    "the stop was abandoned in {stage}: the last CPU answered as the deadline passed; try again"
                )
            }
            StopError::Deadline { stage, missing } => {
                write!(
                    f,
                    "the stop was abandoned in {stage}: no answer from CPU {missing}; nothing ran, try again when it answers"
                )
            }
            StopError::Cancelled => f.write_str("the stop was cancelled before its function ran: nothing ran"),
            StopError::NoneOnline => f.write_str("none of the CPUs that were to run the function is online"),
            StopError::EmptyMask => f.write_str("the mask is empty: name a CPU to run the function"),
            StopError::NoSuchCpu(cpu) => write!(f, "this machine has no {cpu}: the function did not run"),
            StopError::Offline(cpu) => {
                write!(f, "{cpu} is offline or leaving: the function did not run there")
            }
            StopError::Busy => f.write_str("the work is still queued by an earlier call: wait until it ran"),
            StopError::NotComingUp(cpu) => {
                write!(f, "{cpu} is not coming up: this form is for STARTING callbacks only")
            }
            StopError::SameCpu(cpu) => {
                write!(f, "a pair needs two CPUs, and both are {cpu}: use stop_one_cpu")
            }
        }
    }
}

impl<const W: usize> core::error::Error for StopError<W> {}
