//! The invokers: one thread for each CPU that sends calls in all forms to random targets.
//!
//! The forms without wait are sent from a pinned section, or from one with interrupts off, so that the sender is one CPU; the forms
//! that wait are sent from a plain thread, which may be moved while it waits.

use core::sync::atomic::Ordering::Relaxed;

use standstill::context::{Context, IrqOff, Task};
use standstill::event::Form;
use standstill::{CallError, CpuId, CpuMask};

use crate::calm::Calm;
use crate::ground::Ground;
use crate::kit::{CsdSlot, Slot};
use crate::pulse::Doing;
use crate::record::Record;
use crate::relay::Relay;
use crate::rng::Rng;
use crate::rules::{Failure, Rule};
use crate::shared::Core;
use crate::works::Works;

/// How many records an invoker has for each of the forms without wait, async aside: so many may be under way.
pub(crate) const DEPTH: usize = 8;

/// What a call of `form` is called in reports.
fn doing(form: Form) -> Doing {
    match form {
        Form::Single => Doing::Call,
        Form::SingleWait => Doing::CallWait,
        Form::Async => Doing::Burst,
        Form::Many => Doing::Many,
        Form::ManyWait => Doing::ManyWait,
        Form::All => Doing::All,
        Form::AllWait => Doing::AllWait,
    }
}

/// What one invoker sends with.
pub(crate) struct Invoker<
    P: Ground,
    const N: usize,
    const W: usize,
    S: 'static,
    A: 'static,
    M: 'static,
    L: 'static,
