//! [`Machine`]: the one value that holds everything.

use core::mem::offset_of;
use core::panic::Location;
use core::sync::atomic::Ordering::Relaxed;

use crate::call::{CallCpu, Halt};
use crate::context::{IrqOff, MaySpin, Pinned, Task};
use crate::cpu::CpuId;
use crate::event::{Event, What};
use crate::hotplug::{Hotplug, HotplugCpu};
use crate::mask::{AtomicCpuMask, CpuMask};
use crate::places::Finder;
use crate::platform::{Entry, Memory, Platform, TooLate, Word};
use crate::protocol::Protocol;
use crate::stall::Callback;
use crate::stop::{Acks, Brief, Copied, MAX_CPUS, Slot, Stop, StopCpu};

/// CPUs, their calls, their stoppers and their hotplug states: all of Standstill for one machine of up to `N` CPUs.
///
/// A kernel keeps one in a `static`. `W` is `N / 64` rounded up; that is checked when the machine is built.
///
/// # Invariants
/// active ⊆ online ⊆ present ⊆ possible, and accepting ⊆ online while the protocol promises it.
pub struct Machine<P: Platform, const N: usize, const W: usize = 1> {
    pub(crate) platform: P,
    pub(crate) protocol: Protocol,
    /// 0 until [`boot`](Self::boot).
    booted: P::Word,
    pub(crate) possible: AtomicCpuMask<P, W>,
    pub(crate) present: AtomicCpuMask<P, W>,
    pub(crate) online: AtomicCpuMask<P, W>,
    pub(crate) active: AtomicCpuMask<P, W>,
    /// The online CPUs that take calls: what a sender tests. A CPU that leaves is taken out a step before it leaves `online`.
    pub(crate) accepting: AtomicCpuMask<P, W>,
    pub(crate) stop: Stop<P, W>,
    pub(crate) hotplug: Hotplug<P, W>,
    pub(crate) halt: Halt<P, W>,
    /// The hotplug callback that runs for each CPU, for reports. Not in the CPU's own part, which is full.
    pub(crate) callback: [Callback<P>; N],
    pub(crate) cpu: [PerCpu<P, W>; N],
}

/// What belongs to one CPU, on cache lines of its own. The order matters: the two words in which a group of CPUs meets during a stop are far from each other, and
/// from what the CPU itself writes then.
#[repr(C, align(128))]
pub(crate) struct PerCpu<P: Memory, const W: usize> {
    /// The acknowledgements of the group whose node is stored here, if any; see `stop/tree.rs`.
    pub(crate) acks: Acks<P>,
    /// What its stopper is to do by a certain time.
    pub(crate) slot: Slot<P>,
    pub(crate) hotplug: HotplugCpu<P>,
    /// That group's copy of the stage word.
    pub(crate) copied: Copied<P>,
    /// What its CPUs have to know. Beside the word that they look at, and not beside the one that they write.
    pub(crate) brief: Brief<P>,
    pub(crate) call: CallCpu<P, W>,
    pub(crate) stop: StopCpu<P>,
}

impl<P: Memory, const W: usize> PerCpu<P, W> {
    const fn new() -> Self {
        const {
            assert!(offset_of!(Self, copied) - offset_of!(Self, acks) >= 64);
            assert!(offset_of!(Self, stop) - offset_of!(Self, copied) >= 64);
        }
        PerCpu {
            acks: Acks::new(),
            slot: Slot::new(),
            hotplug: HotplugCpu::new(),
            copied: Copied::new(),
            brief: Brief::new(),
            call: CallCpu::new(),
            stop: StopCpu::new(),
        }
    }

