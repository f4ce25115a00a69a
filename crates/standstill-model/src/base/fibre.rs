//! Fibres: the stacks that simulated code runs on, and how one is saved and put back.
//!
//! A suspended fibre is the live part of its stack, from its stack pointer to its base, and the bytes of the value that holds that
//! pointer. Both lie at fixed addresses, so copying them out and in brings a fibre back to where it was: what points into a stack
//! still points to the same thing. Nothing on such a stack owns memory elsewhere: the library allocates nothing, and the model keeps
//! what it needs in [`World`](crate::machine::world::World).

use std::mem::MaybeUninit;
use std::num::NonZeroUsize;

use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::vocab::step::Interrupt;

/// What a suspended fibre is told when it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// Do what was announced.
    Go,
    /// Take this interrupt, and announce the same thing again.
    Interrupt(Interrupt),
    /// Run the stopper, and announce the same thing again.
    Stopper,
    /// Look whether the condition that is waited for holds, and announce the same thing again.
    Peek,
    /// The deadline is over.
    Expire,
}

/// A stack in the arena.
#[derive(Clone, Copy)]
struct Lent {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: the bounds are those of a stack in the arena of the world that the fibre runs in, with a guard below it.
unsafe impl Stack for Lent {
    fn base(&self) -> StackPointer {
        self.base
    }

    fn limit(&self) -> StackPointer {
        self.limit
    }
}

type Co = Coroutine<Command, (), (), Lent>;

/// A place for a fibre, with a stack.
pub(crate) struct Slot {
    stack: Lent,
    /// Overwritten, never dropped: an abandoned fibre has nothing to drop.
    co: MaybeUninit<Co>,
    yielder: *const Yielder<Command, ()>,
}

impl Slot {
    /// A slot whose stack is from `low` up to `high`.
    pub(crate) fn new((low, high): (usize, usize)) -> Slot {
        let end = |place| StackPointer::new(place).expect("no stack is at zero");
        Slot {
            stack: Lent { base: end(high), limit: end(low) },
            co: MaybeUninit::uninit(),
            yielder: std::ptr::null(),
        }
    }

    /// Puts a new fibre here, whatever was here before. It does not run yet.
    pub(crate) fn start(&mut self, main: fn(usize), arg: usize) {
        let yielder = &raw mut self.yielder as usize;
        self.co.write(Coroutine::with_stack(self.stack, move |y: &Yielder<Command, ()>, _| {
            let place = yielder as *mut *const Yielder<Command, ()>;
            // SAFETY: slots live in a boxed slice that is never moved while a fibre of theirs can run.
            unsafe { place.write(y) };
            main(arg);
        }));
    }

    /// Lets the fibre run until it suspends; false if it ended.
    ///
    /// # Safety
    /// [`start`](Self::start) was called, and the fibre has not ended since.
    pub(crate) unsafe fn resume(this: *mut Slot, command: Command) -> bool {
        // SAFETY: started, by the contract. No other reference to the fibre exists: a fibre that runs does not resume itself.
        let co = unsafe { (*this).co.assume_init_mut() };
        match co.resume(command) {
            CoroutineResult::Yield(()) => true,
            CoroutineResult::Return(()) => false,
        }
    }

    /// Leaves the fibre, which is the one that runs, until it is resumed.
    ///
    /// # Safety
    /// The caller runs on this slot's fibre.
    pub(crate) unsafe fn suspend(this: *const Slot) -> Command {
        // SAFETY: set when the fibre began; a yielder lives at the base of the fibre's stack as long as the fibre does.
        unsafe { (*(*this).yielder).suspend(()) }
    }

    /// Does this place lie on the fibre's stack?
    pub(crate) fn holds(&self, place: usize) -> bool {
        (self.stack.limit().get()..self.stack.base().get()).contains(&place)
    }

    /// How far below the base of the stack a place on it is.
    pub(crate) fn offset(&self, place: usize) -> usize {
        self.stack.base().get() - place
    }

    /// The live part of the stack of a suspended fibre.
    fn live(&self) -> (usize, usize) {
        let (base, limit) = (self.stack.base().get(), self.stack.limit().get());
        // The stack pointer is private to the crate; it is the lowest word of the value that points into the stack. Its other
        // words are the bounds, which are not strictly inside, and where the stack pointer was at the start.
        let words = self.co.as_ptr().cast::<MaybeUninit<usize>>();
        let mut low = base;
        for index in 0..size_of::<Co>() / size_of::<usize>() {
            // SAFETY: inside the value; a word of padding is read as possibly uninitialised and only compared.
            let word = unsafe { words.add(index).read().assume_init() };
            if word > limit && word < low {
                low = word;
            }
        }
        (low, base - low)
    }

    /// Appends what is needed to bring the fibre back here, and says how long that is.
    ///
    /// # Safety
    /// The fibre was started and is suspended.
    pub(crate) unsafe fn save(&self, to: &mut Vec<u8>) -> usize {
        let began = to.len();
        let (low, len) = self.live();
        // SAFETY: the value is initialised (its padding may not be, and is only copied).
        let co = unsafe { std::slice::from_raw_parts(self.co.as_ptr().cast::<u8>(), size_of::<Co>()) };
        to.extend_from_slice(co);
        // SAFETY: the live part of a mapped stack that nobody runs on.
        let stack = unsafe { std::slice::from_raw_parts(low as *const u8, len) };
        to.extend_from_slice(stack);
        to.len() - began
    }

    /// Brings the fibre back to where it was when it was saved.
    ///
    /// # Safety
    /// `from` is from [`save`](Self::save) of the same slot, and no fibre runs on it.
    pub(crate) unsafe fn restore(&mut self, from: &[u8]) {
        let (co, stack) = from.split_at(size_of::<Co>());
        let base = self.stack.base();
        // SAFETY: the same value, at the same place.
        unsafe { std::ptr::copy_nonoverlapping(co.as_ptr(), self.co.as_mut_ptr().cast::<u8>(), co.len()) };
        let low = NonZeroUsize::get(base) - stack.len();
        // SAFETY: the live part as it was, up to the same base.
        unsafe { std::ptr::copy_nonoverlapping(stack.as_ptr(), low as *mut u8, stack.len()) };
    }
}
