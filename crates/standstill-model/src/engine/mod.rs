pub(crate) mod bounded;
pub(crate) mod dpor;
pub(crate) mod parallel;
pub(crate) mod random;
pub(crate) mod sample;
pub(crate) mod search;
pub(crate) mod snapshot;
pub(crate) mod table;
