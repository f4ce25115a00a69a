pub(crate) mod events;
pub(crate) mod footprint;
pub(crate) mod library;
pub(crate) mod properties;
pub(crate) mod rules;
