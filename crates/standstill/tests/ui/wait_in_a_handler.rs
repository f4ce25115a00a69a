//! A call's function runs in a handler: it may send, and not wait.
use standstill::platform::Platform;
use standstill::{CpuId, CpuMask, Machine, context::{IrqOff, Task}};

fn wrong<P: Platform>(machine: &Machine<P, 4>, task: &mut Task) {
    let _ = machine.call_single(task, CpuId::new(1), &|mut off: &IrqOff<'_>| {
        //~ E0277: this context must not wait for another CPU
        let _ = machine.call_many(&mut off, &CpuMask::first_n(4), &|_: &IrqOff<'_>| ());
    });
}

fn main() {}
