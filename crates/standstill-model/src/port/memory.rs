//! Shared memory, as the library asks for it.

use std::hash::Hash;
use std::panic::Location;

use standstill::platform::{Datum, Memory};

use super::Model;
use crate::base::hash::Hash128;
use crate::machine::access::{self, ModelCell, ModelPtr, ModelWord};
use crate::machine::world::with;

// SAFETY: the types keep the promises of `Memory`: a fence is an access of its own.
unsafe impl Memory for Model {
    type Word = ModelWord;
    type Ptr<T: 'static> = ModelPtr<T>;
    type Cell<T: Datum> = ModelCell<T>;

    #[track_caller]
    fn fence(&self) {
        access::fence(Location::caller());
    }

    fn enter_loop(&self) {
        with(|w| w.thread_mut().level_mut().loop_begins());
    }

    fn leave_loop(&self) {
        with(|w| w.thread_mut().level_mut().loop_ends());
    }

    #[track_caller]
    fn loop_head<S: Hash>(&self, state: &S) {
        access::loop_head(Hash128::of(state), Location::caller());
    }
}
