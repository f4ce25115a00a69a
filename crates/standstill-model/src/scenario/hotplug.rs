//! The way up and down, and what can be in the way.

use standstill::context::{IrqOff, Task};
use standstill::hotplug::{Callbacks, Reason, StateId};
use standstill::platform::Irq;
use standstill::{CpuId, CpuMask, HotplugError};

use super::build::{Setup, all_up, branch};
use super::calls::devices_call;
use crate::scenario::Machined;

/// Brings up all CPUs but the last one.
pub(super) fn others_up<const N: usize>(machine: &Machined<N>, task: &mut Task) {
    for cpu in 1..N - 1 {
        if let Err(error) = machine.cpu_up(task, CpuId::new(cpu)) {
            panic!("CPU {cpu} does not come up in the set-up: {error}");
        }
    }
}

/// Brings up the last CPU.
pub(super) fn bring_up<const N: usize>(machine: &Machined<N>, task: &mut Task) {
    let last = CpuId::new(N - 1);
    if let Err(error) = machine.cpu_up(task, last) {
        panic!("{last} does not come up: {error}");
    }
}

/// Takes down the last CPU.
pub(super) fn take_down<const N: usize>(machine: &Machined<N>, task: &mut Task) {
    let last = CpuId::new(N - 1);
    if let Err(error) = machine.cpu_down(task, last) {
        panic!("{last} does not go down: {error}");
    }
}

pub(super) fn down_and_up<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    devices_call(s);
    s.task(move |task| {
        all_up(machine, task);
        branch();
        take_down(machine, task);
        bring_up(machine, task);
    });
}

pub(super) fn reader_vs_writer<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.task(move |task| {
        all_up(machine, task);
        branch();
        take_down(machine, task);
    });
    s.task(move |task| {
        let _read = machine.cpus_read_lock(task);
        let before = machine.online().snapshot();
        let after = machine.online().snapshot();
        assert_eq!(before, after, "the online mask changed under a reader's eyes");
        assert_eq!(
            machine.accepting().snapshot(),
            after,
            "a CPU is online and takes no calls under a reader's eyes"
        );
    });
}

pub(super) fn two_operations<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.task(move |task| {
        all_up(machine, task);
        branch();
        take_down(machine, task);
    });
    s.task(move |task| bring_up(machine, task));
}

pub(super) fn callers_own_cpu<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.task(move |task| {
        all_up(machine, task);
        branch();
        if let Err(error) = machine.cpu_down(task, CpuId::BOOT) {
            panic!("the CPU of the caller does not go down: {error}");
        }
        let here = machine.platform().this_cpu();
        assert!(here != CpuId::BOOT, "the caller is still on the CPU that it took down");
        assert_eq!(machine.online().snapshot(), CpuMask::first_n(N).without(&CpuMask::of(CpuId::BOOT)));
    });
}

pub(super) fn late_cpu<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.deadlines_may_be_over(1);
    s.task(move |task| {
        others_up(machine, task);
        branch();
        match machine.cpu_up(task, last) {
            Ok(()) => assert!(machine.online().contains(last)),
            Err(HotplugError::NoAnswer(_) | HotplugError::Stuck(_)) => {
                assert!(!machine.online().contains(last), "nobody waits for it any more, and it is online");
            }
            Err(error) => panic!("{last} does not come up: {error}"),
        }
    });
}

pub(super) fn rollback<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    devices_call(s);
    s.task(move |task| {
        // No `Vec` here: what owns memory must not be on a stack that is put back to an earlier state.
        let kinds = [
            ("prepare", Callbacks::Prepare { up: Some(&works), dead: Some(&ends) }),
            ("first", Callbacks::Online { up: Some(&works), down: Some(&works) }),
            ("second", Callbacks::Online { up: Some(&works), down: Some(&works) }),
        ];
        let states = kinds.map(|(name, callbacks)| match machine.add_state(task, name, callbacks) {
            Ok(state) => state,
            Err(error) => panic!("the set-up of the scenario: {error}"),
        });
        all_up(machine, task);
        branch();
        for state in &states[1..] {
            inject(machine, task, last, *state);
            let down = machine.cpu_down(task, last);
            assert!(matches!(down, Err(HotplugError::Veto { .. })), "a failure was injected: {down:?}");
            assert!(machine.online().contains(last) && machine.active().contains(last));
        }
        take_down(machine, task);
        for state in states {
            inject(machine, task, last, state);
            let up = machine.cpu_up(task, last);
            assert!(matches!(up, Err(HotplugError::Veto { .. })), "a failure was injected: {up:?}");
            assert!(!machine.online().contains(last));
        }
        if let Err(error) = machine.cpu_up(task, last) {
            panic!("{last} does not come back: {error}");
        }
    });
}

#[expect(clippy::missing_const_for_fn, clippy::unnecessary_wraps, reason = "a callback")]
fn works(_: &mut Task, _: CpuId) -> Result<(), Reason> {
    Ok(())
}

#[expect(clippy::missing_const_for_fn, reason = "a callback")]
fn ends(_: &mut Task, _: CpuId) {}

fn inject<const N: usize>(machine: &Machined<N>, task: &mut Task, cpu: CpuId, state: StateId) {
    if let Err(error) = machine.fail_once(task, cpu, state) {
        panic!("a failure can't be injected: {error}");
    }
}

pub(super) fn halt<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    let stop = move |off: &IrqOff<'_>| {
        let left = machine.stop_others(off, 1);
        assert!(left.is_empty(), "each of them answers, and {left} did not stop");
    };
    s.device(move |off, _| stop(off));
    s.task(move |task| {
        all_up(machine, task);
        branch();
        machine.irq_off(task, stop);
    });
}
