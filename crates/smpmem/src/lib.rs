//! Shared memory behind a trait.
//!
//! Code that touches shared memory through [`Memory`] runs unchanged on real atomics and inside a
//! model checker. On bare metal and on threads each access is one instruction of
//! `core::sync::atomic`. In a checker each access is a scheduling point.
//!
//! | item | what it is |
//! |---|---|
//! | [`Memory`] | the seam: which types the memory is made of, the fence, and loop heads |
//! | [`Word`] | a shared `usize` |
//! | [`Pointer`] | a shared pointer |
//! | [`DataCell`], [`Datum`] | plain shared memory, and what it may hold |
//! | [`PlainCell`] | plain shared memory of a real machine |
//! | [`native_memory!`] | makes a type a [`Memory`] of real atomics |
//! | [`run_loop`] | a loop whose whole state a checker may see |
//!
//! # Orderings
//! Orderings are relaxed, acquire, release and acquire-release. The only sequentially consistent
//! operation is [`Memory::fence`]. A checker with release/acquire views is exact for these, and is
//! not exact for `SeqCst` accesses.
//!
//! # Example
//! ```
//! use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
//! use smpmem::{Memory, Word};
//!
//! /// A lock that is only tried. It knows nothing of the machine that it runs on.
//! struct TryLock<M: Memory>(M::Word);
//!
//! impl<M: Memory> TryLock<M> {
//!     fn try_lock(&self) -> bool {
//!         // Acquire: pairs with the release of `unlock`.
//!         self.0.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
//!     }
//!     fn unlock(&self) {
//!         // Release: pairs with the acquire of `try_lock`.
//!         self.0.store(0, Release);
//!     }
//! }
//!
//! struct Real;
//! smpmem::native_memory!(Real);
//!
//! let lock = TryLock::<Real>(Word::ZERO);
//! assert!(lock.try_lock());
//! assert!(!lock.try_lock());
//! lock.unlock();
//! assert!(lock.try_lock());
//! ```
#![no_std]

mod loops;
mod native;
mod traits;

pub use loops::run_loop;
pub use native::{NativePointer, NativeWord, PlainCell, native_fence};
pub use traits::{DataCell, Datum, Memory, Pointer, Word};
