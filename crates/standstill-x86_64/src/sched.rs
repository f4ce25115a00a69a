//! Threads and lines: the kernel's, passed on.

use standstill::CpuId;
use standstill::hotplug::Reason;
use standstill::platform::{Runs, Sched, Vacate};

use crate::X86;
use crate::cpu::{self, Doing};
use crate::kernel::Kernel;

// SAFETY: 1., 2. and 3. are promises of `Kernel`, which is unsafe to implement for that.
unsafe impl<K: Kernel> Sched for X86<K> {
    fn evict(&self, cpu: CpuId) {
        K::evict(cpu);
    }

    fn readmit(&self, cpu: CpuId) {
        K::readmit(cpu);
    }

    fn vacate(&self, cpu: CpuId) -> Result<(), Vacate> {
        K::vacate(cpu)
    }

    fn occupied(&self, cpu: CpuId) -> Option<&'static str> {
        K::occupied(cpu)
    }

    fn only_idle_left(&self) -> bool {
        K::only_idle_left()
    }

    fn park_threads(&self, cpu: CpuId) {
        K::park_threads(cpu);
    }

    fn unpark_threads(&self, cpu: CpuId) {
        K::unpark_threads(cpu);
    }

    fn aim_lines_away(&self, cpu: CpuId) -> Result<(), Reason> {
        K::aim_lines_away(cpu)
    }

    fn lines_left(&self, cpu: CpuId) -> Result<(), Reason> {
        K::lines_left(cpu)
    }

    fn lines_back(&self, cpu: CpuId) {
        K::lines_back(cpu);
    }

    fn runs(&self, cpu: CpuId) -> Runs {
        let block = cpu::block(cpu);
        let what = match block.doing() {
            Doing::Off => "nothing: it is not running",
            Doing::StartUp => "its start-up",
            Doing::Thread => K::thread_name(cpu),
            Doing::Handler => "an interrupt handler",
            Doing::Stopper => "its stopper",
            Doing::Halted => "nothing: it is halted",
        };
        Runs { what, irqs_off_at: block.off_at() }
    }
}
