//! The ACPI tables that say which processors, I/O APICs and clocks there are: RSDP, RSDT or XSDT, MADT, HPET. Nothing is allocated.

/// A processor of the MADT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Processor {
    /// Its local APIC's id.
    pub apic_id: u32,
    /// It is plugged in. If not, it may be one day.
    pub present: bool,
}

/// An entry that this port has a use for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A processor.
    Processor(Processor),
    /// An I/O APIC: the address of its registers, and the number of its first pin.
    IoApic {
        /// Where its registers are.
        address: u32,
        /// The number of its first pin.
        first: u32,
    },
    /// A line of the ISA bus is wired to another pin than that of its own number.
    Override {
        /// The line.
        line: u8,
        /// The pin.
        pin: u32,
    },
}

/// How physical memory is read: the bytes at an address.
pub trait Physical {
    /// `length` bytes at `address`; `None` if they can't be read.
    fn bytes(&self, address: u64, length: usize) -> Option<&'static [u8]>;
}

/// The MADT.
#[derive(Clone, Copy, Debug)]
pub struct Madt(&'static [u8]);

const HEADER: usize = 36;
/// The bit of a processor's flags that says that it is there.
const ENABLED: u32 = 1;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

/// The table at `address`, if its checksum is right.
fn table(memory: &impl Physical, address: u64) -> Option<&'static [u8]> {
    let length = u32_at(memory.bytes(address, HEADER)?, 4)? as usize;
    memory.bytes(address, length.max(HEADER)).filter(|bytes| sums_to_zero(bytes))
}

/// The table of this name, by way of the RSDP at `rsdp`.
fn find(memory: &impl Physical, rsdp: u64, name: &[u8; 4]) -> Option<&'static [u8]> {
    let root =
        memory.bytes(rsdp, 20).filter(|bytes| bytes.starts_with(b"RSD PTR ") && sums_to_zero(bytes))?;
    let wide = root[15] >= 2;
    let root = if wide { u64_at(memory.bytes(rsdp, 36)?, 24)? } else { u64::from(u32_at(root, 16)?) };
    let pointers = table(memory, root)?.get(HEADER..)?;
    pointers
        .chunks_exact(if wide { 8 } else { 4 })
        .filter_map(|p| if wide { u64_at(p, 0) } else { u32_at(p, 0).map(u64::from) })
        .filter_map(|address| table(memory, address))
        .find(|bytes| bytes.starts_with(name))
}

/// Where the registers of the machine's HPET are, if it has one that is mapped as memory.
#[must_use]
pub fn hpet(memory: &impl Physical, rsdp: u64) -> Option<u64> {
    const IN_MEMORY: u8 = 0;
    let table = find(memory, rsdp, b"HPET")?;
    (*table.get(40)? == IN_MEMORY).then(|| u64_at(table, 44))?
}

impl Madt {
    /// Finds it by way of the RSDP at `rsdp`.
    #[must_use]
    pub fn find(memory: &impl Physical, rsdp: u64) -> Option<Self> {
        find(memory, rsdp, b"APIC").map(Madt)
    }

    /// Its entries.
    pub fn entries(self) -> impl Iterator<Item = Entry> {
        let mut rest = self.0.get(HEADER + 8..).unwrap_or_default();
        core::iter::from_fn(move || {
            let length = usize::from(*rest.get(1)?).max(2);
            let entry = rest.get(..length)?;
            rest = &rest[length..];
            Some(entry)
        })
        .filter_map(parse)
    }

    /// Its processors, in order.
    pub fn processors(self) -> impl Iterator<Item = Processor> {
        self.entries().filter_map(|entry| match entry {
            Entry::Processor(processor) => Some(processor),
            _ => None,
        })
    }
}

fn parse(entry: &'static [u8]) -> Option<Entry> {
    let processor =
        |apic_id, flags: u32| Entry::Processor(Processor { apic_id, present: flags & ENABLED != 0 });
    match entry[0] {
        0 => Some(processor(u32::from(*entry.get(3)?), u32_at(entry, 4)?)),
        9 => Some(processor(u32_at(entry, 4)?, u32_at(entry, 8)?)),
        1 => Some(Entry::IoApic { address: u32_at(entry, 4)?, first: u32_at(entry, 8)? }),
        2 => Some(Entry::Override { line: *entry.get(3)?, pin: u32_at(entry, 4)? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    struct Ram(Vec<(u64, &'static [u8])>);

    impl Physical for Ram {
        fn bytes(&self, address: u64, length: usize) -> Option<&'static [u8]> {
            self.0.iter().find(|(at, _)| *at == address)?.1.get(..length)
        }
    }

    fn seal(mut bytes: Vec<u8>, at: usize) -> &'static [u8] {
        let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[at] = 0_u8.wrapping_sub(sum);
        Box::leak(bytes.into_boxed_slice())
    }

    fn sdt(name: &[u8; 4], body: &[u8]) -> &'static [u8] {
        let mut bytes = name.to_vec();
        bytes.extend(((HEADER + body.len()) as u32).to_le_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        seal(bytes, 9)
    }

    fn ram() -> Ram {
        let mut body = vec![0; 8];
        body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        body.extend([0, 8, 1, 2, 0, 0, 0, 0]);
        body.extend([7, 4, 0, 0]);
        body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
        body.extend([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let mut rsdp = b"RSD PTR ".to_vec();
        rsdp.resize(16, 0);
        rsdp.extend(0x2000_u32.to_le_bytes());
        let pointers = [0x3000_u32, 0x4000, 0x5000].map(u32::to_le_bytes).concat();
        let mut clock = vec![1, 0xa2, 0x86, 0x80, 0, 64, 0, 0];
        clock.extend(0xfed0_0000_u64.to_le_bytes());
        Ram(vec![
            (0x1000, seal(rsdp, 8)),
            (0x2000, sdt(b"RSDT", &pointers)),
            (0x3000, sdt(b"FACP", &[1, 2, 3])),
            (0x4000, sdt(b"APIC", &body)),
            (0x5000, sdt(b"HPET", &clock)),
        ])
    }

    #[test]
    fn processors_in_order_sparse_and_absent_ones_included() {
        let madt = Madt::find(&ram(), 0x1000).unwrap();
        let seen: Vec<_> = madt.processors().map(|p| (p.apic_id, p.present)).collect();
        assert_eq!(seen, [(0, true), (2, false), (256, true)]);
    }

    #[test]
    fn io_apics_and_overrides() {
        let entries: Vec<_> = Madt::find(&ram(), 0x1000).unwrap().entries().collect();
        assert!(entries.contains(&Entry::IoApic { address: 0xfec0_0000, first: 0 }));
        assert!(entries.contains(&Entry::Override { line: 0, pin: 2 }));
    }

    #[test]
    fn the_clock() {
        assert_eq!(hpet(&ram(), 0x1000), Some(0xfed0_0000));
        let mut ram = ram();
        ram.0.pop();
        assert_eq!(hpet(&ram, 0x1000), None);
    }

    #[test]
    fn a_wrong_checksum_is_no_table() {
        let mut ram = ram();
        let mut bytes = ram.0[3].1.to_vec();
        bytes[HEADER] ^= 1;
        ram.0[3].1 = Box::leak(bytes.into_boxed_slice());
        assert!(Madt::find(&ram, 0x1000).is_none());
        assert!(Madt::find(&ram, 0x9000).is_none());
    }
}
