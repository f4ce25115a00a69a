//! The thread that takes random CPUs down and up.

use standstill::context::Task;
use standstill::{CpuId, CpuMask};

use crate::ground::Ground;
use crate::pulse::Doing;
use crate::rng::Rng;
use crate::rules::{Failure, Rule};
use crate::shared::{Core, Other};
use crate::states::Op;

/// The thread that takes random CPUs down and up. There is one, so between its operations the masks stand still.
pub(crate) struct OnOff<P: Ground, const N: usize, const W: usize> {
    pub(crate) core: &'static Core<P, N, W>,
    pub(crate) rng: Rng,
}

impl<P: Ground, const N: usize, const W: usize> OnOff<P, N, W> {
    /// The thread.
    pub(crate) fn run(&self, task: &mut Task) {
        let pulse = self.core.pulse(Other::OnOff);
        while !self.core.stopping() {
            self.core.begin(pulse, Doing::Rest, None);
            self.pause(task);
            self.core.begin(pulse, Doing::Between, None);
            // A machine whose CPUs are plugged in and out operates there.
            self.core.moves.step();
            self.core.ground().between_operations(task);
            self.core.moves.step();
            self.operate(task);
        }
        pulse.ends();
    }

    fn pause(&self, task: &mut Task) {
        let mean = self.core.settings.onoff_pause_ns.max(1);
        self.core.ground().sleep_ns(task, self.rng.below(mean as usize * 2) as u64);
    }

    /// One random operation. CPUs that are offline are brought back more often than others are taken, so that most are online
    /// most of the time.
    fn operate(&self, task: &mut Task) {
        let online = self.core.machine.online().snapshot();
        let offline = self.core.machine.present().snapshot().without(&online);
        if self.rng.one_in(4) && !online.is_empty() {
            let cpu = self.pick(&online);
            self.core.begin(self.core.pulse(Other::OnOff), Doing::Dance, Some(cpu));
            self.core.dance(task, cpu, &self.rng);
        } else if offline.len() > 1 && self.rng.one_in(3) {
            self.core.bring_up_together(task, &offline, &self.rng);
        } else if !offline.is_empty() && (online.len() < 2 || self.rng.below(3) < 2) {
            self.core.bring_up(task, self.pick(&offline), Some(&self.rng));
        } else if online.len() > 1 {
            self.core.take_down(task, self.pick(&online), Some(&self.rng));
        }
    }

    fn pick(&self, mask: &CpuMask<W>) -> CpuId {
        let nth = self.rng.below(mask.len());
        mask.iter().nth(nth).unwrap_or(CpuId::BOOT)
    }
}

impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    /// Takes `cpu` down, having announced it to the senders. With `rng` it may be made to fail.
    pub(crate) fn take_down(&self, task: &mut Task, cpu: CpuId, rng: Option<&Rng>) -> bool {
        self.announce(Some(cpu));
        let ok = self.operation(task, cpu, Op::Down, rng);
        self.announce(None);
        if ok {
            let here = self.ground().this_cpu();
            self.rules.check(Rule::Moved, here != cpu, |rule| self.failure(rule, here));
        }
        ok
    }

    /// Brings `cpu` up. With `rng` it may be made to fail.
    pub(crate) fn bring_up(&self, task: &mut Task, cpu: CpuId, rng: Option<&Rng>) -> bool {
        self.operation(task, cpu, Op::Up, rng)
    }

    /// Brings all of `cpus` up in one operation. One of them may be made to fail.
    fn bring_up_together(&self, task: &mut Task, cpus: &CpuMask<W>, rng: &Rng) {
        self.begin(self.pulse(Other::OnOff), Doing::UpTogether, None);
        let injected = self
            .sabotage(rng, Op::Up)
            .zip(cpus.last())
            .filter(|(state, cpu)| self.machine.fail_once(task, *cpu, *state).is_ok());
        let injected = |cpu| injected.filter(|(_, at)| *at == cpu).map(|(state, _)| state);
        self.states.set_op(Op::Up);
        self.moves.step();
        let began = self.ground().now_ns();
        let up = self.machine.cpus_up(task, cpus, |cpu, error| {
            let vetoed = self.was_vetoed(cpu, injected(cpu), Err(error));
            self.up.record(false, vetoed, self.ground().now_ns() - began);
            if !vetoed {
                self.veto.set(error);
            }
        });
        let ns = self.ground().now_ns() - began;
        let up = up.unwrap_or_else(|error| {
            self.veto.set(error);
            CpuMask::EMPTY
        });
        self.moves.step();
        for cpu in cpus {
            let ok = up.contains(cpu);
            if ok {
                self.was_vetoed(cpu, injected(cpu), Ok(()));
                self.up.record(true, false, ns);
                self.cycles[cpu.index()].went(true);
                self.came_up(cpu);
            }
            self.check_masks(cpu, ok);
        }
        self.states.set_op(Op::None);
    }

    fn operation(&self, task: &mut Task, cpu: CpuId, op: Op, rng: Option<&Rng>) -> bool {
        // Without random numbers it is the main thread that asks.
        let pulse = self.pulse(if rng.is_some() { Other::OnOff } else { Other::Main });
        self.begin(pulse, if op == Op::Up { Doing::Up } else { Doing::Down }, Some(cpu));
        let injected = rng
            .and_then(|rng| self.sabotage(rng, op))
            .filter(|state| self.machine.fail_once(task, cpu, *state).is_ok());
        if rng.is_some() {
            self.states.set_op(op);
        }
        self.moves.step();
        let began = self.ground().now_ns();
        let (counts, result) = match op {
            Op::Up => (&self.up, self.machine.cpu_up(task, cpu)),
            _ => (&self.down, self.machine.cpu_down(task, cpu)),
        };
        let ns = self.ground().now_ns() - began;
        self.moves.step();
        let vetoed = self.was_vetoed(cpu, injected, result);
        self.states.set_op(Op::None);
        counts.record(result.is_ok(), vetoed, ns);
        if let Err(error) = result
            && !vetoed
        {
            self.veto.set(error);
        }
        if result.is_ok() {
            self.cycles[cpu.index()].went(op == Op::Up);
        }
        if op == Op::Up && result.is_ok() {
            self.came_up(cpu);
        }
        self.check_masks(cpu, (op == Op::Up) == result.is_ok());
        result.is_ok()
    }

    /// After an operation on `cpu`: the masks are nested, and it is where it was told to go, or where it was.
    fn check_masks(&self, cpu: CpuId, up: bool) {
        let machine = self.machine;
        let (active, online) = (machine.active().snapshot(), machine.online().snapshot());
        let (present, possible) = (machine.present().snapshot(), machine.possible().snapshot());
        let holds = masks_fit(&[active, online, present, possible], cpu, up);
        self.rules.check(Rule::Masks, holds, |rule| Failure {
            cpu,
            ..self.failure(rule, self.ground().this_cpu())
        });
    }
}

/// Is each of the masks (active, online, present, possible) in the next one, and `cpu` in the first two if it is up and in none
/// of them if not?
fn masks_fit<const W: usize>(masks: &[CpuMask<W>; 4], cpu: CpuId, up: bool) -> bool {
    let nested = masks.windows(2).all(|pair| pair[0].is_subset(&pair[1]));
    nested && masks[..2].iter().all(|mask| mask.contains(cpu) == up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_that_do_not_fit_show() {
        let first = CpuMask::<1>::first_n;
        let (one, two) = (CpuId::new(1), CpuId::new(2));
        assert!(masks_fit(&[first(2), first(2), first(3), first(4)], one, true));
        assert!(masks_fit(&[first(2), first(2), first(3), first(4)], two, false));
        // Each mask in turn has a CPU that the next one has not.
        assert!(!masks_fit(&[first(3), first(2), first(3), first(4)], one, true));
        assert!(!masks_fit(&[first(2), first(4), first(3), first(4)], one, true));
        assert!(!masks_fit(&[first(2), first(2), first(4), first(3)], one, true));
        // Not where it was told to go: left in active, never gone, never come, not active.
        assert!(!masks_fit(&[first(3), first(2), first(3), first(4)], two, false));
        assert!(!masks_fit(&[first(2), first(3), first(3), first(4)], two, false));
        assert!(!masks_fit(&[first(2), first(2), first(3), first(4)], two, true));
        assert!(!masks_fit(&[first(2), first(3), first(3), first(4)], two, true));
    }
}
