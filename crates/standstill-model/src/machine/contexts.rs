//! What runs on a CPU: its idle loop from its start to its death, its threads, and what comes on top of them.

use crate::machine::state::LevelKind;
use crate::machine::state::Life;
use crate::machine::state::Op;
use crate::machine::state::OpKind;
use crate::machine::state::Power;
use crate::machine::world::World;
use crate::machine::world::announce;
use crate::machine::world::point;
use crate::machine::world::with;
use crate::memory::knowers;
use crate::program::Program;
use crate::vocab::limits::MAX_CPUS;
use crate::vocab::pending::PENDING_CALL;
use crate::vocab::pending::PENDING_HALT;
use crate::vocab::pending::PENDING_STOP;
use crate::vocab::step::Interrupt;
use crate::vocab::step::StepWhat;
use std::panic::Location;

fn program() -> &'static dyn Program {
    with(|w| w.subject.program).expect("the scenario has built its machine")
}

/// The body of the fibre in slot `thread`.
pub(crate) fn run_thread(thread: usize) {
    if thread < MAX_CPUS {
        run_idle(thread);
    } else if thread < 2 * MAX_CPUS {
        program().serve();
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
        if !program().start_cpu(incarnation) {
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
        program().idle();
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
        Interrupt::Call | Interrupt::Halt => program().interrupt(kind),
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
    program().stopper();
    with(|w| {
        w.note(|| StepWhat::StopperEnds, at);
        let cpu = w.cpu_mut();
        cpu.in_stopper = false;
        cpu.idle_turn |= cpu.left;
        w.thread_mut().pop();
    });
}

/// What the scheduler knows is about to change: threads, or who gets interrupts. Always a point, as nobody can say who looks at it.
#[track_caller]
pub(crate) fn rearranges() {
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
