//! The end: a panic stops the other CPUs, prints what each one did, and ends QEMU with a failing code.

use core::panic::PanicInfo;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::SeqCst;

use standstill::context::IrqOff;
use standstill_x86_64::{cpu, irq};
use x86_64::instructions::port::Port;

use crate::{booted_machine, say, sched, serial, watch, watchdog};

unsafe extern "C" {
    static kernel_start: u8;
}

/// How long the others may take to halt, by IPI and then by NMI.
const GRACE_NS: u64 = 500_000_000;
/// What QEMU makes an exit code of: twice this and one.
pub(crate) const DONE: u32 = 16;
pub(crate) const CRASHED: u32 = 17;
/// On the console a torture found something...
pub(crate) const FAILED: u32 = 18;
/// ... or a line was refused.
pub(crate) const REFUSED: u32 = 19;

/// Ends QEMU, if it has the device for it.
pub(crate) fn exit(code: u32) -> ! {
    // SAFETY: the port of QEMU's isa-debug-exit; where that is missing nobody listens.
    unsafe { Port::<u32>::new(0xf4).write(code) };
    irq::close();
    loop {
        x86_64::instructions::hlt();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static FIRST: AtomicBool = AtomicBool::new(true);
    irq::close();
    watchdog::stop();
    // This CPU may have been interrupted in the middle of one.
    watch::close();
    if !FIRST.swap(false, SeqCst) {
        // A panic in the report below, or on a second CPU, which is about to be halted.
        if booted_machine().is_none() {
            exit(CRASHED);
        }
        loop {
            x86_64::instructions::hlt();
        }
    }
    let Some(machine) = booted_machine() else {
        serial::break_open();
        say!("PANIC before the machine was booted: {info}");
        exit(CRASHED);
    };
    // SAFETY: interrupts are off for good.
    let off = unsafe { IrqOff::new() };
    let deaf = machine.stop_others(&off, GRACE_NS);
    serial::break_open();
    let me = cpu::this_cpu();
    match watchdog::culprit().filter(|culprit| *culprit != me) {
        Some(culprit) => say!("\nPANIC on {culprit}, seen by {me}: {info}"),
        None => say!("\nPANIC on {me}: {info}"),
    }
    for cpu in &machine.present().snapshot() {
        let online = if machine.online().contains(cpu) { "online" } else { "offline" };
        let runs = sched::local(cpu).current().map_or("idle", |thread| thread.name);
        let answer = if deaf.contains(cpu) { ", DID NOT STOP" } else { "" };
        let block = cpu::block(cpu);
        say!("{cpu}: {} ({online}), {:?}, runs {runs}{answer}", machine.state(cpu), block.doing());
        if let Some(at) = block.stopped_at() {
            let code = (&raw const kernel_start).addr() as u64;
            say!(
                "  it did not take the interrupt, and an NMI stopped it at {at:#x} (the kernel begins at {code:#x})"
            );
        }
        watch::print_last(cpu);
    }
    exit(CRASHED)
}
