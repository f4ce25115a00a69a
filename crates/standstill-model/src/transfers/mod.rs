//! Counting what a stop costs in transfers of cache lines: for machines of any size, without a clock, the same in each run.
//!
//! # What is counted
//! Memory is lines of 64 bytes. A CPU holds a line alone, shares it, or does not have it. Reading a line that it does not have, and
//! writing one that it does not hold alone, is a **transfer**; everything else is free. A transfer takes one unit of time, and a line serves
//! one transfer at a time, in the order in which they are asked for: that is what makes a word expensive that everybody wants. The
//! **depth** of something is how many units it takes, that is, the longest chain of transfers each of which waited for the one before, at the
//! same CPU or at the same line.
//!
//! A CPU that waits reads its word again whenever another CPU has written to the line. IPIs take no time.
//!
//! # What is measured
//! The library's own code runs: the machine comes up, stops once so that every line is where it belongs, and stops again. At each stage
//! all CPUs are held just before they acknowledge it, until the last one has got there, and let go at one time. That is the worst case: all of them
//! meet. **Up** is from then until the last acknowledgement was counted; **down** from there until the last CPU has seen the next stage and is about
//! to acknowledge that. **Flow** is measured in a run in which nobody is held: from one stage to the next.

mod port;
mod world;

use standstill::stop::Stage;

/// A number of transfers, and how long they took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// All transfers of all CPUs.
    pub transfers: u64,
    /// The longest chain of them.
    pub depth: u64,
}

/// What one stage cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StageCost {
    /// The stage.
    pub stage: Stage,
    /// Until all CPUs had seen it.
    pub down: Cost,
    /// Until all acknowledgements were counted.
    pub up: Cost,
    /// From the stage to the next if nobody is held: who has seen it acknowledges it at once.
    pub flow: Cost,
}

/// The sizes of machine that can be counted.
pub const SIZES: [usize; 10] = [2, 3, 4, 8, 9, 16, 32, 64, 128, 256];

/// What a stop of `cpus` CPUs costs, stage by stage, if at most `fan_in` of them meet in one word.
///
/// # Panics
/// If `cpus` is not one of [`SIZES`].
#[must_use]
pub fn transfers(cpus: usize, fan_in: usize) -> Vec<StageCost> {
    let held = count(cpus, fan_in, true);
    let flow = count(cpus, fan_in, false);
    held.iter().zip(&flow).map(|(held, flow)| StageCost { flow: flow.up, ..*held }).collect()
}

fn count(cpus: usize, fan_in: usize, hold: bool) -> Vec<StageCost> {
    // A thread of its own, as the simulated machine is never given back to the thread that ran it.
    let thread = std::thread::spawn(move || match cpus {
        2 => port::measure::<2, 1>(fan_in, hold),
        3 => port::measure::<3, 1>(fan_in, hold),
        4 => port::measure::<4, 1>(fan_in, hold),
        8 => port::measure::<8, 1>(fan_in, hold),
        9 => port::measure::<9, 1>(fan_in, hold),
        16 => port::measure::<16, 1>(fan_in, hold),
        32 => port::measure::<32, 1>(fan_in, hold),
        64 => port::measure::<64, 1>(fan_in, hold),
        128 => port::measure::<128, 2>(fan_in, hold),
        256 => port::measure::<256, 4>(fan_in, hold),
        other => panic!("machines of {other} CPUs are not among those that can be counted"),
    });
    match thread.join() {
        Ok(costs) => costs,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
