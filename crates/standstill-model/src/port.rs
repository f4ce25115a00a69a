//! The platform: a CPU is what the scheduler lets run.
//!
//! | asked for | is |
//! |---|---|
//! | interrupts, preemption | flags of the CPU; closing them is the last moment to be interrupted, and a scheduling point |
//! | an IPI | a bit that is pending at its target until it is taken |
//! | waiting | the context blocks until something changes that its condition read |
//! | a deadline | over whenever the scheduler says so, if the scenario lets time play a part at all |
//! | starting a CPU | a new fibre; its pending interrupts are gone, as after INIT |
//! | dying | the last store, and a fibre that is never resumed |
//!
//! Threads of one CPU take turns only where they wait. What a handler or the stopper does is nested on the interrupted fibre's stack.

use std::panic::Location;

use standstill::context::Task;
use standstill::event::{Event, What};
use standstill::hotplug::Reason;
use standstill::platform::{
    Cpus, Deadline, Entry, Ipi, Irq, Runs, Sched, StartError, Vacate, Wait, WaitContext, WaitFor, Word,
};
use standstill::{CpuId, CpuMask};

use crate::arena::steady;
use crate::clock;
use crate::fibre::Command;
use crate::hash::Hash128;
use crate::memory::ModelWord;
use crate::mutate::{Change, skipped};
use crate::options::MemoryModel;
use crate::scenario::require;
use crate::state::{
    Kind, LevelKind, Life, MAX_CPUS, Op, OpKind, PENDING_CALL, PENDING_HALT, PENDING_STOP, Power,
    SOME_DEADLINE, Watch,
};
use crate::touch::{self, How};
use crate::verdict::{Interrupt, StepWhat};
use crate::world::{World, announce, point, with};

/// The platform on which the explorer owns everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Model;

fn entry() -> &'static dyn Entry {
    with(|w| w.entry).expect("the scenario has built its machine")
}

/// The body of the fibre in slot `thread`.
pub(crate) fn run_thread(thread: usize) {
    if thread < MAX_CPUS {
        run_idle(thread);
    } else if thread < 2 * MAX_CPUS {
        // SAFETY: a thread of its own, interrupts on.
        let mut task = unsafe { Task::new() };
        // SAFETY: the body of the CPU's one hotplug fibre.
        unsafe { entry().serve_hotplug(&mut task) };
    } else {
        let (_, task) = with(|w| w.tasks[thread - 2 * MAX_CPUS]);
        task();
    }
    rearranges();
    with(|w| {
        let cpu = w.cpu;
        w.cpu_mut().current = cpu as u8;
    });
}

/// A CPU from its start to its death.
fn run_idle(cpu: usize) {
    let incarnation = with(|w| w.cpus[cpu].incarnation) as usize;
    if incarnation > 0 {
        with(|w| w.note(|| StepWhat::Start, Location::caller()));
        // SAFETY: the first thing on a fresh stack, interrupts off.
        if unsafe { entry().start_cpu(incarnation) }.is_err() {
            with(|w| w.cpu_mut().power = Power::Off);
            rest_for_ever();
        }
    } else {
        let boot = with(|w| w.boot.take()).expect("the scenario has a machine to boot");
        boot();
    }
    with(|w| {
        let cpu = w.cpu_mut();
        cpu.preempt = 0;
        cpu.irqs_on = true;
        cpu.lines = true;
    });
    loop {
        point(Op::here(OpKind::Idle, 0), true);
        with(|w| w.cpu_mut().idle_turn = false);
        // SAFETY: the idle context, interrupts on, preempt count 0.
        unsafe { entry().idle() };
    }
}

pub(crate) fn rest_for_ever() -> ! {
    with(|w| w.thread_mut().life = Life::Done);
    loop {
        announce(Op::here(OpKind::Idle, 0));
    }
}

