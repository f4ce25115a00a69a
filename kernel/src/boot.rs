//! From QEMU's PVH entry, 32 bits without paging, to Rust: the first 4 GiB are mapped where they are, in pages of 2 MiB; the last one, where
//! the APICs and PCI devices are, uncached.

use core::arch::global_asm;

/// The boot CPU's stack: also that of its idle context.
pub(crate) const STACK_BYTES: usize = 8 << 20;

global_asm!(
    ".pushsection .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad kernel_entry_32",
    ".popsection",
    ".pushsection .text.boot, \"ax\"",
    ".code32",
    ".globl kernel_entry_32",
    "kernel_entry_32:",
    "    cli",
    "    cld",
    "    movl %ebx, %esi",
    "    movl $boot_pdpt, %eax",
    "    orl $3, %eax",
    "    movl %eax, boot_pml4",
    "    movl $boot_pds, %eax",
    "    orl $3, %eax",
    "    movl $boot_pdpt, %edi",
    "    movl $4, %ecx",
    "1:  movl %eax, (%edi)",
    "    addl $4096, %eax",
    "    addl $8, %edi",
    "    loop 1b",
    "    movl $0x83, %eax",
    "    movl $boot_pds, %edi",
    "    movl $2048, %ecx",
    "2:  cmpl $512, %ecx",
    "    jne 3f",
    "    orl $0x18, %eax",
    "3:  movl %eax, (%edi)",
    "    addl $0x200000, %eax",
    "    addl $8, %edi",
    "    loop 2b",
    "    movl $boot_pml4, %eax",
    "    movl %eax, %cr3",
    "    movl %cr4, %eax",
    "    orl $0x20, %eax",
    "    movl %eax, %cr4",
    "    movl $0xc0000080, %ecx",
    "    rdmsr",
    "    orl $0x100, %eax",
    "    wrmsr",
    "    movl $0x80010001, %eax",
    "    movl %eax, %cr0",
    "    lgdtl boot_gdt_pointer",
    "    ljmpl $8, $kernel_entry_64",
    ".code64",
    "kernel_entry_64:",
    "    movw $16, %ax",
    "    movw %ax, %ds",
    "    movw %ax, %es",
    "    movw %ax, %ss",
    "    movl $boot_stack + {stack}, %esp",
    "    xorl %ebp, %ebp",
    "    movl %esi, %edi",
    "    call {main}",
    "    ud2",
    ".balign 8",
    "boot_gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "boot_gdt_pointer: .word 23",
    "    .long boot_gdt",
    ".popsection",
    ".pushsection .bss, \"aw\", @nobits",
    ".balign 4096",
    "boot_pml4: .skip 4096",
    "boot_pdpt: .skip 4096",
    "boot_pds: .skip 16384",
    "boot_stack: .skip {stack}",
    ".popsection",
    stack = const STACK_BYTES,
    main = sym crate::kernel_main,
    options(att_syntax)
);

unsafe extern "C" {
    static kernel_end: u8;
}

/// What the loader passes.
#[repr(C)]
pub(crate) struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    map: u64,
    map_entries: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MapEntry {
    address: u64,
    bytes: u64,
    kind: u32,
    reserved: u32,
}

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;

impl StartInfo {
    /// # Safety
    /// `address` is what the loader passed, and the first 4 GiB are mapped where they are.
    pub(crate) unsafe fn at(address: usize) -> &'static StartInfo {
        // SAFETY: the loader's structure.
        let info = unsafe { &*(address as *const StartInfo) };
        assert!(info.magic == MAGIC && info.version >= 1, "not loaded by PVH");
        info
    }

    pub(crate) fn rsdp(&self) -> u64 {
        self.rsdp
    }

    pub(crate) fn command_line(&self) -> &'static str {
        if self.command_line == 0 {
            return "";
        }
        let start = self.command_line as usize as *const core::ffi::c_char;
        // SAFETY: the loader's string ends with a zero, and nobody changes it.
        let text = unsafe { core::ffi::CStr::from_ptr(start) };
        text.to_str().unwrap_or("")
    }

    /// The memory behind the kernel: start and length.
    pub(crate) fn free_memory(&self) -> (usize, usize) {
        let start = (&raw const kernel_end).addr();
        for i in 0..self.map_entries as usize {
            // SAFETY: the loader's table has so many entries.
            let entry = unsafe { *(self.map as usize as *const MapEntry).add(i) };
            let (from, to) = (entry.address as usize, (entry.address + entry.bytes) as usize);
            if entry.kind == RAM && (from..to).contains(&start) {
                // What the loader itself put high up in memory is at its end: leave a MiB.
                return (start, to.min(0xc000_0000) - start - (1 << 20));
            }
        }
        panic!("the loader's map knows no memory where the kernel is");
    }
}
