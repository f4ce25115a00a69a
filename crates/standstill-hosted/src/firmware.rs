//! A CPU's firmware: the OS thread's own stack. It waits for the start signal, runs the CPU's context on another stack,
//! and is what a CPU falls back to when it dies.
//!
//! A signal handler can't leave its thread: unwinding through the C frames below it is undefined, and libc's locks would
//! stay behind. It can switch stacks. So a dying CPU switches from wherever it is (its stopper, on top of a handler, on top of
//! its idle context) to the firmware, which drops the whole context, empties what is pending, and only then makes the store
//! that tells the others.

use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicUsize};

use corosensei::{Coroutine, CoroutineResult, Yielder};
use standstill::CpuId;
use standstill::platform::{Cpus, StartError};

use crate::Hosted;
use crate::board::{Board, Cpu, Doing, become_cpu, here};
use crate::irq;
use crate::os;
use crate::sched;
use crate::thread;

/// How long a CPU that was held takes to its first instruction, in nanoseconds.
const SLOW_NS: u64 = 200_000;
/// Values of [`Cpu::start`].
const STARTED: u32 = 1;
const POWER_OFF: u32 = 2;

/// Why a CPU's context ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leave {
    /// The CPU dies, and may be started again.
    Die,
    /// It was started too late.
    TooLate,
    /// It is halted for good.
    Halt,
    /// The machine is switched off.
    Off,
}

/// The code that the boot CPU runs in place of the bring-up.
pub(crate) type Boot = Box<dyn FnOnce() + Send>;

/// The body of a CPU's OS thread. All asynchronous signals are blocked when it starts.
pub(crate) fn main(cpu: &'static Cpu, mut boot: Option<Boot>) {
    become_cpu(Some(cpu));
    let board = cpu.board;
    if board.config.pin && !board.crowded() {
        os::pin_to_core(cpu.id.index());
    }
    os::sharp_timers();
    reset(cpu);
    cpu.tid.store(os::thread_id(), Release);
    os::futex_wake(cpu.tid.as_ptr().cast(), i32::MAX);
    let mut stack = Some(board.stack());
    while wait_for_start(cpu) {
        reset(cpu);
        let boot = boot.take();
        let mut context = Coroutine::with_stack(
            stack.take().unwrap_or_else(|| board.stack()),
            move |way_out: &Yielder<(), Leave>, ()| life(cpu, way_out, boot),
        );
        let leave = match context.resume(()) {
            CoroutineResult::Yield(leave) | CoroutineResult::Return(leave) => leave,
        };
        // `leave` and `life` have closed everything before they came here.
        // SAFETY: what is on that stack is given up, as power-off does. A context that leaves this way holds no lock of the
        // port (it is in no section) and is never resumed.
        unsafe { context.force_reset() };
        stack = Some(context.into_stack());
        reset(cpu);
        match leave {
            Leave::Die => announce_death(cpu),
            Leave::TooLate => {}
            Leave::Halt => {
                cpu.now_doing(Doing::Halted);
                wait_for_power_off(cpu);
                break;
            }
            Leave::Off => break,
        }
    }
    cpu.now_doing(Doing::Firmware);
    become_cpu(None);
}

/// The life of a CPU from its start to its end, on its own stack.
fn life(cpu: &'static Cpu, way_out: &Yielder<(), Leave>, boot: Option<Boot>) -> Leave {
    cpu.to_firmware.store(ptr::from_ref(way_out).cast_mut(), Relaxed);
    cpu.now_doing(Doing::StartUp);
    os::unblock(os::NMI);
    let leave = 'life: {
        let up = match boot {
            Some(boot) => {
                boot();
                Ok(())
            }
            // Acquire: pairs with the release of the start that stored it, which may be later than the one that this CPU was woken by.
            // SAFETY: the word is part of a leaked board. The incarnation is one that a start signal brought, the context is fresh, interrupts are off and
            // the preempt count is 1 since `reset`, and nothing of the library ran on it before.
            None => unsafe {
                let incarnation = cpu.incarnation.load(Acquire);
                if wait_while_held(&cpu.held) {
                    // It is slow still, so that the next start may come first.
                    os::futex_wait(cpu.held.as_ptr(), 0, Some(SLOW_NS));
                }
                cpu.board.entry().start_cpu(incarnation)
            },
        };
        if up.is_err() {
            break 'life Leave::TooLate;
        }
        irq::open_first(cpu);
        sched::idle_loop(cpu)
    };
    // The firmware is not a context that an NMI may interrupt.
    os::block_all();
    leave
}

/// Ends the calling context for good and goes to the firmware.
pub(crate) fn leave(leave: Leave) -> ! {
    os::block_all();
    let cpu = here();
    cpu.soft_off.store(true, Relaxed);
    match cpu.thread() {
        Some(thread) => thread::abandon(thread, leave),
        None => go(cpu, leave),
    }
}

/// The second half of [`leave`], from the idle context.
pub(crate) fn go(cpu: &'static Cpu, leave: Leave) -> ! {
    // SAFETY: set when this life began; the idle context, which runs here, is the one behind it.
    unsafe { (*cpu.to_firmware.load(Relaxed)).suspend(leave) };
    // The firmware never resumes a context that left.
    std::process::abort();
}