/// Runs a handler on top of what was interrupted.
pub(crate) fn take_interrupt(kind: Interrupt) {
    let at = Location::caller();
    with(|w| {
        match kind {
            Interrupt::Call => w.take_ipi(PENDING_CALL),
            Interrupt::Halt => w.take_ipi(PENDING_HALT),
            Interrupt::Device => w.cpu_mut().devices -= 1,
        }
        match kind {
            Interrupt::Call => w.meet_deliver(PENDING_CALL),
            Interrupt::Halt => w.meet_deliver(PENDING_HALT),
            Interrupt::Device => w.movers.at_point(),
        }
        w.cpu_mut().irqs_on = false;
        w.thread_mut().push(LevelKind::Handler(kind));
        w.note(|| StepWhat::TakeInterrupt(kind), at);
    });
    match kind {
        // SAFETY: in interrupt context on the CPU that got it, interrupts off.
        Interrupt::Call => unsafe { entry().on_call_ipi() },
        // SAFETY: as above.
        Interrupt::Halt => unsafe { entry().on_halt_ipi() },
        Interrupt::Device => {
            if let (Some(device), cpu) = with(|w| (w.device, w.cpu)) {
                device(cpu);
            }
        }
    }
    with(|w| {
        w.note(|| StepWhat::ReturnFromInterrupt(kind), at);
        w.cpu_mut().irqs_on = true;
        w.thread_mut().pop();
    });
}

/// Runs the stopper on top of what was interrupted.
pub(crate) fn take_stopper() {
    let at = Location::caller();
    with(|w| {
        w.take_ipi(PENDING_STOP);
        let cpu = w.cpu_mut();
        cpu.in_stopper = true;
        w.meet_deliver(PENDING_STOP);
        w.thread_mut().push(LevelKind::Stopper);
        w.note(|| StepWhat::StopperBegins, at);
    });
    // SAFETY: 1. the scheduler takes the stopper only on preemptible contexts with interrupts on. 2. `in_stopper`.
    unsafe { entry().run_stopper() };
    with(|w| {
        w.note(|| StepWhat::StopperEnds, at);
        let cpu = w.cpu_mut();
        cpu.in_stopper = false;
        cpu.idle_turn |= cpu.left;
        w.thread_mut().pop();
    });
}

// SAFETY: 1., 2., 5. the scheduler takes interrupts and stoppers only where the flags kept here allow it, and pending bits stay until
// then. 3. threads move only where they wait. 4. an IPI comes after all that its sender
// wrote, or, as an experiment, with `Tso { fenced: false }`, may overtake it.
unsafe impl Irq for Model {
    type Flags = bool;

    fn this_cpu(&self) -> CpuId {
        CpuId::new(with(|w| w.cpu))
    }

    #[track_caller]
    fn irq_save(&self) -> bool {
        let were_on = with(|w| w.cpu_ref().irqs_on);
        if were_on {
            point(Op::here(OpKind::CloseIrqs, 0), true);
            let at = Location::caller();
            with(|w| {
                if w.mutates(Change::KeepIrqsOn, at) {
                    return;
                }
                w.cpu_mut().irqs_on = false;
                w.note(|| StepWhat::CloseIrqs, at);
            });
        }
        were_on
    }

    #[track_caller]
    unsafe fn irq_restore(&self, were_on: bool) {
        if were_on {
            let at = Location::caller();
            with(|w| {
                if w.mutates(Change::KeepIrqsOff, at) {
                    return;
                }
                w.cpu_mut().irqs_on = true;
                w.note(|| StepWhat::OpenIrqs, at);
            });
        }
    }

    fn irqs_on(&self) -> bool {
        with(|w| w.cpu_ref().irqs_on)
    }

    fn hard_irq_disable(&self) {
        let mutated = with(|w| w.options.mutant.is_some());
        assert!(mutated || !self.irqs_on(), "the local mask comes first");
    }

    #[track_caller]
    fn preempt_disable(&self) {
        let at = Location::caller();
        // A stopper that is due can come until here. Where it can't come anyway this is no event.
        if with(|w| {
            let cpu = w.cpu_ref();
            cpu.preempt == 0 && cpu.irqs_on && !cpu.in_stopper
        }) {
            point(Op::here(OpKind::Pin, 0), true);
        }
        with(|w| {
            let skips = w.mutates(Change::SkipPin, at);
            let level = w.thread_mut().level_mut();
            level.pins = level.pins << 1 | u32::from(skips);
            w.cpu_mut().preempt += u8::from(!skips);
        });
    }

