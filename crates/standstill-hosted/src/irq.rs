//! Interrupts: two masks, one signal, one pending word.
//!
//! An interrupt is a bit in the target's pending word, and a signal if the word was zero. The handler takes the whole word
//! at once. Who sets a bit later finds zero and signals again, so no bit waits without a signal on its way.
//!
//! | mask | closed by | a signal that comes |
//! |---|---|---|
//! | local ([`Cpu::soft_off`]) | `irq_save`, a handler, a section of the port | is noted, and closes the hard mask |
//! | hard ([`Cpu::closed`]) | `hard_irq_disable`, a noted signal | waits in the OS |
//!
//! The local mask costs two stores. The noted signal closes the hard mask in the context that it returns to, so that one
//! closed section is interrupted once at most. Opening the local mask finds the hard mask closed, takes the pending word
//! itself (the signal for it is gone), and opens the hard mask last: what came meanwhile is delivered there by the OS.
//!
//! A handler runs with its own signal blocked by the OS until it returns, so frames can't pile up. Only the stopper, which
//! runs at the end of a handler with interrupts on, opens the signal by hand and closes it again.
//!
//! All fields are those of one CPU and its handlers, which are ordered by compiler fences.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::compiler_fence;

use standstill::CpuId;
use standstill::context::IrqOff;
use standstill::platform::{Ipi, Irq};

use crate::Hosted;
use crate::board::{Board, Cpu, Doing, here, try_here};
use crate::os;

/// Bits of [`Cpu::pending`].
pub(crate) const CALL: u32 = 1;
pub(crate) const STOP: u32 = 2;
pub(crate) const HALT: u32 = 4;
pub(crate) const LINES: u32 = 8;

/// What `irq_save` found: were the local interrupts open?
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flags(bool);

/// Sets `bit` for `cpu`, and signals it if nothing else was pending.
///
/// The release of the swap-like access makes everything before it visible to the handler, also where another sender's
/// signal answers for this bit: the word's changes form one chain.
pub(crate) fn raise(cpu: &Cpu, bit: u32) {
    cpu.interrupts.fetch_add(1, Relaxed);
    if cpu.pending.fetch_or(bit, AcqRel) == 0 {
        cpu.signals.fetch_add(1, Relaxed);
        os::signal_thread(cpu.tid.load(Relaxed), os::IPI);
    }
}

/// Closes the local mask and returns whether it was open.
pub(crate) fn close(cpu: &Cpu) -> bool {
    // A handler between the two accesses leaves the mask as it found it.
    let was_on = !cpu.soft_off.load(Relaxed);
    cpu.soft_off.store(true, Relaxed);
    compiler_fence(Ordering::SeqCst);
    was_on
}

/// Opens the local mask, takes what came meanwhile, and runs a stopper that had to wait.
pub(crate) fn open(cpu: &'static Cpu) {
    cpu.off_at.store(ptr::null_mut(), Relaxed);
    compiler_fence(Ordering::SeqCst);
    cpu.soft_off.store(false, Relaxed);
    compiler_fence(Ordering::SeqCst);
    // From here on a signal is handled at once, unless one came before and closed the hard mask.
    if cpu.closed.load(Relaxed) {
        replay(cpu);
    }
    if cpu.need_stopper.load(Relaxed) {
        stopper_if_preemptible(cpu, false);
    }
}

/// The signal for what is pending is gone or blocked: takes it here, then opens the hard mask.
#[cold]
fn replay(cpu: &'static Cpu) {
    // The hard mask is closed: nothing interrupts until `unblock`.
    cpu.soft_off.store(true, Relaxed);
    take(cpu);
    cpu.closed.store(false, Relaxed);
    cpu.soft_off.store(false, Relaxed);
    compiler_fence(Ordering::SeqCst);
    os::unblock(os::IPI);
}

