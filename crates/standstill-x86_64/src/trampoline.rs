//! The first code of a started CPU: from 16 bits to the port's Rust code, in one page below 1 MiB.
//!
//! The page holds no state of any one start, so it can be used again and again, and a CPU that comes late does no harm: each finds its
//! block by its own APIC id, and takes the stack from there. The only stores that it makes before Rust code runs are to that stack.

use core::arch::global_asm;
use core::mem::{offset_of, size_of};
use core::ptr;
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::{Acquire, Release};

use x86_64::registers::control::{Cr0, Cr3, Cr4};
use x86_64::registers::model_specific::Efer;

use crate::apic;
use crate::cpu::{APIC_ID, CPUS, Cpu, MAX_CPUS, STACK_TOP, STRIDE};

/// What the code reads; at its very end.
#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    gdt: [u64; 3],
    /// So that the limit ends where the base begins.
    align: u16,
    gdt_limit: u16,
    gdt_base: u32,
    far: u32,
    far_selector: u16,
    pad: u16,
    cr3: u32,
    cr4: u32,
    efer: u32,
    cr0: u32,
    x2apic: u32,
    count: u32,
    cpus: u64,
    entry: u64,
}

global_asm!(
    ".pushsection .rodata.standstill_trampoline, \"a\"",
    ".balign 16",
    ".code16",
    ".globl standstill_trampoline",
    ".hidden standstill_trampoline",
    "standstill_trampoline:",
    "    cli",
    "    cld",
    "    movw %cs, %ax",
    "    movw %ax, %ds",
    "    lgdtl ({gdtr} + standstill_trampoline_end - standstill_trampoline)",
    "    movl ({cr3} + standstill_trampoline_end - standstill_trampoline), %eax",
    "    movl %eax, %cr3",
    "    movl ({cr4} + standstill_trampoline_end - standstill_trampoline), %eax",
    "    movl %eax, %cr4",
    "    movl $0xc0000080, %ecx",
    "    xorl %edx, %edx",
    "    movl ({efer} + standstill_trampoline_end - standstill_trampoline), %eax",
    "    wrmsr",
    "    movl ({cr0} + standstill_trampoline_end - standstill_trampoline), %eax",
    "    movl %eax, %cr0",
    "    ljmpl *({far} + standstill_trampoline_end - standstill_trampoline)",
    ".code64",
    ".globl standstill_trampoline_64",
    ".hidden standstill_trampoline_64",
    "standstill_trampoline_64:",
    "    movw $0x10, %ax",
    "    movw %ax, %ds",
    "    movw %ax, %es",
    "    movw %ax, %ss",
    "    xorl %eax, %eax",
    "    movw %ax, %fs",
    "    movw %ax, %gs",
    "    cmpl $0, ({x2apic} + standstill_trampoline_end)(%rip)",
    "    jne 2f",
    "    movl $1, %eax",
    "    cpuid",
    "    movl %ebx, %edx",
    "    shrl $24, %edx",
    "    jmp 3f",
    "2:  movl $11, %eax",
    "    xorl %ecx, %ecx",
    "    cpuid",
    "3:  movq ({cpus} + standstill_trampoline_end)(%rip), %rdi",
    "    movl ({count} + standstill_trampoline_end)(%rip), %ecx",
    "4:  cmpl %edx, {apic_id}(%rdi)",
    "    je 6f",
    "    addq ${stride}, %rdi",
    "    decl %ecx",
    "    jnz 4b",
    "5:  hlt",
    "    jmp 5b",
    "6:  movq {stack_top}(%rdi), %rsp",
    "    xorl %ebp, %ebp",
    "    movq ({entry} + standstill_trampoline_end)(%rip), %rax",
    "    callq *%rax",
    "    ud2",
    ".balign 16",
    ".globl standstill_trampoline_end",
    ".hidden standstill_trampoline_end",
    "standstill_trampoline_end:",
    ".popsection",
    gdtr = const offset_of!(Parameters, gdt_limit),
    cr3 = const offset_of!(Parameters, cr3),
    cr4 = const offset_of!(Parameters, cr4),
    efer = const offset_of!(Parameters, efer),
    cr0 = const offset_of!(Parameters, cr0),
    far = const offset_of!(Parameters, far),
    x2apic = const offset_of!(Parameters, x2apic),
    cpus = const offset_of!(Parameters, cpus),
    count = const offset_of!(Parameters, count),
    entry = const offset_of!(Parameters, entry),
    apic_id = const APIC_ID,
    stack_top = const STACK_TOP,
    stride = const STRIDE,
    options(att_syntax)
);