    unsafe fn preempt_enable(&self) {
        with(|w| {
            let level = w.thread_mut().level_mut();
            let skipped = level.pins & 1 != 0;
            level.pins >>= 1;
            w.cpu_mut().preempt -= u8::from(!skipped);
        });
    }

    #[track_caller]
    fn send_ipi(&self, to: CpuId, why: Ipi) {
        let at = Location::caller();
        let noticed = with(|w| w.fused || w.is_point_to_send(at));
        point(Op { kind: OpKind::Send, place: to.index(), at }, noticed);
        with(|w| {
            if w.mutates(Change::DropIpi, at) {
                return;
            }
            let bit = match why {
                Ipi::Call => PENDING_CALL,
                Ipi::Stop => PENDING_STOP,
                Ipi::Halt => PENDING_HALT,
            };
            let target = &mut w.cpus[to.index()];
            let old = usize::from(target.pending & bit);
            let on = target.power == Power::On;
            let raises = on && old == 0;
            if raises {
                target.pending |= bit;
            }
            w.touches.add(touch::power(to.index()), How::Reads);
            if on {
                w.touches.change(touch::pending(to.index(), bit), How::Sets, old, 1);
            }
            // Also if it was pending: the handler finds what all senders wrote.
            let carries = w.tracks && w.options.memory != (MemoryModel::Tso { fenced: false });
            if carries && w.branching && on {
                let ipi = clock::ipi(to.index(), bit.trailing_zeros());
                w.clocks.join(&mut w.undo, ipi, clock::cpu(w.cpu));
            }
            if w.options.memory == (MemoryModel::Tso { fenced: true }) {
                w.drain(w.cpu);
            }
            w.meet_send(to.index(), bit, raises);
            w.note(|| StepWhat::SendIpi { to: to.index(), why }, at);
        });
    }

    #[track_caller]
    fn send_ipi_mask<const W: usize>(&self, to: &CpuMask<W>, why: Ipi) {
        for cpu in to {
            self.send_ipi(cpu, why);
        }
    }
}

/// What the library owes the platform: [`Sched`] and [`Cpus`] say where it calls with interrupts off.
#[track_caller]
fn owed_irqs_off(what: &str) {
    require(with(|w| !w.cpu_ref().irqs_on), what);
}

/// What the scheduler knows is about to change: threads, or who gets interrupts. Always a point, as nobody can say who looks at it.
#[track_caller]
fn rearranges() {
    point(Op::here(OpKind::Moved, 0), true);
}

/// The number of an announcement, for the place in the code that makes it: all come through one line.
fn event_code(what: &What) -> u64 {
    let stage = match what {
        What::StageEntered { stage, .. } | What::StageAck { stage, .. } => *stage as u64 + 1,
        _ => 0,
    };
    Hash128::of(&(std::mem::discriminant(what), stage)).0
}

/// Is it an event that stands before the access that it announces? Then the two are one step; see the events' own words.
fn announces(what: &What) -> bool {
    matches!(
        what,
        What::CallQueued(_)
            | What::CallReleased(_)
            | What::IpiSent { .. }
            | What::OnlineSet { .. }
            | What::OnlineCleared { .. }
            | What::AcceptingSet { .. }
            | What::AcceptingCleared { .. }
            | What::ActiveSet { .. }
            | What::ActiveCleared { .. }
            | What::StageEntered { .. }
            | What::StageAck { .. }
            | What::SyncMoved { .. }
            | What::WorkQueued(_)
            | What::StopperOpened
            | What::ReadUnlocked
            | What::WriteUnlocked
    )
}

// SAFETY: `wait_until` returns only what `poll` said, or `None` after the deadline; NEVER does not expire.
unsafe impl Wait for Model {
    fn deadline_in(&self, _: u64) -> Deadline {
        SOME_DEADLINE
    }

