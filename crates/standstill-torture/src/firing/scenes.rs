//! Scenes: a few calls, stops or operations on a machine, once as they should be and once broken.
//!
//! Calls are broken between the account that the torture keeps and the machine: what it is told was sent, or came back, is not what was.

use alloc::boxed::Box;

use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::event::Form;
use standstill::hotplug::{Callbacks, IrqOffCallback, Reason, ThreadCallback};
use standstill::platform::Irq as _;
use standstill::stop::StopError;
use standstill::{CallError, CpuId, CpuMask, Csd};

use super::lie::{self, At, Lie};
use super::port::Sim;
use super::world::CPUS;
use crate::ground::Ground as _;
use crate::invoke::Invoker;
use crate::kit::{CsdSlot, Slot};
use crate::record::{Record, Stream};
use crate::rng::Rng;
use crate::shared::Core;
use crate::states::{self, Hooks};
use crate::stops::{self, Log, Stops, value_of};
use crate::torture::Torture;

/// The torture of the machine.
pub(super) type Small = Torture<Sim, CPUS, 1>;
type Four = Core<Sim, CPUS, 1>;
type Handler = fn(&IrqOff<'_>);

const ONE: CpuId = CpuId::new(1);
const TWO: CpuId = CpuId::new(2);
const THREE: CpuId = CpuId::new(3);

fn of(form: Form) -> Record<1> {
    Record::new(form, Stream::Form(form))
}

/// A record for ever.
fn leaked(form: Form) -> &'static Record<1> {
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
    invoker.settle_many(record, &asked, ran.and_then(|ran| tell(record, ran)));
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
    invoker.settle_many(record, &asked, ran);
}

pub(super) fn ran_not(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let invoker = invoker(core);
    let record = invoker.waiting[1];
    let asked: CpuMask<1> = [ONE, TWO].into_iter().collect();
    invoker.open(record, &asked);
    let to = if broken { CpuMask::of(ONE) } else { asked };
    let ran = core.machine.call_many(task, &to, &|_: &IrqOff<'_>| core.serve(record));
    invoker.settle_many(record, &asked, ran.map(|_| asked));
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
    invoker.settle_many(record, &asked, ran);
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

// ---- stops

fn stops(core: &'static Four) -> Stops<Sim, CPUS, 1, fn(&mut Pinned<'_>) -> i32> {
    Stops::new(core, Rng::new(1, 0), |_: &mut Pinned<'_>| 0)
}

pub(super) fn stop_twice(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let (stops, log) = (stops(core), Log::new());
    let f = |_: &Stopped<'_>| {
        let me = core.ground().this_cpu();
        if broken {
            stops.alone(&log, me);
        }
        stops.alone(&log, me)
    };
    stops.judge(&log, None, core.machine.stop_machine(task, None, &f));
}

pub(super) fn stop_elsewhere(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let (stops, log) = (stops(core), Log::new());
    let f = |_: &Stopped<'_>| {
        if broken {
            log.enter(THREE);
        }
        stops.alone(&log, core.ground().this_cpu())
    };
    stops.judge(&log, Some(CpuMask::of(ONE)), core.machine.stop_machine(task, Some(&CpuMask::of(ONE)), &f));
}

/// The stop was for CPU 1; CPU 2 gets it, with all that belongs to it.
pub(super) fn stop_unasked(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let (stops, log) = (stops(core), Log::new());
    let active = CpuMask::of(if broken { TWO } else { ONE });
    let f = |_: &Stopped<'_>| stops.alone(&log, core.ground().this_cpu());
    stops.judge(&log, Some(CpuMask::of(ONE)), core.machine.stop_machine(task, Some(&active), &f));
}

pub(super) fn stop_value(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let (stops, log) = (stops(core), Log::new());
    let asked: CpuMask<1> = [ONE, TWO].into_iter().collect();
    let f = |_: &Stopped<'_>| {
        let me = core.ground().this_cpu();
        log.enter(me);
        // CPU 2's receipt is CPU 1's.
        value_of(if broken { ONE } else { me })
    };
    stops.judge(&log, Some(asked), core.machine.stop_machine(task, Some(&asked), &f));
}

pub(super) fn stop_failed(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let (stops, log) = (stops(core), Log::new());
    let f = |_: &Stopped<'_>| stops.alone(&log, core.ground().this_cpu());
    let result = core.machine.stop_machine(task, None, &f);
    stops.judge(&log, None, if broken { Err(StopError::Offline(ONE)) } else { result });
}

