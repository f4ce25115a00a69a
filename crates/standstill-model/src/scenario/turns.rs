//! Waiting for a turn with a deadline: who gives up leaves nothing behind, and who gets the turn has it alone.

use std::sync::atomic::Ordering::Relaxed;

use standstill::context::{Stopped, Task};
use standstill::platform::{Irq, Wait, WaitContext, Word};
use standstill::stop::{Receipt, StopError};
use standstill::{CpuId, CpuMask};

use super::Machined;
use super::build::{Setup, all_up, branch, require};
use super::stops::await_word;
use crate::machine::access::ModelWord;

/// Takes the turn of a stop, with a deadline, and gives it back: no CPU is to run its function. False if the deadline expired.
fn takes_its_turn<const N: usize>(machine: &Machined<N>, task: &mut Task) -> bool {
    let deadline = machine.platform().deadline_in(1);
    match machine.stop_machine_deadline(task, Some(&CpuMask::EMPTY), deadline, &|_: &Stopped<'_>| 7) {
        Err(StopError::EmptyMask) => true,
        Err(StopError::Deadline { .. }) => false,
        Err(error) => panic!("a stop that nobody runs: {error}"),
        Ok(receipts) => panic!("a stop that nobody was to run ran on {} CPUs", receipts.ran()),
    }
}

/// The same, without a deadline.
fn waits_for_its_turn<const N: usize>(machine: &Machined<N>, task: &mut Task) {
    match machine.stop_machine(task, Some(&CpuMask::EMPTY), &|_: &Stopped<'_>| 7) {
        Err(StopError::EmptyMask) => {}
        Err(error) => panic!("a stop that nobody runs: {error}"),
        Ok(receipts) => panic!("a stop that nobody was to run ran on {} CPUs", receipts.ran()),
    }
}

/// Two stops one after the other, beside one with a deadline: each has its turn alone, and sees what those before it wrote.
pub(super) fn until<const N: usize>(s: &mut Setup<'_, N>) {
    s.deadlines_may_be_over(1);
    let (machine, last, count) = (s.machine(), s.last(), s.plain());
    let counts = s.keep(move |_: &Stopped<'_>| {
        if machine.platform().this_cpu() == CpuId::BOOT {
            count.set(count.get() + 1);
            if count.get() == 1 {
                branch();
            }
        }
        7
    });
    s.task(move |task| {
        all_up(machine, task);
        count.set(0);
        for _ in 0..2 {
            match machine.stop_two_cpus(task, CpuId::BOOT, CpuId::new(1), counts) {
                Ok(receipts) => must_be!(receipts.of(CpuId::BOOT), Receipt::Ran(7)),
                Err(error) => panic!("a stop of two CPUs: {error}"),
            }
        }
    });
    s.task_on(last, move |task| {
        let deadline = machine.platform().deadline_in(1);
        match machine.stop_machine_deadline(task, Some(&CpuMask::of(CpuId::BOOT)), deadline, counts) {
            Ok(receipts) => must_be!(receipts.of(CpuId::BOOT), Receipt::Ran(7)),
            Err(StopError::Deadline { .. }) => {}
            Err(error) => panic!("a stop of the machine: {error}"),
        }
    });
}

/// Three threads want the turn of a stop that has just run. Two of them may give up.
pub(super) fn given_up<const N: usize>(s: &mut Setup<'_, N>) {
    s.deadlines_may_be_over(2);
    let (machine, last) = (s.machine(), s.last());
    s.task(move |task| {
        all_up(machine, task);
        match machine.stop_machine(task, None, &|_: &Stopped<'_>| 7) {
            // Its turn lasts as long as its receipts live.
            Ok(receipts) => {
                branch();
                drop(receipts);
            }
            Err(error) => panic!("a stop of the machine: {error}"),
        }
        waits_for_its_turn(machine, task);
    });
    for cpu in [last, CpuId::new(N - 2)] {
        s.task_on(cpu, move |task| {
            if !takes_its_turn(machine, task) {
                waits_for_its_turn(machine, task);
            }
        });
    }
}

/// A stop with a deadline waits for its turn; whoever asks after it comes after it. The one that has the turn asks again as soon as
/// the other one is in line, and a third one may ask at any moment.
pub(super) fn in_order<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (in_line, had) = (s.keep(ModelWord::ZERO), s.keep(ModelWord::ZERO));
    s.when_a_wait_begins(move |what| {
        if what == "stop_machine: its turn" && machine.platform().this_cpu() == last {
            in_line.store(1, Relaxed);
            machine.platform().notify(in_line);
        }
    });
    s.task(move |task| {
        all_up(machine, task);
        match machine.stop_machine(task, None, &|_: &Stopped<'_>| 7) {
            Ok(receipts) => {
                branch();
                await_word(machine.platform(), in_line, WaitContext::Task);
                drop(receipts);
            }
            Err(error) => panic!("a stop of the machine: {error}"),
        }
        waits_for_its_turn(machine, task);
        require(
            had.load(Relaxed) == 1,
            "a stop that waits for its turn was overtaken by one that asked later",
        );
    });
    s.task_on(last, move |task| {
        let deadline = machine.platform().deadline_in(1);
        match machine.stop_machine_deadline(task, None, deadline, &|_: &Stopped<'_>| 7) {
            Ok(_receipts) => had.store(1, Relaxed),
            Err(error) => panic!("its deadline does not expire: {error}"),
        }
    });
    s.task(move |task| waits_for_its_turn(machine, task));
}

/// A stop with a deadline waits for a hotplug operation, and may give up. The next operation does not wait for it.
pub(super) fn reader_gives_up<const N: usize>(s: &mut Setup<'_, N>) {
    s.deadlines_may_be_over(1);
    let (machine, last) = (s.machine(), s.last());
    s.task(move |task| {
        all_up(machine, task);
        branch();
        for _ in 0..2 {
            must_be!(machine.hotplug_disable(task), Ok(()));
        }
    });
    s.task_on(last, move |task| {
        if !takes_its_turn(machine, task) {
            drop(machine.cpus_read_lock(task));
        }
    });
}
