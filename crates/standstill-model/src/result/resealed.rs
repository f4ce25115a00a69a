//! For fuzzers.

/// A part of a search or a checkpoint with a sum that fits what is in it: for fuzzers. Anything else is as it was.
#[must_use]
pub fn resealed(file: &[u8]) -> Vec<u8> {
    crate::result::checkpoint::resealed(file)
        .or_else(|| crate::result::shard::resealed(file))
        .unwrap_or_else(|| file.to_vec())
}
