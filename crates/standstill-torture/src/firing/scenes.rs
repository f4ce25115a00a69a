//! Scenes: a few calls on a machine (or stops, or operations, in [`operations`](super::operations)), once as they should be and once broken.
//!
//! Calls are broken between the account that the torture keeps and the machine: what it is told was sent, or came back, is not what was.

use alloc::boxed::Box;

use standstill::context::{IrqOff, Task};
use standstill::event::Form;
use standstill::hotplug::{Callbacks, IrqOffCallback};
use standstill::{CallError, CpuId, CpuMask};

use super::lie::{self, At};
use super::port::Sim;
use super::world::CPUS;
use crate::invoke::Invoker;
use crate::kit::{CsdSlot, Slot};
use crate::record::{Record, Stream};
use crate::rng::Rng;
use crate::shared::Core;
use crate::torture::Torture;

/// The torture of the machine.
pub(super) type Small = Torture<Sim, CPUS, 1>;
pub(super) type Four = Core<Sim, CPUS, 1>;
type Handler = fn(&IrqOff<'_>);

pub(super) const ONE: CpuId = CpuId::new(1);
pub(super) const TWO: CpuId = CpuId::new(2);
pub(super) const THREE: CpuId = CpuId::new(3);

fn of(form: Form) -> Record<1> {
    Record::new(form, Stream::Form(form))
}

/// A record for ever.
pub(super) fn leaked(form: Form) -> &'static Record<1> {
    Box::leak(Box::new(of(form)))
}

/// Runs the handler of `record` on `to`.
fn deliver(core: &Four, task: &mut Task, to: CpuId, record: &Record<1>) -> Result<(), CallError> {
    core.machine.call_single(task, to, &|_: &IrqOff<'_>| core.serve(record))
}

// ---- one call

pub(super) fn runs_twice(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let record = of(Form::Async);
    core.post_one(&record, ONE, |to| {
        core.machine.call_single(task, to, &|_: &IrqOff<'_>| {
            core.serve(&record);
            if broken {
                core.serve(&record);
            }
        })
    });
}

pub(super) fn runs_elsewhere(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let record = of(Form::Async);
    core.post_one(&record, ONE, |to| deliver(core, task, if broken { TWO } else { to }, &record));
}

pub(super) fn runs_too_early(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let record = leaked(Form::Async);
    assert!(core.take_down(task, TWO, None));
    let early: &'static IrqOffCallback = Box::leak(Box::new(move |_: &IrqOff<'_>, cpu| {
        if broken && cpu == TWO {
            core.serve(record);
        }
    }));
    let callbacks = Callbacks::Starting { starting: Some(early), dying: None };
    core.machine.add_state(task, "takes calls", callbacks).expect("there is room");
    record.begin(0, core.next_in(record.stream, 0), core.era(), &CpuMask::of(TWO));
    record.accepted(&CpuMask::of(TWO));
    assert!(core.bring_up(task, TWO, None));
    if !broken {
        deliver(core, task, TWO, record).expect("it is online");
    }
}

pub(super) fn visible_late(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let record = leaked(Form::Async);
    core.post_one(record, ONE, |to| deliver(core, task, to, record));
    core.post_one(record, ONE, |to| {
        if broken {
            // The target still sees the number of the call before; the new one arrives in the middle of the handler.
            let order = record.order.swap(1, core::sync::atomic::Ordering::Relaxed);
            core.machine.call_single(task, to, &|_: &IrqOff<'_>| {
                lie::hook(At::IrqsOn, 0, move || {
                    record.order.store(order, core::sync::atomic::Ordering::Relaxed);
                });
                core.serve(record);
            })
        } else {
            deliver(core, task, to, record)
        }
    });
}

pub(super) fn change_places(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let (first, second) = (of(Form::Async), of(Form::Async));
    core.post_one(&first, ONE, |to| if broken { Ok(()) } else { deliver(core, task, to, &first) });
    core.post_one(&second, ONE, |to| deliver(core, task, to, &second));
    if broken {
        deliver(core, task, ONE, &first).expect("it is online");
    }
}

pub(super) fn refused_runs(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let record = of(Form::Async);
    core.post_one(&record, ONE, |to| {
        deliver(core, task, to, &record)?;
        if broken { Err(CallError::Offline(to)) } else { Ok(()) }
    });
    core.check_settled(&record);
}

