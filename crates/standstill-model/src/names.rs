//! Names for places of memory, for people.

/// The name of a place: where it lies, as far as is known.
pub(crate) fn name_of(place: usize) -> String {
    format!("{place:#x}")
}
