//! Stops of the machine, and works of single stoppers.

use std::sync::atomic::Ordering::Relaxed;

use standstill::context::{IrqOff, Pinned, Stopped};
use standstill::hotplug::Callbacks;
use standstill::platform::{Deadline, Irq, Site, Wait, WaitContext, WaitFor, Word};
use standstill::stop::{Receipt, Stage, StopError, StopWork, WorkState};
use standstill::{CpuId, CpuMask, Csd};

use super::build::{Setup, all_up, branch};
use super::calls::{beside_down, devices_call, nothing};
use super::hotplug::{bring_up, others_up, take_down};
use crate::machine::access::ModelWord;
use crate::port::Model;
use crate::scenario::branch_at_stop;

pub(super) fn stop_one_vs_offline<const N: usize>(s: &mut Setup<'_, N>) {
    beside_down(s, |machine, task| {
        match machine.stop_one_cpu(task, CpuId::new(N - 1), &|_: &mut Pinned<'_>| 7) {
            Ok(7) | Err(StopError::Offline(_)) => {}
            other => panic!("a work ran or was refused, and its caller is told: {other:?}"),
        }
    });
}

#[expect(clippy::missing_const_for_fn, reason = "the function of a work")]
fn seven(_: &mut Pinned<'_>) -> i32 {
    7
}

/// Device interrupts queue a work for the last CPU. The works.
fn devices_queue<const N: usize>(s: &mut Setup<'_, N>) -> &'static [StopWork<Model>; N] {
    let (machine, last) = (s.machine(), s.last());
    let works = s.keep([const { StopWork::new() }; N]);
    s.device(move |off, cpu| match machine.stop_one_cpu_nowait(off, last, &works[cpu.index()], &seven) {
        Ok(()) | Err(StopError::Offline(_) | StopError::Busy) => {}
        Err(error) => panic!("a work that nobody waits for: {error}"),
    });
    works
}

pub(super) fn works_behind_stop<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let works = devices_queue(s);
    s.task(move |task| {
        all_up(machine, task);
        branch_at_stop();
        take_down(machine, task);
        // On a third CPU a handler may just now have taken its work, to be refused: such a work is the rules' affair. The handlers of this
        // CPU are over, and those of one that is gone.
        for cpu in [CpuId::BOOT, last] {
            let state = works[cpu.index()].state();
            assert!(state != WorkState::Queued, "a work is left behind on a CPU that is gone");
        }
    });
}

pub(super) fn stop_one_vs_online<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    devices_queue(s);
    s.task(move |task| {
        others_up(machine, task);
        branch();
        bring_up(machine, task);
        match machine.stop_one_cpu(task, CpuId::new(N - 1), &seven) {
            Ok(7) => {}
            other => panic!("the CPU is up, and its stopper does not run a work: {other:?}"),
        }
    });
}

pub(super) fn two_stops<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    for first in [true, false] {
        s.task(move |task| {
            if first {
                all_up(machine, task);
                branch();
            }
            match machine.stop_machine(task, Some(&CpuMask::of(last)), &|_: &Stopped<'_>| 3) {
                Ok(receipts) => must_be!(receipts.of(last), Receipt::Ran(3)),
                Err(error) => panic!("a stop of the machine: {error}"),
            }
        });
    }
}

