//! Descriptor tables: one IDT for all, a GDT and a TSS for each CPU.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::{asm, global_asm};
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::{Acquire, Release};

use standstill::CpuId;
use x86_64::PrivilegeLevel;
use x86_64::VirtAddr;
use x86_64::instructions::tables::{lgdt, lidt, load_tss};
use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment, SegmentSelector};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::tss::TaskStateSegment;

const CODE: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;
const EMERGENCY_BYTES: usize = 32 << 10;
pub(crate) const NMI: u8 = 2;
const DOUBLE_FAULT: u8 = 8;

// The stubs: 16 bytes each, so that they need no table of addresses. Those exceptions that push an error code are 8, 10..=14, 17, 21, 29 and 30.
global_asm!(
    ".pushsection .text, \"ax\"",
    ".balign 16",
    "interrupt_stubs:",
    ".set vector, 0",
    ".rept 256",
    "    .balign 16",
    "    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)",
    "    .else",
    "    pushq $0",
    "    .endif",
    "    pushq $vector",
    "    jmp interrupt_common",
    "    .set vector, vector + 1",
    ".endr",
    // Those that a function may change; it keeps the others itself.
    "interrupt_common:",
    "    pushq %rax",
    "    pushq %rcx",
    "    pushq %rdx",
    "    pushq %rsi",
    "    pushq %rdi",
    "    pushq %r8",
    "    pushq %r9",
    "    pushq %r10",
    "    pushq %r11",
    "    cld",
    "    movq %rsp, %rdi",
    "    call {handler}",
    "    popq %r11",
    "    popq %r10",
    "    popq %r9",
    "    popq %r8",
    "    popq %rdi",
    "    popq %rsi",
    "    popq %rdx",
    "    popq %rcx",
    "    popq %rax",
    "    addq $16, %rsp",
    "    iretq",
    ".popsection",
    handler = sym crate::interrupts::interrupt,
    options(att_syntax)
);

unsafe extern "C" {
    static interrupt_stubs: u8;
}

/// What the stubs leave on the stack.
#[repr(C)]
pub(crate) struct Frame {
    registers: [u64; 9],
    pub(crate) vector: u64,
    pub(crate) error: u64,
    pub(crate) rip: u64,
    cs: u64,
    pub(crate) flags: u64,
    pub(crate) rsp: u64,
    ss: u64,
}

/// The tables of one CPU. Written anew at each start, as loading a TSS marks it as busy.
struct Tables {
    gdt: [u64; 5],
    tss: TaskStateSegment,
}

static IDT: AtomicPtr<[u128; 256]> = AtomicPtr::new(core::ptr::null_mut());
static TABLES: AtomicPtr<Vec<*mut Tables>> = AtomicPtr::new(core::ptr::null_mut());

fn gate(vector: usize) -> u128 {
    let address = ((&raw const interrupt_stubs).addr() + 16 * vector) as u128;
    let stack = match vector as u8 {
        NMI => 1,
        DOUBLE_FAULT => 2,
        _ => 0,
    };
    let interrupt_gate = 0x8e00 | stack;
    (address & 0xffff)
        | 8 << 16
        | interrupt_gate << 32
        | (address >> 16 & 0xffff) << 48
        | (address >> 32 & 0xffff_ffff) << 64
}

/// Builds the tables for `cpus` CPUs.
pub(crate) fn init(cpus: usize) {
    let idt = Box::leak(Box::new([0; 256]));
    for (vector, entry) in idt.iter_mut().enumerate() {
        *entry = gate(vector);
    }
    let emergency_stack = || {
        let stack: &'static mut [u128] =
            Box::leak(alloc::vec![0_u128; EMERGENCY_BYTES / 16].into_boxed_slice());
        VirtAddr::new(stack.as_ptr_range().end.addr() as u64)
    };
    let tables = (0..cpus).map(|_| {
        let mut tss = TaskStateSegment::new();
        tss.interrupt_stack_table[0] = emergency_stack();
        tss.interrupt_stack_table[1] = emergency_stack();
        &raw mut *Box::leak(Box::new(Tables { gdt: [0; 5], tss }))
    });
    TABLES.store(Box::leak(Box::new(tables.collect())), Release);
    IDT.store(idt, Release);
}

/// Loads the tables of the calling CPU, which is `cpu`.
pub(crate) fn load(cpu: CpuId) {
    // SAFETY: `init` ran before the first CPU came here, and leaked them.
    let (idt, tables) = unsafe { (&*IDT.load(Acquire), (&*TABLES.load(Acquire))[cpu.index()]) };
    // SAFETY: the tables of this CPU are touched by this CPU only, and it does not use them yet: it has just started.
    let tables = unsafe { &mut *tables };
    let tss = (&raw const tables.tss).addr() as u64;
    let limit = size_of::<TaskStateSegment>() as u64 - 1;
    tables.gdt =
        [0, CODE, DATA, limit | (tss & 0x00ff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56, tss >> 32];
    let selector = |index| SegmentSelector::new(index, PrivilegeLevel::Ring0);
    let pointer = |base: usize, limit: usize| DescriptorTablePointer {
        base: VirtAddr::new(base as u64),
        limit: limit as u16 - 1,
    };
    // SAFETY: the tables live for ever, the selectors are those of the entries above.
    unsafe {
        lgdt(&pointer(tables.gdt.as_ptr().addr(), size_of_val(&tables.gdt)));
        CS::set_reg(selector(1));
        SS::set_reg(selector(2));
        DS::set_reg(selector(2));
        ES::set_reg(selector(2));
        load_tss(selector(3));
        lidt(&pointer(idt.as_ptr().addr(), size_of_val(idt)));
    }
}

/// The address whose access faulted.
pub(crate) fn faulting_address() -> u64 {
    let address: u64;
    // SAFETY: reading CR2 has no side effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}
