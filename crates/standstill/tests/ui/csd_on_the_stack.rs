//! Nobody waits for an async call, so its slot must outlive every list that it is in.
use standstill::platform::Platform;
use standstill::{CpuId, Csd, Machine, context::{IrqOff, Task}};

fn nothing(_: &IrqOff<'_>) {}

fn wrong<P: Platform>(machine: &Machine<P, 4>, task: &mut Task) {
    let csd = Csd::<P>::new();
    //~ E0597: `csd` does not live long enough
    let _ = machine.call_single_async(task, CpuId::new(1), &csd, &(nothing as fn(&IrqOff<'_>)));
}

fn main() {}
