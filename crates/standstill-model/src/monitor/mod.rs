pub(crate) mod footprint;
pub(crate) mod rules;
pub(crate) mod events;
pub(crate) mod library;
