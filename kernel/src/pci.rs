//! As much of PCI as it takes to find a device and its message-signalled interrupt: bus 0, by port.

use x86_64::instructions::port::Port;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const CAPABILITY_MSI: u8 = 5;

/// A function of bus 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device(u32);

impl Device {
    /// Those with this vendor and device number. Only while one CPU runs: an access is two.
    pub(crate) fn find(id: u32) -> impl Iterator<Item = Device> {
        (0..32).map(|slot| Device(1 << 31 | slot << 11)).filter(move |device| device.read(0) == id)
    }

    pub(crate) fn read(self, register: u8) -> u32 {
        // SAFETY: reading the configuration has no side effect.
        unsafe {
            Port::<u32>::new(ADDRESS).write(self.0 | u32::from(register & 0xfc));
            Port::<u32>::new(DATA).read()
        }
    }

    pub(crate) fn write(self, register: u8, value: u32) {
        // SAFETY: the callers write registers of devices that belong to this kernel.
        unsafe {
            Port::<u32>::new(ADDRESS).write(self.0 | u32::from(register & 0xfc));
            Port::<u32>::new(DATA).write(value);
        }
    }

    /// Lets it answer and send messages; returns where its registers are.
    pub(crate) fn enable(self) -> usize {
        self.write(4, self.read(4) | 0b110);
        (self.read(0x10) & !0xf) as usize
    }

    /// Where its MSI capability is.
    pub(crate) fn msi(self) -> Option<u8> {
        let mut at = self.read(0x34) as u8 & 0xfc;
        while at != 0 {
            let head = self.read(at);
            if head as u8 == CAPABILITY_MSI {
                return Some(at);
            }
            at = (head >> 8) as u8 & 0xfc;
        }
        None
    }
}
