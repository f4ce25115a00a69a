//! STARTING and DYING run with interrupts off: nothing there may sleep.
use standstill::context::Task;
use standstill::hotplug::Callbacks;
use standstill::CpuId;

fn sleeps(_: &mut Task, _: CpuId) {}

fn wrong() -> Callbacks {
    //~ E0631: type mismatch in function arguments
    Callbacks::Starting { starting: Some(&sleeps), dying: None }
}

fn main() {}