    pub(crate) fn places(&self, finder: &mut Finder) {
        finder.see("acknowledgements of the group", &self.acks);
        finder.see("stopper's work that can be taken back", &self.slot);
        finder.see("stop word of the group", &self.copied);
        finder.see("what the group has to know", &self.brief);
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// What each CPU adds to the size of a machine, in bytes.
    pub const BYTES_PER_CPU: usize = size_of::<PerCpu<P, W>>();

    /// A machine that is not booted: calls and stops run in place.
    #[must_use]
    pub const fn new(platform: P, protocol: Protocol) -> Self {
        const {
            assert!(N > 0, "a machine has at least one CPU");
            assert!(W == N.div_ceil(64), "W must be N / 64, rounded up");
            assert!(N <= MAX_CPUS, "more CPUs than a stop can count");
        }
        Machine {
            platform,
            protocol,
            booted: P::Word::ZERO,
            possible: AtomicCpuMask::new(),
            present: AtomicCpuMask::new(),
            online: AtomicCpuMask::new(),
            active: AtomicCpuMask::new(),
            accepting: AtomicCpuMask::new(),
            stop: Stop::new(),
            hotplug: Hotplug::new(),
            halt: Halt::new(),
            callback: [const { Callback::new() }; N],
            cpu: [const { PerCpu::new() }; N],
        }
    }

    /// Boots the machine: the calling CPU becomes the first one online, with its stopper open. Its hotplug thread is started by
    /// the port.
    ///
    /// # Panics
    /// If `present` is not a subset of `possible`, `possible` has more than the machine's `N` CPUs, or the caller is not present.
    ///
    /// # Safety
    /// 1. Called once, on the CPU that boots, while no other CPU runs.
    /// 2. Interrupts can be taken, and the port runs stoppers, from now on.
    /// 3. The machine is never moved or dropped from now on: lists of CPUs point into it.
    pub unsafe fn boot(&self, possible: &CpuMask<W>, present: &CpuMask<W>) {
        let me = self.platform.this_cpu();
        assert!(
            possible.is_subset(&CpuMask::first_n(N)),
            "more possible CPUs than the machine was built for"
        );
        assert!(
            present.is_subset(possible) && present.contains(me),
            "present CPUs must be possible, and the booting one present"
        );
        self.possible.assign(possible);
        self.present.assign(present);
        self.emit(|| What::CpuStarted { incarnation: 1 });
        self.forget_receipts();
        self.boot_states(me);
        self.open_stopper(me);
        self.set_online(me);
        self.emit(|| What::ActiveSet { who: me });
        // Relaxed, as all of the above may be: no other CPU runs, and starting one publishes it.
        self.active.assign(&CpuMask::of(me));
        self.booted.store(1, Relaxed);
    }

    /// Has [`boot`](Self::boot) been called?
    pub(crate) fn is_booted(&self) -> bool {
        self.booted.load(Relaxed) != 0
    }

    /// The platform.
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    /// How CPUs leave this machine.
    pub const fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// The CPUs that may ever exist.
    #[doc(alias = "cpu_possible_mask")]
    pub const fn possible(&self) -> &AtomicCpuMask<P, W> {
        &self.possible
    }

    /// The CPUs that are plugged in.
    #[doc(alias = "cpu_present_mask")]
    pub const fn present(&self) -> &AtomicCpuMask<P, W> {
        &self.present
    }

    /// The CPUs that run threads, handlers and works. What a pinned section that found one here may rely on
    /// depends on the [protocol](crate::Protocol::pins_online).
    #[doc(alias = "cpu_online_mask")]
    #[doc(alias = "cpu_online")]
    pub const fn online(&self) -> &AtomicCpuMask<P, W> {
        &self.online
    }

    /// The CPUs that threads may be put on. One that a pinned section finds here is online, and takes calls,
    /// until that section ends, whatever the protocol.
    #[doc(alias = "cpu_active_mask")]
    pub const fn active(&self) -> &AtomicCpuMask<P, W> {
        &self.active
    }

    /// The CPUs that take calls. One that a pinned section finds here is online until that section ends.
    pub const fn accepting(&self) -> &AtomicCpuMask<P, W> {
        &self.accepting
    }

    /// Runs `f` where it can't be moved to another CPU and no stop can begin. Interrupts stay on.
    #[doc(alias = "preempt_disable")]
    pub fn pin<R>(&self, _task: &mut Task, f: impl FnOnce(&mut Pinned<'_>) -> R) -> R {
        let _pin = self.pinned();
        // SAFETY: preemption is disabled until `_pin` is dropped, after `f`; a `Task` has its interrupts on.
        let mut pinned = unsafe { Pinned::new() };
        f(&mut pinned)
    }

    /// Runs `f` with interrupts off.
    #[doc(alias = "local_irq_save")]
    #[track_caller]
    pub fn irq_off<C: MaySpin, R>(&self, _ctx: &mut C, f: impl FnOnce(&IrqOff<'_>) -> R) -> R {
        struct Restore<'a, P: Platform>(&'a P, Option<P::Flags>);
        impl<P: Platform> Drop for Restore<'_, P> {
            fn drop(&mut self) {
                if let Some(flags) = self.1.take() {
                    // SAFETY: from the save below, on the same CPU: interrupts were off in between.
                    unsafe { self.0.irq_restore(flags) };
                }
            }
        }
        let _restore = Restore(&self.platform, Some(self.platform.irq_save()));
        // SAFETY: interrupts are off until `_restore` is dropped, after `f`.
        let off = unsafe { IrqOff::new() };
        f(&off)
    }

    pub(crate) fn places(&self, finder: &mut Finder) {
        finder.see("boot flag", &self.booted);
        finder.see("possible mask", &self.possible);
        finder.see("present mask", &self.present);
        finder.see("online mask", &self.online);
        finder.see("active mask", &self.active);
        finder.see("accepting mask", &self.accepting);
        finder.see("hotplug callbacks that run", &self.callback);
    }

    #[inline(always)]
    #[track_caller]
    pub(crate) fn emit(&self, what: impl FnOnce() -> What) {
        self.platform.event(|| Event { cpu: self.platform.this_cpu(), what: what() });
    }

    #[inline]
    #[track_caller]
    pub(crate) fn pinned(&self) -> PinGuard<'_, P, N, W> {
        self.platform.preempt_disable();
        PinGuard { machine: self, cpu: self.platform.this_cpu() }
    }

