pub(crate) mod bounded;
pub(crate) mod dpor;
pub(crate) mod parallel;
pub(crate) mod random;
pub(crate) mod search;
pub(crate) mod table;
pub(crate) mod sample;
pub(crate) mod snapshot;
