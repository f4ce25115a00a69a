//! The board: everything that one hosted machine consists of, leaked, so that signal handlers may use it without asking.
//!
//! | part | is |
//! |---|---|
//! | [`Cpu`] | one CPU: its interrupt state, run queue and firmware; one OS thread |
//! | [`Buckets`] | who sleeps on which word |
//! | [`Lines`] | the routed interrupt controller |
//! | [`Bus`] | the thread that is devices and interconnect |
//!
//! A CPU finds itself through one thread-local pointer ([`here`]). Threads of the simulated kernel move between OS threads,
//! so that pointer is read anew after each switch, behind a function that is never inlined.

use std::cell::Cell;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Mutex, OnceLock, PoisonError};

use corosensei::Yielder;
use standstill::CpuId;
use standstill::platform::Entry;

use crate::bus::Bus;
use crate::config::{Config, Stats};
use crate::firmware::Leave;
use crate::lines::Lines;
use crate::queue::RunQueue;
use crate::rng::Rng;
use crate::thread::Thread;
use crate::wait::Buckets;

/// What a CPU does when it does not simply run its thread or its idle loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Doing {
    Firmware,
    Thread,
    StartUp,
    CallHandler,
    LineHandler,
    Stopper,
    Halted,
}

impl Doing {
    pub(crate) const fn from_u8(v: u8) -> Doing {
        match v {
            1 => Doing::Thread,
            2 => Doing::StartUp,
            3 => Doing::CallHandler,
            4 => Doing::LineHandler,
            5 => Doing::Stopper,
            6 => Doing::Halted,
            _ => Doing::Firmware,
        }
    }
}

/// One CPU.
///
/// Fields of the first two groups are written by the CPU itself only, in its thread context or in the handlers on top of it,
/// and are atomics because handlers and reports of other CPUs read them.
#[repr(align(128))]
pub(crate) struct Cpu {
    pub(crate) id: CpuId,
    pub(crate) board: &'static Board,

    // ---- interrupts: see irq.rs
    /// The local mask is closed.
    pub(crate) soft_off: AtomicBool,
    /// The hard mask is closed: [`IPI`](crate::os::IPI) is blocked, by `hard_irq_disable` or by a replay.
    pub(crate) closed: AtomicBool,
    /// Where the local mask was closed.
    pub(crate) off_at: AtomicPtr<Location<'static>>,
    /// Depth of the port's own sections, which even an NMI does not interrupt.
    pub(crate) critical: AtomicU32,
    /// An NMI came in such a section.
    pub(crate) nmi_waits: AtomicBool,
    pub(crate) preempt: AtomicU32,
    pub(crate) in_stopper: AtomicBool,
    /// A stop IPI came and the stopper has not run for it yet.
    pub(crate) need_stopper: AtomicBool,
    pub(crate) doing: AtomicU8,

    // ---- scheduler: see sched.rs
    /// The thread that this CPU runs, or null: its idle context.
    pub(crate) current: AtomicPtr<Thread>,
    /// The way from the idle context to the firmware.
    pub(crate) to_firmware: AtomicPtr<Yielder<(), Leave>>,
    /// `dead` and its value, on the way from `die` to the firmware.
    pub(crate) dead: AtomicPtr<AtomicUsize>,
    pub(crate) dead_value: AtomicUsize,
    pub(crate) rng: Rng,

    // ---- written by others
    /// Why this CPU is interrupted: bits of irq.rs.
    pub(crate) pending: AtomicU32,
    /// The device lines behind the bit for lines.
    pub(crate) lines: Box<[AtomicU64]>,
    pub(crate) tid: AtomicI32,
    pub(crate) queue: RunQueue,
    /// The start signal.
    pub(crate) start: AtomicU32,
    pub(crate) incarnation: AtomicUsize,
    /// It has been started, and is kept from running its first instruction: 1, or 0.
    pub(crate) held: AtomicU32,
    /// It has left, and is kept from saying that it is dead: 1, or 0.
    pub(crate) dies_later: AtomicU32,
    /// One of its lines can't be moved away.
    pub(crate) keeps_line: AtomicBool,
    /// It says that it runs something as it is about to leave.
    pub(crate) keeps_busy: AtomicBool,
    pub(crate) interrupts: AtomicU64,
    pub(crate) signals: AtomicU64,
}

