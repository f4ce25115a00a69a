//! The block of one CPU: what the port knows about it, found through the GS base.
//!
//! The preempt count is changed by single instructions relative to GS. A thread that is moved between finding its CPU's block and
//! changing it would change another CPU's count; one instruction can't be divided by an interrupt.

use core::arch::asm;
use core::mem::offset_of;
use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};

use standstill::CpuId;

use crate::apic;
use crate::learned::Learned;
use crate::polls;

/// How many CPUs the port has room for.
pub const MAX_CPUS: usize = 256;

/// What a CPU does, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Doing {
    Off,
    StartUp,
    Thread,
    Handler,
    Stopper,
    Halted,
}

/// One CPU. Its own fields are written by itself only, in thread context or in handlers on top of it; they are atomics because reports
/// of other CPUs read them.
#[repr(C, align(128))]
pub struct Cpu {
    this: AtomicPtr<Cpu>,
    id: AtomicU32,
    pub(crate) preempt: AtomicU32,
    /// A stop IPI came and the stopper has not run for it yet.
    pub(crate) need_stopper: AtomicBool,
    pub(crate) in_nmi: AtomicBool,
    pub(crate) doing: AtomicU8,
    pub(crate) off_at: AtomicPtr<Location<'static>>,
    // ---- written by control
    pub(crate) apic_id: AtomicU32,
    pub(crate) stack_top: AtomicUsize,
    pub(crate) incarnation: AtomicUsize,
    /// The started CPU has reached the port's code.
    pub(crate) seen: AtomicBool,
    /// It is the one that the firmware started: an INIT would send it back there.
    pub(crate) is_boot: AtomicBool,
    /// It is parked, and an NMI is to start it.
    pub(crate) start_by_nmi: AtomicBool,
    /// Where an NMI halted it for good; 0: it did not.
    pub(crate) stopped_at: AtomicU64,
    /// It is to halt for good at its next NMI.
    pub(crate) halt_at_nmi: AtomicBool,
    /// The word that it waits for with its clock stopped; 0: none.
    pub(crate) dozes_on: AtomicUsize,
    /// What its APIC latched in an earlier life is thrown away.
    pub(crate) discards: AtomicBool,
    /// The APIC id that its APIC was told last to send to.
    pub(crate) sent_to: AtomicU32,
    /// The word that it was told to store to as its last access; 0: it lives.
    pub(crate) dies_by: AtomicUsize,
    /// Does it pay to poll in a wait that can't sleep before it dozes? And in one that can?
    pub(crate) spins: Learned,
    pub(crate) sleeps: Learned,
    /// Does it poll in its idle context, and what was it asked for?
    pub(crate) polls: polls::Word,
}

/// An APIC id that no CPU has.
const NO_APIC: u32 = u32::MAX;

/// The CPUs, in the order of their numbers.
pub(crate) static CPUS: [Cpu; MAX_CPUS] = [const { Cpu::new() }; MAX_CPUS];

/// One more than the highest number of a CPU that was installed.
static USED: AtomicUsize = AtomicUsize::new(0);

/// The CPUs that were installed, and maybe some between them that were not.
pub(crate) fn installed() -> &'static [Cpu] {
    &CPUS[..USED.load(Relaxed)]
}

pub(crate) const STRIDE: usize = size_of::<Cpu>();
pub(crate) const STACK_TOP: usize = offset_of!(Cpu, stack_top);
pub(crate) const APIC_ID: usize = offset_of!(Cpu, apic_id);

impl Cpu {
    const fn new() -> Self {
        Cpu {
            this: AtomicPtr::new(ptr::null_mut()),
            id: AtomicU32::new(0),
            preempt: AtomicU32::new(1),
            need_stopper: AtomicBool::new(false),
            in_nmi: AtomicBool::new(false),
            doing: AtomicU8::new(Doing::Off as u8),
            off_at: AtomicPtr::new(ptr::null_mut()),
            apic_id: AtomicU32::new(NO_APIC),
            stack_top: AtomicUsize::new(0),
            incarnation: AtomicUsize::new(0),
            seen: AtomicBool::new(false),
            is_boot: AtomicBool::new(false),
            start_by_nmi: AtomicBool::new(false),
            stopped_at: AtomicU64::new(0),
            halt_at_nmi: AtomicBool::new(false),
            dozes_on: AtomicUsize::new(0),
            discards: AtomicBool::new(false),
            sent_to: AtomicU32::new(NO_APIC),
            dies_by: AtomicUsize::new(0),
            spins: Learned::new(),
            sleeps: Learned::new(),
            polls: polls::Word::new(),
        }
    }

    /// Its number.
    pub fn id(&self) -> CpuId {
        CpuId::new(self.id.load(Relaxed) as usize)
    }

