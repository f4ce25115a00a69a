//! Counting what a schedule costs, and making it cheaper.

use crate::sched::{cpu_of, is_interrupt};

/// Interrupts and preemptions of a schedule. A preemption leaves a CPU that could have gone on; as that is not written in a schedule, each
/// return to a CPU that was left counts once.
pub(crate) fn cost(choices: &[u32]) -> (u32, u32) {
    let interrupts = choices.iter().filter(|choice| is_interrupt(**choice)).count() as u32;
    let switches = choices.windows(2).filter(|pair| cpu_of(pair[0]) != cpu_of(pair[1])).count() as u32;
    (interrupts, switches)
}
