//! Operations each of whose waits may expire, by the port's patience: what ends early leaves the machine as it was, or says where the
//! CPU rests, and keeps no lock.

use standstill::context::{Stopped, Task};
use standstill::hotplug::{Callbacks, HotplugError, Reason, StateId};
use standstill::stop::{Receipt, StopError};
use standstill::{CpuId, CpuMask, Csd};

use super::Machined;
use super::build::{Plain, Setup, all_up, branch};
use super::calls::nothing;
use super::hotplug::{await_off, others_up};
use crate::port::Model;

/// Counts what a pair of ONLINE callbacks has set up: 1 where it is, 0 where it is not.
fn counted<const N: usize>(s: &mut Setup<'_, N>) -> (Callbacks, &'static [Plain<usize>; N]) {
    let there = s.plain_each::<usize>();
    let moves = move |from: usize, to: usize| {
        move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
            must_be!(there[cpu.index()].get(), from, "what the ONLINE callbacks of {cpu} have set up");
            there[cpu.index()].set(to);
            Ok(())
        }
    };
    let (up, down) = (s.keep(moves(0, 1)), s.keep(moves(1, 0)));
    (Callbacks::Online { up: Some(up), down: Some(down) }, there)
}

/// Adds the callbacks for CPUs that are still to come.
fn add<const N: usize>(
    machine: &Machined<N>,
    task: &mut Task,
    callbacks: Callbacks,
    there: &[Plain<usize>; N],
) {
    if let Err(error) = machine.add_state_nocalls(task, "counted", callbacks) {
        panic!("the set-up of the scenario: {error}");
    }
    // CPU 0 has come, and its callback was not called.
    for (cpu, cell) in there.iter().enumerate() {
        cell.set(usize::from(cpu == 0));
    }
}

/// The last CPU is all there, or all gone.
fn is_there<const N: usize>(machine: &Machined<N>, there: &[Plain<usize>; N], up: bool, what: &str) {
    let last = CpuId::new(N - 1);
    must_be!(machine.state(last), if up { StateId::ACTIVE } else { StateId::OFFLINE }, "after {what}");
    for (name, mask) in
        [("online", machine.online()), ("active", machine.active()), ("accepting", machine.accepting())]
    {
        must_be!(mask.contains(last), up, "{what}: the CPU in the mask `{name}`");
    }
    must_be!(there[N - 1].get(), usize::from(up), "{what}: what the CPU's ONLINE callbacks have set up");
}

/// Nobody holds what an operation needs, and the last CPU answers if it is up. One wait of a run may expire: a stop after an operation that
/// `ended` early has to be carried out.
fn nothing_is_held<const N: usize>(machine: &Machined<N>, task: &mut Task, up: bool, ended: bool) {
    let last = CpuId::new(N - 1);
    drop(machine.cpus_read_lock(task));
    let members = if up { last } else { CpuId::BOOT };
    match machine.stop_machine(task, Some(&CpuMask::of(members)), &|_: &Stopped<'_>| 6) {
        Ok(receipts) => must_be!(receipts.of(members), Receipt::Ran(6), "a stop after the operation"),
        Err(StopError::Deadline { .. }) if !ended => {}
        Err(error) => panic!("a stop after the operation: {error}"),
    }
    if up {
        must_be!(machine.call_single(task, last, &nothing), Ok(()), "a call after the operation");
    }
}

/// The last CPU goes down, and one wait of that may expire.
pub(super) fn down<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.patience_may_end(1);
    let (callbacks, there) = counted(s);
    s.task(move |task| {
        add(machine, task, callbacks, there);
        all_up(machine, task);
        branch();
        match machine.cpu_down(task, last) {
            Ok(()) => {
                is_there(machine, there, false, "a way down");
                nothing_is_held(machine, task, false, false);
            }
            Err(HotplugError::NotDead(cpu)) => {
                must_be!(cpu, last);
                must_be!(machine.state(last), StateId::BRINGUP, "a CPU that was not seen dead");
                must_be!(machine.online().contains(last), false, "a CPU that was not seen dead is online");
                nothing_is_held(machine, task, false, true);
            }
            Err(HotplugError::Hung { .. }) => {}
            Err(error) => {
                let ended = matches!(error, HotplugError::Deadline { .. });
                assert!(ended, "a way down whose patience ends: {error}");
                is_there(machine, there, true, "a way down that ended early");
                nothing_is_held(machine, task, true, true);
            }
        }
    });
}

/// The last CPU comes up, and one wait of that may expire.
pub(super) fn up<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.patience_may_end(1);
    let (callbacks, there) = counted(s);
    s.task(move |task| {
        add(machine, task, callbacks, there);
        others_up(machine, task);
        branch();
        match machine.cpu_up(task, last) {
            Ok(()) => {
                is_there(machine, there, true, "a way up");
                nothing_is_held(machine, task, true, false);
            }
            Err(HotplugError::GivenUp(cpu)) => {
                must_be!(cpu, last);
                await_off(machine, last);
                must_be!(machine.online().contains(last), false, "a CPU that was given up is online");
                nothing_is_held(machine, task, false, true);
            }
            Err(HotplugError::Hung { .. }) => {}
            Err(error) => {
                let ended = matches!(error, HotplugError::Deadline { .. } | HotplugError::NoAnswer(_));
                assert!(ended, "a way up whose patience ends: {error}");
                is_there(machine, there, false, "a way up that ended early");
                nothing_is_held(machine, task, false, true);
            }
        }
    });
}

/// The machine is stopped, and one wait of that may expire: then nobody has run the function, and nobody will.
pub(super) fn stop<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.patience_may_end(1);
    let (csd, ran) = (s.keep(Csd::<Model>::new()), s.plain::<usize>());
    s.task(move |task| {
        all_up(machine, task);
        ran.set(0);
        branch();
        let sent = machine.call_single_async(task, last, csd, &nothing);
        must_be!(sent, Ok(()), "a call beside the stop");
        let f = |_: &Stopped<'_>| {
            ran.set(ran.get() + 1);
            8
        };
        let runs = match machine.stop_machine(task, Some(&CpuMask::of(last)), &f) {
            Ok(receipts) => {
                must_be!(receipts.of(last), Receipt::Ran(8), "the receipt of a stop");
                1
            }
            Err(StopError::Deadline { .. }) => 0,
            Err(error) => panic!("a stop whose patience ends: {error}"),
        };
        must_be!(ran.get(), runs, "how often the function of the stop ran");
        nothing_is_held(machine, task, true, runs == 0);
        must_be!(ran.get(), runs, "how often the function of a stop ran that has ended");
    });
}
