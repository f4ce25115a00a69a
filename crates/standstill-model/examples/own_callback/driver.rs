//! A driver with a buffer for each CPU, which calls from other CPUs write to. When may the buffer go?

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{Acquire, Release};

use standstill::context::{IrqOff, Task};
use standstill::hotplug::{Callbacks, Reason};
use standstill::platform::Word;
use standstill::{CpuId, Csd};
use standstill_model::{ModelWord, Scenario, Setup, Verdict, all_up, branch, require};

/// When the driver frees the buffer of a CPU that leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frees {
    /// In its ONLINE callback: there the CPU is on its way down, and still takes calls.
    OnTheWayDown,
    /// In its DEAD callback.
    WhenDead,
}

/// Two CPUs: the second one leaves while device interrupts on the first send calls that use its buffer.
fn scenario(frees: Frees) -> Scenario {
    Scenario::new("a-buffer-for-each-cpu", move |s: &mut Setup<'_, 2>| {
        let (machine, last) = (s.machine(), s.last());
        // 1 while the buffer of the last CPU is there.
        let buffer = s.keep(ModelWord::ZERO);
        let uses = s.keep(move |_: &IrqOff<'_>| require(buffer.load(Acquire) == 1, "the buffer is gone"));
        let comes = s.keep(move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
            if cpu == last {
                buffer.store(1, Release);
            }
            Ok(())
        });
        let goes = s.keep(move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
            if cpu == last && frees == Frees::OnTheWayDown {
                buffer.store(0, Release);
            }
            Ok(())
        });
        let dead = s.keep(move |_: &mut Task, cpu: CpuId| {
            if cpu == last {
                buffer.store(0, Release);
            }
        });
        let csd = s.keep(Csd::new());
        s.device(move |off, cpu| {
            if cpu != last {
                // Refused is fine: the driver is told that the CPU has left.
                let _ = machine.call_single_async(off, last, csd, uses);
            }
        });
        s.task(move |task| {
            for (name, callbacks) in [
                ("buffer: prepare", Callbacks::Prepare { up: Some(comes), dead: Some(dead) }),
                ("buffer: online", Callbacks::Online { up: None, down: Some(goes) }),
            ] {
                if let Err(error) = machine.add_state(task, name, callbacks) {
                    panic!("{name}: {error}");
                }
            }
            all_up(machine, task);
            branch();
            if let Err(error) = machine.cpu_down(task, last) {
                panic!("{last} does not go down: {error}");
            }
        });
    })
}

/// Checks all interleavings.
pub(crate) fn check(frees: Frees) -> Verdict {
    standstill_model::check(&scenario(frees).options(), &mut |_| ControlFlow::Continue(()))
}
