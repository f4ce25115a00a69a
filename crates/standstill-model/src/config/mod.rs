pub(crate) mod mutant;
pub(crate) mod options;