unsafe extern "C" {
    static standstill_trampoline: u8;
    static standstill_trampoline_64: u8;
    static standstill_trampoline_end: u8;
}

/// The page that the code was put in; 0: none yet.
static PAGE: AtomicU8 = AtomicU8::new(0);

/// A flat 64-bit code segment, and a flat data segment.
const CODE: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;

/// Why the trampoline can't be installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InstallError {
    /// The page must be 1 to 255: below 1 MiB, and not the first.
    BadPage,
    /// The page table is above 4 GiB, where 16-bit code can't load it from.
    PageTableTooHigh,
}

/// Puts the code into physical page `page`, with the calling CPU's page table and control registers for all who come.
///
/// # Errors
/// See [`InstallError`].
///
/// # Safety
/// 1. The page is RAM that nobody else uses, and is mapped where it is, executable and writable, in the calling CPU's page table.
/// 2. `entry` takes a started CPU's block, on that CPU's stack with interrupts off, and never returns.
pub unsafe fn install(page: u8, entry: extern "C" fn(&'static Cpu) -> !) -> Result<(), InstallError> {
    if page == 0 {
        return Err(InstallError::BadPage);
    }
    let (table, _) = Cr3::read();
    let cr3 = u32::try_from(table.start_address().as_u64()).map_err(|_| InstallError::PageTableTooHigh)?;
    let base = usize::from(page) << 12;
    let (start, end) = (&raw const standstill_trampoline, &raw const standstill_trampoline_end);
    let length = end.addr() - start.addr();
    let parameters = Parameters {
        gdt: [0, CODE, DATA],
        align: 0,
        gdt_limit: (size_of::<[u64; 3]>() - 1) as u16,
        gdt_base: (base + length + offset_of!(Parameters, gdt)) as u32,
        far: (base + (&raw const standstill_trampoline_64).addr() - start.addr()) as u32,
        far_selector: 8,
        pad: 0,
        cr3,
        cr4: Cr4::read_raw() as u32,
        // LMA is the CPU's to set.
        efer: Efer::read_raw() as u32 & !(1 << 10),
        cr0: Cr0::read_raw() as u32,
        x2apic: apic::is_x2apic().into(),
        count: MAX_CPUS as u32,
        cpus: CPUS.as_ptr().addr() as u64,
        entry: entry as usize as u64,
    };
    // SAFETY: 1. the page is ours, and code and parameters are shorter than it (a test says so).
    unsafe {
        ptr::copy_nonoverlapping(start, base as *mut u8, length);
        ((base + length) as *mut Parameters).write_unaligned(parameters);
    }
    PAGE.store(page, Release);
    Ok(())
}

/// The page of the start-up message.
pub(crate) fn page() -> Option<u8> {
    match PAGE.load(Acquire) {
        0 => None,
        page => Some(page),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_one_page() {
        let length =
            (&raw const standstill_trampoline_end).addr() - (&raw const standstill_trampoline).addr();
        assert!((64..1024).contains(&length), "{length}");
        assert!(length + size_of::<Parameters>() <= 4096);
    }

    #[test]
    fn limit_and_base_are_what_lgdt_reads() {
        // Six bytes on end; see `gdt_limit` for the alignment.
        assert_eq!(offset_of!(Parameters, gdt_base), offset_of!(Parameters, gdt_limit) + 2);
        assert_eq!(offset_of!(Parameters, far_selector), offset_of!(Parameters, far) + 4);
    }
}
