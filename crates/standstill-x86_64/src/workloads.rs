//! What the torture needs from the kernel beyond [`Kernel`]. The trait of the torture can't be implemented for a platform of this crate
//! elsewhere, so it is here, and passes everything on.

use standstill::CpuId;
use standstill::context::Task;
use standstill_torture::{Body, Ground, LineHandler};

use crate::X86;
use crate::kernel::Kernel;
use crate::time;

/// A kernel that the torture can run on; each function is the one of [`Ground`].
#[expect(missing_docs, reason = "as in Ground")]
pub trait Workloads: Kernel {
    fn spawn(name: &'static str, home: CpuId, body: &'static Body);
    fn sleep_ns(task: &mut Task, ns: u64);
    fn yield_now(task: &mut Task);
    fn between_operations(task: &mut Task) {
        let _ = task;
    }
    fn lines() -> usize;
    fn start_devices(handler: &'static LineHandler);
    fn stop_devices(task: &mut Task) -> (u64, u64);
}

impl<K: Workloads> Ground for X86<K> {
    fn now_ns(&self) -> u64 {
        time::now_ns()
    }

    fn spawn(&self, name: &'static str, home: CpuId, body: &'static Body) {
        K::spawn(name, home, body);
    }

    fn sleep_ns(&self, task: &mut Task, ns: u64) {
        K::sleep_ns(task, ns);
    }

    fn yield_now(&self, task: &mut Task) {
        K::yield_now(task);
    }

    fn between_operations(&self, task: &mut Task) {
        K::between_operations(task);
    }

    fn pause(&self) {
        core::hint::spin_loop();
    }

    fn lines(&self) -> usize {
        K::lines()
    }

    fn start_devices(&self, handler: &'static LineHandler) {
        K::start_devices(handler);
    }

    fn stop_devices(&self, task: &mut Task) -> (u64, u64) {
        K::stop_devices(task)
    }
}
