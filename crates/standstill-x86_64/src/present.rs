//! Which CPUs are plugged in: QEMU's block of CPU-hotplug registers, at port 0xCD8 on its q35 machine.
//!
//! QEMU describes these registers in AML; they are used here directly, so that no interpreter is needed. One CPU is selected, then its status is read
//! or written.

use x86_64::instructions::port::Port;

const SELECT: u16 = 0xcd8;
const STATUS: u16 = 0xcdc;

const ENABLED: u8 = 1 << 0;
const INSERTED: u8 = 1 << 1;
const REMOVE: u8 = 1 << 2;
const EJECT: u8 = 1 << 3;

/// What happened to a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// It is plugged in.
    pub present: bool,
    /// It was plugged in, and nobody has noticed yet.
    pub inserted: bool,
    /// Somebody asks for it back.
    pub remove: bool,
}

impl Status {
    /// From the register.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Status { present: bits & ENABLED != 0, inserted: bits & INSERTED != 0, remove: bits & REMOVE != 0 }
    }
}

/// The registers. Each use is several accesses: whoever shares it holds a lock.
#[derive(Debug)]
pub struct Slots(());

impl Slots {
    /// Switches the modern interface on.
    ///
    /// # Safety
    /// The machine is QEMU's q35, and nobody else uses these ports.
    #[must_use]
    pub unsafe fn new() -> Self {
        // SAFETY: the caller's promise. This write is what switches it on.
        unsafe { Port::<u32>::new(SELECT).write(0) };
        Slots(())
    }

    fn select(&mut self, slot: u32) -> Port<u8> {
        // SAFETY: selecting has no effect of its own.
        unsafe { Port::<u32>::new(SELECT).write(slot) };
        Port::new(STATUS)
    }

    /// The status of the CPU in `slot`: the place of its entry among the processors of the MADT.
    pub fn status(&mut self, slot: u32) -> Status {
        // SAFETY: reading the status has no side effect.
        Status::from_bits(unsafe { self.select(slot).read() })
    }

    /// Acknowledges that `slot` was plugged in.
    pub fn acknowledge(&mut self, slot: u32) {
        // SAFETY: clears the flag that was seen.
        unsafe { self.select(slot).write(INSERTED) };
    }

    /// Acknowledges that somebody asks for `slot`, which stays.
    pub fn refuse(&mut self, slot: u32) {
        // SAFETY: clears the flag that was seen.
        unsafe { self.select(slot).write(REMOVE) };
    }

    /// Gives the CPU in `slot` back: it is gone after this.
    ///
    /// # Safety
    /// The CPU is dead, and will not be started again.
    pub unsafe fn eject(&mut self, slot: u32) {
        // SAFETY: the caller's promise.
        unsafe { self.select(slot).write(EJECT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let seen = [0x00, 0x03, 0x01, 0x05].map(Status::from_bits);
        assert_eq!(seen.map(|s| s.present), [false, true, true, true]);
        assert_eq!(seen.map(|s| s.inserted), [false, true, false, false]);
        assert_eq!(seen.map(|s| s.remove), [false, false, false, true]);
    }
}
