//! A port as bare metal would write it (memory is the CPU's, interrupts are one instruction), and two hot functions on it.
//! `zero_cost.rs` compiles it without link-time optimization and reads the assembly.
#![no_std]

#[macro_use]
#[path = "../plain/sched.rs"]
mod plain_sched;

use core::sync::atomic::{AtomicUsize, Ordering};

use standstill::context::{IrqOff, Task};
use standstill::event::Event;
use standstill::platform::{Cpus, Deadline, Entry, Ipi, Irq, StartError, Wait, WaitFor};
use standstill::{CallError, CpuId, Csd, Machine, Protocol};

unsafe extern "C" {
    /// The hardware: what a kernel would have elsewhere.
    fn hardware_send_ipi(to: usize, why: u8);
    fn hardware_rest() -> !;
}

pub struct Port;

standstill::platform::native_memory!(Port);
nobody_leaves!(Port);

static PREEMPT: AtomicUsize = AtomicUsize::new(0);
static CPU: AtomicUsize = AtomicUsize::new(0);
static FLAGS: AtomicUsize = AtomicUsize::new(1);

// SAFETY: as a port would prove it; this file is compiled and never run.
unsafe impl Irq for Port {
    type Flags = usize;
    fn this_cpu(&self) -> CpuId {
        CpuId::new(CPU.load(Ordering::Relaxed) & 7)
    }
    fn irq_save(&self) -> usize {
        FLAGS.swap(0, Ordering::Relaxed)
    }
    unsafe fn irq_restore(&self, f: usize) {
        FLAGS.store(f, Ordering::Relaxed)
    }
    fn irqs_on(&self) -> bool {
        FLAGS.load(Ordering::Relaxed) != 0
    }
    fn hard_irq_disable(&self) {}
    fn preempt_disable(&self) {
        PREEMPT.fetch_add(1, Ordering::Relaxed);
    }
    unsafe fn preempt_enable(&self) {
        PREEMPT.fetch_sub(1, Ordering::Relaxed);
    }
    fn send_ipi(&self, to: CpuId, why: Ipi) {
        // SAFETY: as a port would prove it; this file is compiled and never run.
        unsafe { hardware_send_ipi(to.index(), why as u8) }
    }
}

// SAFETY: `wait_until` returns only what `poll` said, or `None` after the deadline; NEVER does not expire.
unsafe impl Wait for Port {
    fn deadline_in(&self, ns: u64) -> Deadline {
        Deadline(ns as usize + 1)
    }
    fn expired(&self, _: Deadline) -> bool {
        false
    }
    fn wait_until<R>(
        &self,
        _: &AtomicUsize,
        _: &WaitFor<'_>,
        mut poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        loop {
            if let Some(r) = poll() {
                return Some(r);
            }
            core::hint::spin_loop();
        }
    }
    fn event(&self, _: impl FnOnce() -> Event) {}
}

// SAFETY: as a port would prove it; this file is compiled and never run.
unsafe impl Cpus for Port {
    fn start(&self, _: CpuId, _: usize) -> Result<(), StartError> {
        Err(StartError("no other CPU"))
    }
    fn die(&self, dead: &AtomicUsize, value: usize) -> ! {
        dead.store(value, Ordering::Release);
        // SAFETY: as a port would prove it; this file is compiled and never run.
        unsafe { hardware_rest() }
    }
    fn halt(&self) -> ! {
        // SAFETY: as a port would prove it; this file is compiled and never run.
        unsafe { hardware_rest() }
    }
    fn halt_hard(&self, _: CpuId) {}
}

static MACHINE: Machine<Port, 8> = Machine::new(Port, Protocol::STANDSTILL);
static SLOT: Csd<Port> = Csd::new();

fn nothing(_: &IrqOff<'_>) {}
static NOTHING: fn(&IrqOff<'_>) = nothing;

/// Hot function one: send a call.
#[unsafe(no_mangle)]
pub extern "C" fn hot_send(task: &Task, to: usize) -> bool {
    MACHINE.call_single_async(task, CpuId::new(to & 7), &SLOT, &NOTHING) == Err(CallError::Busy)
}

/// Hot function two: the handler of a call IPI.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hot_handler() {
    // SAFETY: as a port would prove it; this file is compiled and never run.
    unsafe { MACHINE.on_call_ipi() }
}
