//! A small kernel for QEMU's q35 machine: it boots by PVH, brings its CPUs up, takes them down again, and runs the same torture as every other
//! port of Standstill, with local APICs, real interrupts, and real start and stop of CPUs.
//!
//! | file | what |
//! |---|---|
//! | `boot.rs`, `tables.rs`, `interrupts.rs` | from the loader to Rust; descriptor tables; every interrupt |
//! | `thread.rs`, `sched.rs`, `sleep.rs`, `idle.rs` | threads, the scheduler over `standstill-sched`, sleep and wake, rest |
//! | `kern.rs` | this kernel as the port sees it |
//! | `devices.rs`, `pci.rs`, `serial.rs` | what interrupts, and what prints |
//! | `slots.rs` | CPUs that are plugged in and out |
//! | `watch.rs`, `watchdog.rs`, `hpet.rs`, `crash.rs` | events and rules; what hangs; a clock that no interrupt flag stops; the end |
//! | `torture.rs`, `report.rs`, `bench/`, `console.rs`, `fillers.rs` | what it is for |

#![no_std]
#![no_main]

extern crate alloc;

mod bench;
mod boot;
mod console;
mod crash;
mod devices;
mod fillers;
mod heap;
mod hpet;
mod idle;
mod interrupts;
mod kern;
mod lock;
mod options;
mod pci;
mod report;
mod sched;
mod serial;
mod sleep;
mod slots;
mod tables;
mod thread;
mod torture;
mod watch;
mod watchdog;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::{Acquire, Release};

use standstill::context::Task;
use standstill::platform::Entry;
use standstill::{CpuId, CpuMask, Machine};
use standstill_x86_64::ioapic::IoApic;
use standstill_x86_64::madt::{self, Madt, Physical, Processor};
use standstill_x86_64::{Kernel, X86, apic, cpu, power, time, trampoline};

use boot::StartInfo;
pub(crate) use kern::Kern;
use options::Options;
use thread::{Code, Thread};

/// How many CPUs the machine has room for.
pub(crate) const MAX_CPUS: usize = 64;

pub(crate) type TheMachine = Machine<X86<Kern>, MAX_CPUS, 1>;

static MACHINE: AtomicPtr<TheMachine> = AtomicPtr::new(core::ptr::null_mut());

/// Where the local APIC's page is, as after a reset.
const APIC_PAGE: usize = 0xfee0_0000;
/// The page that started CPUs begin in: low memory that neither firmware nor loader needs any more.
const TRAMPOLINE_PAGE: u8 = 8;

pub(crate) fn booted_machine() -> Option<&'static TheMachine> {
    // SAFETY: null, or leaked.
    unsafe { MACHINE.load(Acquire).as_ref() }
}

pub(crate) fn machine() -> &'static TheMachine {
    booted_machine().expect("nobody asks for the machine before it is there")
}

pub(crate) fn entry() -> &'static dyn Entry {
    machine()
}

/// Memory is mapped where it is.
struct Flat;

impl Physical for Flat {
    fn bytes(&self, address: u64, length: usize) -> Option<&'static [u8]> {
        let end = address.checked_add(length as u64)?;
        if end > 1 << 32 {
            return None;
        }
        // SAFETY: the first 4 GiB are mapped, and the firmware's tables do not change.
        Some(unsafe { core::slice::from_raw_parts(address as usize as *const u8, length) })
    }
}

