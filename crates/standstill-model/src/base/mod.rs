pub(crate) mod arena;
pub(crate) mod fibre;
pub(crate) mod hash;
pub(crate) mod log;
pub(crate) mod room;
