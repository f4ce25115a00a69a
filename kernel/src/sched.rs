//! The scheduler: each CPU's idle context runs the threads that are on it; threads move only when switched out.
//!
//! A switch goes from a thread to its CPU's idle context and from there to the next thread, always with interrupts off, so that no handler
//! sees a CPU between two contexts. In the idle context interrupts open between two threads: there the stopper may interrupt
//! it, and there it looks whether this CPU is to die.
//!
//! A thread is switched out at its own wish, or at the end of an interrupt when its time is over. Either way its preempt count is 0.

use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

use standstill::CpuId;
use standstill::platform::Vacate;
use standstill_sched::{Queue, State, place};
use standstill_x86_64::apic::{self, Message};
use standstill_x86_64::cpu;
use standstill_x86_64::irq;
use standstill_x86_64::time::{now_ns, timer_ticks};

use crate::MAX_CPUS;
use crate::idle::Idle;
use crate::interrupts::{RESCHEDULE, TIMER};
use crate::lock::{Closed, SpinLock};
use crate::sleep;
use crate::thread::{Code, Out, Thread, switch};
use crate::watchdog;

/// How long a thread runs while others want to.
const SLICE_NS: u64 = 2_000_000;
/// How many beats are between two looks of the watchdog in the idle loop.
const TURNS_PER_LOOK: u64 = 64;
/// How often an idle CPU shows that it is alive.
const HEARTBEAT_NS: u64 = 200_000_000;

/// What belongs to one CPU.
#[repr(align(128))]
pub(crate) struct Local {
    /// The thread that it runs, or null: its idle context.
    current: AtomicPtr<Thread>,
    idle_sp: AtomicUsize,
    pub(crate) wants_switch: AtomicBool,
    /// Timer interrupts, and turns of its idle loop: signs that it is well. Written with interrupts off, by itself.
    pub(crate) beats: AtomicU64,
    /// Beats of the next CPU when this one last looked, and when it had changed.
    pub(crate) watched: AtomicU64,
    pub(crate) watched_at: AtomicU64,
    pub(crate) idle: Idle,
    /// When its timer is to interrupt, and the longest time that one came late since somebody looked.
    due: AtomicU64,
    pub(crate) latest: AtomicU64,
    pub(crate) queue: SpinLock<Queue<Thread>>,
    parked: AtomicU32,
}

impl Local {
    const fn new() -> Self {
        Local {
            current: AtomicPtr::new(ptr::null_mut()),
            idle_sp: AtomicUsize::new(0),
            wants_switch: AtomicBool::new(false),
            beats: AtomicU64::new(0),
            watched: AtomicU64::new(0),
            watched_at: AtomicU64::new(0),
            idle: Idle::new(),
            due: AtomicU64::new(u64::MAX),
            latest: AtomicU64::new(0),
            queue: SpinLock::new(Queue::new()),
            parked: AtomicU32::new(1),
        }
    }

    fn beat(&self) -> u64 {
        let beats = self.beats.load(Relaxed) + 1;
        self.beats.store(beats, Relaxed);
        beats
    }

    /// The thread that it runs.
    pub(crate) fn current(&self) -> Option<&'static Thread> {
        // SAFETY: null or a thread, and threads are never freed.
        unsafe { self.current.load(Relaxed).as_ref() }
    }
}

static LOCAL: [Local; MAX_CPUS] = [const { Local::new() }; MAX_CPUS];

pub(crate) fn local(cpu: CpuId) -> &'static Local {
    &LOCAL[cpu.index()]
}

/// This CPU's; stable only while the caller can't be moved.
pub(crate) fn here() -> &'static Local {
    local(cpu::this_cpu())
}

/// The calling thread, wherever it runs.
pub(crate) fn current() -> Option<&'static Thread> {
    let _closed = Closed::new();
    here().current()
}

