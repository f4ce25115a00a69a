//! The guard has the thread's token, so the thread can't wait for the lock that it holds.
use standstill::platform::Platform;
use standstill::{CpuId, Machine, context::Task};

fn wrong<P: Platform>(machine: &Machine<P, 4>, task: &mut Task) {
    let guard = machine.cpus_read_lock(task);
    //~ E0499: cannot borrow `*task` as mutable more than once at a time
    let _ = machine.cpu_down(task, CpuId::new(1));
    drop(guard);
}

fn main() {}