/// The stop's function sends a call before it says that it is alone. It runs when the stop is over, unless the frozen CPU takes it.
pub(super) fn taken_frozen(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    if broken {
        lie::tell(Lie::OpenWhileFrozen);
    }
    let (stops, record) = (stops(core), leaked(Form::Async));
    let csd: &'static Csd<Sim> = Box::leak(Box::new(Csd::new()));
    let handler: &'static _ = Box::leak(Box::new(move |_: &IrqOff<'_>| core.serve(record)));
    let f = |stopped: &Stopped<'_>| {
        let me = core.ground().this_cpu();
        core.post_one(record, TWO, |to| core.machine.call_single_async(stopped, to, csd, handler));
        for _ in 0..20 {
            stops.alone(&Log::new(), me);
        }
        value_of(me)
    };
    core.machine.stop_machine(task, Some(&CpuMask::of(ONE)), &f).map(drop).expect("it is online");
    // Behind the other call.
    core.machine.call_single(task, TWO, &|_: &IrqOff<'_>| ()).expect("it is online");
    assert!(core.settled(record));
}

/// A work for one stopper, waited for.
pub(super) fn work_elsewhere(torture: &Small, task: &mut Task, broken: bool) {
    if broken {
        lie::tell(Lie::WorkElsewhere);
    }
    stops(torture.core).stop_one(task);
}

/// A work for one stopper, whose value is looked at when it is queued again.
pub(super) fn work_value(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    if broken {
        lie::tell(Lie::WorkElsewhere);
    }
    let stops = Stops::new(core, Rng::new(1, 0), stops::nowait_work(core));
    stops.stop_one_nowait(task);
    core.ground().sleep_ns(task, 1_000_000);
    stops.stop_one_nowait(task);
}

// ---- hotplug

pub(super) fn comes_back(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    if broken {
        // Between the end of the operation and the look at the masks: the torture asks for the time before and after.
        lie::hook(At::Now, 1, move || {
            // SAFETY: this thread has its interrupts on, and its other `Task` holds no lock.
            let mut task = unsafe { Task::new() };
            core.machine.cpu_up(&mut task, TWO).expect("it comes up");
        });
    }
    assert!(core.take_down(task, TWO, None));
}

pub(super) fn called_twice(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let hooks = Hooks::new(core);
    states::install(core, &hooks, task);
    if broken {
        states::install(core, &hooks, task);
    }
    states::remove(core, task);
}

pub(super) fn no_room(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let nothing = Callbacks::Online { up: None, down: None };
    while broken && core.machine.add_state(task, "fills the table", nothing).is_ok() {}
    states::install(core, &Hooks::new(core), task);
    states::remove(core, task);
}

pub(super) fn removed_before(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    states::install(core, &Hooks::new(core), task);
    if broken {
        let [_, _, online] = *core.states.installed.get().expect("they are installed");
        core.machine.remove_state(task, online).expect("it is installed");
    }
    states::remove(core, task);
}

pub(super) fn not_undone(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let hooks = Hooks::new(core);
    states::install(core, &hooks, task);
    if broken {
        // In the last one's place there is another now, so it is not called when it is removed.
        let [_, _, online] = *core.states.installed.get().expect("they are installed");
        core.machine.remove_state_nocalls(task, online).expect("it is installed");
        let nothing = Callbacks::Online { up: None, down: None };
        assert_eq!(core.machine.add_state_nocalls(task, "another", nothing), Ok(online));
    }
    states::remove(core, task);
}

pub(super) fn fails_unasked(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let refuses: &'static ThreadCallback = Box::leak(Box::new(|_: &mut Task, cpu| {
        if cpu == TWO { Err(Reason { code: -5, text: "it does not want to" }) } else { Ok(()) }
    }));
    if broken {
        let callbacks = Callbacks::Online { up: None, down: Some(refuses) };
        core.machine.add_state(task, "refuses", callbacks).expect("there is room");
    }
    assert_eq!(core.take_down(task, TWO, None), !broken);
}

pub(super) fn injection_forgotten(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    states::install(core, &Hooks::new(core), task);
    let [_, _, online] = *core.states.installed.get().expect("they are installed");
    if !broken {
        core.machine.fail_once(task, TWO, online).expect("it can fail");
    }
    core.was_vetoed(TWO, Some(online), core.machine.cpu_down(task, TWO));
}

pub(super) fn stays(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    if broken {
        lie::tell(Lie::Stays);
    }
    let here = core.ground().this_cpu();
    assert!(core.take_down(task, here, None));
}
