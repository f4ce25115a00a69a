//! Works for stoppers that nobody waits for: several for one CPU at once, and one that many threads want.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use standstill::context::{Context, Pinned, Task};
use standstill::stop::{StopError, StopWork, WorkState};
use standstill::{CpuId, CpuMask};

use crate::ground::Ground;
use crate::once::Once;
use crate::rules::Rule;
use crate::shared::Core;
use crate::stops::value_of;

/// How many works are queued at once.
const BATCH: usize = 5;
/// How often a thread looks whether they have ended, in nanoseconds.
const LOOK_NS: u64 = 50_000;

type Function = &'static (dyn Fn(&mut Pinned<'_>) -> i32 + Sync);

/// A function for as long as the machine runs.
fn leak(function: Function) -> &'static Function {
    Box::leak(Box::new(function))
}

/// One work of a batch.
struct One<P: Ground> {
    work: StopWork<P>,
    function: Once<&'static Function>,
    /// How often it ran, and as the how-manieth of its batch.
    ran: AtomicU32,
    place: AtomicU32,
}

/// What a user of the shared work has seen.
struct User {
    function: Once<&'static Function>,
    queued: AtomicU64,
    ran: AtomicU64,
}

/// All of them.
pub(crate) struct Works<P: Ground> {
    batch: Vec<One<P>>,
    next: AtomicU32,
    shared: StopWork<P>,
    users: Vec<User>,
}

impl<P: Ground> Works<P> {
    /// For `users` threads that want the shared one.
    pub(crate) fn leak<const N: usize, const W: usize>(
        core: &'static Core<P, N, W>,
        users: usize,
    ) -> &'static Self {
        let one = |_| One {
            work: StopWork::new(),
            function: Once::new(),
            ran: AtomicU32::new(0),
            place: AtomicU32::new(0),
        };
        let user = |_| User { function: Once::new(), queued: AtomicU64::new(0), ran: AtomicU64::new(0) };
        let works: &'static Self = Box::leak(Box::new(Works {
            batch: (0..BATCH).map(one).collect(),
            next: AtomicU32::new(0),
            shared: StopWork::new(),
            users: (0..users).map(user).collect(),
        }));
        for one in &works.batch {
            one.function.set(leak(Box::leak(Box::new(move |_: &mut Pinned<'_>| {
                one.place.store(works.next.fetch_add(1, Relaxed), Relaxed);
                one.ran.fetch_add(1, Relaxed);
                value_of(core.ground().this_cpu())
            }))));
        }
        for user in &works.users {
            user.function.set(leak(Box::leak(Box::new(move |_: &mut Pinned<'_>| {
                user.ran.fetch_add(1, Release);
                0
            }))));
        }
        works
    }

    /// The shared work, by `user`: if it is free.
    pub(crate) fn share<const N: usize, const W: usize>(
        &'static self,
        core: &Core<P, N, W>,
        ctx: &impl Context,
        user: usize,
        to: CpuId,
    ) {
        let Some(user) = self.users.get(user) else { return };
        let Some(function) = user.function.get() else { return };
        // Before: it may run before this returns.
        user.queued.fetch_add(1, Relaxed);
        let queued = core.machine.stop_one_cpu_nowait(ctx, to, &self.shared, *function);
        if queued.is_err() {
            user.queued.fetch_sub(1, Relaxed);
        }
        let holds = matches!(queued, Ok(()) | Err(StopError::Busy | StopError::Offline(_)));
        core.rules.check(Rule::Receipts, holds, |rule| core.failure(rule, to));
    }

    /// Several works for `to`, in one section: each runs once, in their order, or is refused. One thread has them.
    pub(crate) fn several<const N: usize, const W: usize>(
        &'static self,
        core: &Core<P, N, W>,
        task: &mut Task,
        to: CpuId,
    ) {
        self.next.store(0, Relaxed);
        self.batch.iter().for_each(|one| one.ran.store(0, Relaxed));
        let calm = core.calm();
        let mut taken = [false; BATCH];
        core.machine.irq_off(task, |off| {
            for (one, taken) in self.batch.iter().zip(&mut taken) {
                let Some(function) = one.function.get() else { continue };
                let queued = core.machine.stop_one_cpu_nowait(off, to, &one.work, *function);
                *taken = queued.is_ok();
                let holds = matches!(queued, Ok(()) | Err(StopError::Offline(_)));
                core.rules.check(Rule::Receipts, holds, |rule| core.failure(rule, to));
            }
        });
        if core.still(calm).is_some() {
            let any = if taken.contains(&true) { CpuMask::of(to) } else { CpuMask::EMPTY };
            core.check_taken(calm, &CpuMask::of(to), &any);
        }
        // One that is forgotten shows as no progress.
        while self.batch.iter().any(|one| one.work.state() == WorkState::Queued) {
            core.ground().sleep_ns(task, LOOK_NS);
        }
        let mut last = None;
        for (one, taken) in self.batch.iter().zip(taken) {
            let ran = one.ran.load(Relaxed);
            let place = (ran > 0).then(|| one.place.load(Relaxed));
            let holds = match one.work.state() {
                WorkState::Ran(value) if taken => ran == 1 && value == value_of(to) && place > last,
                WorkState::Refused if taken => ran == 0,
                _ => !taken && ran == 0,
            };
            core.rules.check(Rule::Receipts, holds, |rule| core.failure(rule, to));
            last = place.or(last);
        }
    }

    /// All users have ended: nobody's function ran more often than it was taken, and all have run or were refused.
    pub(crate) fn finish<const N: usize, const W: usize>(&self, core: &Core<P, N, W>, task: &mut Task) {
        while self.shared.state() == WorkState::Queued {
            core.ground().sleep_ns(task, LOOK_NS);
        }
        for (cpu, user) in self.users.iter().enumerate() {
            // Acquire: pairs with the release of the last run.
            let holds = user.ran.load(Acquire) <= user.queued.load(Relaxed);
            core.rules.check(Rule::Receipts, holds, |rule| core.failure(rule, CpuId::new(cpu)));
        }
    }
}
