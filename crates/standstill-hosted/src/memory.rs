//! A word as the kernel's futex sees it. The memory itself is the machine's: `AtomicUsize`, `AtomicPtr`, plain cells.

use std::sync::atomic::AtomicUsize;

#[cfg(target_endian = "big")]
compile_error!("standstill-hosted waits on the first four bytes of a word: only little-endian machines work");

/// The half of the word that a futex compares.
///
/// Only little-endian machines are supported, so it is the first one.
pub(crate) fn low_half(word: &AtomicUsize) -> *const u32 {
    std::ptr::from_ref(word).cast()
}