/// Brings the CPU's state to what it is at a reset, and forgets each interrupt that was on its way.
///
/// Signals go first: a bit that is set in between is dropped with the word, and its signal, if it stays, finds nothing.
/// The other way round a dropped signal could leave a bit behind for which nobody signals again.
fn reset(cpu: &'static Cpu) {
    cpu.soft_off.store(true, Relaxed);
    cpu.closed.store(true, Relaxed);
    cpu.off_at.store(ptr::null_mut(), Relaxed);
    cpu.critical.store(0, Relaxed);
    cpu.nmi_waits.store(false, Relaxed);
    cpu.preempt.store(1, Relaxed);
    cpu.in_stopper.store(false, Relaxed);
    cpu.need_stopper.store(false, Relaxed);
    cpu.current.store(ptr::null_mut(), Relaxed);
    cpu.now_doing(Doing::Firmware);
    cpu.board.bus.drop_for(cpu.id);
    os::drop_pending();
    cpu.pending.swap(0, AcqRel);
}

/// The last access of a dying CPU that others can see, and the wake for those that sleep on it.
fn announce_death(cpu: &'static Cpu) {
    let board = cpu.board;
    board.deaths.fetch_add(1, Relaxed);
    wait_while_held(&cpu.dies_later);
    let dead = cpu.dead.swap(ptr::null_mut(), Relaxed).cast_const();
    // SAFETY: `die` put it there for this life, and the machine that the word belongs to is never freed.
    unsafe { (*dead).store(cpu.dead_value.load(Relaxed), Release) };
    board.notify(dead);
}

/// Waits for the start signal. `false`: the machine is switched off.
fn wait_for_start(cpu: &'static Cpu) -> bool {
    loop {
        match cpu.start.compare_exchange(STARTED, 0, Acquire, Acquire) {
            Ok(_) => return true,
            Err(POWER_OFF) => return false,
            // SAFETY: the word is part of a leaked board.
            Err(seen) => unsafe {
                os::futex_wait(cpu.start.as_ptr(), seen, None);
            },
        }
    }
}

/// Waits until the machine is switched off; start signals mean nothing to a halted CPU.
fn wait_for_power_off(cpu: &'static Cpu) {
    loop {
        let seen = cpu.start.load(Acquire);
        if seen == POWER_OFF {
            return;
        }
        // SAFETY: the word is part of a leaked board.
        unsafe { os::futex_wait(cpu.start.as_ptr(), seen, None) };
    }
}

/// Keeps a CPU where it looks at `word`, or lets it go on.
pub(crate) fn hold(word: &AtomicU32, held: bool) {
    word.store(u32::from(held), Release);
    os::futex_wake(word.as_ptr(), i32::MAX);
}

/// Waits as long as this CPU is held by `word`; says whether it was.
fn wait_while_held(word: &AtomicU32) -> bool {
    let mut was_held = false;
    // Acquire: pairs with the release of who lets it go.
    while word.load(Acquire) != 0 {
        was_held = true;
        // SAFETY: the word is part of a leaked board.
        unsafe { os::futex_wait(word.as_ptr(), 1, None) };
    }
    was_held
}

impl Board {
    /// Sends the start signal.
    pub(crate) fn start_cpu(&self, cpu: CpuId, incarnation: usize) {
        let cpu = self.cpu(cpu);
        // Release: pairs with the acquire in `life`. A CPU that is late for an earlier start may find this incarnation there.
        cpu.incarnation.store(incarnation, Release);
        let mut seen = cpu.start.load(Relaxed);
        // Also if an earlier signal has not been taken: who takes it has to find this incarnation. Release: pairs with the acquire of the
        // exchange in `wait_for_start`.
        while seen != POWER_OFF {
            match cpu.start.compare_exchange(seen, STARTED, Release, Relaxed) {
                Ok(_) => {
                    os::futex_wake(cpu.start.as_ptr(), i32::MAX);
                    break;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Switches the machine off: CPUs end when they are idle next, and those that are not by force.
    pub(crate) fn switch_off(&self) {
        self.power_off.store(true, Release);
        for cpu in self.cpus() {
            cpu.start.store(POWER_OFF, Release);
            hold(&cpu.held, false);
            hold(&cpu.dies_later, false);
            os::futex_wake(cpu.start.as_ptr(), i32::MAX);
            cpu.queue.kick();
        }
    }
}

// SAFETY: 1. `life` calls `start_cpu` first, after `reset`. 2. `die` switches to the firmware's stack, which drops the
// context and makes the store; after it the firmware touches the port's own memory only. 3. A halted CPU sits in its
// firmware with all signals blocked. 4. The incarnation is stored with release, and read with acquire. 5. The configuration
// of a board does not change.
unsafe impl Cpus for Hosted {
    fn fan_in(&self) -> usize {
        self.board.config.fan_in
    }

    fn start(&self, cpu: CpuId, incarnation: usize) -> Result<(), StartError> {
        if cpu.index() >= self.board.cpus().len() {
            return Err(StartError("there is no such CPU: the machine was configured with fewer"));
        }
        self.board.start_cpu(cpu, incarnation);
        Ok(())
    }

    fn die(&self, dead: &AtomicUsize, value: usize) -> ! {
        let cpu = here();
        cpu.dead.store(ptr::from_ref(dead).cast_mut(), Relaxed);
        cpu.dead_value.store(value, Relaxed);
        leave(Leave::Die)
    }

    fn halt(&self) -> ! {
        leave(Leave::Halt)
    }

    fn halt_hard(&self, cpu: CpuId) {
        let cpu = self.board.cpu(cpu);
        os::signal_thread(cpu.tid.load(Relaxed), os::NMI);
    }
}
