//! The memory of one exploration: all stacks, the machine, and what a scenario keeps, in one piece.
//!
//! Each thread that searches has a machine of its own, at addresses of its own. What lies in the arena is told by its distance from the arena's
//! beginning ([`steady`]), so a fingerprint means the same state to all of them. Code and constants lie at the same addresses for all threads of a
//! process.
//!
//! | from | to | what |
//! |---|---|---|
//! | 0 | `THREADS * SPAN` | for each fibre a page that nobody may touch, and its stack |
//! | `THREADS * SPAN` | `SIZE` | what is kept |
//!
//! All of it goes with the arena, so many explorations take no more memory than one. Only what a [`Scenario`](crate::Scenario) of one's own keeps stays for ever: its
//! code is not this crate's, and may have put references somewhere else.

use std::cell::Cell;
use std::ptr;

use crate::vocab::limits::THREADS;

const PAGE: usize = 4096;
/// The bytes of a stack.
const STACK: usize = 128 * 1024;
const SPAN: usize = PAGE + STACK;
const STACKS: usize = THREADS * SPAN;
/// Room for what is kept: pages that nobody uses cost nothing.
const KEPT: usize = 4 << 20;
const SIZE: usize = STACKS + KEPT;
/// The first number of a place in the arena: no small number, and no address of code.
const STEADY: usize = 1 << 40;

/// The memory of one exploration.
pub(crate) struct Arena {
    base: *mut u8,
    used: usize,
    /// What is kept stays when the arena goes.
    for_ever: bool,
}

impl Arena {
    pub(crate) fn new(for_ever: bool) -> Result<Arena, String> {
        // SAFETY: a fresh mapping, wherever there is room.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            let error = std::io::Error::last_os_error();
            return Err(format!("no memory for the stacks of simulated CPUs ({SIZE} bytes): {error}"));
        }
        let arena = Arena { base: base.cast(), used: STACKS, for_ever };
        for fibre in 0..THREADS {
            // SAFETY: the first page of its span, inside the mapping; nobody uses it yet.
            let result = unsafe { libc::mprotect(base.add(fibre * SPAN), PAGE, libc::PROT_NONE) };
            if result != 0 {
                return Err(format!("a stack gets no guard: {}", std::io::Error::last_os_error()));
            }
        }
        Ok(arena)
    }

    /// The lowest address of the stack of a fibre, and the one behind its highest.
    pub(crate) fn stack(&self, fibre: usize) -> (usize, usize) {
        let low = self.base.addr() + fibre * SPAN + PAGE;
        (low, low + STACK)
    }

    /// Keeps a value for as long as the arena is there. What is kept in one that does not stay must not be used by anybody but the code that runs in it; it is
    /// never dropped.
    pub(crate) fn keep<T>(&mut self, value: T) -> &'static T {
        let at = self.used.next_multiple_of(align_of::<T>());
        self.used = at + size_of::<T>();
        assert!(self.used <= SIZE, "a scenario keeps more than {KEPT} bytes");
        // SAFETY: inside the mapping, aligned (the base is, to a page), and nobody else has these bytes.
        let place = unsafe { self.base.add(at) }.cast::<T>();
        // SAFETY: as above.
        unsafe { place.write(value) };
        // SAFETY: just written, never changed but through cells, and given back only with all that uses it: the scenarios of this crate keep references in
        // their tasks, handlers and machines alone; those of others are kept for ever.
        unsafe { &*place }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let size = if self.for_ever { STACKS } else { SIZE };
        // SAFETY: this mapping, or its stacks; no fibre runs any more.
        unsafe { libc::munmap(self.base.cast(), size) };
    }
}

thread_local! {
    /// Where the arena of this OS thread begins. With none, no number lies in it.
    static BASE: Cell<usize> = const { Cell::new(usize::MAX - SIZE) };
}

/// From here on the arena of this OS thread is this one; the one before comes back.
pub(crate) fn enter(arena: &Arena) -> usize {
    BASE.replace(arena.base.addr())
}

/// Back to the arena that there was before.
pub(crate) fn leave(before: usize) {
    BASE.set(before);
}

/// The first number of a place in the program itself.
const PROGRAM: usize = 1 << 42;
/// Code and constants lie within so many bytes of each other.
const SPREAD: usize = 1 << 30;

/// A word that may be an address, as it is for all threads, and for all processes of one program: what points into the arena is told by where in
/// it, and so is what points to code or to a constant.
#[inline(always)]
pub(crate) fn steady(word: usize) -> usize {
    let offset = word.wrapping_sub(BASE.get());
    if offset < SIZE {
        return STEADY + offset;
    }
    let offset = word.wrapping_sub((steady as fn(usize) -> usize as usize).wrapping_sub(SPREAD / 2));
    if offset < SPREAD { PROGRAM + offset } else { word }
}

/// The address with this number, on this OS thread.
pub(crate) fn address(steady: usize) -> usize {
    let offset = steady.wrapping_sub(STEADY);
    if offset < SIZE { BASE.get() + offset } else { steady }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_the_same_number_in_each_arena() {
        let number = |arena: &mut Arena| {
            let before = enter(arena);
            let kept = arena.keep([7_u64, 8]);
            let place = ptr::from_ref(kept).addr();
            let (low, high) = arena.stack(THREADS - 1);
            assert_eq!(address(steady(place)), place);
            assert_ne!(steady(place), place);
            let numbers = [steady(place), steady(low), steady(high - 8), steady(5), steady(usize::MAX)];
            leave(before);
            (place, numbers)
        };
        let (mut one, mut other) = (Arena::new(true).expect("memory"), Arena::new(false).expect("memory"));
        let (a, b) = (number(&mut one), number(&mut other));
        assert_ne!(a.0, b.0);
        assert_eq!(a.1, b.1);
        assert_eq!(a.1[3..], [5, usize::MAX]);
        for word in [0, 1, 4096, SIZE, usize::MAX, a.0] {
            assert_eq!(steady(word), word, "this thread has no arena");
        }
    }
}