pub(super) fn two_active<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let csds = s.keep([const { Csd::<Model>::new() }; 2]);
    s.task(move |task| {
        all_up(machine, task);
        branch();
        let f = |stopped: &Stopped<'_>| {
            let other = machine.platform().this_cpu() == last;
            let to = if other { CpuId::BOOT } else { last };
            let sent = machine.call_single_async(&**stopped, to, &csds[usize::from(other)], &nothing);
            must_be!(sent, Ok(()), "both are online, and stay so");
            5
        };
        let both = [CpuId::BOOT, last].into_iter().collect();
        match machine.stop_machine(task, Some(&both), &f) {
            Ok(receipts) => {
                must_be!(receipts.ran(), 2);
                must_be!((receipts.of(CpuId::BOOT), receipts.of(last)), (Receipt::Ran(5), Receipt::Ran(5)));
            }
            Err(error) => panic!("a stop with two active CPUs: {error}"),
        }
        // The last one's receipts are gone.
        match machine.stop_machine(task, None, &|_: &Stopped<'_>| 0) {
            Ok(receipts) => must_be!(
                (receipts.of(CpuId::BOOT), receipts.of(last)),
                (Receipt::Ran(0), Receipt::NotAMember)
            ),
            Err(error) => panic!("a stop with one active CPU: {error}"),
        }
    });
}

pub(super) fn stop_pairs<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    for first in 0..3 {
        s.task(move |task| {
            if first == 0 {
                all_up(machine, task);
                branch();
            }
            let (a, b) = (CpuId::new(first), CpuId::new((first + 1) % 3));
            match machine.stop_two_cpus(task, a, b, &|_: &Stopped<'_>| 0) {
                Ok(receipts) => must_be!(receipts.ran(), 2),
                Err(error) => panic!("a stop of {a} and {b}: {error}"),
            }
        });
    }
}

pub(super) fn pair_vs_offline<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.task(move |task| {
        all_up(machine, task);
        branch();
        take_down(machine, task);
    });
    // With three CPUs the other one is none that controls anything.
    let other = CpuId::new(N - 2);
    s.task(move |task| match machine.stop_two_cpus(task, other, last, &|_: &Stopped<'_>| 0) {
        Ok(receipts) => must_be!(receipts.ran(), 2),
        Err(error) => assert!(matches!(error, StopError::Offline(cpu) if cpu == last), "{error}"),
    });
}

/// A stop that a thread on the last CPU begins, while a thread on CPU 0 queues a work for that CPU: if it were interrupted between the push and
/// the IPI, by a stopper that waits for the CPU that would get the IPI, both would wait for ever.
pub(super) fn stop_vs_work<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.task(move |task| {
        all_up(machine, task);
        branch();
        must_be!(machine.stop_one_cpu(task, last, &seven), Ok(7));
    });
    s.task_on(last, move |task| match machine.stop_machine(task, None, &|_: &Stopped<'_>| 1) {
        Ok(receipts) => must_be!(receipts.ran(), 1),
        Err(error) => panic!("a stop of the machine: {error}"),
    });
}

/// A CPU that does not answer until the stop has ended.
pub(super) fn deadline_frees<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    // Who sees it over may be interrupted before it says so, and the next one sees it over, too.
    s.deadlines_may_be_over(2);
    let inside = s.keep(ModelWord::ZERO);
    let over = s.keep(ModelWord::ZERO);
    s.task(move |task| {
        all_up(machine, task);
        branch();
        await_word(machine.platform(), inside, WaitContext::Task);
        {
            let mut read = machine.cpus_read_lock(task);
            let deadline = machine.platform().deadline_in(1);
            let f = |_: &Stopped<'_>| 3;
            match machine.stop_machine_deadline(read.task(), None, deadline, &f) {
                Err(StopError::Deadline { stage, missing }) => {
                    assert!(stage <= Stage::Prepare && missing.contains(last), "{stage}: {missing}");
                }
                other => panic!("a CPU does not answer, and a stop ends with {:?}", other.map(|_| ())),
            }
        }
        over.store(1, Relaxed);
        machine.platform().notify(over);
    });
    s.task_on(last, move |task| {
        machine.irq_off(task, |_| {
            inside.store(1, Relaxed);
            machine.platform().notify(inside);
            await_word(machine.platform(), over, WaitContext::Frozen);
        });
    });
}

/// Waits until `word` is not 0, and learns nothing else.
pub(super) fn await_word(platform: &Model, word: &'static ModelWord, context: WaitContext) {
    await_that(platform, word, context, |value| value != 0);
}

