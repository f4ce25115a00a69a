//! What runs on a CPU: its idle loop from its start to its death, its threads, and what comes on top of them.

use crate::machine::announce::rest_for_ever;
use crate::machine::point::point;
use crate::machine::point::program;
use crate::machine::state::Op;
use crate::machine::state::OpKind;
use crate::machine::state::Power;
use crate::machine::world::with;
use crate::vocab::limits::MAX_CPUS;
use crate::vocab::step::StepWhat;
use std::panic::Location;

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

/// What the scheduler knows is about to change: threads, or who gets interrupts. Always a point, as nobody can say who looks at it.
#[track_caller]
pub(crate) fn rearranges() {
    point(Op::here(OpKind::Moved, 0), true);
}
