//! Who sees what others wrote to plain memory: each promise of order that the library gives, as a scenario. A memory model with views
//! finds an ordering that is too weak here; every model finds a promise that is not kept at all.

use std::sync::atomic::Ordering::Relaxed;

use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::hotplug::{Callbacks, Reason};
use standstill::platform::{Irq, Word};
use standstill::{CpuId, CpuMask, Csd};

use super::build::{Plain, Setup, all_up, branch, expect, require};
use super::hotplug::{bring_up, others_up, take_down};
use crate::machine::access::ModelWord;
use crate::port::Model;

pub(super) fn call<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (there, back) = (s.plain(), s.plain());
    s.task(move |task| {
        all_up(machine, task);
        there.set(0);
        back.set(0);
        branch();
        for round in 1..=2 {
            there.set(round);
            let sent = machine.call_single(task, last, &|_: &IrqOff<'_>| {
                expect(there, round);
                back.set(round);
            });
            must_be!(sent, Ok(()));
            expect(back, round);
        }
    });
}

/// Two functions for calls, each of which reads a cell of its own.
pub(super) fn reading<const N: usize>(
    s: &mut Setup<'_, N>,
) -> (&'static [Plain<usize>; 2], &'static [impl Fn(&IrqOff<'_>) + Sync + use<N>; 2]) {
    let cells = s.plains();
    (cells, s.keep(cells.each_ref().map(|cell| move |_: &IrqOff<'_>| expect(cell, 1))))
}

pub(super) fn call_async<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let csd = s.keep(Csd::<Model>::new());
    let (cells, fs) = reading(s);
    s.task(move |task| {
        all_up(machine, task);
        for cell in cells {
            cell.set(0);
        }
        branch();
        for (cell, f) in cells.iter().zip(fs) {
            cell.set(1);
            // Busy: the first one was not taken yet.
            let _ = machine.call_single_async(task, last, csd, f);
        }
    });
}

pub(super) fn many<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    let (there, back) = (s.plain(), s.plain_each());
    s.task(move |task| {
        all_up(machine, task);
        there.set(0);
        for cell in back {
            cell.set(0);
        }
        branch();
        for round in 1..=2 {
            there.set(round);
            let f = |_: &IrqOff<'_>| {
                expect(there, round);
                back[machine.platform().this_cpu().index()].set(round);
            };
            let ran = machine.on_each_cpu(task, &f);
            must_be!(ran, Ok(CpuMask::first_n(N)));
            for cell in back {
                expect(cell, round);
            }
        }
    });
}

pub(super) fn stop<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (there, back) = (s.plain(), s.plain());
    // Every CPU looks again and again: while the machine runs, what the stop's function writes must not be seen half.
    s.device(move |_, _| require(there.get() & 1 == 0, "a handler sees the inside of a stop"));
    s.task(move |task| {
        all_up(machine, task);
        there.set(2);
        back.set(0);
        branch();
        let f = |_: &Stopped<'_>| {
            expect(there, 2);
            there.set(3);
            there.set(4);
            back.set(1);
            6
        };
        match machine.stop_machine(task, Some(&CpuMask::of(last)), &f) {
            Ok(receipts) => must_be!(receipts.ran(), 1),
            Err(error) => panic!("a stop of the machine: {error}"),
        }
        expect(there, 4);
        expect(back, 1);
    });
}

pub(super) fn stop_one<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (there, back) = (s.plain(), s.plain());
    s.task(move |task| {
        all_up(machine, task);
        there.set(0);
        back.set(0);
        branch();
        for round in 1..=2 {
            there.set(round);
            let f = |_: &mut Pinned<'_>| {
                expect(there, round);
                back.set(round);
                9
            };
            must_be!(machine.stop_one_cpu(task, last, &f), Ok(9));
            expect(back, round);
        }
    });
}

pub(super) fn quiesce<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (flag, cell) = (s.keep(ModelWord::ZERO), s.plain());
    s.device(move |_, cpu| {
        // A section that a pass of the stoppers waits for. Nobody begins one after the flag is down.
        if cpu == last && flag.load(Relaxed) == 1 {
            cell.set(1);
            cell.set(2);
        }
    });
    s.task(move |task| {
        all_up(machine, task);
        cell.set(0);
        flag.store(1, Relaxed);
        branch();
        flag.store(0, Relaxed);
        assert_eq!(machine.quiesce(task), Ok(()));
        let seen = cell.get();
        assert!(seen == 0 || seen == 2, "the section is not over");
        cell.set(3);
    });
}

pub(super) fn offline<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (sent, ran, dying) = (s.plain(), s.plain(), s.plain());
    let csd = s.keep(Csd::<Model>::new());
    let f = s.keep(move |_: &IrqOff<'_>| {
        expect(sent, 1);
        ran.set(1);
    });
    let dies = s.keep(move |_: &IrqOff<'_>, cpu: CpuId| {
        assert!(!machine.platform().irqs_on(), "a DYING callback runs with interrupts on");
        if cpu == last {
            dying.set(1);
        }
    });
    s.task(move |task| {
        let callbacks = Callbacks::Starting { starting: None, dying: Some(dies) };
        if let Err(error) = machine.add_state(task, "dies", callbacks) {
            panic!("the set-up of the scenario: {error}");
        }
        all_up(machine, task);
        for cell in [sent, ran, dying] {
            cell.set(0);
        }
        branch();
        sent.set(1);
        must_be!(machine.call_single_async(task, last, csd, f), Ok(()));
        take_down(machine, task);
        expect(ran, 1);
        expect(dying, 1);
    });
}

pub(super) fn online<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (there, early, late) = (s.plain(), s.plain(), s.plain());
    let starts = s.keep(move |_: &IrqOff<'_>, cpu: CpuId| {
        assert!(!machine.platform().irqs_on(), "a STARTING callback runs with interrupts on");
        if cpu == last {
            expect(there, 1);
            early.set(1);
        }
    });
    let comes = s.keep(move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
        if cpu == last {
            expect(there, 1);
            expect(early, 1);
            late.set(1);
        }
        Ok(())
    });
    s.task(move |task| {
        for (name, callbacks) in [
            ("starts", Callbacks::Starting { starting: Some(starts), dying: None }),
            ("comes", Callbacks::Online { up: Some(comes), down: None }),
        ] {
            if let Err(error) = machine.add_state(task, name, callbacks) {
                panic!("the set-up of the scenario: {error}");
            }
        }
        others_up(machine, task);
        for cell in [there, early, late] {
            cell.set(0);
        }
        branch();
        there.set(1);
        bring_up(machine, task);
        expect(early, 1);
        expect(late, 1);
    });
}

pub(super) fn lock<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (first, second) = (s.plain(), s.plain());
    let dead = s.keep(move |_: &mut Task, _: CpuId| {
        first.set(1);
        second.set(1);
    });
    s.task(move |task| {
        let callbacks = Callbacks::Prepare { up: None, dead: Some(dead) };
        if let Err(error) = machine.add_state(task, "writes", callbacks) {
            panic!("the set-up of the scenario: {error}");
        }
        all_up(machine, task);
        first.set(0);
        second.set(0);
        branch();
        take_down(machine, task);
    });
    s.task(move |task| {
        let _read = machine.cpus_read_lock(task);
        let gone = !machine.online().contains(last);
        expect(first, usize::from(gone));
        expect(second, usize::from(gone));
    });
}
