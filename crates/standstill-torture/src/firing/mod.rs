//! Every rule of the torture, seen to fire: a check that was never seen to fail does not count.
//!
//! [`world`] is a machine that is the same in every run, [`port`] is what it answers, and [`lie`] what it answers wrong when told to. [`table`]
//! names for each rule what breaks it; [`scenes`] and [`operations`] are those cases that need no more than a few calls, stops or operations.

mod lie;
mod operations;
mod port;
mod scenes;
mod table;
mod world;
