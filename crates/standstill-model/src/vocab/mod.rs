pub(crate) mod choice;
pub(crate) mod fault;
pub(crate) mod limits;
pub(crate) mod pending;
pub(crate) mod progress;
pub(crate) mod step;
