//! What must be so while nobody comes or goes, and what a pinned section may rely on.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};

use alloc::vec::Vec;
use standstill::context::{Pinned, Task};
use standstill::{CpuId, CpuMask};

use crate::ground::Ground;
use crate::rules::Rule;
use crate::shared::Core;

/// A moment in which no operation on a CPU ran.
#[derive(Clone, Copy)]
pub(crate) struct Calm<const W: usize> {
    at: u64,
    /// Who is online and active.
    pub(crate) up: CpuMask<W>,
}

/// Whether operations run, and who is in a pinned section.
pub(crate) struct Moves {
    /// Odd while one runs. Written by one thread at a time.
    count: AtomicU64,
    /// For each CPU: odd while a thread has it pinned.
    sections: Vec<AtomicU64>,
    /// What they were when the pass began that is looked at.
    before: Vec<AtomicU64>,
}

impl Moves {
    pub(crate) fn new(cpus: usize) -> Self {
        let numbers = || (0..cpus).map(|_| AtomicU64::new(0)).collect();
        Moves { count: AtomicU64::new(0), sections: numbers(), before: numbers() }
    }

    /// An operation begins, or has ended. What it did to the masks is before the end: release.
    pub(crate) fn step(&self) {
        self.count.fetch_add(1, SeqCst);
    }

    /// The sections that run.
    fn open(&self) -> impl Iterator<Item = (CpuId, u64)> + '_ {
        let all = self.sections.iter().enumerate();
        all.map(|(cpu, n)| (CpuId::new(cpu), n.load(SeqCst))).filter(|(_, n)| n % 2 == 1)
    }
}

impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    /// This moment, if it is a calm one.
    pub(crate) fn calm(&self) -> Option<Calm<W>> {
        let at = self.moves.count.load(Acquire);
        let up = self.machine.online().snapshot().and(&self.machine.active().snapshot());
        at.is_multiple_of(2).then_some(Calm { at, up })
    }

    /// Has it been calm ever since? Then what the masks said then was true all the time.
    pub(crate) fn still(&self, calm: Option<Calm<W>>) -> Option<Calm<W>> {
        calm.filter(|calm| self.moves.count.load(SeqCst) == calm.at)
    }

    /// If nobody came or went since `calm`, of the CPUs in `asked` those that are up have taken what they were asked,
    /// and no other has.
    pub(crate) fn check_taken(&self, calm: Option<Calm<W>>, asked: &CpuMask<W>, taken: &CpuMask<W>) {
        let Some(calm) = self.still(calm) else { return };
        let holds = *taken == asked.and(&calm.up);
        self.rules.check(Rule::Taken, holds, |rule| self.failure(rule, self.ground().this_cpu()));
    }

    /// A pinned section that others can see.
    pub(crate) fn pinned<R>(&self, task: &mut Task, f: impl FnOnce(&mut Pinned<'_>) -> R) -> R {
        self.machine.pin(task, |pinned| {
            let section = self.moves.sections.get(self.ground().this_cpu().index());
            let step = || section.map(|section| section.fetch_add(1, SeqCst));
            step();
            let result = f(pinned);
            step();
            result
        })
    }

    /// While the machine stands still no CPU is in the middle of a pinned section. In a stop's function.
    pub(crate) fn check_nobody_is_pinned(&self) {
        let open = self.moves.open().next().map(|(cpu, _)| cpu);
        self.rules.check(Rule::Grace, open.is_none(), |rule| self.failure(rule, open.unwrap_or(CpuId::BOOT)));
    }

    /// A pass: the pinned sections that ran when it began have ended when it returns. One thread looks at passes.
    pub(crate) fn check_quiesce(&self, task: &mut Task) {
        let Moves { sections, before, .. } = &self.moves;
        for (section, before) in sections.iter().zip(before) {
            before.store(section.load(SeqCst), Relaxed);
        }
        // One that ends early says so, and promises nothing.
        if self.machine.quiesce(task).is_err() {
            return;
        }
        let outlives = |at: &usize| {
            let before = before[*at].load(Relaxed);
            before % 2 == 1 && sections[*at].load(SeqCst) == before
        };
        let left = (0..sections.len()).find(outlives);
        let cpu = left.map_or(CpuId::BOOT, CpuId::new);
        self.rules.check(Rule::Grace, left.is_none(), |rule| self.failure(rule, cpu));
    }

    /// Within a pinned section: was `cpu` active, so that it takes calls to the section's end?
    pub(crate) fn must_take(&self, cpu: CpuId) -> bool {
        self.promises_calls && self.machine.active().contains(cpu)
    }

    /// What [`must_take`](Self::must_take) said, and whether the call was taken.
    pub(crate) fn check_active_takes(&self, must: bool, cpu: CpuId, taken: bool) {
        if must {
            self.rules.check(Rule::Taken, taken, |rule| self.failure(rule, cpu));
        }
    }
}
