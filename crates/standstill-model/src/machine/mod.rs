pub(crate) mod access;
#[cfg(test)]
pub(crate) mod blind;
pub(crate) mod guess;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod step;
pub(crate) mod symbolize;
pub(crate) mod undo;
pub(crate) mod world;
pub(crate) mod parts;
pub(crate) mod store_buffers;
pub(crate) mod views;
pub(crate) mod meet;
pub(crate) mod touch;
pub(crate) mod mutate;
