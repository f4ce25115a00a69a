//! Who sees what others wrote, as far as it goes by calls to many, by the masks, and by the end of all others: see `payload.rs`.

use standstill::context::{IrqOff, Task};
use standstill::hotplug::Callbacks;
use standstill::platform::Wait;
use standstill::{CallError, CpuId, CpuMask, Csd, HotplugError, Machine};

use super::build::{Plain, Setup, all_up, branch, expect, require};
use super::hotplug::{bring_up, others_up};
use super::payload::reading;
use crate::port::Model;

/// Two calls to many on one board that nobody waits for: nothing but the board itself says that its targets have read it.
pub(super) fn board<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    let (cells, fs) = reading(s);
    s.task(move |task| {
        all_up(machine, task);
        for cell in cells {
            cell.set(0);
        }
        branch();
        for (cell, f) in cells.iter().zip(fs) {
            cell.set(1);
            // Busy: the first one was not read yet.
            let _ = machine.call_all_async(task, f);
        }
    });
}

/// Two senders call the last CPU by boards, which is one node in its list; the first one by a csd as well, so that the list has links.
pub(super) fn boards<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let csd = s.keep(Csd::<Model>::new());
    let cells: &'static [_; 3] = s.plains();
    let fs = s.keep(cells.each_ref().map(|cell| {
        move |_: &IrqOff<'_>| {
            expect(cell, 1);
            cell.set(2);
        }
    }));
    s.task(move |task| {
        all_up(machine, task);
        for cell in cells {
            cell.set(0);
        }
        branch();
        cells[0].set(1);
        let ran = machine.call_many_async(task, &CpuMask::of(last), &fs[0]);
        must_be!(ran, Ok(CpuMask::of(last)), "its board is free");
        cells[1].set(1);
        must_be!(machine.call_single_async(task, last, csd, &fs[1]), Ok(()));
    });
    s.task_on(CpuId::new(N - 2), move |task| {
        cells[2].set(1);
        let ran = machine.call_many_async(task, &CpuMask::of(last), &fs[2]);
        must_be!(ran, Ok(CpuMask::of(last)), "its board is free");
    });
}

/// The masks are looked at while the last CPU comes up: who finds it in one sees what was done to bring it there.
pub(super) fn masks<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let early = s.plain();
    let starts = s.keep(move |_: &IrqOff<'_>, cpu: CpuId| {
        if cpu == last {
            early.set(1);
        }
    });
    s.task(move |task| {
        let callbacks = Callbacks::Starting { starting: Some(starts), dying: None };
        if let Err(error) = machine.add_state(task, "starts", callbacks) {
            panic!("the set-up of the scenario: {error}");
        }
        others_up(machine, task);
        early.set(0);
        branch();
        bring_up(machine, task);
    });
    for mask in [machine.online(), machine.accepting()] {
        // With three CPUs on one that has no other part in it.
        s.task_on(CpuId::new(N - 2), move |_| {
            if mask.contains(last) {
                expect(early, 1);
            }
        });
    }
}

/// One CPU stops the others for good, and reads what they wrote.
pub(super) fn halt<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    let cells = s.plain_each();
    s.device(move |_, cpu| {
        if cpu != CpuId::BOOT {
            cells[cpu.index()].set(1);
            cells[cpu.index()].set(2);
        }
    });
    s.task(move |task| {
        all_up(machine, task);
        for cell in cells {
            cell.set(0);
        }
        branch();
        machine.irq_off(task, |off| {
            let left = machine.stop_others(off, 1);
            assert!(left.is_empty(), "each of them answers, and {left} did not stop");
            for cell in cells {
                require(cell.get() != 1, "a CPU was halted inside a handler");
            }
        });
    });
}

/// Sends one call whose deadline may expire at any moment. It runs and is reported as such, or it never runs: once it is withdrawn, the
/// caller uses what it lent, and a function that began all the same would meet that.
fn until<const N: usize>(
    machine: &'static Machine<Model, N, 1>,
    task: &mut Task,
    csd: &'static Csd<Model>,
    cells: [&'static Plain<usize>; 2],
    round: usize,
) -> bool {
    let ([there, back], last) = (cells, CpuId::new(N - 1));
    there.set(round);
    let sent =
        machine.call_single_until(task, last, csd, machine.platform().deadline_in(1), &|_: &IrqOff<'_>| {
            expect(there, round);
            back.set(round);
        });
    match sent {
        Ok(()) => expect(back, round),
        Err(CallError::Withdrawn(_) | CallError::Busy | CallError::Offline(_)) => {
            there.set(0);
            back.set(0);
        }
        Err(error) => panic!("a call with a deadline: {error}"),
    }
    sent.is_ok()
}

/// Two calls to the last CPU in one slot, each with a deadline.
pub(super) fn call_until<const N: usize>(s: &mut Setup<'_, N>) {
    s.deadlines_may_be_over(2);
    let machine = s.machine();
    let csd = s.keep(Csd::<Model>::new());
    let cells = [s.plain(), s.plain()];
    s.task(move |task| {
        all_up(machine, task);
        branch();
        for round in 1..=2 {
            until(machine, task, csd, cells, round);
        }
    });
}

/// As [`call_until`], once, while the last CPU goes offline: it runs, is refused, or is withdrawn and never runs.
pub(super) fn call_until_vs_offline<const N: usize>(s: &mut Setup<'_, N>) {
    s.deadlines_may_be_over(1);
    let machine = s.machine();
    let csd = s.keep(Csd::<Model>::new());
    let cells = [s.plain(), s.plain()];
    s.task(move |task| {
        all_up(machine, task);
        branch();
        // Its own waits have deadlines, too, and one of them may expire instead.
        match machine.cpu_down(task, CpuId::new(N - 1)) {
            Ok(()) | Err(HotplugError::NotDead(_) | HotplugError::Deadline { .. }) => {}
            Err(error) => require(false, &format!("the last CPU can't go: {error}")),
        }
    });
    s.task(move |task| {
        until(machine, task, csd, cells, 1);
    });
}