/// As [`await_word`], until it is `value`.
pub(super) fn await_value(platform: &Model, word: &'static ModelWord, value: usize, context: WaitContext) {
    await_that(platform, word, context, |now| now == value);
}

fn await_that(
    platform: &Model,
    word: &'static ModelWord,
    context: WaitContext,
    holds: impl Fn(usize) -> bool,
) {
    let site = Site::here("a word of the scenario");
    let wait = WaitFor { site, context, deadline: Deadline::NEVER, stalled: &|_| () };
    platform.wait_until(word, &wait, || holds(word.load(Relaxed)).then_some(()));
}

pub(super) fn stop_from_inactive<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    devices_call(s);
    let starting = s.keep(move |off: &IrqOff<'_>, cpu: CpuId| {
        if cpu != last {
            return;
        }
        match machine.stop_machine_from_inactive_cpu(off, None, &|_: &Stopped<'_>| 4) {
            Ok(4) => {}
            other => panic!("a CPU that comes up stops the machine: {other:?}"),
        }
    });
    s.task(move |task| {
        let callbacks = Callbacks::Starting { starting: Some(starting), dying: None };
        if let Err(error) = machine.add_state(task, "stops", callbacks) {
            panic!("the set-up of the scenario: {error}");
        }
        others_up(machine, task);
        branch();
        bring_up(machine, task);
    });
}

pub(super) fn deadline_vs_last_ack<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.deadlines_may_be_over(1);
    s.task(move |task| {
        all_up(machine, task);
        branch();
        // The lock is held already: with a deadline it is taken by trying, and a try that fails is no wait that the model can fold.
        let mut read = machine.cpus_read_lock(task);
        let task = read.task();
        let deadline = machine.platform().deadline_in(1);
        let f = |_: &Stopped<'_>| 3;
        let ended = match machine.stop_machine_deadline(task, Some(&CpuMask::of(last)), deadline, &f) {
            Ok(receipts) => {
                must_be!(receipts.of(last), Receipt::Ran(3));
                true
            }
            Err(StopError::Deadline { .. }) => false,
            Err(error) => panic!("a stop with a deadline: {error}"),
        };
        // The next one is not disturbed by those that are late for the one that was abandoned.
        if !ended {
            match machine.stop_machine(task, Some(&CpuMask::of(last)), &f) {
                Ok(receipts) => must_be!(receipts.of(last), Receipt::Ran(3)),
                Err(error) => panic!("a stop after one that was abandoned: {error}"),
            }
        }
    });
}

/// Interrupts push to the call queue and the stopper of the last CPU in between a push's look and its compare-and-swap, and CPUs acknowledge at once: who
/// fails tries again.
pub(super) fn tries_that_fail<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.guesses_are_loads();
    let csds = s.keep([const { Csd::<Model>::new() }; N]);
    let works = s.keep([const { StopWork::<Model>::new() }; N]);
    s.device(move |off, cpu| {
        let _ = machine.call_single_async(off, last, &csds[cpu.index()], &nothing);
        let _ = machine.stop_one_cpu_nowait(off, last, &works[cpu.index()], &seven);
    });
    let (csd, work) = (s.keep(Csd::<Model>::new()), s.keep(StopWork::<Model>::new()));
    s.task(move |task| {
        all_up(machine, task);
        branch();
        must_be!(machine.call_single_async(task, last, csd, &nothing), Ok(()));
        must_be!(machine.stop_one_cpu_nowait(task, last, work, &seven), Ok(()));
        match machine.stop_machine(task, None, &|_: &Stopped<'_>| 2) {
            Ok(receipts) => must_be!(receipts.ran(), 1),
            Err(error) => panic!("a stop of the machine: {error}"),
        }
        // The stop's own work stands behind it in the list.
        let state = work.state();
        must_be!(state, WorkState::Ran(7), "a work that was queued before a stop has not run after it");
    });
}
