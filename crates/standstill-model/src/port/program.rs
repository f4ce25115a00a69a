//! The library, as the machine runs it.

use standstill::context::Task;
use standstill::platform::Entry;

use crate::program::Program;
use crate::vocab::step::Interrupt;

/// A machine of the library. The simulated one alone has it, and calls each method in the context
/// that [`Program`] says.
pub(crate) struct Runs(pub(crate) &'static dyn Entry);

impl Program for Runs {
    fn start_cpu(&self, incarnation: usize) -> bool {
        // SAFETY: the first thing on a fresh stack, interrupts off.
        unsafe { self.0.start_cpu(incarnation) }.is_ok()
    }

    fn idle(&self) {
        // SAFETY: the idle context, interrupts on, preempt count 0.
        unsafe { self.0.idle() };
    }

    fn serve(&self) {
        // SAFETY: a thread of its own, interrupts on.
        let mut task = unsafe { Task::new() };
        // SAFETY: the body of the CPU's one hotplug fibre.
        unsafe { self.0.serve_hotplug(&mut task) };
    }

    fn interrupt(&self, kind: Interrupt) {
        match kind {
            // SAFETY: in interrupt context on the CPU that got it, interrupts off.
            Interrupt::Call => unsafe { self.0.on_call_ipi() },
            // SAFETY: as above.
            Interrupt::Halt => unsafe { self.0.on_halt_ipi() },
            Interrupt::Device => {}
        }
    }

    fn stopper(&self) {
        // SAFETY: 1. the scheduler takes the stopper only on preemptible contexts with interrupts on. 2. it is not nested.
        unsafe { self.0.run_stopper() };
    }
}