/// The idle context: for ever.
pub(crate) fn idle_loop() -> ! {
    here().current.store(ptr::null_mut(), Relaxed);
    loop {
        irq::open_if(true);
        // SAFETY: this is the idle context of this CPU, with interrupts on and preempt count 0.
        unsafe { crate::entry().idle() };
        irq::close();
        let me = here();
        if me.beat().is_multiple_of(TURNS_PER_LOOK) {
            // A CPU whose turns come faster than its timer has no timer interrupts.
            watchdog::look();
        }
        let (next, timer) = {
            let mut queue = me.queue.lock();
            let timer = queue.timers(now_ns);
            (queue.pop().inspect(|thread| thread.set_state(State::Running)), timer)
        };
        match next {
            Some(thread) => run(me, thread, timer),
            None => {
                arm(timer, HEARTBEAT_NS);
                me.idle.rest(|| me.queue.lock().has_ready());
            }
        }
    }
}

/// Sets this CPU's timer to `at`, but to no longer than `most` from now.
fn arm(at: u64, most: u64) {
    let now = now_ns();
    let ns = at.saturating_sub(now).min(most).min(PROBE_NS.load(Relaxed));
    let due = &here().due;
    // One that comes earlier arms it anew, and may stay: a timer of a virtual machine costs its host a system call.
    if (now..=now + ns).contains(&due.load(Relaxed)) {
        return;
    }
    due.store(now + ns, Relaxed);
    apic::arm_timer(TIMER, timer_ticks(ns));
}

/// The longest time that a timer is set to.
static PROBE_NS: AtomicU64 = AtomicU64::new(u64::MAX);

/// From now on each CPU that arms its timer sets it to at most `ns`, so that the lateness of its interrupts shows for how long they were off.
pub(crate) fn probe_timers(ns: Option<u64>) {
    PROBE_NS.store(ns.unwrap_or(u64::MAX), Relaxed);
}

/// Arms this CPU's timer anew, in a handler.
pub(crate) fn arm_probe() {
    here().due.store(u64::MAX, Relaxed);
    arm(u64::MAX, HEARTBEAT_NS);
}

/// This CPU has been reset, its timer too.
pub(crate) fn forget_timer() {
    here().due.store(u64::MAX, Relaxed);
}

/// A timer interrupt: what has come due can run, and the thread that runs had its time.
pub(crate) fn tick() {
    let me = here();
    me.beat();
    me.latest.fetch_max(now_ns().saturating_sub(me.due.swap(u64::MAX, Relaxed)), Relaxed);
    let (timer, others) = {
        let mut queue = me.queue.lock();
        (queue.timers(now_ns), queue.has_ready())
    };
    if me.current().is_some() {
        me.wants_switch.store(true, Relaxed);
        arm(timer, slice(others));
    }
}

/// How long a thread may run. One that nobody waits for needs no timer, which costs a virtual machine more than its interrupt; who puts another one
/// on its CPU asks for a slice.
fn slice(others: bool) -> u64 {
    if others { SLICE_NS } else { HEARTBEAT_NS }
}

/// Another thread was put on this CPU. In a handler, or in a closed section.
pub(crate) fn share() {
    if here().current().is_some() {
        arm(u64::MAX, SLICE_NS);
    }
}

/// The end of an interrupt, interrupts off: another thread's turn?
pub(crate) fn interrupt_exit() {
    let me = here();
    if me.wants_switch.load(Relaxed) && cpu::preempt_count() == 0 && me.current().is_some() {
        switch_out(Out::Yield);
    }
}

/// Runs `thread` until it is switched out, and puts it where it belongs then. In the idle context, interrupts off.
fn run(me: &'static Local, thread: &'static Thread, timer: u64) {
    me.current.store(ptr::from_ref(thread).cast_mut(), Relaxed);
    me.wants_switch.store(false, Relaxed);
    arm(timer, slice(me.queue.lock().has_ready()));
    // SAFETY: the thread was on this CPU's queue, so it does not run; its stack was saved by `switch`, or is fresh.
    unsafe { switch(&raw const me.idle_sp, thread.sp.load(Acquire)) };
    assert!(thread.is_sound(), "thread {} overran its stack", thread.name);
    let me_id = cpu::this_cpu();
    match thread.out() {
        Out::Yield => settle(me_id, thread, State::Ready),
        Out::Wait => settle(me_id, thread, State::Blocked),
        Out::Park | Out::End => {
            let mut queue = me.queue.lock();
            queue.remove(thread);
            thread.set_state(State::Off);
            drop(queue);
            if thread.bound {
                me.parked.store(1, Release);
                sleep::wake((&raw const me.parked).addr());
            }
        }
    }
    me.current.store(ptr::null_mut(), Relaxed);
}

