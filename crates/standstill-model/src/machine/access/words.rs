//! The methods of words and pointers: each is one access.

use std::cell::UnsafeCell;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::Ordering;

use standstill::platform::{Pointer, Word};

use super::{ModelPtr, ModelWord, RELAXED, access};
use crate::machine::guess::guessed;
use crate::machine::state::Wants;
use crate::vocab::step::Access;

// SAFETY: each method is one access in one order that all fibres agree on, which is as strong as any ordering asks for; the weaker
// models give only values that the ordering allows.
unsafe impl Word for ModelWord {
    const ZERO: Self = ModelWord(UnsafeCell::new(0));

    #[track_caller]
    fn load(&self, order: Ordering) -> usize {
        access(self.0.get(), Access::Load, Wants::Load, (order, order), Location::caller(), |_| None)
    }

    #[track_caller]
    fn load_for_cas(&self) -> usize {
        let at = Location::caller();
        let value = access(self.0.get(), Access::Load, Wants::Guess, RELAXED, at, |_| None);
        guessed(self.0.get().addr(), value, at);
        value
    }

    #[track_caller]
    fn store(&self, value: usize, order: Ordering) {
        access(self.0.get(), Access::Store, Wants::Store, (order, order), Location::caller(), |_| {
            Some(value)
        });
    }

    #[track_caller]
    fn swap(&self, value: usize, order: Ordering) -> usize {
        access(self.0.get(), Access::Swap, Wants::Modify, (order, order), Location::caller(), |_| Some(value))
    }

    #[track_caller]
    fn compare_exchange(&self, old: usize, new: usize, ok: Ordering, no: Ordering) -> Result<usize, usize> {
        let was = access(
            self.0.get(),
            Access::CompareExchange,
            Wants::Swap(old),
            (ok, no),
            Location::caller(),
            |now| (now == old).then_some(new),
        );
        if was == old { Ok(was) } else { Err(was) }
    }

    #[track_caller]
    fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        access(self.0.get(), Access::FetchAdd, Wants::Modify, (order, order), Location::caller(), |now| {
            Some(now.wrapping_add(value))
        })
    }

    #[track_caller]
    fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        access(self.0.get(), Access::FetchSub, Wants::Modify, (order, order), Location::caller(), |now| {
            Some(now.wrapping_sub(value))
        })
    }

    #[track_caller]
    fn fetch_or(&self, value: usize, order: Ordering) -> usize {
        access(self.0.get(), Access::FetchOr, Wants::Modify, (order, order), Location::caller(), |now| {
            Some(now | value)
        })
    }

    #[track_caller]
    fn fetch_and(&self, value: usize, order: Ordering) -> usize {
        access(self.0.get(), Access::FetchAnd, Wants::Modify, (order, order), Location::caller(), |now| {
            Some(now & value)
        })
    }
}

impl<T> ModelPtr<T> {
    /// Pointers are words here: simulated code and scheduler share one address space, so provenance is exposed and taken back.
    fn word(&self) -> *mut usize {
        self.0.get().cast()
    }
}

fn expose<T>(pointer: *mut T) -> usize {
    pointer.expose_provenance()
}

// SAFETY: as for `Word`.
unsafe impl<T: 'static> Pointer<T> for ModelPtr<T> {
    const NULL: Self = ModelPtr(UnsafeCell::new(ptr::null_mut()));

    #[track_caller]
    fn load(&self, order: Ordering) -> *mut T {
        ptr::with_exposed_provenance_mut(access(
            self.word(),
            Access::Load,
            Wants::Load,
            (order, order),
            Location::caller(),
            |_| None,
        ))
    }

    #[track_caller]
    fn load_for_cas(&self) -> *mut T {
        let at = Location::caller();
        let value = access(self.word(), Access::Load, Wants::Guess, RELAXED, at, |_| None);
        guessed(self.word().addr(), value, at);
        ptr::with_exposed_provenance_mut(value)
    }

    #[track_caller]
    fn store(&self, value: *mut T, order: Ordering) {
        let value = expose(value);
        access(self.word(), Access::Store, Wants::Store, (order, order), Location::caller(), |_| Some(value));
    }

    #[track_caller]
    fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        let value = expose(value);
        ptr::with_exposed_provenance_mut(access(
            self.word(),
            Access::Swap,
            Wants::Modify,
            (order, order),
            Location::caller(),
            |_| Some(value),
        ))
    }

    #[track_caller]
    fn compare_exchange(
        &self,
        old: *mut T,
        new: *mut T,
        ok: Ordering,
        no: Ordering,
    ) -> Result<*mut T, *mut T> {
        let (from, to) = (expose(old), expose(new));
        let was = access(
            self.word(),
            Access::CompareExchange,
            Wants::Swap(from),
            (ok, no),
            Location::caller(),
            |now| (now == from).then_some(to),
        );
        let pointer = ptr::with_exposed_provenance_mut(was);
        if was == from { Ok(pointer) } else { Err(pointer) }
    }
}
