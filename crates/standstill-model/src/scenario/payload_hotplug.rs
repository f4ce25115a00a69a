//! The promises of order that hotplug gives: the lock, the states, the masks, the way up and down. See `payload.rs`.

use std::sync::atomic::Ordering::Relaxed;

use standstill::context::{IrqOff, Task};
use standstill::hotplug::{Callbacks, Reason, StateHandle, StateId};
use standstill::platform::{Cpus, Irq, Word};
use standstill::{CpuId, HotplugError};

use super::Machined;
use super::build::{Setup, all_up, branch, branch_at_stop, expect, require};
use super::hotplug::{await_off, others_up};
use crate::machine::access::ModelWord;

fn install<const N: usize>(machine: &Machined<N>, task: &mut Task, callbacks: Callbacks) -> StateHandle {
    match machine.add_state(task, "payload", callbacks) {
        Ok(state) => state,
        Err(error) => panic!("the set-up of the scenario: {error}"),
    }
}

/// The writer and the reader are on different CPUs, so that nothing but the lock orders them.
pub(super) fn readers<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (first, second) = (s.plain(), s.plain());
    let up = s.keep(move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
        if cpu == last {
            first.set(1);
            second.set(1);
        }
        Ok(())
    });
    s.task(move |task| {
        all_up(machine, task);
        first.set(0);
        second.set(0);
        branch();
        install(machine, task, Callbacks::Prepare { up: Some(up), dead: None });
    });
    s.task_on(last, move |task| {
        let _read = machine.cpus_read_lock(task);
        let seen = first.get();
        expect(second, seen);
    });
}

/// The callbacks of a CPU that is up run on that CPU.
pub(super) fn states<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (there, back) = (s.plain(), s.plain());
    let turn = move |from: usize| {
        move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
            if cpu == last {
                expect(there, from);
                back.set(from);
            }
            Ok(())
        }
    };
    let (up, down) = (s.keep(turn(1)), s.keep(turn(2)));
    s.task(move |task| {
        all_up(machine, task);
        back.set(0);
        there.set(0);
        branch();
        there.set(1);
        let state = install(machine, task, Callbacks::Online { up: Some(up), down: Some(down) });
        expect(back, 1);
        there.set(2);
        must_be!(machine.remove_state(task, state), Ok(()));
        expect(back, 2);
    });
}

/// Somebody who has no part in it looks at the state of a CPU that comes up.
pub(super) fn state<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let cell = s.plain();
    let up = s.keep(move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
        if cpu == last {
            cell.set(1);
        }
        Ok(())
    });
    s.task(move |task| {
        others_up(machine, task);
        install(machine, task, Callbacks::Online { up: Some(up), down: None });
        cell.set(0);
        branch();
        must_be!(machine.cpu_up(task, last), Ok(()));
    });
    s.task(move |_| {
        if machine.state(last) > StateId::AP_ONLINE {
            expect(cell, 1);
        }
    });
}

/// The CPU stays below the ONLINE callbacks: nothing but the handshake brings what its STARTING callbacks wrote.
pub(super) fn early<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (there, back) = (s.plain(), s.plain());
    let starts = s.keep(move |_: &IrqOff<'_>, cpu: CpuId| {
        if cpu == last {
            expect(there, 1);
            back.set(1);
        }
    });
    s.task(move |task| {
        others_up(machine, task);
        install(machine, task, Callbacks::Starting { starting: Some(starts), dying: None });
        there.set(0);
        back.set(0);
        branch();
        there.set(1);
        must_be!(machine.cpu_up_to(task, last, StateId::AP_ONLINE), Ok(()));
        expect(back, 1);
    });
}

/// A CPU that was given up runs its callbacks to the end; who may remove them may free what they use.
pub(super) fn late<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.deadlines_may_be_over(1);
    let cell = s.plain();
    let starts = s.keep(move |_: &IrqOff<'_>, cpu: CpuId| {
        if cpu == last {
            expect(cell, 0);
        }
    });
    s.task(move |task| {
        let callbacks = Callbacks::Starting { starting: Some(starts), dying: Some(starts) };
        let state = install(machine, task, callbacks);
        others_up(machine, task);
        cell.set(0);
        branch();
        match machine.cpu_up(task, last) {
            Ok(()) => {}
            Err(HotplugError::NoAnswer(_)) => await_off(machine, last),
            Err(HotplugError::GivenUp(_)) => {
                match machine.remove_state_nocalls(task, state) {
                    Ok(()) => cell.set(1),
                    Err(error) => assert!(matches!(error, HotplugError::Stuck(_)), "{error}"),
                }
                await_off(machine, last);
            }
            Err(error) => panic!("{last} does not come up: {error}"),
        }
    });
}

