//! Inside RUN the machine is stopped already, and the thread that stopped it is not there.
use standstill::platform::Platform;
use standstill::{Machine, context::{Stopped, Task}};

fn wrong<P: Platform>(machine: &Machine<P, 4>, task: &mut Task) {
    let inner = |task: &mut Task| drop(machine.stop_machine(task, None, &|_: &Stopped<'_>| 0));
    //~ E0277: required because it appears within the type `standstill::context::Task`
    let _ = machine.stop_machine(task, None, &|_: &Stopped<'_>| {
        inner(task);
        0
    });
}

fn main() {}
