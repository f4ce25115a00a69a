//! This kernel as the port sees it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr};

use standstill::CpuId;
use standstill::context::Task;
use standstill::event::Event;
use standstill::hotplug::Reason;
use standstill::platform::{Entry, Vacate, WaitContext};
use standstill_torture::{Body, LineHandler};
use standstill_x86_64::workloads::Workloads;
use standstill_x86_64::{Kernel, cpu};

use crate::thread::{Code, Thread};
use crate::{MAX_CPUS, devices, sched, sleep, slots, tables, watch, watchdog};

pub(crate) struct Kern;

/// CPUs halt while they wait in stops and pinned sections.
pub(crate) static DOZES: AtomicBool = AtomicBool::new(true);

const IDLE_STACK_BYTES: usize = 64 << 10;

/// The tops of the idle stacks.
static IDLE: AtomicPtr<Vec<usize>> = AtomicPtr::new(core::ptr::null_mut());

/// Allocates the idle stacks.
pub(crate) fn init(cpus: usize) {
    let top = |_| {
        let stack: &'static [u128] = Box::leak(alloc::vec![0_u128; IDLE_STACK_BYTES / 16].into_boxed_slice());
        stack.as_ptr_range().end.addr()
    };
    IDLE.store(Box::leak(Box::new((0..cpus).map(top).collect())), Release);
}

// SAFETY: 1. there is one machine. 2. Each CPU has an idle stack of its own, of 16-byte elements. 3. See sched.rs: `takes` and `members` change
// under the queue's lock, threads move only when switched out, and the lines are the port's.
unsafe impl Kernel for Kern {
    const LISTENS: bool = true;
    /// QEMU's CPUs, and those of this century, need none.
    const INIT_DELAY_NS: u64 = 10_000;

    fn entry() -> &'static dyn Entry {
        crate::machine()
    }

    fn idle_stack(cpu: CpuId) -> usize {
        // SAFETY: `init` ran before a CPU was started, and leaked it.
        let tops = unsafe { &*IDLE.load(Acquire) };
        tops[cpu.index()]
    }

    fn started(cpu: CpuId) {
        tables::load(cpu);
        sched::forget_timer();
    }

    fn run() -> ! {
        sched::idle_loop()
    }

    fn listens() -> bool {
        watch::listens()
    }

    fn event(event: &Event) {
        watch::event(event);
    }

    fn sleep_on(word: usize, until_ns: u64, over: &mut dyn FnMut() -> bool) {
        sleep::on(word, until_ns, over);
    }

    fn wake(word: usize) {
        sleep::wake_after_fence(word);
    }

    fn may_doze(context: WaitContext) -> bool {
        // The first one keeps the watchdog's clock.
        let first = || crate::machine().online().snapshot().first();
        DOZES.load(Relaxed) && (context != WaitContext::Frozen || first() != Some(cpu::this_cpu()))
    }

    fn spinning(waited_ns: u64) {
        watchdog::spinning(waited_ns);
    }

    fn nmi(at: u64) {
        watchdog::nmi(at);
    }

    fn evict(cpu: CpuId) {
        sched::evict(cpu);
    }

    fn readmit(cpu: CpuId) {
        sched::readmit(cpu);
    }

    fn vacate(cpu: CpuId) -> Result<(), Vacate> {
        sched::vacate(cpu)
    }

    fn occupied(cpu: CpuId) -> Option<&'static str> {
        sched::occupied(cpu)
    }

    fn only_idle_left() -> bool {
        sched::only_idle_left()
    }

    fn park_threads(cpu: CpuId) {
        sched::await_parked(cpu);
    }

    fn unpark_threads(cpu: CpuId) {
        sched::unpark(cpu);
    }

    fn aim_lines_away(cpu: CpuId) -> Result<(), Reason> {
        watchdog::leave(cpu);
        devices::LINES.aim_away(cpu, MAX_CPUS, devices::online_takes)
    }

    fn lines_left(cpu: CpuId) -> Result<(), Reason> {
        devices::LINES.hand_over(cpu)
    }

    fn lines_back(cpu: CpuId) {
        devices::LINES.come_back(cpu, crate::machine().present().snapshot().len());
    }

    fn thread_name(cpu: CpuId) -> &'static str {
        sched::local(cpu).current().map_or("idle", |thread| thread.name)
    }
}

impl Workloads for Kern {
    fn spawn(name: &'static str, home: CpuId, body: &'static Body) {
        sched::start(Thread::leak(name, home, Code::Body(body)));
    }

    fn sleep_ns(_: &mut Task, ns: u64) {
        sched::sleep(ns);
    }

    fn yield_now(_: &mut Task) {
        sched::yield_now();
    }

    fn between_operations(task: &mut Task) {
        slots::look(task);
    }

    fn lines() -> usize {
        devices::LINES.count()
    }

    fn start_devices(handler: &'static LineHandler) {
        devices::start(handler);
    }

    fn stop_devices(task: &mut Task) -> (u64, u64) {
        devices::stop(task)
    }
}
