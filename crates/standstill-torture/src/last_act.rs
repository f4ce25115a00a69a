//! What a machine does not survive, at the end: a CPU that is given up in its bring-up, and one that halts all others.

use standstill::context::Task;
use standstill::{CpuId, CpuMask, HotplugError};

use crate::bounds::pack;
use crate::ground::Ground;
use crate::rules::Rule;
use crate::shared::Core;
use crate::states::Section;

/// How long the CPU that is given up stays in its callback, and how long it is waited for, in nanoseconds.
const STAYS_NS: u64 = 30_000_000;
const WAITS_NS: u64 = 3_000_000;
/// Until its callbacks have ended, so often, with so long a pause.
const TRIES: usize = 5_000;
const PAUSE_NS: u64 = 1_000_000;
/// How long the others may take to halt when they are asked, and as long again the hard way.
const GRACE_NS: u64 = 5_000_000_000;

impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    /// A CPU answers and does not come online in time. It undoes its callbacks itself; until it has, nothing is changed.
    pub(crate) fn lose_one(&self, task: &mut Task) {
        let machine = self.machine;
        let cpus = machine.active().snapshot();
        let Some(cpu) = cpus.last().filter(|_| cpus.len() > 1) else { return };
        self.moves.step();
        let down = machine.cpu_down(task, cpu);
        self.expect(Rule::Veto, down.is_ok(), cpu);
        self.drag.arm(pack(cpu, Section::Starting), STAYS_NS);
        let deadline = self.ground().deadline_in(WAITS_NS);
        let up = machine.within(task, deadline, |task| machine.cpu_up(task, cpu));
        match up {
            Err(HotplugError::GivenUp(who)) => {
                self.expect(Rule::Masks, who == cpu && !machine.online().contains(cpu), cpu);
                self.while_it_is_loose(task, cpu);
            }
            // On a busy computer it may be too late for an answer.
            Err(HotplugError::NoAnswer(who)) => self.expect(Rule::Masks, who == cpu, cpu),
            up => self.expect(Rule::Veto, up.is_ok(), cpu),
        }
        self.moves.step();
    }

    fn while_it_is_loose(&self, task: &mut Task, cpu: CpuId) {
        let machine = self.machine;
        let is_stuck = |error| matches!(error, HotplugError::Stuck(who) if who == cpu);
        let mut changed = false;
        for _ in 0..TRIES {
            let added = machine.add_state(task, "torture/while one is loose", self.passing[1]);
            // It has the callback of the last state that was installed still before it.
            let runs = self.drag.runs();
            self.expect(Rule::Callbacks, added.is_err() || !runs, cpu);
            match added {
                Ok(handle) => {
                    changed = machine.remove_state(task, handle).is_ok();
                    break;
                }
                Err(error) => self.expect(Rule::Veto, is_stuck(error), cpu),
            }
            if let Some(other) = machine.active().snapshot().last() {
                let down = machine.cpu_down(task, other);
                self.expect(Rule::Masks, down.is_err() || !self.drag.runs(), other);
                if down.is_ok() {
                    let up = machine.cpu_up(task, other);
                    self.expect(Rule::Veto, up.is_ok(), other);
                }
            }
            self.ground().sleep_ns(task, PAUSE_NS);
        }
        self.expect(Rule::Callbacks, changed, cpu);
        // What it began it has undone, and it is never started again.
        let again = machine.cpu_up(task, cpu);
        let lost = matches!(again, Err(HotplugError::GivenUp(who)) if who == cpu);
        self.expect(Rule::Veto, lost && !machine.online().contains(cpu), cpu);
    }

    /// Nobody else runs any more.
    pub(crate) fn halt_all_others(&self, task: &mut Task) {
        let (left, me) = self
            .machine
            .pin(task, |pinned| (self.machine.stop_others(pinned, GRACE_NS), self.ground().this_cpu()));
        self.expect(Rule::Final, left == CpuMask::EMPTY, left.first().unwrap_or(me));
    }
}
