//! What is typed on the kernel's console, from bytes to commands.
//!
//! [`Editor`] makes lines of bytes, [`parse`] makes a [`Command`] of a line, and a [`Refusal`] says in
//! one line what is wrong with one that is none. The kernel runs the commands. Nothing here allocates
//! or knows the kernel, so that every byte that can come is tried on the host.

#![no_std]

mod command;
mod editor;
mod refusal;

pub use command::{Command, MAX_SECONDS, MAX_TIMES, help, parse};
pub use editor::{Editor, Key, MAX_LINE, Unfit};
pub use refusal::Refusal;

/// What the `standstill` command sends at the end of its input: end of transmission, as Ctrl-D does.
pub const END_OF_INPUT: u8 = 4;