    fn expired(&self, _: Deadline) -> bool {
        false
    }

    #[track_caller]
    fn wait_until<R>(
        &self,
        on: &ModelWord,
        wait: &WaitFor<'_>,
        mut poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        if std::thread::panicking() || with(|w| !w.inside) {
            return poll();
        }
        let at = Location::caller();
        if with(|w| w.mutates(Change::SkipWait, at)) {
            return poll().or_else(skipped);
        }
        let before = with(|w| w.thread_ref().level().history);
        let mut failed: Option<Option<usize>> = None;
        // After a look on behalf of the scheduler nothing may happen but another announcement: this context has no step now.
        let mut only_looks = false;
        loop {
            let holds = peek(&mut poll);
            if with(|w| w.begin_wait(on.place(), wait, holds, failed, only_looks)) {
                only_looks = false;
                match announce(Op {
                    kind: OpKind::Wait,
                    place: wait.site.what.as_ptr().addr(),
                    at: wait.site.at,
                }) {
                    // What is waited for may be there now, and the flags of the wait are those of the handler's last one.
                    Command::Interrupt(kind) => {
                        take_interrupt(kind);
                        failed = None;
                        continue;
                    }
                    Command::Stopper => {
                        take_stopper();
                        failed = None;
                        continue;
                    }
                    Command::Peek => {
                        only_looks = true;
                        continue;
                    }
                    Command::Go => with(|w| {
                        w.fused = true;
                        w.begin_going();
                        w.polling = w.is_ra() && w.thread_ref().watch.open <= 1;
                    }),
                    Command::Expire => {
                        with(|w| {
                            w.learn(0x0e59);
                            w.note(|| StepWhat::Expire, wait.site.at);
                        });
                        return poll();
                    }
                }
            }
            let slept_on = with(|w| w.looks(on.place()));
            let result = poll();
            let sleeps = slept_on.is_some();
            with(|w| {
                (w.fused, w.polling, w.aged) = (false, false, None);
                w.movers.going = false;
            });
            if result.is_some() {
                with(|w| w.end_wait());
                return result;
            }
            if sleeps {
                let noticed = with(|w| w.is_told(on.place(), false));
                point(Op { kind: OpKind::Sleep, place: on.place(), at }, noticed);
            }
            // A look that found nothing leaves no trace.
            with(|w| w.thread_mut().level_mut().history = before);
            failed = Some(slept_on);
        }
    }

    #[track_caller]
    fn notify(&self, on: *const ModelWord) {
        if std::thread::panicking() {
            return;
        }
        let at = Location::caller();
        with(|w| {
            if !w.mutates(Change::DropNotify, at) {
                // A port whose waiters sleep makes the change visible before it looks for them.
                if w.options.sleepers {
                    w.drain(w.cpu);
                    w.is_told(on.addr(), true);
                }
                w.notified.push(on.addr());
            }
        });
    }

    fn loop_begins(&self) {
        with(|w| w.thread_mut().level_mut().loop_begins());
    }

    fn loop_ends(&self) {
        with(|w| w.thread_mut().level_mut().loop_ends());
    }

    fn cut<S: std::hash::Hash>(&self, state: &S) {
        let state = Hash128::of(state);
        with(|w| {
            let same = w.thread_mut().level_mut().cut(state);
            w.movers.turn(same);
            // What the wait before read is forgotten now, so it is as if the wait had ended just before the next reading.
            w.reload = std::mem::take(&mut w.waited);
            w.until = 0;
        });
    }

    #[track_caller]
    fn event(&self, event: impl FnOnce() -> Event) {
        if std::thread::panicking() {
            return;
        }
        let event = event();
        let at = Location::caller();
        let first = announces(&event.what) && with(|w| w.inside);
        if first {
            let noticed = with(|w| match event.what {
                _ if w.fused => true,
                What::IpiSent { .. } => w.is_point_to_send(at),
                what => w.is_point(event_code(&what), 0, at),
            });
            point(Op { kind: OpKind::Announce, place: 0, at }, noticed);
        }
        let broken = with(|w| {
            w.until = 0;
            w.event(&event, at);
            w.fused |= first;
            w.fault.is_some() && w.inside
        });
        if broken {
            // What comes after may rely on what was just broken.
            rest_for_ever();
        }
    }
}