    /// Its local APIC's id.
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Relaxed)
    }

    /// What it does at this moment.
    pub fn doing(&self) -> Doing {
        match self.doing.load(Relaxed) {
            1 => Doing::StartUp,
            2 => Doing::Thread,
            3 => Doing::Handler,
            4 => Doing::Stopper,
            5 => Doing::Halted,
            _ => Doing::Off,
        }
    }

    /// The address at which an NMI halted it for good, if one did: where it hung.
    pub fn stopped_at(&self) -> Option<u64> {
        Some(self.stopped_at.load(Relaxed)).filter(|at| *at != 0)
    }

    pub(crate) fn now_doing(&self, what: Doing) -> u8 {
        // No exchange, which locks the bus or the line: only this CPU writes it.
        let was = self.doing.load(Relaxed);
        self.doing.store(what as u8, Relaxed);
        was
    }

    /// Where it closed its interrupts, if it did through the library.
    pub(crate) fn off_at(&self) -> Option<&'static Location<'static>> {
        // SAFETY: null, or set from a caller's `Location`, which is static.
        unsafe { self.off_at.load(Relaxed).as_ref() }
    }
}

/// The block of a CPU by number.
///
/// # Panics
/// If the number is beyond [`MAX_CPUS`].
#[must_use]
pub fn block(cpu: CpuId) -> &'static Cpu {
    &CPUS[cpu.index()]
}

/// Says that CPU `cpu` has the local APIC `apic_id`. For each CPU that may ever exist, before any is started.
pub fn install(cpu: CpuId, apic_id: u32) {
    let block = block(cpu);
    block.this.store(ptr::from_ref(block).cast_mut(), Relaxed);
    block.id.store(cpu.index() as u32, Relaxed);
    block.apic_id.store(apic_id, Release);
    USED.fetch_max(cpu.index() + 1, Relaxed);
}

/// Makes `cpu` the calling CPU's number: from here on it can be asked who it is. The preempt count is 1.
///
/// # Safety
/// The caller runs on that CPU, with interrupts off; the CPU was [installed](install), and the kernel uses GS for nothing else.
pub unsafe fn enter(cpu: CpuId) {
    let block = block(cpu);
    block.preempt.store(1, Relaxed);
    block.need_stopper.store(false, Relaxed);
    block.in_nmi.store(false, Relaxed);
    block.off_at.store(ptr::null_mut(), Relaxed);
    block.dozes_on.store(0, Relaxed);
    block.polls.reset();
    block.sent_to.store(NO_APIC, Relaxed);
    block.is_boot.store(apic::is_boot_cpu(), Relaxed);
    block.now_doing(Doing::StartUp);
    let mut gs = x86_64::registers::model_specific::Msr::new(0xc000_0101);
    // SAFETY: the kernel leaves GS to the port.
    unsafe { gs.write(ptr::from_ref(block).addr() as u64) };
}

/// The calling CPU is set up: its context becomes preemptible.
///
/// # Safety
/// Once after [`enter`], in the idle context, with interrupts off.
pub unsafe fn begin_idle() {
    let me = here();
    me.now_doing(Doing::Thread);
    me.preempt.store(0, Relaxed);
}

/// The block of the calling CPU. Stable only while the caller can't be moved: with interrupts off, or preemption disabled.
#[inline]
pub fn here() -> &'static Cpu {
    let this: *const Cpu;
    // SAFETY: GS points to the block of this CPU since `enter`, and the block starts with its own address.
    unsafe { asm!("mov {}, gs:[0]", out(reg) this, options(nostack, preserves_flags, readonly)) };
    // SAFETY: the blocks are static.
    unsafe { &*this }
}

/// The number of the calling CPU. Stable only while the caller can't be moved.
#[inline]
#[must_use]
pub fn this_cpu() -> CpuId {
    let id: u32;
    // SAFETY: as in `here`.
    unsafe {
        asm!("mov {0:e}, gs:[{1}]", out(reg) id, const offset_of!(Cpu, id), options(nostack, preserves_flags, readonly))
    };
    CpuId::new(id as usize)
}

#[inline]
pub(crate) fn preempt_add() {
    // SAFETY: one instruction on this CPU's own count. It is no barrier for the machine and needs to be none: only this CPU's handlers
    // look at it, and they see this CPU's accesses in program order; the compiler keeps the order, as the block may touch memory.
    unsafe { asm!("inc dword ptr gs:[{0}]", const offset_of!(Cpu, preempt), options(nostack)) };
}

#[inline]
pub(crate) fn preempt_sub() {
    // SAFETY: as in `preempt_add`.
    unsafe { asm!("dec dword ptr gs:[{0}]", const offset_of!(Cpu, preempt), options(nostack)) };
}

/// How deep the calling CPU is in sections that disable preemption.
#[inline]
#[must_use]
pub fn preempt_count() -> u32 {
    let count: u32;
    // SAFETY: as in `here`.
    unsafe {
        asm!("mov {0:e}, gs:[{1}]", out(reg) count, const offset_of!(Cpu, preempt), options(nostack, preserves_flags, readonly))
    };
    count
}

#[inline]
pub(crate) fn needs_stopper() -> bool {
    let yes: u8;
    // SAFETY: as in `here`.
    unsafe {
        asm!("mov {0}, byte ptr gs:[{1}]", out(reg_byte) yes, const offset_of!(Cpu, need_stopper), options(nostack, preserves_flags, readonly))
    };
    yes != 0
}

/// The CPU with this APIC id.
#[must_use]
pub fn by_apic_id(apic_id: u32) -> Option<CpuId> {
    installed().iter().position(|cpu| cpu.apic_id.load(Acquire) == apic_id).map(CpuId::new)
}
