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

use crate::monitor::events::noted_offline;
use crate::monitor::library::of;
use crate::vocab::step::IpiKind;
use std::panic::Location;

use standstill::platform::{Ipi, Irq};
use standstill::{CpuId, CpuMask};

use crate::config::mutant::Change;
use crate::config::options::MemoryModel;
use crate::machine::point::point;
use crate::machine::state::{Op, OpKind, Power};
use crate::machine::world::with;
use crate::memory::knowers;
use crate::reduction::footprint::{self, How};
use crate::vocab::pending::{PENDING_CALL, PENDING_HALT, PENDING_STOP};
use crate::vocab::step::StepWhat;

mod cpus;
mod memory;
pub(crate) mod program;
mod wait;

/// The platform on which the explorer owns everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Model;

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
            let (bit, why) = match why {
                Ipi::Call => (PENDING_CALL, IpiKind::Call),
                Ipi::Stop => (PENDING_STOP, IpiKind::Stop),
                Ipi::Halt => (PENDING_HALT, IpiKind::Halt),
            };
            let target = &mut w.cpus[to.index()];
            let old = usize::from(target.pending & bit);
            let on = target.power == Power::On;
            let raises = on && old == 0;
            if raises {
                target.pending |= bit;
            }
            let noted = raises && of(w).lazy && w.cpus[to.index()].notes_offline();
            if noted {
                noted_offline(w, to.index(), at);
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
