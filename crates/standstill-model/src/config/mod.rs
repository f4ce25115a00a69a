pub(crate) mod mutant;
pub(crate) mod mutation;
pub(crate) mod options;