    /// On the CPU itself, interrupts off (or before the boot). The stopper is open.
    pub(crate) fn set_online(&self, me: CpuId) {
        self.emit(|| What::OnlineSet { who: me });
        // Release: who sees it online finds its stopper open, and what its STARTING callbacks did.
        self.online.insert(me);
        self.start_accepting(me);
    }

    /// `who` is online and takes calls, again or from now on.
    pub(crate) fn start_accepting(&self, who: CpuId) {
        // Relaxed: whoever changed it before comes before this, by the stop that it was in or by the start.
        if !self.accepting.has(who) {
            self.emit(|| What::AcceptingSet { who });
            // Release: as above; `cpu_up` waits for this bit alone.
            self.accepting.insert(who);
        }
    }

    /// On the CPU itself, interrupts off.
    pub(crate) fn clear_online(&self, me: CpuId) {
        self.stop_accepting(me);
        self.emit(|| What::OnlineCleared { who: me });
        self.online.remove(me);
    }

    /// From here on every call to `who` is refused.
    pub(crate) fn stop_accepting(&self, who: CpuId) {
        // Relaxed: as in `start_accepting`.
        if self.accepting.has(who) {
            self.emit(|| What::AcceptingCleared { who });
            self.accepting.remove(who);
        }
    }

    /// The inner step between the last disable and RUN; see [`Stage::Seal`](crate::stop::Stage::Seal). Protocols that drain before they
    /// leave the online mask need it; the historical ones did not have it.
    pub(crate) fn seal(&self) {
        if self.protocol.drain == crate::Drain::RunStart {
            // Relaxed: who moves a stop on has acquired its word, which published the plan.
            for cpu in &self.stop.leaving.now() {
                self.stop_accepting(cpu);
            }
        }
    }
}

/// The caller stays on its CPU, and the stopper off it, until this is dropped.
pub(crate) struct PinGuard<'a, P: Platform, const N: usize, const W: usize> {
    machine: &'a Machine<P, N, W>,
    cpu: CpuId,
}

impl<P: Platform, const N: usize, const W: usize> PinGuard<'_, P, N, W> {
    pub(crate) fn cpu(&self) -> CpuId {
        self.cpu
    }
}

impl<P: Platform, const N: usize, const W: usize> Drop for PinGuard<'_, P, N, W> {
    fn drop(&mut self) {
        // SAFETY: matches the disable in `pinned`, by the same context.
        unsafe { self.machine.platform.preempt_enable() };
    }
}

// SAFETY: the promises of `Entry` are kept by the functions called here; each says how.
unsafe impl<P: Platform, const N: usize, const W: usize> Entry for Machine<P, N, W> {
    unsafe fn on_call_ipi(&self) {
        self.handle_call_ipi(self.platform.this_cpu());
    }

    unsafe fn on_halt_ipi(&self) -> ! {
        self.halt_self(self.platform.this_cpu())
    }

    fn stopper_pending(&self) -> bool {
        self.cpu[self.platform.this_cpu().index()].stop.works.pending()
    }

    unsafe fn run_stopper(&self) {
        self.run_works(self.platform.this_cpu());
    }

    unsafe fn start_cpu(&self, incarnation: usize) -> Result<(), TooLate> {
        self.come_up(self.platform.this_cpu(), incarnation)
    }

    #[track_caller]
    unsafe fn serve_hotplug(&self, task: &mut Task) {
        self.serve(task, Location::caller());
    }

    unsafe fn idle(&self) {
        self.idle_turn(self.platform.this_cpu());
    }

    fn is_online(&self, cpu: CpuId) -> bool {
        self.online.contains(cpu)
    }
}
