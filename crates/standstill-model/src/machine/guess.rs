//! Guesses: what the code says of a word is checked while the search relies on it.
//!
//! `guess` promises that what is read is for a compare-and-swap that expects it. So the search takes the reading, what is stored before the
//! compare-and-swap (the link of a list's new element), and the compare-and-swap for one step. That is sound only if
//!
//! 1. the next access to the word is that compare-and-swap: with a plain store, others could come in between and be overwritten;
//! 2. nobody else looks at what is stored in between: a try that fails must leave no trace.
//!
//! The first is looked at in every step, and code that breaks it is stopped with the rule [`RULE`]. What is stored in between counts as plain memory
//! from then on: whoever uses it without knowing what happened there before, or after, is a data race (rule `race`). That is looked at in the first
//! [steps](crate::machine::parts::Look::watches_until) of a search, and in all of a replay. Words on a stack are left out: their places are used again.
//!
//! A try that fails is never seen then, so the code that tries again is not, either. Without merging ([`Options::reduce`](crate::Options::reduce)), and in a scenario that asks
//! for it (`tries-that-fail`), a guess is a load like any other.
//!
//! A guess may be given up, if nothing was stored: it was a relaxed load then, and what follows is no part of its step. Anything but a store to another word
//! gives it up.

use crate::reduction::guess::Guess;
use crate::reduction::guess::{Part, RULE};
use std::panic::Location;

use crate::machine::state::Wants;
use crate::machine::world::{World, with};
use crate::vocab::step::Access;

/// `value` was read at `place`, as a guess.
pub(crate) fn guessed(place: usize, value: usize, at: &'static Location<'static>) {
    if std::thread::panicking() {
        return;
    }
    with(|w| {
        if w.phase.branching
            && w.step.inside
            && w.look.peeking.is_none()
            && w.options.reduce
            && !w.subject.tries
        {
            w.reduction.guess = Some(Guess { place, value, at, stored: None });
        }
    });
}

impl World {
    /// An access begins: which part has it in the step of the guess before it?
    #[inline]
    pub(crate) fn part_of_guess(
        &mut self,
        place: usize,
        access: Access,
        wants: Wants,
        at: &'static Location<'static>,
    ) -> Part {
        match self.reduction.guess {
            None => Part::None,
            Some(guess) => self.follows(guess, place, access, wants, at),
        }
    }

    fn follows(
        &mut self,
        guess: Guess,
        place: usize,
        access: Access,
        wants: Wants,
        at: &'static Location<'static>,
    ) -> Part {
        if place != guess.place {
            if access == Access::Store {
                self.reduction.guess = Some(Guess { stored: Some(at), ..guess });
                // On a stack another word has this place once the frame is gone, and it may be no link.
                if !self.stacks.slots.iter().any(|slot| slot.holds(place)) {
                    self.reduction.classes.prepare(place);
                }
                return Part::Stored;
            }
            return if self.gives_up("another word is used", at) { Part::None } else { Part::Broken };
        }
        if wants == Wants::Guess {
            // Another one.
            return if self.gives_up("the word is guessed again", at) { Part::None } else { Part::Broken };
        }
        self.reduction.guess = None;
        let does = match (access, wants) {
            (Access::CompareExchange, Wants::Swap(expected)) if expected == guess.value => {
                return Part::Swapped;
            }
            (Access::CompareExchange, _) => "a compare-and-swap expects another value than was guessed",
            (Access::Load, _) => "the word is read again",
            (Access::Store, _) => "the word is stored to, whatever it holds by then",
            _ => "the word is changed, whatever it holds by then",
        };
        self.wrong_guess(guess, does, at);
        Part::Broken
    }

    /// The context does something else: a guess before it was a plain load then. False if it can't have been one.
    #[inline]
    pub(crate) fn gives_up(&mut self, does: &str, at: &'static Location<'static>) -> bool {
        let Some(guess) = self.reduction.guess.take() else { return true };
        let Some(stored) = guess.stored else { return true };
        let does = format!(
            "after the store at {}:{}, {does} with no compare-and-swap in between",
            stored.file(),
            stored.line()
        );
        self.wrong_guess(guess, &does, at);
        false
    }

    #[cold]
    fn wrong_guess(&mut self, guess: Guess, does: &str, at: &'static Location<'static>) {
        let (cpu, file, line) = (self.cpu, guess.at.file(), guess.at.line());
        let text = format!(
            "CPU {cpu} guesses a word at {file}:{line}, and at {}:{} {does}: a guess is for a compare-and-swap that expects what was guessed; for anything else take `load`",
            at.file(),
            at.line()
        );
        self.fail(RULE, text, format!("{file}:{line}"));
    }

    /// An access to a word that was stored to between a guess and its compare-and-swap: nobody else may look at it meanwhile.
    /// One CPU at a time uses it, so a read counts as a write.
    pub(crate) fn use_prepared(&mut self, place: usize, at: &'static Location<'static>) {
        const WHAT: &str = "a word that is stored to between a guess and its compare-and-swap";
        self.use_plainly("uses", WHAT, (place, false), true, at);
    }
}
