//! What the torture needs beyond the platform: threads, sleep, time, devices.

use std::hint;
use std::sync::atomic::Ordering::Relaxed;

use standstill::CpuId;
use standstill::context::Task;
use standstill_torture::{Body, Ground, LineHandler};

use crate::Hosted;
use crate::board::here;
use crate::firmware::hold;
use crate::os;
use crate::thread::{Out, switch_out};

impl Ground for Hosted {
    fn now_ns(&self) -> u64 {
        os::now_ns()
    }

    fn spawn(&self, name: &'static str, home: CpuId, body: &'static Body) {
        self.board.start_thread(name, home, Box::new(move |task| body(task)));
    }

    fn sleep_ns(&self, _: &mut Task, ns: u64) {
        let thread = here().thread().expect("a `Task` is used outside of its thread");
        self.board.sleep_thread(thread, ns);
    }

    fn yield_now(&self, _: &mut Task) {
        switch_out(Out::Yield);
        if self.board.crowded() {
            // With more CPUs than cores, a CPU that has nothing better to do lets another one run.
            os::yield_core();
        }
    }

    fn pause(&self) {
        hint::spin_loop();
    }

    fn hold_start(&self, cpu: CpuId, held: bool) -> bool {
        hold(&self.board.cpu(cpu).held, held);
        true
    }

    fn hold_death(&self, cpu: CpuId, held: bool) -> bool {
        hold(&self.board.cpu(cpu).dies_later, held);
        true
    }

    fn keep_line(&self, cpu: CpuId, kept: bool) -> bool {
        self.board.cpu(cpu).keeps_line.store(kept, Relaxed);
        true
    }

    fn keep_busy(&self, cpu: CpuId, busy: bool) -> bool {
        self.board.cpu(cpu).keeps_busy.store(busy, Relaxed);
        true
    }

    fn is_expendable(&self) -> bool {
        true
    }

    fn lines(&self) -> usize {
        self.board.lines.count()
    }

    fn start_devices(&self, handler: &'static LineHandler) {
        self.board.lines.set_handler(handler);
        self.board.bus.set_devices(true);
    }

    fn stop_devices(&self, task: &mut Task) -> (u64, u64) {
        self.board.bus.set_devices(false);
        // What is pending is handled within microseconds, or never: ten seconds are enough for a loaded computer.
        let give_up = os::now_ns() + 10_000_000_000;
        loop {
            let (raised, handled) = self.board.lines.account();
            if (self.board.bus.is_quiet() && raised == handled) || os::now_ns() > give_up {
                return (raised, handled);
            }
            self.sleep_ns(task, 200_000);
        }
    }
}
