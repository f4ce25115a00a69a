//! Callbacks that only fill the table of states, so that a walk passes as many as there can be.

use alloc::vec::Vec;

use standstill::context::Task;
use standstill::hotplug::StateHandle;

use crate::console::{ONLINE, PREPARE, STARTING};
use crate::lock::SpinLock;
use crate::machine;

/// Where they are, in the order in which they were installed.
static FILLERS: SpinLock<Vec<StateHandle>> = SpinLock::new(Vec::new());

/// One in each state that has none; how many these are.
pub(crate) fn fill(task: &mut Task) -> usize {
    let mut count = 0;
    for callbacks in [PREPARE, STARTING, ONLINE] {
        while let Ok(state) = machine().add_state(task, "filler", callbacks) {
            FILLERS.lock().push(state);
            count += 1;
        }
    }
    count
}

/// Takes one out of each section, if there are any: whoever comes next needs a state in each. True if
/// something was taken.
pub(crate) fn make_room(task: &mut Task) -> bool {
    let mut taken = false;
    for section in [PREPARE, STARTING, ONLINE].map(|callbacks| callbacks.section()) {
        let filler = {
            let mut fillers = FILLERS.lock();
            let last = fillers.iter().rposition(|filler| filler.id().section() == Some(section));
            last.map(|at| fillers.remove(at))
        };
        // It was installed by `fill`, and nobody else removes it.
        taken |= filler.is_some_and(|filler| machine().remove_state(task, filler).is_ok());
    }
    taken
}
