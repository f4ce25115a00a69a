#![no_std]
#![doc = include_str!("../README.md")]

pub mod context;
mod cpu;
pub mod event;
pub mod hotplug;
pub mod invariants;
mod call;
mod machine;
mod mask;
pub mod platform;
mod protocol;
pub mod stop;

pub use cpu::CpuId;
pub use mask::{AtomicCpuMask, CpuMask};
pub use protocol::{Drain, Property, Protocol, Stages};
