#![no_std]
#![doc = include_str!("../README.md")]

mod bound;
mod call;
pub mod context;
mod cpu;
pub mod event;
pub mod hotplug;
pub mod invariants;
mod machine;
mod mask;
mod places;
pub mod platform;
mod protocol;
mod stall;
pub mod stop;

pub use bound::{Bound, Cancel};
pub use call::{Answers, CallError, Csd};
pub use cpu::CpuId;
pub use hotplug::{HotplugError, HotplugRead};
pub use machine::Machine;
pub use mask::{AtomicCpuMask, CpuMask};
pub use places::Place;
pub use protocol::{Drain, Property, Protocol, Stages};
