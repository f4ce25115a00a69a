//! The seam: the code that runs in the machine, and who judges what it does.
//!
//! The machine knows of both what is said here, and nothing else.

use std::any::Any;

use crate::base::hash::Hash128;
use crate::vocab::step::Interrupt;

/// The code that the CPUs run besides tasks. The machine alone calls it, each method in the context
/// that its own words name.
pub(crate) trait Program {
    /// The first thing on the fresh stack of a started CPU, interrupts off. `incarnation` is what its
    /// start said. False: the CPU is off again.
    fn start_cpu(&self, incarnation: usize) -> bool;

    /// The idle context of a CPU, interrupts on, preemptible: one turn of its loop.
    fn idle(&self);

    /// The body of the one thread that each CPU has for itself: interrupts on.
    fn serve(&self);

    /// The handler of an interrupt of this kind, interrupts off, on the CPU that got it. Devices have
    /// handlers of their own.
    fn interrupt(&self, kind: Interrupt);

    /// The stopper, on top of a preemptible context with interrupts on. It is not nested.
    fn stopper(&self);
}

/// A rule that the whole run breaks.
pub(crate) struct Broken {
    pub(crate) cpu: usize,
    pub(crate) rule: String,
    pub(crate) text: String,
}

/// Who judges what the code does. What it remembers is part of each state: it is one of some values,
/// and each has a number.
pub(crate) trait Monitor: Any {
    /// The number of the value that it has now.
    fn now(&self) -> u32;
    /// Back to a value that it had before.
    fn set(&mut self, now: u32);
    /// The hash of the value that it has now.
    fn hash(&self) -> Hash128;
    /// How many bytes all its values take.
    fn bytes(&self) -> usize;
    /// Nobody will go back before this point: only the value that it has now is kept.
    fn forget(&mut self);
    /// The run is at its end: is what it has seen complete?
    ///
    /// # Errors
    /// It is not.
    fn finish(&self) -> Result<(), Broken>;
    /// The letter of the property with this number, and what happens where it does not hold.
    fn property(&self, number: usize) -> (char, &'static str);
    /// Is this the name of one of its rules?
    fn is_rule(&self, name: &str) -> bool;
}
