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
use standstill::platform::{Entry, Ipi, Irq};
use standstill::{CpuId, CpuMask};

use crate::memory::knowers;
use crate::config::mutant::Change;
use crate::config::options::MemoryModel;
use crate::machine::state::{LevelKind, Life, Op, OpKind, Power};
use crate::vocab::pending::{PENDING_CALL, PENDING_HALT, PENDING_STOP};
use crate::vocab::limits::MAX_CPUS;
use crate::reduction::footprint::{self, How};
use crate::vocab::step::{Interrupt, StepWhat};
use crate::machine::world::{World, announce, point, with};

pub(crate) mod condition;
mod cpus;
mod wait;

/// The platform on which the explorer owns everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Model;

fn entry() -> &'static dyn Entry {
    with(|w| w.subject.entry).expect("the scenario has built its machine")
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
        let (_, task) = with(|w| w.subject.tasks[thread - 2 * MAX_CPUS]);
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
        let boot = with(|w| w.subject.boot.take()).expect("the scenario has a machine to boot");
        boot();
    }
    with(|w| {
        let cpu = w.cpu_mut();
        cpu.preempt = 0;
        (cpu.irqs_on, cpu.hard_off) = (true, false);
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
            Interrupt::Device => w.reduction.movers.at_point(),
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
            if let (Some(device), cpu) = with(|w| (w.subject.device, w.cpu)) {
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
                (w.cpu_mut().irqs_on, w.cpu_mut().hard_off) = (true, false);
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
        with(|w| w.cpu_mut().hard_off = true);
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
        let noticed = with(|w| w.step.fused || w.is_point_to_send(at));
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
            let noted = raises && w.subject.lazy && w.cpus[to.index()].notes_offline();
            if noted {
                w.noted_offline(to.index(), at);
            }
            w.reduction.touches.add(footprint::power(to.index()), How::Reads);
            if on {
                w.reduction.touches.change(footprint::pending(to.index(), bit), How::Sets, old, 1);
            }
            // Also if it was pending: the handler finds what all senders wrote.
            let carries = w.memory.tracks && w.options.memory != (MemoryModel::Tso { fenced: false });
            if carries && w.phase.branching && on {
                let ipi = knowers::ipi(to.index(), bit.trailing_zeros());
                w.memory.clocks.join(&mut w.undo.log, ipi, knowers::cpu(w.cpu));
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

/// What the scheduler knows is about to change: threads, or who gets interrupts. Always a point, as nobody can say who looks at it.
#[track_caller]
fn rearranges() {
    point(Op::here(OpKind::Moved, 0), true);
}

impl World {
    /// What was pending is taken, with what its senders knew.
    fn take_ipi(&mut self, bit: u8) {
        self.cpu_mut().pending &= !bit;
        if self.memory.tracks && self.phase.branching {
            let ipi = knowers::ipi(self.cpu, bit.trailing_zeros());
            self.memory.clocks.join(&mut self.undo.log, knowers::cpu(self.cpu), ipi);
            self.memory.clocks.clear(&mut self.undo.log, ipi);
        }
    }
}