/// Leaves the calling thread for the idle context. Returns when it is run again, maybe on another CPU. Interrupts off, before and after.
pub(crate) fn switch_out(out: Out) {
    assert!(
        cpu::preempt_count() == 0 && !irq::are_on(),
        "a thread that holds preemption off waits or sleeps: give the `Task` back first"
    );
    let me = here();
    let thread = me.current().expect("only threads are switched out");
    thread.set_out(out);
    // SAFETY: interrupts are off; the idle context was saved when it ran this thread.
    unsafe { switch(&raw const thread.sp, me.idle_sp.load(Relaxed)) };
}

/// Puts a thread that was switched out back, here or on a CPU where it would rather be.
fn settle(at: CpuId, thread: &'static Thread, state: State) {
    loop {
        let to = place_for(thread, at);
        let Some(to) = to.filter(|to| *to != at) else {
            let mut queue = local(at).queue.lock();
            // Evicted since the glance: the sweep has passed this thread by, as it ran.
            if to.is_some() && !queue.takes && !thread.bound {
                continue;
            }
            queue.put(thread, state);
            return;
        };
        if migrate(thread, at, to, |_| Some(state)) {
            return;
        }
    }
}

/// Moves a thread, if its new CPU takes it and `state` still says so, under the locks of both.
fn migrate(
    thread: &'static Thread,
    from: CpuId,
    to: CpuId,
    state: impl FnOnce(&'static Thread) -> Option<State>,
) -> bool {
    let _closed = Closed::new();
    let (theirs, mine) = (&local(to).queue, &local(from).queue);
    // Everybody takes the lower one first.
    let (mut theirs, mut mine) = if to < from {
        let theirs = theirs.lock();
        (theirs, mine.lock())
    } else {
        let mine = mine.lock();
        (theirs.lock(), mine)
    };
    if !theirs.takes || thread.cpu() != from {
        return false;
    }
    let Some(state) = state(thread) else { return false };
    mine.remove(thread);
    thread.set_cpu(to);
    theirs.add(thread, state);
    drop((theirs, mine));
    kick(to);
    true
}

/// Where `thread`, now on `at`, should be: at home, else where it is, else anywhere. `None`: no CPU takes threads.
fn place_for(thread: &Thread, at: CpuId) -> Option<CpuId> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    place(thread, at, MAX_CPUS, &NEXT, |cpu| local(cpu).queue.lock().takes)
}

/// There is something new on the queue of `cpu`: makes it look there if it is idle, and end the turn of its thread in time if not.
fn kick(cpu: CpuId) {
    if cpu == cpu::this_cpu() {
        share();
    } else {
        apic::send(cpu::block(cpu).apic_id(), Message::Fixed(RESCHEDULE));
    }
}

/// Ends `thread`'s wait. From every context but NMI.
pub(crate) fn wake(thread: &'static Thread) {
    let _closed = Closed::new();
    loop {
        let cpu = thread.cpu();
        let mut queue = local(cpu).queue.lock();
        if thread.cpu() != cpu {
            continue;
        }
        if thread.state() == State::Blocked {
            queue.push(thread);
            drop(queue);
            if thread.bound {
                local(cpu).wants_switch.store(true, Relaxed);
                if cpu != cpu::this_cpu() {
                    apic::send(cpu::block(cpu).apic_id(), Message::Fixed(RESCHEDULE));
                }
            } else {
                kick(cpu);
            }
        } else {
            thread.woken.store(true, Relaxed);
        }
        return;
    }
}

