//! The local APIC: as memory (xAPIC) or as registers (x2APIC), chosen once by [`find`].
//!
//! A send is two writes in an xAPIC, so interrupts are closed around them. Nothing is ever sent by shorthand: "all but me" would
//! reach CPUs that are parked or were never started. An x2APIC takes a set of CPUs in one write, if they are in the same cluster of 16:
//! its logical ids follow from the physical ones, a bit for each CPU, so the set is exact.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicUsize};

use x86_64::registers::model_specific::Msr;

use crate::{cpu, host, irq};

/// The vector of interrupts that nobody sent.
pub const SPURIOUS: u8 = 0xff;

const APIC_BASE: u32 = 0x1b;
const BASE_IS_BOOT: u64 = 1 << 8;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;
/// Where x2APIC registers begin; one for each 16 bytes of the xAPIC page.
const X2APIC_MSRS: u32 = 0x800;

const ID: u32 = 0x20;
const TPR: u32 = 0x80;
const EOI: u32 = 0xb0;
const SVR: u32 = 0xf0;
const IRR: u32 = 0x200;
const ICR: u32 = 0x300;
const ICR_HIGH: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;

const MASKED: u32 = 1 << 16;
const SVR_ENABLE: u32 = 1 << 8;
const DIVIDE_BY_16: u32 = 0b0011;
const PENDING: u32 = 1 << 12;

/// How many looks at a send that does not leave, before the next is tried anyway.
const PATIENCE: u32 = 1_000_000;

static X2APIC: AtomicBool = AtomicBool::new(false);
/// The APIC is a hypervisor's, which has sent an interrupt when the write that asks for it is done.
static SENDS_AT_ONCE: AtomicBool = AtomicBool::new(false);
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// What is sent: the low half of the interrupt command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// An interrupt with this vector.
    Fixed(u8),
    /// A non-maskable one.
    Nmi,
    /// Reset: the CPU waits for a start-up message.
    Init,
    /// Start at this page of the first MiB.
    StartUp(u8),
}

impl Message {
    /// The command's low half: edge-triggered, asserted, physical destination, no shorthand.
    #[must_use]
    pub const fn command(self) -> u32 {
        const ASSERT: u32 = 1 << 14;
        match self {
            Message::Fixed(vector) => ASSERT | vector as u32,
            Message::Nmi => ASSERT | 4 << 8,
            Message::Init => ASSERT | 5 << 8,
            Message::StartUp(page) => ASSERT | 6 << 8 | page as u32,
        }
    }
}

/// The x2APIC command for `to`: one register, the destination above.
#[must_use]
pub const fn x2apic_command(to: u32, message: Message) -> u64 {
    (to as u64) << 32 | message.command() as u64
}

/// The x2APIC command for a set of CPUs of one cluster, named by their logical ids.
const fn x2apic_cluster_command(cluster: Cluster, message: Message) -> u64 {
    const LOGICAL: u64 = 1 << 11;
    (cluster.number as u64) << 48 | (cluster.members as u64) << 32 | LOGICAL | message.command() as u64
}

/// Some CPUs of one cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cluster {
    number: u16,
    members: u16,
}

/// Calls `f` for the clusters of `ids`, and `alone` for those that are in none: once for each cluster, if the ids are in order.
fn each_cluster(ids: impl Iterator<Item = u32>, mut f: impl FnMut(Cluster), mut alone: impl FnMut(u32)) {
    let mut now: Option<Cluster> = None;
    for id in ids {
        let Ok(number) = u16::try_from(id >> 4) else {
            alone(id);
            continue;
        };
        let member = 1 << (id & 15);
        match &mut now {
            Some(cluster) if cluster.number == number => cluster.members |= member,
            _ => now.replace(Cluster { number, members: member }).into_iter().for_each(&mut f),
        }
    }
    now.into_iter().for_each(f);
}

/// The high half of the xAPIC command for `to`.
#[must_use]
pub const fn xapic_destination(to: u32) -> u32 {
    to << 24
}

