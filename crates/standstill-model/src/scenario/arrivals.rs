//! Several CPUs that come up together: all but the one that boots. What each finds is checked against what all were promised: nobody sees another
//! CPU come or go while it holds the hotplug lock for reading, or inside a stop.

use standstill::context::{IrqOff, Stopped, Task};
use standstill::hotplug::{Callbacks, Reason, StateHandle, StateId};
use standstill::platform::Irq;
use standstill::{CallError, CpuId, CpuMask, HotplugError};

use super::build::{Setup, branch, expect};
use super::calls::nothing;
use super::hotplug::inject;
use crate::scenario::Machined;

const NO: Reason = Reason { code: -12, text: "this one does not come up" };

/// All but the CPU that boots.
fn others<const N: usize>() -> CpuMask<1> {
    CpuMask::first_n(N).without(&CpuMask::of(CpuId::BOOT))
}

/// Brings all up; those that did not come, and what was said of the last one of them.
fn all_come<const N: usize>(
    machine: &Machined<N>,
    task: &mut Task,
) -> (CpuMask<1>, Option<(CpuId, HotplugError)>) {
    let (mut failed, mut last) = (CpuMask::EMPTY, None);
    let up = machine.cpus_up(task, &others::<N>(), |cpu, error| {
        assert!(!failed.contains(cpu), "{cpu} is said to have failed, twice");
        failed.insert(cpu);
        last = Some((cpu, error));
    });
    must_be!(up, Ok(others::<N>().without(&failed)), "who did not fail is up");
    let all = CpuMask::first_n(N).without(&failed);
    must_be!(machine.online().snapshot(), all);
    must_be!(machine.active().snapshot(), all);
    must_be!(machine.accepting().snapshot(), all);
    (failed, last)
}

fn add<const N: usize>(
    machine: &Machined<N>,
    task: &mut Task,
    name: &'static str,
    callbacks: Callbacks,
) -> StateHandle {
    // For those that come; the one that calls this has come.
    match machine.add_state_nocalls(task, name, callbacks) {
        Ok(state) => state,
        Err(error) => panic!("the set-up of the scenario: {error}"),
    }
}

/// Holds the hotplug lock for reading: free in a callback.
fn nobody_comes_or_goes<const N: usize>(machine: &Machined<N>, task: &mut Task) {
    let _read = machine.cpus_read_lock(task);
    let before = machine.online().snapshot();
    let after = machine.online().snapshot();
    must_be!(before, after, "a CPU came or went under a reader's eyes");
}

/// Each callback writes what the next one needs, also across CPUs; and a thread calls each CPU meanwhile.
pub(super) fn many<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    let (there, early, late) = (s.plain(), s.plain_each(), s.plain_each());
    let starts = s.keep(move |_: &IrqOff<'_>, cpu: CpuId| {
        assert!(!machine.platform().irqs_on(), "a STARTING callback runs with interrupts on");
        expect(there, 1);
        early[cpu.index()].set(1);
    });
    let comes = s.keep(move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
        // All have started before the first of these.
        for other in &others::<N>() {
            expect(&early[other.index()], 1);
        }
        late[cpu.index()].set(1);
        Ok(())
    });
    s.task(move |task| {
        add(machine, task, "starts", Callbacks::Starting { starting: Some(starts), dying: None });
        add(machine, task, "comes", Callbacks::Online { up: Some(comes), down: None });
        for cell in early.iter().chain(late) {
            cell.set(0);
        }
        there.set(0);
        branch();
        there.set(1);
        must_be!(all_come(machine, task).1, None);
        for cpu in &others::<N>() {
            expect(&late[cpu.index()], 1);
        }
    });
    s.task(move |task| {
        let last = CpuId::new(N - 1);
        let sent = machine.call_single(task, last, &nothing);
        assert!(matches!(sent, Ok(()) | Err(CallError::Offline(_))), "{sent:?}");
    });
}