/// Whoever sees the bits of a CPU sees what brought it there.
pub(super) fn bits<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (early, late) = (s.plain(), s.plain());
    let starts = s.keep(move |_: &IrqOff<'_>, cpu: CpuId| {
        if cpu == last {
            early.set(1);
        }
    });
    let comes = s.keep(move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
        if cpu == last {
            late.set(1);
        }
        Ok(())
    });
    s.task(move |task| {
        install(machine, task, Callbacks::Starting { starting: Some(starts), dying: None });
        install(machine, task, Callbacks::Online { up: Some(comes), down: None });
        others_up(machine, task);
        early.set(0);
        late.set(0);
        branch();
        must_be!(machine.cpu_up(task, last), Ok(()));
    });
    s.task_on(CpuId::new(1), move |_| {
        if machine.active().contains(last) {
            expect(late, 1);
        }
    });
}

/// One CPU stops all others while another comes up: either that one is seen, or it sees that it is to halt.
pub(super) fn halt_vs_online<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let alone = s.keep(ModelWord::ZERO);
    s.device(move |off, cpu| {
        if cpu == last {
            require(alone.load(Relaxed) == 0, "a CPU runs on that was not seen by who stopped all others");
        } else if cpu == CpuId::BOOT {
            let left = machine.stop_others(off, 1);
            if left.is_empty() {
                alone.store(1, Relaxed);
            }
            machine.platform().hard_irq_disable();
            machine.platform().halt();
        }
    });
    s.task(move |task| {
        others_up(machine, task);
        branch();
        let _ = machine.cpu_up(task, last);
    });
}

/// Who stopped all others and was told that nobody is left is alone: no callback of a CPU that is not
/// online runs any more. Without `deadlines` that may expire, nobody is left in the end.
fn nobody_else<const N: usize>(s: &mut Setup<'_, N>, from: CpuId, deadlines: bool) -> &'static ModelWord {
    let machine = s.machine();
    let alone = s.keep(ModelWord::ZERO);
    s.device(move |off, cpu| {
        if cpu == from {
            let left = machine.stop_others(off, 1);
            require(deadlines || left.is_empty(), "a CPU that halts or dies is not waited for");
            if left.is_empty() {
                alone.store(1, Relaxed);
            }
            machine.platform().hard_irq_disable();
            machine.platform().halt();
        }
    });
    alone
}

/// Callbacks of STARTING and DYING that must not run beside somebody who is alone.
fn callbacks<const N: usize>(s: &mut Setup<'_, N>, alone: &'static ModelWord) -> Callbacks {
    let last = s.last();
    let runs = s.keep(move |_: &IrqOff<'_>, cpu: CpuId| {
        let beside = cpu == last && alone.load(Relaxed) != 0;
        require(!beside, "a callback runs beside a CPU that was told that nobody is left");
    });
    Callbacks::Starting { starting: Some(runs), dying: Some(runs) }
}

/// One CPU stops all others while another one is in its STARTING callbacks, given up or not.
pub(super) fn halt_vs_starting<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.deadlines_may_be_over(1);
    let alone = nobody_else(s, CpuId::new(N - 2), true);
    let callbacks = callbacks(s, alone);
    s.task(move |task| {
        install(machine, task, callbacks);
        others_up(machine, task);
        branch();
        let _ = machine.cpu_up(task, last);
    });
}

/// The same while one is in its DYING callbacks.
pub(super) fn halt_vs_dying<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let alone = nobody_else(s, CpuId::new(N - 2), false);
    let callbacks = callbacks(s, alone);
    s.task(move |task| {
        install(machine, task, callbacks);
        all_up(machine, task);
        branch_at_stop();
        let _ = machine.cpu_down(task, last);
    });
}

/// Who is pinned and finds a CPU active may use what its ONLINE callbacks tear down, to the end of the section.
pub(super) fn inactive<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let cell = s.plain();
    let goes = s.keep(move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
        if cpu == last {
            cell.set(2);
        }
        Ok(())
    });
    s.task(move |task| {
        install(machine, task, Callbacks::Online { up: None, down: Some(goes) });
        all_up(machine, task);
        cell.set(1);
        branch();
        // What comes after that is of no matter here.
        must_be!(machine.cpu_down_to(task, last, StateId::AP_ONLINE), Ok(()));
    });
    s.task_on(CpuId::new(1), move |task| {
        machine.pin(task, |_| {
            if machine.active().contains(last) {
                expect(cell, 1);
            }
        });
    });
}