impl World {
    /// A condition is about to be looked at: what does the word hold that it sleeps on? None: it does not sleep, or its look is one step with
    /// what follows.
    fn looks(&mut self, on: usize) -> Option<usize> {
        if !self.options.sleepers || !self.thread_ref().several(true) {
            return None;
        }
        let value = self.value_seen(self.cpu, on);
        self.learn(steady(value) as u64);
        // The port's load acquires: whoever changed the word has shown what it did before.
        self.acquire_newest(on);
        Some(value)
    }

    /// A context is about to sleep on the word at `on`, or (`tells`) wakes those that do: has this an order that somebody can notice?
    fn is_told(&mut self, on: usize, tells: bool) -> bool {
        let who = self.context();
        self.inside && self.branching && self.classes.note(on, who, tells)
    }

    /// What was pending is taken, with what its senders knew.
    fn take_ipi(&mut self, bit: u8) {
        self.cpu_mut().pending &= !bit;
        if self.tracks && self.branching {
            let ipi = clock::ipi(self.cpu, bit.trailing_zeros());
            self.clocks.join(&mut self.undo, clock::cpu(self.cpu), ipi);
            self.clocks.clear(&mut self.undo, ipi);
        }
    }

    /// A wait ends: which one place did it depend on?
    fn end_wait(&mut self) {
        self.learn(OpKind::Wait.code());
        let watch = self.thread_ref().watch;
        let mut places = watch.iter();
        self.waited = match (places.next(), places.next()) {
            (Some((place, _)), None) => place,
            _ => 0,
        };
    }

    /// Fills in the flags of a wait that is about to be announced; false if there is nothing to announce.
    fn begin_wait(
        &mut self,
        on: usize,
        wait: &WaitFor<'_>,
        holds: bool,
        failed: Option<Option<usize>>,
        only_looks: bool,
    ) -> bool {
        let thread = self.thread;
        self.undo.touch(thread, &self.threads[thread]);
        let time = wait.deadline != Deadline::NEVER;
        let (preempt, branching) = (self.cpu_ref().preempt, self.branching);
        let blocks = self.budget.and(self.blocks);
        let sleepers = self.options.sleepers;
        // A port whose waiters sleep compares the word that they sleep on, and nothing else, with what it was before the look.
        let same = |seen: Option<usize>| seen.is_some_and(|seen| self.value_seen(self.cpu, on) == seen);
        let still = failed.is_some_and(|seen| !sleepers || same(seen));
        let t = self.thread_mut();
        t.on = on;
        let several = t.several(sleepers);
        // A condition that reads one place is one step. One that reads several is carried out place by place, and blocks only after
        // it failed: a reading that is half old and half new may hold where none at one instant does.
        t.blocked = if several { still && (sleepers || !holds) } else { !holds };
        if let (Some(blocks), false) = (blocks, only_looks) {
            t.blocked = blocks;
        }
        t.yields = wait.context == WaitContext::Task && t.depth == 0 && preempt == 0;
        t.may_expire = time && branching;
        let looks_at_memory = t.yields || several;
        if looks_at_memory {
            // Who leaves the CPU to others, or tries again, does so for what it saw here.
            self.touch_watch(thread);
        }
        let t = self.thread_mut();
        // Nobody else can change what it depends on.
        let quiet = holds && t.watch.open == 0 && branching;
        if !only_looks && (quiet || self.budget.is_some()) && self.passes(false) {
            return false;
        }
        let t = self.thread_ref();
        if t.blocked && !only_looks && t.watch.is_one() {
            let (cpu, depth, place) = (self.cpu, t.depth, t.watch.first());
            self.movers.blocks(place, cpu, thread, depth);
        }
        self.note(|| StepWhat::Wait(wait.site.to_string()), wait.site.at);
        self.yield_cpu();
        true
    }
}

