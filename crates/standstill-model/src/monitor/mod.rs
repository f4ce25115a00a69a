pub(crate) mod footprint;
pub(crate) mod rules;