/// Decides how the APIC is spoken to, on the boot CPU. `page` is where the xAPIC's page is mapped.
///
/// # Safety
/// `page` is mapped to the APIC's page, uncached, on every CPU.
pub unsafe fn find(page: usize) {
    host::find();
    PAGE.store(page, Relaxed);
    let features = core::arch::x86_64::__cpuid(1).ecx;
    X2APIC.store(features & 1 << 21 != 0, Relaxed);
    SENDS_AT_ONCE.store(features & 1 << 31 != 0, Relaxed);
}

/// Is it the x2APIC?
pub fn is_x2apic() -> bool {
    X2APIC.load(Relaxed)
}

fn read(register: u32) -> u32 {
    if is_x2apic() {
        // SAFETY: an APIC register that can be read without side effects.
        unsafe { Msr::new(X2APIC_MSRS + (register >> 4)).read() as u32 }
    } else {
        // SAFETY: `find` was told that the page is mapped.
        unsafe { ((PAGE.load(Relaxed) + register as usize) as *const u32).read_volatile() }
    }
}

fn write(register: u32, value: u32) {
    if is_x2apic() {
        // SAFETY: the callers in this module write registers of this CPU's own APIC, whose interrupts the kernel has handlers for.
        unsafe { Msr::new(X2APIC_MSRS + (register >> 4)).write(u64::from(value)) };
    } else {
        // SAFETY: as above, and `find` was told that the page is mapped.
        unsafe { ((PAGE.load(Relaxed) + register as usize) as *mut u32).write_volatile(value) };
    }
}

/// Switches this CPU's APIC on. Nothing is armed; other interrupts than those that are sent do not come.
///
/// # Safety
/// The kernel has handlers for the vectors of [`irq::vector`] and for [`SPURIOUS`].
pub unsafe fn enable() {
    let mut base = Msr::new(APIC_BASE);
    // SAFETY: the register is architectural.
    let now = unsafe { base.read() };
    let mode = if is_x2apic() { BASE_ENABLE | BASE_X2APIC } else { BASE_ENABLE };
    if now & mode != mode {
        // SAFETY: switching on, and from xAPIC to x2APIC, are the transitions that are allowed.
        unsafe { base.write(now | mode) };
    }
    write(TPR, 0);
    for local in [LVT_TIMER, LVT_LINT0, LVT_LINT1, LVT_ERROR] {
        write(local, MASKED | u32::from(SPURIOUS));
    }
    write(TIMER_DIVIDE, DIVIDE_BY_16);
    write(SVR, SVR_ENABLE | u32::from(SPURIOUS));
}

/// Switches this CPU's APIC off, as the last thing before it parks: by SVR, so that an INIT still gets through. What is latched stays behind
/// and is forgotten at the INIT.
pub(crate) fn disable() {
    write(LVT_TIMER, MASKED);
    write(TIMER_INITIAL, 0);
    write(SVR, u32::from(SPURIOUS));
}

/// This CPU's APIC id.
#[must_use]
pub fn id() -> u32 {
    let raw = read(ID);
    if is_x2apic() { raw } else { raw >> 24 }
}

/// The end of the interrupt that is being handled.
#[inline]
pub fn end_of_interrupt() {
    write(EOI, 0);
}

/// Is `vector` latched here and not taken yet?
#[must_use]
pub fn is_latched(vector: u8) -> bool {
    read(IRR + 0x10 * u32::from(vector / 32)) & 1 << (vector % 32) != 0
}

/// Is anything latched here and not taken yet?
pub(crate) fn has_latched() -> bool {
    (0..8).any(|i| read(IRR + 0x10 * i) != 0)
}

/// Is this CPU the one that the firmware started?
pub(crate) fn is_boot_cpu() -> bool {
    // SAFETY: the register is architectural.
    unsafe { Msr::new(APIC_BASE).read() & BASE_IS_BOOT != 0 }
}

