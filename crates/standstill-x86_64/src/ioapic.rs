//! The I/O APIC: which CPU gets the interrupt of which pin.

use standstill::CpuId;

use crate::cpu;
use crate::irq;

const VERSION: u32 = 1;
const REDIRECTIONS: u32 = 0x10;
const MASKED: u32 = 1 << 16;
/// The delivery mode of an NMI, which has no vector.
const NMI: u32 = 4 << 8;

/// One I/O APIC. Each access is two: it selects a register, then touches it. So whoever shares one holds a lock.
#[derive(Clone, Copy, Debug)]
pub struct IoApic {
    page: usize,
    /// The number of its first pin among all pins of the machine.
    pub first: u32,
}

impl IoApic {
    /// The one whose registers are mapped at `page`.
    ///
    /// # Safety
    /// They are, uncached, and nobody else touches them.
    #[must_use]
    pub const unsafe fn new(page: usize, first: u32) -> Self {
        IoApic { page, first }
    }

    fn select(&self, register: u32) -> *mut u32 {
        // SAFETY: `new` was told that the registers are mapped.
        unsafe { (self.page as *mut u32).write_volatile(register) };
        (self.page + 0x10) as *mut u32
    }

    fn read(&self, register: u32) -> u32 {
        // SAFETY: as above.
        unsafe { self.select(register).read_volatile() }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: as above.
        unsafe { self.select(register).write_volatile(value) };
    }

    /// How many pins it has.
    #[must_use]
    pub fn pins(&self) -> u32 {
        (self.read(VERSION) >> 16 & 0xff) + 1
    }

    /// Closes `pin`.
    pub fn mask(&self, pin: u32) {
        let on = irq::close();
        self.write(REDIRECTIONS + 2 * pin, MASKED);
        irq::open_if(on);
    }

    /// Sends what comes to `pin`, an edge, to `to` with `vector`. An edge that comes between the writes goes to the old CPU or to the new
    /// one with the same vector, and to no third.
    pub fn aim(&self, pin: u32, vector: u8, to: CpuId) {
        self.redirect(pin, u32::from(vector), to);
    }

    /// Sends what comes to `pin`, an edge, to `to` as an NMI.
    pub fn aim_nmi(&self, pin: u32, to: CpuId) {
        self.redirect(pin, NMI, to);
    }

    fn redirect(&self, pin: u32, how: u32, to: CpuId) {
        let on = irq::close();
        self.write(REDIRECTIONS + 2 * pin + 1, cpu::block(to).apic_id() << 24);
        self.write(REDIRECTIONS + 2 * pin, how);
        irq::open_if(on);
    }
}