impl Cpu {
    fn new(id: CpuId, board: &'static Board) -> Self {
        Cpu {
            id,
            board,
            soft_off: AtomicBool::new(true),
            closed: AtomicBool::new(true),
            off_at: AtomicPtr::new(ptr::null_mut()),
            critical: AtomicU32::new(0),
            nmi_waits: AtomicBool::new(false),
            preempt: AtomicU32::new(1),
            in_stopper: AtomicBool::new(false),
            need_stopper: AtomicBool::new(false),
            doing: AtomicU8::new(Doing::Firmware as u8),
            current: AtomicPtr::new(ptr::null_mut()),
            to_firmware: AtomicPtr::new(ptr::null_mut()),
            dead: AtomicPtr::new(ptr::null_mut()),
            dead_value: AtomicUsize::new(0),
            rng: Rng::new(board.config.seed ^ (id.index() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            pending: AtomicU32::new(0),
            lines: (0..board.config.lines.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            tid: AtomicI32::new(0),
            queue: RunQueue::new(id),
            start: AtomicU32::new(0),
            incarnation: AtomicUsize::new(0),
            held: AtomicU32::new(0),
            dies_later: AtomicU32::new(0),
            keeps_line: AtomicBool::new(false),
            keeps_busy: AtomicBool::new(false),
            interrupts: AtomicU64::new(0),
            signals: AtomicU64::new(0),
        }
    }

    /// The thread that this CPU runs; `None` in its idle context.
    pub(crate) fn thread(&self) -> Option<&'static Thread> {
        // SAFETY: null, or a thread, and threads are never freed.
        unsafe { self.current.load(Ordering::Relaxed).as_ref() }
    }

    /// Says what this CPU does from now on and returns what it did.
    pub(crate) fn now_doing(&self, what: Doing) -> Doing {
        Doing::from_u8(self.doing.swap(what as u8, Ordering::Relaxed))
    }
}

/// One machine's hardware.
pub(crate) struct Board {
    pub(crate) config: Config,
    cpus: OnceLock<Box<[Cpu]>>,
    entry: OnceLock<&'static dyn Entry>,
    pub(crate) buckets: Buckets,
    pub(crate) lines: Lines,
    pub(crate) bus: Bus,
    /// The machine is switched off: every CPU and the bus end.
    pub(crate) power_off: AtomicBool,
    /// Cores of the computer below.
    pub(crate) cores: usize,
    /// The CPU that the search for a place for a thread starts at.
    pub(crate) next_place: AtomicUsize,
    /// All threads that ever were.
    threads: Mutex<Vec<&'static Thread>>,
    pub(crate) missed_wakes: AtomicU64,
    pub(crate) deaths: AtomicU64,
}

impl Board {
    /// Builds a board. It is never freed: handlers and CPUs refer to it.
    pub(crate) fn leak(config: Config) -> &'static Board {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (cpus, lines) = (config.cpus, config.lines);
        let board: &'static Board = Box::leak(Box::new(Board {
            cpus: OnceLock::new(),
            entry: OnceLock::new(),
            buckets: Buckets::new(),
            lines: Lines::new(lines, cpus),
            bus: Bus::new(cpus, config.seed),
            power_off: AtomicBool::new(false),
            cores,
            next_place: AtomicUsize::new(0),
            threads: Mutex::new(Vec::new()),
            missed_wakes: AtomicU64::new(0),
            deaths: AtomicU64::new(0),
            config,
        }));
        board.cpus.get_or_init(|| (0..cpus).map(|i| Cpu::new(CpuId::new(i), board)).collect());
        board
    }

    pub(crate) fn cpus(&self) -> &[Cpu] {
        self.cpus.get().map_or(&[], |c| c)
    }

    /// The CPU with this number.
    pub(crate) fn cpu(&self, id: CpuId) -> &Cpu {
        &self.cpus()[id.index()]
    }

    /// Connects the machine. Before the first CPU starts.
    pub(crate) fn set_entry(&self, entry: &'static dyn Entry) {
        if self.entry.set(entry).is_err() {
            panic!("a board belongs to one machine: make a new `Hosted` for each");
        }
    }

    /// The machine.
    pub(crate) fn entry(&self) -> &'static dyn Entry {
        *self.entry.get().expect("a CPU runs before its board was connected to a machine")
    }

    /// More CPUs than cores: a CPU that spins keeps another one from running.
    pub(crate) fn crowded(&self) -> bool {
        self.config.cpus > self.cores
    }

    /// Remembers a new thread for [`free_stacks`](Self::free_stacks).
    pub(crate) fn register(&self, thread: &'static Thread) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    /// Frees the stacks of all threads. After every CPU has ended.
    pub(crate) fn free_stacks(&self) {
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // SAFETY: no CPU runs any more, so nothing uses the stack, and nobody else has the context.
            drop(unsafe { thread.unload() });
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let sum = |f: fn(&Cpu) -> &AtomicU64| self.cpus().iter().map(|c| f(c).load(Ordering::Relaxed)).sum();
        Stats {
            interrupts: sum(|c| &c.interrupts),
            signals: sum(|c| &c.signals),
            delayed: self.bus.delayed(),
            coalesced: self.lines.coalesced(),
            missed_wakes: self.missed_wakes.load(Ordering::Relaxed),
            deaths: self.deaths.load(Ordering::Relaxed),
        }
    }
}

thread_local! {
    static HERE: Cell<*const Cpu> = const { Cell::new(ptr::null()) };
}

/// The CPU that runs the caller, if the caller runs on one.
///
/// Never inlined, and a volatile read: a thread of the simulated kernel may be on another OS thread after a switch, and a compiler
/// that sees the thread-local here may keep its address, or what it held, over the switch there.
#[inline(never)]
pub(crate) fn try_here() -> Option<&'static Cpu> {
    // SAFETY: a valid place; what is in it is null, or a CPU of a leaked board.
    unsafe { HERE.with(|h| h.as_ptr().read_volatile()).as_ref() }
}

/// The CPU that runs the caller.
///
/// # Panics
/// On a thread that is no CPU.
#[inline(never)]
pub(crate) fn here() -> &'static Cpu {
    match try_here() {
        Some(cpu) => cpu,
        None => {
            panic!("this thread is no CPU of a hosted machine: call this inside `standstill_hosted::run`")
        }
    }
}

/// Makes the calling OS thread `cpu`.
#[inline(never)]
pub(crate) fn become_cpu(cpu: Option<&'static Cpu>) {
    HERE.with(|h| h.set(cpu.map_or(ptr::null(), ptr::from_ref)));
}
