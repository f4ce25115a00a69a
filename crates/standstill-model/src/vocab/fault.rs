//! What went wrong.

/// What went wrong in a step.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) rule: String,
    pub(crate) cpu: usize,
    pub(crate) text: String,
    pub(crate) location: String,
}

/// The rules of the checker itself: what can be wrong with any code.
pub(crate) const RULES: [&str; 7] =
    ["condition", "deadlock", "guess", "livelock", "panic", "race", "require"];