/// The first Rust code: on the boot CPU, interrupts off.
pub(crate) extern "C" fn kernel_main(start_info: usize) -> ! {
    serial::init();
    // SAFETY: the boot code passes what the loader passed.
    let info = unsafe { StartInfo::at(start_info) };
    let options = Options::parse(info.command_line());
    let (start, bytes) = info.free_memory();
    // SAFETY: RAM by the loader's map, behind the kernel's end.
    unsafe { heap::add(start, bytes) };
    let madt = Madt::find(&Flat, info.rsdp()).expect("the firmware has no MADT");

    // SAFETY: the page is mapped uncached, as all that is above 3 GiB.
    unsafe { apic::find(APIC_PAGE) };
    let processors = processors(madt);
    tables::init(processors.len());
    kern::init(processors.len());
    tables::load(CpuId::BOOT);
    // SAFETY: this is the boot CPU, which `processors` put first; interrupts are off; GS is the port's.
    unsafe { cpu::enter(CpuId::BOOT) };
    // SAFETY: the tables have handlers for all vectors. The PIT is the kernel's.
    unsafe {
        apic::enable();
        time::calibrate();
    }
    // SAFETY: low memory is free by now, and mapped where it is.
    unsafe { trampoline::install(TRAMPOLINE_PAGE, power::entry::<Kern>) }.expect("the page is below 1 MiB");
    let clock = madt::hpet(&Flat, info.rsdp());
    devices_of(madt, clock);

    kern::DOZES.store(options.dozes, Release);
    if options.bench.is_none_or(|counts| counts.rules) {
        watch::init(processors.len(), options.protocol);
    }
    let machine: &'static TheMachine = Box::leak(Box::new(Machine::new(X86::new(), options.protocol)));
    MACHINE.store(core::ptr::from_ref(machine).cast_mut(), Release);
    let mask = |wanted: fn(&Processor) -> bool| -> CpuMask<1> {
        (0..processors.len()).filter(|i| wanted(&processors[*i])).map(CpuId::new).collect()
    };
    // SAFETY: 1. once, and no other CPU runs. 2. Interrupts open in the idle loop, where the stopper may run.
    unsafe { machine.boot(&mask(|_| true), &mask(|processor| processor.present)) };
    sched::readmit(CpuId::BOOT);
    sched::unpark(CpuId::BOOT);
    let main = Box::leak(Box::new(move |task: &mut Task| first_thread(task, &options)));
    sched::start(Thread::leak("main", CpuId::BOOT, Code::Body(main)));
    // SAFETY: this context is the boot CPU's idle context from here on.
    unsafe { cpu::begin_idle() };
    Kern::run()
}

/// The processors, the calling one first, and makes them known to the port.
fn processors(madt: Madt) -> Vec<Processor> {
    let me = apic_id_of_boot_cpu();
    let mut all: Vec<Processor> = madt.processors().take(MAX_CPUS).collect();
    all.sort_by_key(|processor| processor.apic_id != me);
    assert!(all.first().is_some_and(|first| first.apic_id == me), "the MADT does not know the boot CPU");
    for (number, processor) in all.iter().enumerate() {
        cpu::install(CpuId::new(number), processor.apic_id);
    }
    all
}

fn apic_id_of_boot_cpu() -> u32 {
    // The APIC may be off still; its number is the CPU's own.
    core::arch::x86_64::__cpuid(1).ebx >> 24
}

/// The devices, and the watchdog's clock, whose registers are at `clock`.
fn devices_of(madt: Madt, clock: Option<u64>) {
    let mut chip = None;
    let mut pit_pin = 0;
    for entry in madt.entries() {
        match entry {
            madt::Entry::IoApic { address, first } => {
                // SAFETY: mapped uncached, and nobody else touches it.
                let this = unsafe { IoApic::new(address as usize, first) };
                chip = chip.or(Some(this));
            }
            madt::Entry::Override { line: 0, pin } => pit_pin = pin,
            _ => {}
        }
    }
    devices::init(chip, pit_pin);
    if let (Some(page), Some(chip)) = (clock, chip) {
        // SAFETY: 1. by the firmware's table, mapped uncached as all that is above 3 GiB. 2. The boot CPU's tables are loaded.
        unsafe { hpet::start(page as usize, chip, CpuId::BOOT) };
    }
}

/// The first thread.
fn first_thread(task: &mut Task, options: &Options) {
    say!(
        "standstill-kernel: {} CPUs, {} possible, {}, booted in {} ms",
        machine().present().snapshot().len(),
        machine().possible().snapshot().len(),
        if apic::is_x2apic() { "x2APIC" } else { "xAPIC" },
        time::now_ns() / 1_000_000,
    );
    watchdog::start(options.watchdog_ns);
    if options.slots {
        slots::init();
    }
    if let Some(counts) = &options.bench {
        bench::run_and_exit(task, counts);
    }
    if options.torture {
        torture::run(task, options);
        crash::exit(crash::DONE);
    }
    console::run(task, options);
}
