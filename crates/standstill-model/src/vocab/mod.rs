pub(crate) mod choice;
pub(crate) mod limits;
pub(crate) mod progress;
pub(crate) mod step;
pub(crate) mod fault;
pub(crate) mod pending;
