//! What went wrong.

/// What went wrong in a step.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) rule: String,
    pub(crate) cpu: usize,
    pub(crate) text: String,
    pub(crate) location: String,
}