/// Looks whether a condition holds, and notes what it depends on. Nothing else happens.
fn peek<R>(poll: &mut impl FnMut() -> Option<R>) -> bool {
    let (holds, watch) = look(poll, 0);
    let mut ages = u16::from(holds);
    // Old messages, of the one place that has them.
    let possible = with(|w| if watch.open > 1 { 1 } else { w.ages_of(w.cpu, &watch) });
    for age in (1..u16::BITS).filter(|age| possible & 1 << age != 0) {
        ages |= u16::from(look(poll, age).0) << age;
    }
    with(|w| {
        let t = w.thread_mut();
        (t.watch, t.ages) = (watch, ages);
    });
    ages != 0
}

/// Looks at the messages that are `age` older than the newest.
fn look<R>(poll: &mut impl FnMut() -> Option<R>, age: u32) -> (bool, Watch) {
    with(|w| {
        w.peeking = Some(Watch::NONE);
        (w.age, w.vain) = (age, false);
    });
    let holds = poll().is_some();
    with(|w| {
        w.age = 0;
        (holds && !w.vain, w.peeking.take().unwrap_or(Watch::NONE))
    })
}

// SAFETY: 1. `run_idle`. 2., 3. the fibre is never resumed, and a CPU that is off gets no interrupt. 4. `start` drains
// the caller's store buffer. 5. The options of a world don't change.
unsafe impl Cpus for Model {
    fn fan_in(&self) -> usize {
        with(|w| w.options.fan_in)
    }

    fn start(&self, cpu: CpuId, incarnation: usize) -> Result<(), StartError> {
        point(Op::here(OpKind::Start, cpu.index()), true);
        with(|w| {
            let index = cpu.index();
            w.drain(w.cpu);
            w.drain(index);
            w.meet_power(index);
            w.touch_power(index);
            w.clocks.join(&mut w.undo, clock::cpu(index), clock::cpu(w.cpu));
            for kind in 0..3 {
                w.clocks.clear(&mut w.undo, clock::ipi(index, kind));
            }
            let devices = w.cpus[index].devices;
            w.cpus[index] = crate::state::Cpu {
                power: Power::On,
                evicted: true,
                devices,
                incarnation: incarnation as u32,
                current: index as u8,
                ..crate::state::Cpu::OFF
            };
            w.spawn(index, Kind::Idle, index, "idle");
        });
        Ok(())
    }

    #[track_caller]
    fn die(&self, dead: &ModelWord, value: usize) -> ! {
        let at = Location::caller();
        owed_irqs_off("a CPU dies with its interrupts off");
        dead.store(value, std::sync::atomic::Ordering::Release);
        with(|w| {
            w.note(|| StepWhat::Die, at);
            // The port wakes whoever sleeps on it.
            w.notified.push(dead.place());
            w.touch_power(w.cpu);
            let cpu = w.cpu_mut();
            cpu.power = Power::Off;
            cpu.pending = 0;
            let cpu = w.cpu;
            w.meet_power(cpu);
        });
        rest_for_ever()
    }

    fn halt(&self) -> ! {
        with(|w| {
            w.touch_power(w.cpu);
            w.cpu_mut().power = Power::Halted;
        });
        rest_for_ever()
    }

    fn halt_hard(&self, cpu: CpuId) {
        self.send_ipi(cpu, Ipi::Halt);
    }
}

// SAFETY: 1. `vacate` moves the caller, and evicted CPUs get no tasks. 2. it looks at what the CPU runs. 3. device interrupts are taken
// only by CPUs whose lines are aimed at them.
unsafe impl Sched for Model {
    fn evict(&self, cpu: CpuId) {
        rearranges();
        with(|w| {
            w.touches.add(touch::scheduling(cpu.index()), How::Writes);
            w.cpus[cpu.index()].evicted = true;
            for thread in 2 * MAX_CPUS..w.threads.len() {
                if w.threads[thread].as_ref().is_some_and(|t| usize::from(t.cpu) == cpu.index()) {
                    w.touches.add(touch::thread(thread), How::Reads);
                    w.touch_watch(thread);
                }
                let moves = w.threads[thread]
                    .as_ref()
                    .is_some_and(|t| t.blocked && t.yields && usize::from(t.cpu) == cpu.index());
                if moves {
                    w.move_thread(thread);
                }
            }
        });
    }