/// A callback of CPU 1 refuses, in PREPARE and then in ONLINE; the others come, and it does when it is asked again.
pub(super) fn one_fails<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    let up = s.keep(move |task: &mut Task, _: CpuId| -> Result<(), Reason> {
        nobody_comes_or_goes(machine, task);
        Ok(())
    });
    let dead = s.keep(move |task: &mut Task, _: CpuId| nobody_comes_or_goes(machine, task));
    s.task(move |task| {
        let one = CpuId::new(1);
        let callbacks = [
            ("prepare", Callbacks::Prepare { up: Some(up), dead: Some(dead) }),
            ("online", Callbacks::Online { up: Some(up), down: None }),
        ];
        let states = callbacks.map(|(name, callbacks)| add(machine, task, name, callbacks));
        branch();
        for state in states {
            inject(machine, task, one, state);
            let (failed, error) = all_come(machine, task);
            must_be!(failed, CpuMask::of(one));
            assert!(matches!(error, Some((_, HotplugError::Veto { cpu, .. })) if cpu == one), "{error:?}");
            must_be!(machine.state(one), StateId::OFFLINE);
        }
        must_be!(all_come(machine, task).1, None);
    });
}

/// CPUs may be given up at any moment, and CPU 1 refuses in its ONLINE callback: it leaves again, unless another one may still run its callbacks.
pub(super) fn late<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.deadlines_may_be_over(1);
    let refuses = s.keep(move |task: &mut Task, cpu: CpuId| -> Result<(), Reason> {
        nobody_comes_or_goes(machine, task);
        if cpu == CpuId::new(1) { Err(NO) } else { Ok(()) }
    });
    let up = s.keep(move |task: &mut Task, _: CpuId| -> Result<(), Reason> {
        nobody_comes_or_goes(machine, task);
        Ok(())
    });
    let dead = s.keep(move |task: &mut Task, _: CpuId| nobody_comes_or_goes(machine, task));
    // Others can move while it looks: one that leaves then is caught.
    let starts = s.keep(move |_: &IrqOff<'_>, cpu: CpuId| {
        assert!(!machine.online().contains(cpu), "{cpu} is online in a STARTING or DYING callback");
    });
    s.task(move |task| {
        add(machine, task, "prepare", Callbacks::Prepare { up: Some(up), dead: Some(dead) });
        add(machine, task, "starts", Callbacks::Starting { starting: Some(starts), dying: Some(starts) });
        add(machine, task, "refuses", Callbacks::Online { up: Some(refuses), down: None });
        branch();
        let mut failed = CpuMask::EMPTY;
        let mut stuck = false;
        let up = machine.cpus_up(task, &others::<N>(), |cpu, error| {
            failed.insert(cpu);
            let at = machine.state(cpu);
            match error {
                HotplugError::NoAnswer(_) => must_be!(at, StateId::OFFLINE),
                HotplugError::GivenUp(_) => stuck = true,
                HotplugError::Veto { reason, .. } => {
                    assert!(reason == NO && cpu == CpuId::new(1) && !machine.online().contains(cpu));
                    must_be!(at, StateId::OFFLINE);
                }
                HotplugError::RollbackFailed { first, .. } => {
                    must_be!(first, NO);
                    // It could not leave, or was not seen to have.
                    let stays = machine.online().contains(cpu);
                    assert!(
                        stuck == stays && at == if stays { StateId::AP_ONLINE } else { StateId::BRINGUP }
                    );
                }
                other => panic!("{other}"),
            }
        });
        assert!(failed.contains(CpuId::new(1)), "it refuses, or is given up");
        must_be!(up, Ok(others::<N>().without(&failed)));
    });
}

/// Each CPU stops the machine as it comes up.
pub(super) fn each_stops<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    let starts = s.keep(move |off: &IrqOff<'_>, _: CpuId| {
        let f = |_: &Stopped<'_>| {
            let before = machine.online().snapshot();
            let after = machine.online().snapshot();
            i32::from(before != after)
        };
        let stopped = machine.stop_machine_from_inactive_cpu(off, None, &f);
        must_be!(stopped, Ok(0), "a CPU came or went while the machine was stopped");
    });
    s.task(move |task| {
        add(machine, task, "stops", Callbacks::Starting { starting: Some(starts), dying: None });
        branch();
        must_be!(all_come(machine, task).1, None);
    });
}
