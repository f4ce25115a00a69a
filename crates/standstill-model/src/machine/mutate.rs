//! What a mutant changes in what the machine does.
use crate::config::mutant::Begins;
use crate::config::mutant::Change;
use crate::machine::world::World;
use std::panic::Location;
use std::sync::atomic::Ordering;

impl World {
    /// Is `change` to be made to what is done at `at` now?
    #[inline(always)]
    pub(crate) fn mutates(&mut self, change: Change, at: &'static Location<'static>) -> bool {
        match &mut self.mutation {
            None => false,
            Some(mutation) => {
                let part = if self.phase.branching { Begins::AfterSetup } else { Begins::AtOnce };
                mutation.hits(change, at, part)
            }
        }
    }

    /// The ordering that an access at `at` has: `order`, unless a mutant weakens it. A compare-and-swap that fails is relaxed anyway.
    #[inline(always)]
    pub(crate) fn effective_order(&mut self, order: Ordering, at: &'static Location<'static>) -> Ordering {
        if self.mutation.is_none() { order } else { self.weakened(order, at) }
    }

    #[cold]
    fn weakened(&mut self, order: Ordering, at: &'static Location<'static>) -> Ordering {
        match order {
            Ordering::Acquire | Ordering::Release if self.mutates(Change::ToRelaxed, at) => Ordering::Relaxed,
            Ordering::AcqRel if self.mutates(Change::ToAcquire, at) => Ordering::Acquire,
            Ordering::AcqRel if self.mutates(Change::ToRelease, at) => Ordering::Release,
            order => order,
        }
    }

    /// The ordering of the fence at `at`: sequentially consistent, unless a mutant weakens it; relaxed: there is none.
    pub(crate) fn fence_order(&mut self, at: &'static Location<'static>) -> Ordering {
        if self.mutates(Change::SkipFence, at) {
            Ordering::Relaxed
        } else if self.mutates(Change::WeakerFence, at) {
            Ordering::AcqRel
        } else {
            Ordering::SeqCst
        }
    }
}

/// What a wait that is skipped returns: the answer that it waits for, where the type says what that is; else none, as if it had given up.
pub(crate) fn skipped<R>() -> Option<R> {
    let name = std::any::type_name::<R>();
    if name == "()" {
        // SAFETY: `R` is `()`, as its name says: no other type is called that.
        Some(unsafe { std::mem::transmute_copy::<(), R>(&()) })
    } else if name == "bool" {
        // SAFETY: as above.
        Some(unsafe { std::mem::transmute_copy::<bool, R>(&true) })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_skipped_wait_answers() {
        assert_eq!(skipped::<()>(), Some(()));
        assert_eq!(skipped::<bool>(), Some(true));
        assert_eq!(skipped::<Option<u8>>(), None);
    }
}
