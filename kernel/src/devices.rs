//! Devices that interrupt: the PIT and the serial port by pins of the I/O APIC, and QEMU's `edu` PCI devices by MSI.
//!
//! An `edu` computes factorials in a thread of its own in QEMU, and interrupts when it is done: no CPU of this machine makes that happen
//! at that moment, and no stop freezes it. The PIT's handler sets the idle ones to work, so it is the clock of it all. Each piece of work
//! is accounted for: raised when it is given, handled when its interrupt was taken. An interrupt that is lost leaves its device at work for ever, which
//! shows in the books.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};

use standstill::CpuId;
use standstill::context::{IrqOff, Task};
use standstill_torture::LineHandler;
use standstill_x86_64::cpu;
use standstill_x86_64::ioapic::IoApic;
use standstill_x86_64::lines::{Lines, Source};
use standstill_x86_64::time::now_ns;
use x86_64::instructions::port::Port;

use crate::pci::Device;
use crate::{sched, serial};

pub(crate) static LINES: Lines = Lines::new();

const EDU_ID: u32 = 0x11e8_1234;
const EDU_FACTORIAL: usize = 0x08;
const EDU_STATUS: usize = 0x20;
const EDU_PENDING: usize = 0x24;
const EDU_ACKNOWLEDGE: usize = 0x64;
const EDU_INTERRUPT_WHEN_DONE: u32 = 0x80;

/// The pin of COM1.
const SERIAL_PIN: u32 = 4;
/// How often the PIT interrupts, in Hz.
const PIT_HZ: u32 = 2_000;
/// How long a lost interrupt is waited for.
const GIVE_UP_NS: u64 = 10_000_000_000;

/// The pin of an I/O APIC.
struct Pin {
    chip: IoApic,
    pin: u32,
}

impl Source for Pin {
    fn aim(&self, vector: u8, to: CpuId) {
        self.chip.aim(self.pin, vector, to);
    }
}

/// An `edu`.
struct Edu {
    device: Device,
    msi: u8,
    registers: usize,
    at_work: AtomicBool,
    handled: AtomicU64,
    raised: AtomicU64,
}

impl Source for Edu {
    fn aim(&self, vector: u8, to: CpuId) {
        // The address alone changes when it is aimed anew; it is one register, so a message goes to the old CPU or to the new one.
        self.device.write(self.msi + 4, 0xfee0_0000 | cpu::block(to).apic_id() << 12);
        let control = self.device.read(self.msi);
        let wide = control & 1 << 23 != 0;
        if control & 1 << 16 == 0 {
            if wide {
                self.device.write(self.msi + 8, 0);
            }
            self.device.write(self.msi + if wide { 12 } else { 8 }, u32::from(vector));
            self.device.write(self.msi, control | 1 << 16);
        }
    }
}

impl Edu {
    fn get(&self, register: usize) -> u32 {
        // SAFETY: the registers are mapped, as all that is below 4 GiB.
        unsafe { ((self.registers + register) as *const u32).read_volatile() }
    }

    fn set(&self, register: usize, value: u32) {
        // SAFETY: as above, and the device belongs to this module.
        unsafe { ((self.registers + register) as *mut u32).write_volatile(value) };
    }

    fn start(&self) {
        if !self.at_work.swap(true, AcqRel) {
            self.raised.fetch_add(1, Relaxed);
            self.set(EDU_STATUS, EDU_INTERRUPT_WHEN_DONE);
            self.set(EDU_FACTORIAL, 3);
        }
    }
}

static ON: AtomicBool = AtomicBool::new(false);
static HANDLER: AtomicPtr<&'static LineHandler> = AtomicPtr::new(core::ptr::null_mut());
/// Line 0 is the PIT's, line 1 the serial port's, the others are those of these.
static EDUS: AtomicPtr<Vec<&'static Edu>> = AtomicPtr::new(core::ptr::null_mut());

