//! Waiting: a condition is looked at, and its context blocks until something that it read has changed.

use crate::base::arena::steady;
use crate::base::fibre::Command;
use crate::config::mutant::Change;
use crate::machine::access::ModelWord;
use crate::machine::announce::announce;
use crate::machine::announce::rest_for_ever;
use crate::machine::condition::look;
use crate::machine::mutate::skipped;
use crate::machine::point::point;
use crate::machine::point::take_interrupt;
use crate::machine::point::take_stopper;
use crate::machine::state::Op;
use crate::machine::state::OpKind;
use crate::machine::world::World;
use crate::machine::world::with;
use crate::vocab::step::StepWhat;
use std::fmt;
use std::panic::Location;

use crate::machine::condition;

/// What the machine has to know of a wait.
pub(crate) struct Waiting<'a> {
    /// What is waited for: its address tells the places in the code apart.
    pub(crate) what: &'static str,
    /// Where.
    pub(crate) at: &'static Location<'static>,
    /// Both, for people.
    pub(crate) site: &'a dyn fmt::Display,
    /// Others may have the CPU meanwhile.
    pub(crate) yields: bool,
    /// It waits for something to do, maybe without end.
    pub(crate) rests: bool,
    /// It has a deadline that may expire.
    pub(crate) may_expire: bool,
    /// Where waiters sleep, this one does.
    pub(crate) sleeps: bool,
}

/// A context waits until `poll` has an answer.
#[track_caller]
pub(crate) fn wait_for<R>(
    on: &ModelWord,
    wait: &Waiting<'_>,
    mut poll: impl FnMut() -> Option<R>,
) -> Option<R> {
    if std::thread::panicking() || with(|w| !w.step.inside) {
        return poll();
    }
    let at = Location::caller();
    condition::only_looks("waits", at);
    if !with(|w| w.gives_up("the context waits", at)) {
        rest_for_ever();
    }
    if with(|w| w.mutates(Change::SkipWait, at)) {
        return poll().or_else(skipped);
    }
    if let Some(begins) = with(|w| w.subject.wait_begins) {
        begins(wait.what);
    }
    let before = with(|w| w.thread_ref().level().history);
    let mut failed: Option<Option<usize>> = None;
    // After a look on behalf of the scheduler nothing may happen but another announcement: this context has no step now.
    let mut only_looks = false;
    loop {
        let holds = peek(&mut poll, at);
        if with(|w| w.begin_wait(on.place(), wait, holds, failed, only_looks)) {
            only_looks = false;
            match announce(Op { kind: OpKind::Wait, place: wait.what.as_ptr().addr(), at: wait.at }) {
                // What is waited for may be there now, and the flags of the wait are those of the handler's last one.
                Command::Interrupt(kind) => {
                    take_interrupt(kind);
                    failed = None;
                    continue;
                }
                Command::Stopper => {
                    take_stopper();
                    failed = None;
                    continue;
                }
                Command::Peek => {
                    only_looks = true;
                    continue;
                }
                Command::Go => with(|w| {
                    w.step.fused = true;
                    w.begin_going();
                    w.look.polling = w.is_ra() && w.thread_ref().watch.open <= 1;
                }),
                Command::Expire => {
                    with(|w| {
                        w.learn(0x0e59);
                        w.note(|| StepWhat::Expire, wait.at);
                    });
                    return poll();
                }
            }
        }
        let slept_on = with(|w| if wait.sleeps { w.looks(on.place()) } else { None });
        let changes = with(|w| w.thread_ref().level().changes);
        let result = poll();
        let changed = with(|w| w.thread_ref().level().changes) != changes;
        condition::left_no_trace(result.is_some(), changed, at);
        let slept = slept_on.is_some();
        with(|w| {
            (w.step.fused, w.look.polling, w.look.aged) = (false, false, None);
            w.reduction.movers.going = false;
        });
        if result.is_some() {
            with(|w| w.end_wait());
            return result;
        }
        if slept {
            let noticed = with(|w| w.is_told(on.place(), false));
            point(Op { kind: OpKind::Sleep, place: on.place(), at }, noticed);
        }
        // A look that found nothing leaves no trace.
        with(|w| w.thread_mut().level_mut().history = before);
        failed = Some(slept_on);
    }
}

