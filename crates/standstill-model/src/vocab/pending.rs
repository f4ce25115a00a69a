//! The bits of what is pending on a CPU.

pub(crate) const PENDING_CALL: u8 = 1;
pub(crate) const PENDING_STOP: u8 = 2;
pub(crate) const PENDING_HALT: u8 = 4;