> {
    pub(crate) core: &'static Core<P, N, W>,
    pub(crate) index: usize,
    pub(crate) rng: Rng,
    pub(crate) single: &'static [Slot<W, S>],
    pub(crate) asynchronous: &'static [CsdSlot<P, W, A>],
    pub(crate) many: &'static [Slot<W, M>],
    pub(crate) all: &'static [Slot<W, L>],
    pub(crate) relay: Option<&'static Relay<P>>,
    pub(crate) works: Option<&'static Works<P>>,
    /// For the three forms that wait, in the order of [`Form::ALL`].
    pub(crate) waiting: [&'static Record<W>; 3],
}

impl<P, const N: usize, const W: usize, S, A, M, L> Invoker<P, N, W, S, A, M, L>
where
    P: Ground,
    S: Fn(&IrqOff<'_>) + Sync,
    A: Fn(&IrqOff<'_>) + Sync,
    M: Fn(&IrqOff<'_>) + Sync,
    L: Fn(&IrqOff<'_>) + Sync,
{
    /// The thread.
    pub(crate) fn run(&self, task: &mut Task) {
        let mut done = [0_u64; Form::ALL.len()];
        let pulse = &self.core.pulses[self.index];
        // So that a thousand invokers do not begin with one stroke.
        self.core.rest(task, &self.rng, pulse);
        while !self.core.stopping() {
            let Some(form) = self.core.settings.weights.most_behind(&done) else { break };
            // At least one, so that a form whose slots are all busy does not keep the others from their turn.
            self.core.begin(pulse, doing(form), None);
            done[form as usize] += self.send(form, task).max(1);
            if self.rng.one_in(4) {
                self.core.read_briefly(task);
            }
            if self.rng.one_in(16) {
                let to = self.core.any_cpu(&self.rng);
                self.works.iter().for_each(|works| works.share(self.core, task, self.index, to));
            }
            self.core.begin(pulse, Doing::Rest, None);
            if self.rng.one_in(4096) {
                self.core.ground().sleep_ns(task, 1_000_000);
            } else {
                self.core.rest(task, &self.rng, pulse);
            }
        }
        pulse.ends();
    }

    /// One operation of `form`; says how many calls it was.
    fn send(&self, form: Form, task: &mut Task) -> u64 {
        match form {
            Form::Single => self.send_single(task),
            Form::SingleWait => self.send_single_wait(task),
            Form::Async => self.send_burst(task),
            Form::Many => self.send_many(task),
            Form::ManyWait => self.send_many_wait(task),
            Form::All => self.send_all(task),
            Form::AllWait => self.send_all_wait(task),
        }
    }

    /// A free record of `slots`, starting at a random one.
    fn free<'s, F>(&self, slots: &'s [Slot<W, F>]) -> Option<&'s Slot<W, F>> {
        let start = self.rng.below(slots.len());
        let (before, after) = slots.split_at(start);
        after.iter().chain(before).find(|slot| self.core.settled(slot.record))
    }

    // ---- without wait

    fn send_single(&self, task: &mut Task) -> u64 {
        let core = self.core;
        let Some(slot) = self.free(self.single) else { return 0 };
        let to = core.any_cpu(&self.rng);
        core.pinned(task, |pinned| {
            core.post_one(slot.record, to, |to| core.machine.call_single_nowait(pinned, to, &slot.handler))
        })
    }

    /// A burst of async calls to random targets: in one pinned section, or sometimes with interrupts off.
    fn send_burst(&self, task: &mut Task) -> u64 {
        if let Some(relay) = self.relay
            && self.rng.one_in(4)
        {
            relay.begin(self.core, task);
        }
        if self.rng.one_in(16) {
            self.core.machine.irq_off(task, |off| self.burst(off))
        } else {
            self.core.pinned(task, |pinned| self.burst(pinned))
        }
    }

    fn burst(&self, ctx: &impl Context) -> u64 {
        let core = self.core;
        let mut sent = 0;
        let victim = core.victim();
        for CsdSlot { csd, slot } in self.asynchronous {
            if !core.settled(slot.record) {
                continue;
            }
            // Every other call goes to the CPU that is about to leave, if there is one: that is where the race is.
            let to = victim.filter(|_| self.rng.one_in(2)).unwrap_or_else(|| core.any_cpu(&self.rng));
            sent += core.post_one(slot.record, to, |to| {
                let must = core.must_take(to);
                let taken = core.machine.call_single_async(ctx, to, csd, &slot.handler);
                core.check_active_takes(must, to, taken.is_ok());
                taken
            });
        }
        sent
    }

    fn send_many(&self, task: &mut Task) -> u64 {
        let Some(slot) = self.free(self.many) else { return 0 };
        let mask = self.random_mask();
        let core = self.core;
        core.pinned(task, |pinned| {
            core.post_many(slot.record, &mask, true, || {
                core.machine.call_many_async(pinned, &mask, &slot.handler)
            })
        })
    }

    fn send_all(&self, task: &mut Task) -> u64 {
        let Some(slot) = self.free(self.all) else { return 0 };
        let core = self.core;
        let everybody = CpuMask::first_n(core.cpus);
        core.pinned(task, |pinned| {
            core.post_many(slot.record, &everybody, false, || {
                core.machine.call_all_async(pinned, &slot.handler)
            })
        })
    }

    // ---- with wait

    fn send_single_wait(&self, task: &mut Task) -> u64 {
        let core = self.core;
        let record = self.waiting[0];
        let to = core.any_cpu(&self.rng);
        if self.rng.one_in(4) {
            return self.send_any_wait(task, to);
        }
        let asked = CpuMask::of(to);
        self.open(record, &asked);
        let calm = core.calm();
        let single_wait_handler = |_: &IrqOff<'_>| core.serve(record);
        let result = match self.rng.below(4) {
            // Pinned: the stopper has to wait for this call.
            0 => core.pinned(task, |pinned| core.machine.call_single(pinned, to, &single_wait_handler)),
            _ => core.machine.call_single(task, to, &single_wait_handler),
        };
        core.check_taken(calm, &asked, if result.is_ok() { &asked } else { &CpuMask::EMPTY });
        let counts = core.form(Form::SingleWait);
        counts.sent(1);
        match result {
            Ok(()) => record.accepted(&asked),
            Err(CallError::Lost(_)) => counts.lost(1),
            Err(_) => counts.refused(1),
        }
        self.close(record, &asked, result.is_ok());
        1
    }

    /// A call to any of some CPUs, `to` among them: one of them ran it.
    fn send_any_wait(&self, task: &mut Task, to: CpuId) -> u64 {
        let core = self.core;
        let record = self.waiting[0];
        let mut asked = self.random_mask();
        asked.insert(to);
        self.open(record, &asked);
        let calm = core.calm();
        let any_wait_handler = |_: &IrqOff<'_>| core.serve(record);
        let result = match self.rng.below(3) {
            // Its own CPU comes first: that costs no interrupt.
            0 => core.pinned(task, |pinned| {
                let me = core.ground().this_cpu();
                let result = core.machine.call_any(pinned, &asked, &any_wait_handler);
                let first = !asked.contains(me) || result == Ok(me);
                core.rules.check(Rule::RanSet, first, |rule| self.failure(rule, record));
                result
            }),
            _ => core.machine.call_any(task, &asked, &any_wait_handler),
        };
        let counts = core.form(Form::SingleWait);
        counts.sent(1);
        let ran = match result {
            Ok(cpu) => CpuMask::of(cpu),
            Err(_) => CpuMask::EMPTY,
        };
        if let Some(calm) = core.still(calm) {
            let there = asked.and(&calm.up);
            let holds =
                if there.is_empty() { ran.is_empty() } else { !ran.is_empty() && ran.is_subset(&there) };
            core.rules.check(Rule::Taken, holds, |rule| self.failure(rule, record));
        }
        match result {
            Ok(_) => record.accepted(&ran),
            Err(CallError::Lost(_)) => counts.lost(1),
            Err(_) => counts.refused(1),
        }
        core.rules.check(Rule::RanSet, ran.is_subset(&asked), |rule| self.failure(rule, record));
        self.close(record, &ran, result.is_ok());
        1
    }

    fn send_many_wait(&self, task: &mut Task) -> u64 {
        let core = self.core;
        let record = self.waiting[1];
        let mask = self.random_mask();
        self.open(record, &mask);
        let calm = core.calm();
        let many_wait_handler = |_: &IrqOff<'_>| core.serve(record);
        let mut asked = mask;
        let result = match self.rng.below(4) {
            0 => core.machine.on_each_cpu_mask(task, &mask, &many_wait_handler),
            1 => {
                let call = |cond: &mut dyn FnMut(CpuId) -> bool| {
                    core.machine.on_each_cpu_cond(task, &mask, cond, &many_wait_handler)
                };
                let result;
                (asked, result) = self.on_condition(record, call);
                result
            }
            _ => core.machine.call_many(task, &mask, &many_wait_handler),
        };
        self.settle_many(record, &asked, result, calm)
    }

    /// Sends with `call` on a condition, which is asked once for each CPU; says for whom it held, too.
    pub(crate) fn on_condition<R>(
        &self,
        record: &Record<W>,
        call: impl FnOnce(&mut dyn FnMut(CpuId) -> bool) -> R,
    ) -> (CpuMask<W>, R) {
        let (mut once, mut twice) = (CpuMask::<W>::EMPTY, false);
        let result = call(&mut |cpu| {
            twice |= once.contains(cpu);
            once.insert(cpu);
            cpu.index() % 2 == 1
        });
        self.core.rules.check(Rule::RanSet, !twice, |rule| self.failure(rule, record));
        (once.iter().filter(|cpu| cpu.index() % 2 == 1).collect(), result)
    }

    fn send_all_wait(&self, task: &mut Task) -> u64 {
        let core = self.core;
        let record = self.waiting[2];
        let everybody = CpuMask::first_n(core.cpus);
        self.open(record, &everybody);
        let all_wait_handler = |_: &IrqOff<'_>| core.serve(record);
        let result = match self.rng.below(4) {
            0 => core.machine.on_each_cpu(task, &all_wait_handler),
            _ => core.machine.call_all(task, &all_wait_handler),
        };
        self.settle_many(record, &everybody, result, None)
    }

    pub(crate) fn settle_many(
        &self,
        record: &Record<W>,
        asked: &CpuMask<W>,
        result: Result<CpuMask<W>, CallError>,
        calm: Option<Calm<W>>,
    ) -> u64 {
        let counts = self.core.form(record.form);
        let Ok(ran) = result else {
            // A thread has its interrupts on, so the only error there is can't be.
            self.fail(Rule::RanSet, record);
            return 1;
        };
        counts.sent(ran.len() as u64);
        record.accepted(&ran);
        // The caller may be left out, by forms for others only: it is moved meanwhile, so nobody knows which CPU that was.
        if let Some(calm) = self.core.still(calm) {
            let missing = asked.and(&calm.up).without(&ran).len();
            let holds = missing <= 1 && ran.is_subset(&calm.up);
            self.core.rules.check(Rule::Taken, holds, |rule| self.failure(rule, record));
        }
        self.core.rules.check(Rule::RanSet, ran.is_subset(asked), |rule| self.failure(rule, record));
        self.close(record, &ran, true);
        ran.len() as u64
    }

    /// Opens the account of a call that waits: the stream is this thread's, wherever it runs.
    pub(crate) fn open(&self, record: &Record<W>, asked: &CpuMask<W>) {
        let order = self.core.next_in(record.stream, self.index);
        record.begin(self.index, order, self.core.era(), asked);
    }

    /// Closes it: all that was said to have run is over, and nothing else ran.
    pub(crate) fn close(&self, record: &Record<W>, ran: &CpuMask<W>, ok: bool) {
        let core = self.core;
        let expected = if ok { *ran } else { CpuMask::EMPTY };
        core.rules
            .check(Rule::RanSet, expected.is_subset(&record.ran.get()), |rule| self.failure(rule, record));
        let wrote = record.out.load(Relaxed) == expected.len() as u64;
        core.rules.check(Rule::MemoryOut, wrote, |rule| self.failure(rule, record));
        core.check_settled(record);
    }

    fn fail(&self, rule: Rule, record: &Record<W>) {
        self.core.rules.check(rule, false, |rule| self.failure(rule, record));
    }

    fn failure(&self, rule: &'static str, record: &Record<W>) -> Failure {
        let here = CpuId::new(self.index);
        Failure { func: Some(record.stream.func()), sender: Some(here), ..self.core.failure(rule, here) }
    }

    /// About half of the CPUs, offline ones included on purpose.
    fn random_mask(&self) -> CpuMask<W> {
        (0..self.core.cpus).map(CpuId::new).filter(|_| self.rng.one_in(2)).collect()
    }
}
