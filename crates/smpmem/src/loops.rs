//! Loops of which a checker may see the whole state.

use core::hash::Hash;
use core::ops::ControlFlow;

use crate::Memory;

/// Runs `step` until it breaks, and returns what it broke with.
///
/// `state` is all that the loop remembers from one turn to the next, as `step` is a plain function.
/// So a checker may identify two turns that begin with equal states, and a loop that waits has
/// finitely many of them.
#[track_caller]
pub fn run_loop<M: Memory, C, S: Hash, R>(
    memory: &M,
    context: &C,
    state: &mut S,
    step: fn(&C, &mut S) -> ControlFlow<R>,
) -> R {
    memory.enter_loop();
    loop {
        memory.loop_head(state);
        if let ControlFlow::Break(result) = step(context, state) {
            memory.leave_loop();
            return result;
        }
    }
}
