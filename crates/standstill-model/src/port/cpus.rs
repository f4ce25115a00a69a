//! CPUs that start and die, and the threads that move away from them.

use crate::machine::announce::rest_for_ever;
use crate::machine::contexts::rearranges;
use crate::monitor::library::of;
use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;

use standstill::CpuId;
use standstill::hotplug::Reason;
use standstill::platform::{
    Cpus, Deadline, Ipi, Irq, Runs, Sched, StartError, Vacate, Wait, WaitContext, WaitFor, Word,
};

use super::Model;
use crate::machine::access::ModelWord;
use crate::machine::point::point;
use crate::machine::state::{Kind, Op, OpKind, Power};
use crate::machine::world::with;
use crate::memory::knowers;
use crate::reduction::footprint::{self, How};
use crate::scenario::require;
use crate::vocab::limits::MAX_CPUS;
use crate::vocab::step::StepWhat;

/// What the library owes the platform: [`Sched`] and [`Cpus`] say where it calls with interrupts off.
#[track_caller]
fn owed_irqs_off(what: &str) {
    require(with(|w| !w.cpu_ref().irqs_on), what);
}

/// As [`owed_irqs_off`], of the hardware's mask: a lazy local one does not keep an interrupt from being noted.
#[track_caller]
fn owed_hard_off(what: &str) {
    require(with(|w| w.cpu_ref().hard_off), what);
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
            w.memory.clocks.join(&mut w.undo.log, knowers::cpu(index), knowers::cpu(w.cpu));
            for kind in 0..3 {
                w.memory.clocks.clear(&mut w.undo.log, knowers::ipi(index, kind));
            }
            let devices = w.cpus[index].devices;
            w.cpus[index] = crate::machine::state::Cpu {
                power: Power::On,
                evicted: true,
                devices,
                incarnation: u16::try_from(incarnation).expect("no run starts a CPU so often"),
                current: index as u8,
                ..crate::machine::state::Cpu::OFF
            };
            w.spawn(index, Kind::Idle, index, "idle");
        });
        Ok(())
    }

    #[track_caller]
    fn die(&self, dead: &ModelWord, value: usize) -> ! {
        let at = Location::caller();
        owed_irqs_off("a CPU dies with its interrupts off");
        owed_hard_off("a CPU dies with the hardware's mask closed");
        dead.store(value, std::sync::atomic::Ordering::Release);
        with(|w| {
            w.note(|| StepWhat::Die, at);
            // The port wakes whoever sleeps on it.
            w.step.notified.push(dead.place());
            w.touch_power(w.cpu);
            let cpu = w.cpu_mut();
            cpu.power = Power::Off;
            cpu.pending = 0;
            let cpu = w.cpu;
            w.meet_power(cpu);
        });
        rest_for_ever()
    }

    #[track_caller]
    fn halt(&self) -> ! {
        owed_hard_off("a CPU halts with the hardware's mask closed");
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
            w.reduction.touches.add(footprint::scheduling(cpu.index()), How::Writes);
            w.cpus[cpu.index()].evicted = true;
            for thread in 2 * MAX_CPUS..w.threads.len() {
                if w.threads[thread].as_ref().is_some_and(|t| usize::from(t.cpu) == cpu.index()) {
                    w.reduction.touches.add(footprint::thread(thread), How::Reads);
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
            w.reduction.touches.add(footprint::scheduling(cpu.index()), How::Writes);
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
                with(|w| w.step.fused = false);
                point(Op::here(OpKind::Moved, 0), true);
                Ok(())
            }
        }
    }

    fn occupied(&self, cpu: CpuId) -> Option<&'static str> {
        with(|w| {
            let occupied = w.occupied(cpu.index());
            if w.look.peeking.is_none() {
                w.reduction.touches.add(footprint::occupied(cpu.index()), How::Reads);
            }
            if !w.watch(footprint::occupied(cpu.index()), usize::from(occupied)) && w.step.inside {
                w.learn(u64::from(occupied));
            }
            occupied.then_some("a task")
        })
    }

    #[track_caller]
    fn only_idle_left(&self) -> bool {
        owed_irqs_off("the last look at who is left is made with interrupts off");
        with(|w| {
            w.reduction.touches.add(footprint::occupied(w.cpu), How::Reads);
            let answer = w.thread_ref().kind == Kind::Idle && !w.occupied(w.cpu);
            w.learn(u64::from(answer));
            answer
        })
    }

    fn park_threads(&self, cpu: CpuId) {
        let site = standstill::platform::Site::here("the hotplug thread to return");
        let wait = WaitFor { site, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &|_| () };
        let place = footprint::parked(cpu.index());
        let dummy = ModelWord::ZERO;
        self.wait_until(&dummy, &wait, || {
            with(|w| {
                let parked = w.parked(cpu.index());
                if w.look.peeking.is_none() {
                    w.reduction.touches.add(place, How::Reads);
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
            w.reduction.touches.add(footprint::scheduling(index), How::Writes);
            w.reduction.touches.add(footprint::parked(index), How::Writes);
            w.reduction.touches.add(footprint::thread(MAX_CPUS + index), How::Writes);
            w.spawn(MAX_CPUS + index, Kind::Hotplug, index, "hotplug thread");
        });
    }

    fn aim_lines_away(&self, cpu: CpuId) -> Result<(), Reason> {
        rearranges();
        with(|w| {
            w.reduction.touches.add(footprint::lines(cpu.index()), How::Writes);
            w.cpus[cpu.index()].lines = false;
        });
        Ok(())
    }

    #[track_caller]
    fn lines_left(&self, _: CpuId) -> Result<(), Reason> {
        owed_irqs_off("the last look at the lines is made with interrupts off");
        let Some(stay) = with(|w| of(w).lines_stay) else { return Ok(()) };
        match stay.load(Relaxed) {
            0 => Ok(()),
            times => {
                stay.store(times - 1, Relaxed);
                Err(Reason { code: -16, text: "a line of the scenario stays" })
            }
        }
    }

    fn lines_back(&self, cpu: CpuId) {
        rearranges();
        with(|w| {
            w.reduction.touches.add(footprint::lines(cpu.index()), How::Writes);
            w.cpus[cpu.index()].lines = true;
        });
    }

    fn runs(&self, _: CpuId) -> Runs {
        Runs { what: "a simulated thread", irqs_off_at: None }
    }
}