fn edus() -> &'static [&'static Edu] {
    // SAFETY: null, or leaked.
    unsafe { EDUS.load(Acquire).as_ref() }.map_or(&[], |all| all)
}

/// Finds the devices and aims their lines at the boot CPU, which is the only one.
pub(crate) fn init(chip: Option<IoApic>, pit_pin: u32) {
    let pin = |chip: IoApic, pin: u32| {
        LINES.add(Box::leak(Box::new(Pin { chip, pin: pin - chip.first })), CpuId::BOOT)
    };
    if let Some(chip) = chip {
        (0..chip.pins()).for_each(|pin| chip.mask(pin));
        pin(chip, pit_pin);
        pin(chip, SERIAL_PIN);
    }
    // The old interrupt controllers stay silent.
    for port in [0x21, 0xa1] {
        // SAFETY: masks all their lines.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
    let all: Vec<&'static Edu> = Device::find(EDU_ID)
        .filter_map(|device| {
            let edu = Edu {
                device,
                msi: device.msi()?,
                registers: device.enable(),
                at_work: AtomicBool::new(false),
                handled: AtomicU64::new(0),
                raised: AtomicU64::new(0),
            };
            Some(&*Box::leak(Box::new(edu)))
        })
        .collect();
    for edu in &all {
        LINES.add(*edu, CpuId::BOOT);
    }
    EDUS.store(Box::leak(Box::new(all)), Release);
}

/// The handler of every line: interrupts off, their end told.
pub(crate) fn handle(line: usize) {
    if line == 0 {
        if ON.load(Relaxed) {
            edus().iter().for_each(|edu| edu.start());
            serve(line);
        }
        return;
    }
    if line == 1 {
        serial::take();
        return;
    }
    let Some(edu) = edus().get(line - 2) else { return };
    // A line that was handed over may come twice: the second time there is nothing to do.
    let pending = edu.get(EDU_PENDING);
    if pending == 0 {
        return;
    }
    edu.set(EDU_ACKNOWLEDGE, pending);
    serve(line);
    if edu.at_work.load(Relaxed) {
        edu.handled.fetch_add(1, Relaxed);
        edu.at_work.store(false, Release);
    }
}

fn serve(line: usize) {
    // SAFETY: null, or the leaked reference from `start`.
    if let Some(handler) = unsafe { HANDLER.load(Acquire).as_ref() } {
        // SAFETY: a handler, interrupts off, stays on its CPU.
        handler(line, &unsafe { IrqOff::new() });
    }
}

fn set_pit(divisor: u16) {
    // SAFETY: channel 0, rate generator; its only reader is line 0.
    unsafe {
        Port::<u8>::new(0x43).write(0b0011_0100);
        Port::<u8>::new(0x40).write(divisor as u8);
        Port::<u8>::new(0x40).write((divisor >> 8) as u8);
    }
}

pub(crate) fn start(handler: &'static LineHandler) {
    HANDLER.store(Box::into_raw(Box::new(handler)), Release);
    ON.store(true, Release);
    set_pit((1_193_182 / PIT_HZ) as u16);
}

/// Stops them; (raised, handled) of those whose interrupts are accounted for.
pub(crate) fn stop(_: &mut Task) -> (u64, u64) {
    ON.store(false, Release);
    // The slowest that it can: there is no off.
    set_pit(0);
    let until = now_ns() + GIVE_UP_NS;
    while edus().iter().any(|edu| edu.at_work.load(Acquire)) && now_ns() < until {
        sched::sleep(200_000);
    }
    let sum = |f: fn(&Edu) -> &AtomicU64| edus().iter().map(|edu| f(edu).load(Relaxed)).sum();
    (sum(|edu| &edu.raised), sum(|edu| &edu.handled))
}

pub(crate) fn online_takes(cpu: CpuId) -> bool {
    crate::entry().is_online(cpu)
}
