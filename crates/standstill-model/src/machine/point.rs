//! Scheduling points: where others may come in, and what comes on top of a context there.
use crate::base::fibre::Command;
use crate::machine::announce::announce;
use crate::machine::state::LevelKind;
use crate::machine::state::Op;
use crate::machine::state::OpKind;
use crate::machine::world::World;
use crate::machine::world::with;
use crate::memory::knowers;
use crate::program::Program;
use crate::vocab::pending::PENDING_CALL;
use crate::vocab::pending::PENDING_HALT;
use crate::vocab::pending::PENDING_STOP;
use crate::vocab::step::Interrupt;
use crate::vocab::step::StepWhat;
use std::panic::Location;

/// A place where others may come in, if somebody can notice (`noticed`): announces `op`, and returns when it is to be carried out.
/// Interrupts and the stopper run in here.
pub(crate) fn point(op: Op, noticed: bool) {
    if std::thread::panicking() || with(|w| !w.step.inside) {
        return;
    }
    let entered = with(|w| {
        if w.look.peeking.is_some() {
            return None;
        }
        let kept = matches!(op.kind, OpKind::Access(..)) || w.gives_up("something else is done", op.at);
        let passes = w.passes(noticed);
        Some((passes, !kept || passes && w.goes_round()))
    });
    let Some((passes, ends)) = entered else {
        crate::machine::condition::does_more("asks the platform for something", op.at)
    };
    if ends {
        crate::machine::announce::rest_for_ever();
    }
    if !passes {
        loop {
            match announce(op) {
                Command::Interrupt(kind) => crate::machine::point::take_interrupt(kind),
                Command::Stopper => crate::machine::point::take_stopper(),
                Command::Go | Command::Peek | Command::Expire => break,
            }
        }
        with(|w| w.reduction.movers.at_point());
    }
    // What does not read anything is part of the history, too: before it and after it are two states.
    with(|w| w.learn(op.kind.code()));
}

pub(crate) fn program() -> &'static dyn Program {
    with(|w| w.subject.program).expect("the scenario has built its machine")
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
