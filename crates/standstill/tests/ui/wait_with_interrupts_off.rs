//! With interrupts off, two CPUs that wait for each other would wait for ever.
use standstill::platform::Platform;
use standstill::{CpuId, Machine, context::{IrqOff, Task}};

fn wrong<P: Platform>(machine: &Machine<P, 4>, task: &mut Task) {
    machine.irq_off(task, |off: &IrqOff<'_>| {
        //~ E0308: expected mutable reference `&mut _`
        let _ = machine.call_single(off, CpuId::new(1), &|_: &IrqOff<'_>| ());
    });
}

fn main() {}
