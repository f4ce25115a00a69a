//! Every interrupt and exception.

use standstill::CpuId;
use standstill_x86_64::apic::{self, SPURIOUS};
use standstill_x86_64::{cpu, irq, lines, polls};

use crate::Kern;
use crate::devices;
use crate::sched;
use crate::tables::{self, Frame, NMI};
use crate::watchdog;

pub(crate) const TIMER: u8 = 0xef;
pub(crate) const RESCHEDULE: u8 = 0xee;

/// The first vector that is no exception.
const FIRST: u8 = 32;

pub(crate) extern "C" fn interrupt(frame: &mut Frame) {
    let vector = frame.vector as u8;
    if vector == NMI {
        // SAFETY: this is the NMI's handler, on a stack of its own.
        unsafe { irq::handle_nmi::<Kern>(&mut frame.rip) };
        return;
    }
    if vector < FIRST {
        fault(frame);
    }
    // First, as nobody may wait for a poll that is over.
    let asked = polls::end();
    sched::here().idle.interrupted(vector == irq::vector::CALL && !asked.stops());
    // SAFETY: this is the handler of `vector`, interrupts off.
    if !unsafe { irq::handle::<Kern>(vector) } {
        other(vector);
    }
    // SAFETY: as above.
    unsafe { irq::handle_asked::<Kern>(asked) };
    // SAFETY: interrupts are off; they were on in what this interrupted, or it would not have been.
    unsafe { irq::interrupt_exit::<Kern>() };
    sched::interrupt_exit();
}

fn other(vector: u8) {
    match vector {
        // By the book without an end.
        SPURIOUS => {}
        TIMER => {
            apic::end_of_interrupt();
            sched::tick();
            watchdog::look();
        }
        RESCHEDULE => {
            apic::end_of_interrupt();
            sched::share();
        }
        _ => match lines::line_of(vector) {
            Some(line) => {
                apic::end_of_interrupt();
                devices::handle(line);
            }
            None => panic!("interrupt {vector} has no handler"),
        },
    }
}

#[cold]
fn fault(frame: &Frame) -> ! {
    let name = match frame.vector {
        0 => "division by zero",
        3 => "breakpoint",
        6 => "invalid instruction",
        8 => "double fault",
        13 => "general protection fault",
        14 => "page fault",
        _ => "exception",
    };
    let cpu: CpuId = cpu::this_cpu();
    panic!(
        "{cpu}: {name} ({}), error {:#x}, at {:#x}, stack {:#x}, address {:#x}",
        frame.vector,
        frame.error,
        frame.rip,
        frame.rsp,
        tables::faulting_address()
    );
}