/// Sends `message` to the CPU with the APIC id `to`. From every context; an NMI between the two writes of an xAPIC must not return.
pub fn send(to: u32, message: Message) {
    if is_x2apic() {
        // Unlike a store to the xAPIC's page, the write waits for nobody: what was written before must be visible first.
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        // SAFETY: the command reaches one CPU, with a message that it has a handler for.
        unsafe { Msr::new(X2APIC_MSRS + (ICR >> 4)).write(x2apic_command(to, message)) };
        return;
    }
    let on = irq::close();
    wait_until_sent();
    let sent_to = &cpu::here().sent_to;
    if sent_to.load(Relaxed) != to {
        write(ICR_HIGH, xapic_destination(to));
        sent_to.store(to, Relaxed);
    }
    write(ICR, message.command());
    irq::open_if(on);
}

/// Sends `message` to each of the CPUs with the APIC ids `to`, by clusters where that is possible. From every context, as [`send`].
pub fn send_each(to: impl Iterator<Item = u32>, message: Message) {
    if !is_x2apic() {
        return to.for_each(|id| send(id, message));
    }
    // As in `send`.
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    let write = |command| {
        // SAFETY: as in `send`, for each of the CPUs, and no other has a bit.
        unsafe { Msr::new(X2APIC_MSRS + (ICR >> 4)).write(command) };
    };
    each_cluster(
        to,
        |cluster| write(x2apic_cluster_command(cluster, message)),
        |id| write(x2apic_command(id, message)),
    );
}

fn wait_until_sent() {
    if SENDS_AT_ONCE.load(Relaxed) {
        return;
    }
    for _ in 0..PATIENCE {
        if read(ICR) & PENDING == 0 {
            return;
        }
        core::hint::spin_loop();
    }
}

/// Arms the timer: one interrupt with `vector` after `ticks`; none if `ticks` is 0.
pub fn arm_timer(vector: u8, ticks: u32) {
    write(LVT_TIMER, u32::from(vector));
    write(TIMER_INITIAL, ticks);
}

/// How many ticks are left.
#[must_use]
pub fn timer_left() -> u32 {
    read(TIMER_CURRENT)
}

/// Starts the timer without an interrupt, to be measured.
pub(crate) fn run_timer_masked() {
    write(LVT_TIMER, MASKED | u32::from(SPURIOUS));
    write(TIMER_INITIAL, u32::MAX);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn commands_are_those_of_the_manual() {
        assert_eq!(Message::Fixed(0xf0).command(), 0x40f0);
        assert_eq!(Message::Nmi.command(), 0x4400);
        assert_eq!(Message::Init.command(), 0x4500);
        assert_eq!(Message::StartUp(8).command(), 0x4608);
    }

    #[test]
    fn destinations() {
        assert_eq!(xapic_destination(3), 0x0300_0000);
        assert_eq!(x2apic_command(0x1_0003, Message::Fixed(0xf1)), 0x0001_0003_0000_40f1);
    }

    #[test]
    fn sets_are_sent_by_clusters() {
        let clusters = |ids: &[u32]| {
            let (mut clusters, mut alone) = (std::vec::Vec::new(), std::vec::Vec::new());
            each_cluster(ids.iter().copied(), |c| clusters.push((c.number, c.members)), |id| alone.push(id));
            (clusters, alone)
        };
        assert_eq!(clusters(&[]), (std::vec![], std::vec![]));
        assert_eq!(clusters(&[0, 1, 15, 16, 18, 300]).0, [(0, 0x8003), (1, 0b101), (18, 1 << 12)]);
        // Out of order it takes more commands, and reaches the same CPUs.
        assert_eq!(clusters(&[17, 0, 18]).0, [(1, 2), (0, 1), (1, 4)]);
        // Beyond what a logical id can name.
        assert_eq!(clusters(&[3, 1 << 20, 4]), (std::vec![(0, 0b11000)], std::vec![1 << 20]));
        // Cluster 2, members 0 and 3, vector 0xf0, logical.
        let command = x2apic_cluster_command(Cluster { number: 2, members: 9 }, Message::Fixed(0xf0));
        assert_eq!(command, 0x0002_0009_0000_48f0);
    }

    #[test]
    fn no_command_to_one_cpu_uses_a_shorthand_or_a_logical_destination() {
        for message in [Message::Fixed(0xff), Message::Nmi, Message::Init, Message::StartUp(0xff)] {
            assert_eq!(message.command() & (3 << 18 | 1 << 11), 0, "{message:?}");
        }
    }
}