/// Starts a thread at its home, or elsewhere if that takes none.
pub(crate) fn start(thread: &'static Thread) {
    let _closed = Closed::new();
    loop {
        let to = place_for(thread, thread.home).expect("no CPU takes threads: spawn after the boot");
        let mut queue = local(to).queue.lock();
        if queue.takes {
            thread.set_cpu(to);
            queue.add(thread, State::Ready);
            drop(queue);
            kick(to);
            return;
        }
    }
}

/// Lets others run, if there are any, or if the thread is to leave this CPU.
pub(crate) fn yield_now() {
    let _closed = Closed::new();
    let me = here();
    let stays = {
        let mut queue = me.queue.lock();
        queue.timers(now_ns);
        !queue.has_ready() && queue.takes && current_home_is_here(me)
    };
    if !stays {
        switch_out(Out::Yield);
    }
}

fn current_home_is_here(me: &Local) -> bool {
    me.current().is_none_or(|thread| thread.home == cpu::this_cpu())
}

/// Switches the calling thread out for `ns` nanoseconds at least.
pub(crate) fn sleep(ns: u64) {
    let until = now_ns().saturating_add(ns);
    while now_ns() < until {
        let _closed = Closed::new();
        here().current().expect("only threads sleep").wake_at.store(until, Relaxed);
        switch_out(Out::Wait);
    }
}

// ---- what the library asks for

pub(crate) fn evict(cpu: CpuId) {
    local(cpu).queue.lock().takes = false;
    // What is switched out moves at once.
    let mut stuck = 0;
    loop {
        let movable = {
            let queue = local(cpu).queue.lock();
            let mut all = queue.members().iter().filter(|t| !t.bound && t.state() != State::Running);
            all.nth(stuck).copied()
        };
        let Some(thread) = movable else { return };
        let moved = place_for(thread, cpu).filter(|to| *to != cpu).is_some_and(|to| {
            migrate(thread, cpu, to, |thread| match thread.state() {
                state @ (State::Ready | State::Blocked) => Some(state),
                _ => None,
            })
        });
        if !moved {
            stuck += 1;
        }
    }
}

pub(crate) fn readmit(cpu: CpuId) {
    local(cpu).queue.lock().takes = true;
}

pub(crate) fn vacate(cpu: CpuId) -> Result<(), Vacate> {
    let _closed = Closed::new();
    while cpu::this_cpu() == cpu {
        if here().current().is_none_or(|thread| thread.bound) {
            return Err(Vacate::Bound);
        }
        if !(0..MAX_CPUS).map(CpuId::new).any(|other| other != cpu && local(other).queue.lock().takes) {
            return Err(Vacate::Nowhere);
        }
        switch_out(Out::Yield);
    }
    Ok(())
}

pub(crate) fn occupied(cpu: CpuId) -> Option<&'static str> {
    let cpu = local(cpu);
    let queue = cpu.queue.lock();
    queue.members().first().map(|thread| thread.name).or_else(|| cpu.current().map(|thread| thread.name))
}

pub(crate) fn only_idle_left() -> bool {
    let _closed = Closed::new();
    let me = here();
    me.current().is_none() && me.queue.lock().members().is_empty()
}

/// Waits until the hotplug thread of `cpu`, which has been told so, has parked.
pub(crate) fn await_parked(cpu: CpuId) {
    let parked = &local(cpu).parked;
    while parked.load(Acquire) == 0 {
        sleep::on((&raw const *parked).addr(), u64::MAX, &mut || parked.load(Acquire) != 0);
    }
}

/// Starts the hotplug thread of `cpu`, or lets it go on.
pub(crate) fn unpark(cpu: CpuId) {
    let thread = {
        let mut queue = local(cpu).queue.lock();
        *queue.hotplug.get_or_insert_with(|| {
            let name = alloc::format!("cpuhp/{}", cpu.index()).leak();
            Thread::leak(name, cpu, Code::Hotplug)
        })
    };
    let _closed = Closed::new();
    let mut queue = local(cpu).queue.lock();
    if local(cpu).parked.swap(0, Relaxed) == 1 {
        queue.add(thread, State::Ready);
        drop(queue);
        kick(cpu);
    }
}
