//! A stop machine in its smallest form, as a litmus test of the engine that counts traces: the numbers are known from other tools.
//!
//! All CPUs count down to a common stage; the last one resets the count and moves the stage. In four stages (prepare, close interrupts,
//! run, exit), which is what early Linux has, there are `(N!)^4` traces for `N` CPUs, the orders in which they count; with the closing split in two,
//! `(N!)^5`. Nothing of the library is in here.

use std::panic::Location;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use standstill::platform::{Deadline, Irq, Site, Wait, WaitContext, WaitFor, Word};

use crate::machine::access::ModelWord;
use crate::machine::kept::Kept;
use crate::machine::state::{Cpu, Kind, Power};
use crate::machine::world::{World, with};
use crate::port::Model;
use crate::scenario::{ScenarioInfo, info};
use crate::vocab::limits::MAX_CPUS;

/// The scenarios that are not about the library.
pub(crate) const LITMUS: &[ScenarioInfo] = &[
    info("flat-counter", "CPUs count down to four common stages: (N!)^4 traces", 2, "at once", |world| {
        build(world, false)
    }),
    info(
        "flat-counter-split",
        "CPUs count down to five common stages: (N!)^5 traces",
        2,
        "at once",
        |world| build(world, true),
    ),
];

/// What the CPUs share.
struct Counter {
    stage: ModelWord,
    left: ModelWord,
    online: ModelWord,
    cpus: usize,
    split: bool,
}

fn build(world: &mut World, split: bool) {
    let cpus = world.options.cpus;
    let counter: &'static Counter = world.stacks.arena.keep(Counter {
        stage: ModelWord::ZERO,
        left: ModelWord::ZERO,
        online: ModelWord::ZERO,
        cpus,
        split,
    });
    world.subject.kept.push(Kept::new(counter));
    for cpu in 0..cpus {
        let task = world.stacks.arena.keep(move || counter.stop(cpu));
        world.subject.tasks.push((0, task));
    }
    world.subject.boot = Some(world.stacks.arena.keep(move || {
        counter.left.store(cpus, Release);
        counter.online.store(1, Release);
        counter.stage.store(1, Release);
        with(|w| {
            for cpu in 0..cpus {
                let task = 2 * MAX_CPUS + cpu;
                if cpu > 0 {
                    w.cpus[cpu] =
                        Cpu { power: Power::On, irqs_on: true, preempt: 0, current: task as u8, ..Cpu::OFF };
                }
                w.spawn(task, Kind::Task, cpu, "counter");
            }
            w.branch();
        });
    }));
}

impl Counter {
    /// One CPU. The last one leaves the others.
    fn stop(&self, cpu: usize) {
        let leaves = cpu == self.cpus - 1;
        let run = if self.split { 4 } else { 3 };
        let closes = if self.split && leaves { 3 } else { 2 };
        let mut stage = 0;
        let mut flags = None;
        while stage <= run {
            stage = self.wait_for_another(stage, flags.is_some());
            if stage == closes {
                flags = Some(Model.irq_save());
            }
            if stage == run && leaves {
                self.online.store(0, Release);
            }
            if self.left.fetch_sub(1, AcqRel) == 1 {
                self.left.store(self.cpus, Release);
                self.stage.store(stage + 1, Release);
            }
        }
        if let Some(flags) = flags {
            // SAFETY: the flags are of the `irq_save` above, on the same CPU.
            unsafe { Model.irq_restore(flags) };
        }
    }

    fn wait_for_another(&self, stage: usize, closed: bool) -> usize {
        let site = Site { what: "the next stage", at: Location::caller() };
        let context = if closed { WaitContext::Frozen } else { WaitContext::Spin };
        let wait = WaitFor { site, context, deadline: Deadline::NEVER, stalled: &|_| () };
        Model
            .wait_until(&self.stage, &wait, || Some(self.stage.load(Acquire)).filter(|now| *now != stage))
            .unwrap_or(stage)
    }
}