/// Nobody comes or goes, and CPU 1 is up.
pub(super) fn refuses(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let record = of(Form::Async);
    core.post_one(&record, ONE, |to| {
        if broken { Err(CallError::Offline(to)) } else { deliver(core, task, to, &record) }
    });
}

pub(super) fn still_pinned(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    core.pinned(task, |_| {
        if broken {
            core.check_nobody_is_pinned();
        }
    });
    core.check_nobody_is_pinned();
}

pub(super) fn not_counted(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let record = of(Form::Single);
    core.post_one(&record, ONE, |to| deliver(core, task, to, &record));
    if broken {
        record.begin(0, core.next_in(record.stream, 0), core.era(), &CpuMask::of(ONE));
        record.accepted(&CpuMask::of(ONE));
        deliver(core, task, ONE, &record).expect("it is online");
    }
    torture.close_books();
}

// ---- calls to many

/// An invoker that has nothing to send with but its records.
fn invoker(core: &'static Four) -> Invoker<Sim, CPUS, 1, Handler, Handler, Handler, Handler> {
    let (slots, csds): (&'static [Slot<1, Handler>], &'static [CsdSlot<Sim, 1, Handler>]) = (&[], &[]);
    Invoker {
        core,
        index: 0,
        rng: Rng::new(1, 0),
        single: slots,
        asynchronous: csds,
        many: slots,
        all: slots,
        relay: None,
        works: None,
        waiting: [Form::SingleWait, Form::ManyWait, Form::AllWait].map(leaked),
    }
}

/// A call to CPUs 1 and 2 that waits; what came back goes through `tell` on its way.
fn call_two(
    core: &'static Four,
    task: &mut Task,
    tell: impl FnOnce(&Record<1>, CpuMask<1>) -> Result<CpuMask<1>, CallError>,
) {
    let invoker = invoker(core);
    let record = invoker.waiting[1];
    let asked = [ONE, TWO].into_iter().collect();
    invoker.open(record, &asked);
    let ran = core.machine.call_many(task, &asked, &|_: &IrqOff<'_>| core.serve(record));
    invoker.settle_many(record, &asked, ran.and_then(|ran| tell(record, ran)), None);
}

pub(super) fn never_visible(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    call_two(core, task, |record, ran| {
        if broken {
            record.out.store(1, core::sync::atomic::Ordering::Relaxed);
        }
        Ok(ran)
    });
}

/// A call with a condition that excludes CPU 2, and the machine does not ask it.
pub(super) fn ran_unasked(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let invoker = invoker(core);
    let record = invoker.waiting[1];
    let both: CpuMask<1> = [ONE, TWO].into_iter().collect();
    let asked = if broken { CpuMask::of(ONE) } else { both };
    invoker.open(record, &both);
    let ran = core.machine.call_many(task, &both, &|_: &IrqOff<'_>| core.serve(record));
    invoker.settle_many(record, &asked, ran, None);
}

pub(super) fn ran_not(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let invoker = invoker(core);
    let record = invoker.waiting[1];
    let asked: CpuMask<1> = [ONE, TWO].into_iter().collect();
    invoker.open(record, &asked);
    let to = if broken { CpuMask::of(ONE) } else { asked };
    let ran = core.machine.call_many(task, &to, &|_: &IrqOff<'_>| core.serve(record));
    invoker.settle_many(record, &asked, ran.map(|_| asked), None);
}

pub(super) fn asked_twice(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let invoker = invoker(core);
    let record = invoker.waiting[1];
    let mask = [ONE, TWO].into_iter().collect();
    invoker.open(record, &mask);
    let (asked, ran) = invoker.on_condition(record, |cond| {
        if broken {
            cond(TWO);
        }
        core.machine.on_each_cpu_cond(task, &mask, cond, &|_: &IrqOff<'_>| core.serve(record))
    });
    invoker.settle_many(record, &asked, ran, None);
}

pub(super) fn many_fails(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    call_two(core, task, |_, ran| if broken { Err(CallError::InterruptsOff) } else { Ok(ran) });
}

pub(super) fn takes_unasked(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let record = leaked(Form::Many);
    let asked = [ONE, TWO].into_iter().collect();
    core.post_many(record, &asked, true, || {
        let mut taken = core.machine.call_many(task, &asked, &|_: &IrqOff<'_>| core.serve(record))?;
        if broken {
            taken.insert(THREE);
        }
        Ok(taken)
    });
}
