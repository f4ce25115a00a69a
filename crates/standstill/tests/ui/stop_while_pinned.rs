//! A pinned section keeps this CPU's own stopper off: the stop would never begin.
use standstill::platform::Platform;
use standstill::{Machine, context::{Pinned, Stopped, Task}};

fn wrong<P: Platform>(machine: &Machine<P, 4>, task: &mut Task) {
    machine.pin(task, |pinned: &mut Pinned<'_>| {
        //~ E0308: expected mutable reference `&mut standstill::context::Task`
        let _ = machine.stop_machine(pinned, None, &|_: &Stopped<'_>| 0);
    });
}

fn main() {}
