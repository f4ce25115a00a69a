//! The promises of order that stops and works give: who sees what, on which way. See `payload.rs`.
//!
//! With two CPUs every CPU takes part in each stop, and a CPU that took part has seen its end: so who started it needs no order of its own.
//! Where that matters, three CPUs stop pairs.

use std::sync::atomic::Ordering::Relaxed;

use standstill::context::{Pinned, Stopped, Task};
use standstill::platform::{Irq, Wait, WaitContext, Word};
use standstill::stop::{Receipt, StopError, StopWork, WorkState};
use standstill::{CpuId, CpuMask, Machine};

use super::build::{Setup, all_up, branch, expect, require};
use super::hotplug::others_up;
use super::stops::await_word;
use crate::machine::access::ModelWord;
use crate::port::Model;

/// Each CPU's handlers write a cell of their own; each active CPU's function reads all of them, and what it read may be written again once the
/// machine goes on.
pub(super) fn handlers<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    let cells = s.plain_each::<usize>();
    s.device(move |_, cpu| {
        let cell = &cells[cpu.index()];
        let seen = cell.get();
        cell.set(seen + 1);
        cell.set(seen + 2);
    });
    s.task(move |task| {
        all_up(machine, task);
        for cell in cells {
            cell.set(0);
        }
        branch();
        let f = |_: &Stopped<'_>| {
            for cell in cells {
                require(cell.get() & 1 == 0, "a handler's write is seen half");
            }
            1
        };
        match machine.stop_machine(task, Some(&CpuMask::first_n(N)), &f) {
            Ok(receipts) => must_be!(receipts.ran(), N),
            Err(error) => panic!("a stop of the machine: {error}"),
        }
    });
}

/// CPU 0 stops the two others, and takes no part.
pub(super) fn pair<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (there, back) = (s.plain(), s.plain_each());
    s.task(move |task| {
        all_up(machine, task);
        there.set(0);
        for cell in back {
            cell.set(0);
        }
        branch();
        there.set(1);
        let f = |_: &Stopped<'_>| {
            expect(there, 1);
            back[machine.platform().this_cpu().index()].set(1);
            7
        };
        let other = CpuId::new(N - 2);
        match machine.stop_two_cpus(task, other, last, &f) {
            Ok(receipts) => {
                must_be!((receipts.of(other), receipts.of(last)), (Receipt::Ran(7), Receipt::Ran(7)));
            }
            Err(error) => panic!("a stop of two CPUs: {error}"),
        }
        for cpu in [other, last] {
            expect(&back[cpu.index()], 1);
        }
    });
}

/// CPU 0 stops itself and the next one; the last CPU, which has no part in that, stops the same two.
pub(super) fn turns<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let count = s.plain();
    let (a, b) = (CpuId::BOOT, CpuId::new(1));
    // On one CPU only: it counts the stops.
    let counts = move |_: &Stopped<'_>| {
        if machine.platform().this_cpu() == a {
            count.set(count.get() + 1);
        }
        7
    };
    let counts = s.keep(counts);
    let stop = move |task: &mut Task| match machine.stop_two_cpus(task, a, b, counts) {
        Ok(receipts) => {
            must_be!((receipts.of(a), receipts.of(b)), (Receipt::Ran(7), Receipt::Ran(7)));
            require((1..=2).contains(&count.get()), "who stops the machine has its turn alone");
        }
        Err(error) => panic!("a stop of two CPUs: {error}"),
    };
    s.task(move |task| {
        all_up(machine, task);
        count.set(0);
        branch();
        stop(task);
    });
    s.task_on(last, stop);
}

/// As [`turns`], but the last CPU stops all CPUs, with a deadline: time plays no part here, but its turn is taken in another way. It all
/// begins when the first stop is in RUN, so there are few states.
pub(super) fn turn_until<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (a, b) = (CpuId::BOOT, CpuId::new(1));
    let count = s.plain();
    s.task(move |task| {
        all_up(machine, task);
        count.set(0);
        let counts = |_: &Stopped<'_>| {
            if machine.platform().this_cpu() == a {
                branch();
                count.set(count.get() + 1);
            }
            7
        };
        match machine.stop_two_cpus(task, a, b, &counts) {
            Ok(receipts) => must_be!((receipts.of(a), receipts.of(b)), (Receipt::Ran(7), Receipt::Ran(7))),
            Err(error) => panic!("a stop of two CPUs: {error}"),
        }
    });
    s.task_on(last, move |task| {
        let deadline = machine.platform().deadline_in(1);
        let counted = |_: &Stopped<'_>| {
            expect(count, 1);
            7
        };
        match machine.stop_machine_deadline(task, Some(&CpuMask::of(last)), deadline, &counted) {
            Ok(receipts) => {
                must_be!((receipts.of(a), receipts.of(last)), (Receipt::NotAMember, Receipt::Ran(7)))
            }
            Err(error) => panic!("a stop of the machine: {error}"),
        }
    });
}

/// A thread tells the stop's function on another CPU, by a relaxed word, that it has written.
pub(super) fn threads<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (told, there) = (s.keep(ModelWord::ZERO), s.plain());
    s.task(move |task| {
        all_up(machine, task);
        there.set(0);
        branch();
        let f = |_: &Stopped<'_>| {
            if told.load(Relaxed) == 1 {
                expect(there, 1);
            }
            1
        };
        // The receipts are another promise.
        if let Err(error) = machine.stop_machine(task, Some(&CpuMask::of(last)), &f) {
            panic!("a stop of the machine: {error}");
        }
    });
    s.task_on(CpuId::new(N - 2), move |_| {
        there.set(1);
        told.store(1, Relaxed);
    });
}

