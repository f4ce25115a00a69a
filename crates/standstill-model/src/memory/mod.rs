pub(crate) mod buffers;
pub(crate) mod clocks;
pub(crate) mod messages;
