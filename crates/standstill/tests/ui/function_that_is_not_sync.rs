//! The function runs on another CPU.
use std::cell::Cell;

use standstill::platform::Platform;
use standstill::{CpuId, Machine, context::{IrqOff, Task}};

fn wrong<P: Platform>(machine: &Machine<P, 4>, task: &mut Task) {
    let count = Cell::new(0);
    //~ E0277: `Cell<i32>` cannot be shared between threads safely
    let _ = machine.call_single(task, CpuId::new(1), &|_: &IrqOff<'_>| count.set(1));
}

fn main() {}