    fn readmit(&self, cpu: CpuId) {
        rearranges();
        with(|w| {
            w.touches.add(touch::scheduling(cpu.index()), How::Writes);
            w.cpus[cpu.index()].evicted = false;
        });
    }

    fn vacate(&self, cpu: CpuId) -> Result<(), Vacate> {
        let moved = with(|w| {
            if w.cpu != cpu.index() {
                return Some(false);
            }
            let thread = w.thread;
            w.move_thread(thread).then(|| {
                let index = cpu.index();
                w.cpus[index].current = index as u8;
                true
            })
        });
        match moved {
            None => Err(Vacate::Nowhere),
            Some(false) => Ok(()),
            Some(true) => {
                // Not a point that can be fused with what was before: the thread is on another CPU from here on.
                with(|w| w.fused = false);
                point(Op::here(OpKind::Moved, 0), true);
                Ok(())
            }
        }
    }

    fn occupied(&self, cpu: CpuId) -> Option<&'static str> {
        with(|w| {
            let occupied = w.occupied(cpu.index());
            if w.peeking.is_none() {
                w.touches.add(touch::occupied(cpu.index()), How::Reads);
            }
            if !w.watch(touch::occupied(cpu.index()), usize::from(occupied)) && w.inside {
                w.learn(u64::from(occupied));
            }
            occupied.then_some("a task")
        })
    }

    #[track_caller]
    fn only_idle_left(&self) -> bool {
        owed_irqs_off("the last look at who is left is made with interrupts off");
        with(|w| {
            w.touches.add(touch::occupied(w.cpu), How::Reads);
            let answer = w.thread_ref().kind == Kind::Idle && !w.occupied(w.cpu);
            w.learn(u64::from(answer));
            answer
        })
    }

    fn park_threads(&self, cpu: CpuId) {
        let site = standstill::platform::Site::here("the hotplug thread to return");
        let wait = WaitFor { site, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &|_| () };
        let place = touch::parked(cpu.index());
        let dummy = ModelWord::ZERO;
        self.wait_until(&dummy, &wait, || {
            with(|w| {
                let parked = w.parked(cpu.index());
                if w.peeking.is_none() {
                    w.touches.add(place, How::Reads);
                }
                w.watch(place, usize::from(parked));
                parked.then_some(())
            })
        });
    }

    fn unpark_threads(&self, cpu: CpuId) {
        rearranges();
        with(|w| {
            let index = cpu.index();
            w.touches.add(touch::scheduling(index), How::Writes);
            w.touches.add(touch::parked(index), How::Writes);
            w.touches.add(touch::thread(MAX_CPUS + index), How::Writes);
            w.spawn(MAX_CPUS + index, Kind::Hotplug, index, "hotplug thread");
        });
    }

    fn aim_lines_away(&self, cpu: CpuId) -> Result<(), Reason> {
        rearranges();
        with(|w| {
            w.touches.add(touch::lines(cpu.index()), How::Writes);
            w.cpus[cpu.index()].lines = false;
        });
        Ok(())
    }

    #[track_caller]
    fn lines_left(&self, _: CpuId) -> Result<(), Reason> {
        owed_irqs_off("the last look at the lines is made with interrupts off");
        Ok(())
    }

    fn lines_back(&self, cpu: CpuId) {
        rearranges();
        with(|w| {
            w.touches.add(touch::lines(cpu.index()), How::Writes);
            w.cpus[cpu.index()].lines = true;
        });
    }

    fn runs(&self, _: CpuId) -> Runs {
        Runs { what: "a simulated thread", irqs_off_at: None }
    }
}