/// Runs the handlers of all that is pending, with interrupts off.
fn take(cpu: &'static Cpu) {
    loop {
        let bits = cpu.pending.swap(0, AcqRel);
        if bits == 0 {
            break;
        }
        if bits & STOP != 0 {
            cpu.need_stopper.store(true, Relaxed);
        }
        if bits & LINES != 0 {
            let was = cpu.now_doing(Doing::LineHandler);
            // SAFETY: interrupts are off, and a handler stays on its CPU.
            let off = unsafe { IrqOff::new() };
            cpu.board.lines.take(cpu, &off);
            cpu.now_doing(was);
        }
        if bits & CALL != 0 {
            let was = cpu.now_doing(Doing::CallHandler);
            // SAFETY: this CPU got the IPI, and is in interrupt context with interrupts off.
            unsafe { cpu.board.entry().on_call_ipi() };
            cpu.now_doing(was);
        }
        if bits & HALT != 0 {
            // SAFETY: as above.
            unsafe { cpu.board.entry().on_halt_ipi() };
        }
    }
    // An idle CPU that was about to sleep looks around again.
    cpu.queue.bump();
}

/// Runs the stopper if this CPU's context is preemptible. Interrupts are on; in a handler the signal is still blocked.
fn stopper_if_preemptible(cpu: &'static Cpu, in_handler: bool) {
    while cpu.preempt.load(Relaxed) == 0 && cpu.need_stopper.load(Relaxed) {
        // The count keeps `preempt_enable` calls inside the stopper from coming here again.
        cpu.preempt.store(1, Relaxed);
        cpu.in_stopper.store(true, Relaxed);
        compiler_fence(Ordering::SeqCst);
        let was = cpu.now_doing(Doing::Stopper);
        if in_handler {
            os::unblock(os::IPI);
        }
        while cpu.need_stopper.swap(false, Relaxed) {
            // SAFETY: (1) the context below has preempt count 0, and is a thread or idle: handlers that interrupt each other
            // don't come here, as the local mask is open and the stopper's own count is up. (2) Only handlers interrupt.
            unsafe { cpu.board.entry().run_stopper() };
        }
        if in_handler {
            os::block(os::IPI);
        }
        cpu.now_doing(was);
        cpu.queue.bump();
        compiler_fence(Ordering::SeqCst);
        cpu.in_stopper.store(false, Relaxed);
        cpu.preempt.store(0, Relaxed);
        compiler_fence(Ordering::SeqCst);
        // A stop IPI between the last swap and here found the count up: look again.
    }
}

/// Opens this CPU's interrupts for the first time after its start.
pub(crate) fn open_first(cpu: &'static Cpu) {
    cpu.preempt.store(0, Relaxed);
    cpu.now_doing(Doing::Thread);
    os::unblock(os::NMI);
    open(cpu);
}

extern "C" fn on_ipi(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    os::keep_errno(|| {
        let Some(cpu) = try_here() else { return };
        if cpu.soft_off.load(Relaxed) {
            cpu.closed.store(true, Relaxed);
            // SAFETY: `context` is what this handler got.
            unsafe { os::block_in_context(context, os::IPI) };
            return;
        }
        cpu.soft_off.store(true, Relaxed);
        compiler_fence(Ordering::SeqCst);
        take(cpu);
        compiler_fence(Ordering::SeqCst);
        // The end of the interrupt. The OS keeps the signal blocked until this function has returned.
        cpu.soft_off.store(false, Relaxed);
        compiler_fence(Ordering::SeqCst);
        stopper_if_preemptible(cpu, true);
    });
}

extern "C" fn on_nmi(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    os::keep_errno(|| {
        let Some(cpu) = try_here() else { return };
        if cpu.critical.load(Relaxed) != 0 {
            cpu.nmi_waits.store(true, Relaxed);
        } else {
            nmi(cpu);
        }
    });
}

/// Halts this CPU, or ends it if the machine is switched off.
#[cold]
fn nmi(cpu: &'static Cpu) {
    if cpu.board.power_off.load(Relaxed) {
        crate::firmware::leave(crate::firmware::Leave::Off);
    }
    // SAFETY: this CPU got the NMI, and is in its context.
    unsafe { cpu.board.entry().on_halt_ipi() }
}

/// Installs both handlers, once for the process.
pub(crate) fn install_handlers() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        os::install(os::IPI, on_ipi);
        os::install(os::NMI, on_nmi);
    });
}

