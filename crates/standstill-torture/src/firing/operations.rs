//! Scenes of stops and of CPUs that come and go.

use alloc::boxed::Box;

use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::event::Form;
use standstill::hotplug::{Callbacks, Reason, ThreadCallback};
use standstill::platform::Irq as _;
use standstill::stop::StopError;
use standstill::{CpuMask, Csd};

use super::lie::{self, At, Lie};
use super::port::Sim;
use super::scenes::{Four, ONE, Small, THREE, TWO, leaked};
use super::world::CPUS;
use crate::ground::Ground as _;
use crate::pulse::{Doing, Patience};
use crate::rng::Rng;
use crate::shared::Other;
use crate::states::{self, Hooks};
use crate::stops::{self, Log, Stops, value_of};
use crate::works::Works;

// ---- stops

fn stops(core: &'static Four) -> Stops<Sim, CPUS, 1, fn(&mut Pinned<'_>) -> i32> {
    Stops::new(core, Rng::new(1, 0), Works::leak(core, 0), |_: &mut Pinned<'_>| 0)
}

pub(super) fn stop_twice(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let log = Log::new();
    let f = |_: &Stopped<'_>| {
        let me = core.ground().this_cpu();
        if broken {
            core.alone(&log, me);
        }
        core.alone(&log, me)
    };
    core.judge(&log, None, core.machine.stop_machine(task, None, &f));
}

pub(super) fn stop_elsewhere(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let log = Log::new();
    let f = |_: &Stopped<'_>| {
        if broken {
            log.enter(THREE);
        }
        core.alone(&log, core.ground().this_cpu())
    };
    core.judge(&log, Some(CpuMask::of(ONE)), core.machine.stop_machine(task, Some(&CpuMask::of(ONE)), &f));
}

/// The stop was for CPU 1; CPU 2 gets it, with all that belongs to it.
pub(super) fn stop_unasked(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let log = Log::new();
    let active = CpuMask::of(if broken { TWO } else { ONE });
    let f = |_: &Stopped<'_>| core.alone(&log, core.ground().this_cpu());
    core.judge(&log, Some(CpuMask::of(ONE)), core.machine.stop_machine(task, Some(&active), &f));
}

pub(super) fn stop_value(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let log = Log::new();
    let asked: CpuMask<1> = [ONE, TWO].into_iter().collect();
    let f = |_: &Stopped<'_>| {
        let me = core.ground().this_cpu();
        log.enter(me);
        // CPU 2's receipt is CPU 1's.
        value_of(if broken { ONE } else { me })
    };
    core.judge(&log, Some(asked), core.machine.stop_machine(task, Some(&asked), &f));
}

pub(super) fn stop_failed(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let log = Log::new();
    let f = |_: &Stopped<'_>| core.alone(&log, core.ground().this_cpu());
    let result = core.machine.stop_machine(task, None, &f);
    core.judge(&log, None, if broken { Err(StopError::Offline(ONE)) } else { result });
}

/// The stop's function sends a call before it says that it is alone. It runs when the stop is over, unless the frozen CPU takes it.
pub(super) fn taken_frozen(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    if broken {
        lie::tell(Lie::OpenWhileFrozen);
    }
    let record = leaked(Form::Async);
    let csd: &'static Csd<Sim> = Box::leak(Box::new(Csd::new()));
    let handler: &'static _ = Box::leak(Box::new(move |_: &IrqOff<'_>| core.serve(record)));
    let f = |stopped: &Stopped<'_>| {
        let me = core.ground().this_cpu();
        core.post_one(record, TWO, |to| core.machine.call_single_async(stopped, to, csd, handler));
        for _ in 0..20 {
            core.alone(&Log::new(), me);
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
    let stops = Stops::new(core, Rng::new(1, 0), Works::leak(core, 0), stops::nowait_work(core));
    stops.stop_one_nowait(task);
    core.ground().sleep_ns(task, 1_000_000);
    stops.stop_one_nowait(task);
}

// ---- hotplug

pub(super) fn comes_back(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    if broken {
        // Between the end of the operation and the look at the masks: the torture asks for the time twice before and once after.
        lie::hook(At::Now, 2, move || {
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
        assert!(core.take_down(task, TWO, None));
        core.states.leave_up(TWO);
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

/// One that begins nothing new for longer than anybody has patience.
pub(super) fn shows_no_sign(torture: &Small, task: &mut Task, broken: bool) {
    let core = torture.core;
    let (pulse, mut patience) = (core.pulse(Other::Stops), Patience::new(3_000_000));
    pulse.starts();
    core.begin(pulse, Doing::StopOne, Some(TWO));
    let mut hang = None;
    for _ in 0..6 {
        core.ground().sleep_ns(task, 1_000_000);
        if !broken {
            pulse.beat();
        }
        hang = torture.look(&mut patience);
    }
    assert_eq!(hang.is_some(), broken);
    if let Some(hang) = hang {
        assert_eq!((hang.workload, hang.doing, hang.about), ("stops", "stop_one_cpu", Some(TWO)));
        assert!(hang.waited_ns > 3_000_000, "{hang}");
    }
}