/// The stop's function writes; a thread on another CPU reads, which it can't before the stop is at its end.
pub(super) fn end<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let back = s.plain();
    s.task(move |task| {
        all_up(machine, task);
        back.set(0);
        // Not before RUN: what comes before it is another scenario.
        let f = |_: &Stopped<'_>| {
            branch();
            back.set(1);
            1
        };
        match machine.stop_machine(task, Some(&CpuMask::of(last)), &f) {
            Ok(receipts) => must_be!(receipts.ran(), 1),
            Err(error) => panic!("a stop of the machine: {error}"),
        }
    });
    s.task_on(CpuId::new(N - 2), move |_| expect(back, 1));
}

/// A work is queued again as soon as it says that it is over.
pub(super) fn work_again<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let work = s.keep(StopWork::new());
    let cells: &'static [_; 2] = s.plains();
    let fs = s.keep(cells.each_ref().map(|cell| {
        move |_: &mut Pinned<'_>| {
            expect(cell, 1);
            cell.set(2);
            0
        }
    }));
    s.task(move |task| {
        all_up(machine, task);
        for cell in cells {
            cell.set(0);
        }
        branch();
        for (cell, f) in cells.iter().zip(fs) {
            cell.set(1);
            match machine.stop_one_cpu_nowait(task, last, work, f) {
                Ok(()) | Err(StopError::Busy) => {}
                Err(error) => panic!("a work that nobody waits for: {error}"),
            }
        }
        if matches!(work.state(), WorkState::Ran(_)) {
            expect(&cells[0], 2);
        }
    });
}

/// Two CPUs queue one work for the last CPU, which is offline.
pub(super) fn work_refused<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let work = s.keep(StopWork::new());
    let f = s.keep(|_: &mut Pinned<'_>| 0);
    let queue = move |task: &mut Task| match machine.stop_one_cpu_nowait(task, last, work, f) {
        Err(StopError::Offline(cpu)) => must_be!(cpu, last),
        Err(StopError::Busy) => {}
        other => panic!("a work for a CPU that is offline: {other:?}"),
    };
    s.task(move |task| {
        others_up(machine, task);
        branch();
        queue(task);
    });
    s.task_on(CpuId::new(N - 2), queue);
}

/// The last CPU answers the first stop only when that was abandoned: then the second one comes, behind a work or not. (If its part in the
/// first one is in the list still, the second one takes over that place; else a list that is torn leaves the work behind.)
fn late<const N: usize>(s: &mut Setup<'_, N>, behind: bool) {
    let (machine, last) = (s.machine(), s.last());
    // Who sees it over may be interrupted before it says so, and the next one sees it over, too.
    s.deadlines_may_be_over(2);
    let (inside, over) = (s.keep(ModelWord::ZERO), s.keep(ModelWord::ZERO));
    let (there, back) = (s.plain(), s.plain());
    let work = s.keep(StopWork::new());
    let done = s.keep(|_: &mut Pinned<'_>| 5);
    s.task(move |task| {
        all_up(machine, task);
        there.set(0);
        back.set(0);
        branch();
        await_word(machine.platform(), inside, WaitContext::Task);
        let mut read = machine.cpus_read_lock(task);
        abandoned(machine, read.task(), last);
        there.set(1);
        // Relaxed: nothing but the second stop says what was written for it.
        over.store(1, Relaxed);
        machine.platform().notify(over);
        if behind {
            must_be!(machine.stop_one_cpu_nowait(read.task(), last, work, done), Ok(()));
        }
        let f = |_: &Stopped<'_>| {
            expect(there, 1);
            back.set(1);
            7
        };
        match machine.stop_machine(read.task(), Some(&CpuMask::of(last)), &f) {
            Ok(receipts) => must_be!(receipts.of(last), Receipt::Ran(7)),
            Err(error) => panic!("a stop after one that was abandoned: {error}"),
        }
        expect(back, 1);
    });
    s.task_on(last, move |task| {
        machine.irq_off(task, |_| {
            inside.store(1, Relaxed);
            machine.platform().notify(inside);
            await_word(machine.platform(), over, WaitContext::Frozen);
        });
    });
}

/// A stop that can't but be abandoned, as `last` does not answer.
fn abandoned<const N: usize>(machine: &'static Machine<Model, N, 1>, task: &mut Task, last: CpuId) {
    let deadline = machine.platform().deadline_in(1);
    match machine.stop_machine_deadline(task, None, deadline, &|_: &Stopped<'_>| 3) {
        Err(StopError::Deadline { missing, .. }) => assert!(missing.contains(last), "{missing}"),
        other => panic!("a CPU does not answer, and a stop ends with {:?}", other.map(|_| ())),
    }
}

pub(super) fn late_part<const N: usize>(s: &mut Setup<'_, N>) {
    late(s, false);
}

pub(super) fn late_link<const N: usize>(s: &mut Setup<'_, N>) {
    late(s, true);
}

/// A pair of which one is offline: the other one, and CPU 0 that asked, go on.
pub(super) fn half_a_pair<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let other = CpuId::new(N - 2);
    s.task(move |task| {
        others_up(machine, task);
        branch();
        match machine.stop_two_cpus(task, other, last, &|_: &Stopped<'_>| 7) {
            Err(StopError::Offline(cpu)) => must_be!(cpu, last),
            other => panic!("a pair with a CPU that is offline: {:?}", other.map(|_| ())),
        }
        must_be!(machine.stop_one_cpu(task, other, &|_: &mut Pinned<'_>| 5), Ok(5));
    });
}