impl World {
    /// A condition is about to be looked at: what does the word hold that it sleeps on? None: it does not sleep, or its look is one step with
    /// what follows.
    fn looks(&mut self, on: usize) -> Option<usize> {
        if !self.options.sleepers || !self.thread_ref().several(true) {
            return None;
        }
        let value = self.value_seen(self.cpu, on);
        self.learn(steady(value) as u64);
        // The port's load acquires: whoever changed the word has shown what it did before.
        self.acquire_newest(on);
        Some(value)
    }

    /// A context is about to sleep on the word at `on`, or (`tells`) wakes those that do: has this an order that somebody can notice?
    pub(crate) fn is_told(&mut self, on: usize, tells: bool) -> bool {
        let who = self.context();
        self.step.inside && self.phase.branching && self.reduction.classes.note(on, who, tells)
    }

    /// A wait ends: which one place did it depend on?
    fn end_wait(&mut self) {
        self.learn(OpKind::Wait.code());
        let watch = self.thread_ref().watch;
        let mut places = watch.iter();
        self.look.waited = match (places.next(), places.next()) {
            (Some((place, _)), None) => place,
            _ => 0,
        };
    }

    /// Fills in the flags of a wait that is about to be announced; false if there is nothing to announce.
    fn begin_wait(
        &mut self,
        on: usize,
        wait: &Waiting<'_>,
        holds: bool,
        failed: Option<Option<usize>>,
        only_looks: bool,
    ) -> bool {
        let thread = self.thread;
        self.undo.touch(thread, &self.threads[thread]);
        let (preempt, branching) = (self.cpu_ref().preempt, self.phase.branching);
        let blocks = self.step.budget.and(self.step.blocks);
        let sleepers = self.options.sleepers && wait.sleeps;
        // A port whose waiters sleep compares the word that they sleep on, and nothing else, with what it was before the look.
        let same = |seen: Option<usize>| seen.is_some_and(|seen| self.value_seen(self.cpu, on) == seen);
        let still = failed.is_some_and(|seen| !sleepers || same(seen));
        let t = self.thread_mut();
        (t.on, t.sleeps) = (on, wait.sleeps);
        let several = t.several(sleepers);
        // A condition that reads one place is one step. One that reads several is carried out place by place, and blocks only after
        // it failed: a reading that is half old and half new may hold where none at one instant does.
        t.blocked = if several { still && (sleepers || !holds) } else { !holds };
        if let (Some(blocks), false) = (blocks, only_looks) {
            t.blocked = blocks;
        }
        t.yields = wait.yields && t.depth == 0 && preempt == 0;
        t.rests = wait.rests;
        t.may_expire = wait.may_expire && branching;
        let looks_at_memory = t.yields || several;
        if looks_at_memory {
            // Who leaves the CPU to others, or tries again, does so for what it saw here.
            self.touch_watch(thread);
        }
        let t = self.thread_mut();
        // Nobody else can change what it depends on.
        let quiet = holds && t.watch.open == 0 && branching;
        if !only_looks && (quiet || self.step.budget.is_some()) && self.passes(false) {
            return false;
        }
        let t = self.thread_ref();
        if t.blocked && !only_looks && t.watch.is_one() {
            let (cpu, depth, place) = (self.cpu, t.depth, t.watch.first());
            self.reduction.movers.blocks(place, cpu, thread, depth);
        }
        self.note(|| StepWhat::Wait(wait.site.to_string()), wait.at);
        self.yield_cpu();
        true
    }
}

/// Looks whether a condition holds, and notes what it depends on. Nothing else happens.
fn peek<R>(poll: &mut impl FnMut() -> Option<R>, at: &'static Location<'static>) -> bool {
    let changes = with(|w| w.thread_ref().level().changes);
    let (holds, watch) = look(poll, 0);
    let changed = with(|w| w.thread_ref().level().changes) != changes;
    condition::left_no_trace(holds, changed, at);
    let mut ages = u16::from(holds);
    // Old messages, of the one place that has them.
    let possible = with(|w| if watch.open > 1 { 1 } else { w.ages_of(w.cpu, &watch) });
    for age in (1..u16::BITS).filter(|age| possible & 1 << age != 0) {
        ages |= u16::from(look(poll, age).0) << age;
    }
    with(|w| {
        let t = w.thread_mut();
        (t.watch, t.ages) = (watch, ages);
    });
    condition::look_again(poll, holds, at);
    ages != 0
}
