//! Masks against sets: what the library's masks say about random members, with a boundary of two words among them.

use standstill::{CpuId, CpuMask};

use crate::rng::Rng;

/// How many words the masks have.
const WORDS: usize = 2;
const BITS: usize = 64 * WORDS;

type Set = [bool; BITS];

fn both(rng: &Rng) -> (CpuMask<WORDS>, Set) {
    let (mut mask, mut set) = (CpuMask::EMPTY, [false; BITS]);
    for _ in 0..rng.below(24) {
        // Near the boundary more often than elsewhere.
        let at = if rng.one_in(2) { 60 + rng.below(8) } else { rng.below(BITS) };
        let put = !rng.one_in(4);
        let cpu = CpuId::new(at);
        if put {
            mask.insert(cpu)
        } else {
            mask.remove(cpu)
        }
        set[at] = put;
    }
    (mask, set)
}

fn same(mask: &CpuMask<WORDS>, holds: impl Fn(usize) -> bool) -> bool {
    (0..BITS).all(|at| mask.contains(CpuId::new(at)) == holds(at))
}

/// Do masks and sets agree, once, about everything that can be asked?
pub(crate) fn agrees(rng: &Rng) -> bool {
    let ((a, x), (b, y)) = (both(rng), both(rng));
    let of_a = || (0..BITS).filter(|at| x[*at]);
    let index = |cpu: Option<CpuId>| cpu.map(CpuId::index);
    let from = rng.below(BITS);
    let n = rng.below(BITS + 1);
    same(&a, |at| x[at])
        && a.iter().map(CpuId::index).eq(of_a())
        && a.len() == of_a().count()
        && a.is_empty() == of_a().next().is_none()
        && index(a.first()) == of_a().next()
        && index(a.last()) == of_a().next_back()
        && index(a.after(CpuId::new(from))) == of_a().find(|at| *at > from)
        && same(&a.and(&b), |at| x[at] && y[at])
        && same(&a.or(&b), |at| x[at] || y[at])
        && same(&a.without(&b), |at| x[at] && !y[at])
        && a.is_subset(&b) == of_a().all(|at| y[at])
        && a.and(&b).is_subset(&a)
        && same(&CpuMask::first_n(n), |at| at < n)
        && same(&CpuMask::of(CpuId::new(from)), |at| at == from)
        && (a == b) == (x == y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "plain arithmetic, and a lot of it")]
    fn masks_are_sets() {
        let rng = Rng::new(1, 0);
        assert!((0..500).all(|_| agrees(&rng)));
    }

    #[test]
    fn a_mask_that_is_another_set_shows() {
        let (mask, mut set) = both(&Rng::new(2, 0));
        assert!(same(&mask, |at| set[at]));
        set[63] = !set[63];
        assert!(!same(&mask, |at| set[at]));
    }
}