/// A section of the port itself: it holds a lock that handlers take, too, or is between two contexts. Interrupts are
/// closed, and even an NMI waits. On a thread that is no CPU there is nothing to close.
#[must_use]
pub(crate) struct Critical(Option<bool>);

/// Enters a [`Critical`] section.
pub(crate) fn enter() -> Critical {
    Critical(try_here().map(|cpu| {
        let was_on = close(cpu);
        cpu.critical.fetch_add(1, Relaxed);
        compiler_fence(Ordering::SeqCst);
        was_on
    }))
}

impl Critical {
    /// Were the interrupts open before?
    pub(crate) fn was_on(&self) -> bool {
        self.0 == Some(true)
    }
}

impl Drop for Critical {
    fn drop(&mut self) {
        let Some(was_on) = self.0 else { return };
        // Looked up anew: a thread that was switched out in the section may be on another CPU now, which is in a section of
        // its own scheduler at the same depth.
        let cpu = here();
        compiler_fence(Ordering::SeqCst);
        if cpu.critical.fetch_sub(1, Relaxed) == 1 && cpu.nmi_waits.swap(false, Relaxed) {
            nmi(cpu);
        }
        if was_on {
            open(cpu);
        }
    }
}

/// Ends the section in which a new context was switched to.
pub(crate) fn end_of_switch() {
    drop(Critical(Some(true)));
}

/// Begins the section in which a context ends; the idle context that follows closes it.
pub(crate) fn begin_of_switch() {
    std::mem::forget(enter());
}

impl Board {
    /// Interrupts `to` for `why`, by way of the interconnect if that is slow today.
    pub(crate) fn send(&'static self, to: CpuId, why: Ipi) {
        let cpu = self.cpu(to);
        let bit = match why {
            Ipi::Call => CALL,
            Ipi::Stop => STOP,
            Ipi::Halt => HALT,
        };
        if let (Ipi::Call, Some(latency), Some(me)) = (why, self.config.ipi_latency, try_here())
            && me.rng.below(u64::from(latency.one_in.max(1))) == 0
        {
            self.bus.carry(to);
            return;
        }
        raise(cpu, bit);
    }
}

// SAFETY: 1. A signal between save and restore finds the local mask closed and runs no handler. 2. It closes the hard
// mask, which tells the restore to take the pending word; other bits are signalled when the hard mask opens. 3. Threads
// move only when they switch themselves out, which they can't with a count up, and the stopper looks at the count.
// 4. See `raise`; the interconnect adds a read-modify-write on each side. 5. `need_stopper` stays up until the stopper
// ran, and `preempt_enable` and `open` look at it.
unsafe impl Irq for Hosted {
    type Flags = Flags;

    fn this_cpu(&self) -> CpuId {
        here().id
    }

    #[track_caller]
    #[inline]
    fn irq_save(&self) -> Flags {
        let cpu = here();
        let was_on = close(cpu);
        if was_on {
            cpu.off_at.store(ptr::from_ref(Location::caller()).cast_mut(), Relaxed);
        }
        Flags(was_on)
    }

    #[inline]
    unsafe fn irq_restore(&self, flags: Flags) {
        if flags.0 {
            open(here());
        }
    }

    fn irqs_on(&self) -> bool {
        !here().soft_off.load(Relaxed)
    }

    fn hard_irq_disable(&self) {
        let cpu = here();
        debug_assert!(cpu.soft_off.load(Relaxed), "hard_irq_disable with the local interrupts open");
        os::block(os::IPI);
        cpu.closed.store(true, Relaxed);
    }

    fn preempt_disable(&self) {
        here().preempt.fetch_add(1, Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    unsafe fn preempt_enable(&self) {
        let cpu = here();
        compiler_fence(Ordering::SeqCst);
        let before = cpu.preempt.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "preempt_enable without preempt_disable");
        compiler_fence(Ordering::SeqCst);
        if before == 1 && cpu.need_stopper.load(Relaxed) && !cpu.soft_off.load(Relaxed) {
            stopper_if_preemptible(cpu, false);
        }
    }

    fn send_ipi(&self, to: CpuId, why: Ipi) {
        self.board.send(to, why);
    }
}

#[cfg(test)]
mod tests;
