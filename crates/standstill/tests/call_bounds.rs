//! Calls that are withdrawn: by a deadline, and by another CPU. On the polled port; runs under Miri.

#![expect(
    clippy::disallowed_types,
    reason = "tests are no part of the library: they may have atomics of their own"
)]

mod polled;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use polled::{Four, Off, Polled, run};
use standstill::context::Task;
use standstill::platform::{Deadline, Irq, Wait};
use standstill::{Bound, CallError, Cancel, CpuId, CpuMask, Csd, Protocol};

const PROTOCOLS: [Protocol; 3] = [Protocol::STANDSTILL, Protocol::SINGLE_DEAF, Protocol::REFUSE];

const CPU_1: CpuId = cpu(1);

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn soon(machine: &Four) -> Deadline {
    machine.platform().deadline_in(20_000_000)
}

fn until(machine: &Four, mut holds: impl FnMut() -> bool) {
    while !holds() {
        machine.platform().breathe();
    }
}

/// These CPUs take no calls until the next word.
fn deaf(machine: &Four, cpus: &[usize]) {
    machine.platform().0.hold_calls.store(cpus.iter().map(|cpu| 1 << cpu).sum(), SeqCst);
}

/// All CPUs are up.
fn on_four(test: impl Fn(&'static Four, &mut Task, Protocol) + Copy + Send + 'static) {
    for protocol in PROTOCOLS {
        run(protocol, move |machine, task| {
            for who in 1..4 {
                machine.cpu_up(task, cpu(who)).unwrap();
            }
            test(machine, task, protocol);
        });
    }
}

#[test]
fn what_is_withdrawn_never_runs_and_its_slot_comes_back() {
    on_four(|machine, task, protocol| {
        let csd = leak(Csd::new());
        let runs = AtomicUsize::new(0);
        let count = |_: &Off<'_>| {
            runs.fetch_add(1, SeqCst);
        };
        deaf(machine, &[1]);
        let sent = machine.call_single_until(task, CPU_1, csd, soon(machine), &count);
        assert_eq!(sent, Err(CallError::Withdrawn(CPU_1)), "{protocol}");
        // The target has not seen it yet.
        let again = machine.call_single_until(task, CPU_1, csd, soon(machine), &count);
        assert_eq!(again, Err(CallError::Busy));
        deaf(machine, &[]);
        until(machine, || csd.is_free());
        assert_eq!(runs.load(SeqCst), 0, "{protocol}: it was withdrawn");
        assert_eq!(machine.call_single_until(task, CPU_1, csd, soon(machine), &count), Ok(()));
        assert_eq!(runs.load(SeqCst), 1);
        assert!(csd.is_free());
    });
}

#[test]
fn another_cpu_withdraws_it() {
    on_four(|machine, task, protocol| {
        let (csd, token, waits) =
            (leak(Csd::new()), leak(Cancel::<Polled>::new()), leak(AtomicBool::new(false)));
        deaf(machine, &[1]);
        machine.platform().task(2, move |task| {
            while !waits.load(SeqCst) {
                machine.platform().breathe();
            }
            machine.cancel(task, token);
        });
        waits.store(true, SeqCst);
        let sent = machine.call_single_until(task, CPU_1, csd, token, &|_: &Off<'_>| panic!("withdrawn"));
        assert_eq!(sent, Err(CallError::Withdrawn(CPU_1)), "{protocol}");
        deaf(machine, &[]);
        until(machine, || csd.is_free());
        // The token stays cancelled: a call with it that is not begun at once is withdrawn at once.
        deaf(machine, &[1]);
        let bound = Bound::until(Deadline::NEVER).or_cancelled(token);
        let sent = machine.call_single_until(task, CPU_1, csd, bound, &|_: &Off<'_>| panic!("withdrawn"));
        assert_eq!(sent, Err(CallError::Withdrawn(CPU_1)), "{protocol}");
        deaf(machine, &[]);
        until(machine, || csd.is_free());
    });
}

/// Without a deadline the port's patience is the bound.
#[test]
fn a_bound_without_a_deadline_ends_by_patience() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let csd = leak(Csd::new());
        let patience = machine.platform().0.timeout_ms.swap(50, SeqCst);
        deaf(machine, &[1]);
        let nothing = |_: &Off<'_>| panic!("withdrawn");
        let sent = machine.call_single_until(task, CPU_1, csd, Bound::PATIENCE, &nothing);
        assert_eq!(sent, Err(CallError::Withdrawn(CPU_1)));
        machine.platform().0.timeout_ms.store(patience, SeqCst);
        deaf(machine, &[]);
        until(machine, || csd.is_free());
    });
}

#[test]
fn a_function_that_has_begun_is_waited_for() {
    on_four(|machine, task, protocol| {
        let (csd, began, go) = (leak(Csd::new()), leak(AtomicBool::new(false)), leak(AtomicBool::new(false)));
        let deadline = soon(machine);
        machine.platform().task(2, move |_| {
            while !(began.load(SeqCst) && machine.platform().expired(deadline)) {
                machine.platform().breathe();
            }
            go.store(true, SeqCst);
        });
        let lent = AtomicUsize::new(0);
        let sent = machine.call_single_until(task, CPU_1, csd, deadline, &|_: &Off<'_>| {
            began.store(true, SeqCst);
            while !go.load(SeqCst) {
                std::thread::yield_now();
            }
            lent.store(7, SeqCst);
        });
        // On a machine that is busy it may be withdrawn before it begins; then nothing was lent.
        let ran = if began.load(SeqCst) { Ok(()) } else { Err(CallError::Withdrawn(CPU_1)) };
        assert_eq!(sent, ran, "{protocol}");
        assert_eq!(lent.load(SeqCst), if sent.is_ok() { 7 } else { 0 });
        began.store(true, SeqCst);
        until(machine, || csd.is_free());
    });
}

#[test]
fn of_many_each_has_its_own_answer() {
    on_four(|machine, task, protocol| {
        let slots: &'static [Csd<Polled>; 4] = leak([const { Csd::new() }; 4]);
        let runs = [const { AtomicUsize::new(0) }; 4];
        let count = |_: &Off<'_>| {
            runs[machine.platform().this_cpu().index()].fetch_add(1, SeqCst);
        };
        let all = CpuMask::first_n(4);
        let only = |who: &[usize]| who.iter().map(|n| cpu(*n)).collect::<CpuMask<1>>();
        let forever = Deadline::NEVER;

        let answers = machine.call_many_until(task, &all, slots, forever, &count).unwrap();
        assert_eq!((answers.ran, answers.is_complete()), (only(&[1, 2, 3]), true), "{protocol}");

        deaf(machine, &[2]);
        let token = leak(Cancel::<Polled>::new());
        machine.cancel(task, token);
        let bound = Bound::until(forever).or_cancelled(token);
        let answers = machine.call_many_until(task, &only(&[2]), slots, bound, &count).unwrap();
        assert_eq!((answers.withdrawn, answers.is_complete()), (only(&[2]), false), "{protocol}");
        let answers = machine.call_many_until(task, &all, slots, forever, &count).unwrap();
        assert_eq!((answers.ran, answers.busy), (only(&[1, 3]), only(&[2])), "{protocol}");

        deaf(machine, &[]);
        until(machine, || slots[2].is_free());
        machine.cpu_down(task, cpu(3)).unwrap();
        let answers = machine.call_many_until(task, &all, slots, forever, &count).unwrap();
        assert_eq!((answers.ran, answers.is_complete()), (only(&[1, 2]), true), "{protocol}");
        assert_eq!(runs.map(|runs| runs.load(SeqCst)), [0, 3, 2, 2]);
        machine.cpu_up(task, cpu(3)).unwrap();
    });
}

/// A CPU that leaves finds what was withdrawn, and gives the slot back.
#[test]
fn a_cpu_that_leaves_gives_the_slot_back() {
    on_four(|machine, task, protocol| {
        let csd = leak(Csd::new());
        deaf(machine, &[3]);
        let nothing = |_: &Off<'_>| panic!("withdrawn");
        let sent = machine.call_single_until(task, cpu(3), csd, soon(machine), &nothing);
        assert_eq!(sent, Err(CallError::Withdrawn(cpu(3))), "{protocol}");
        machine.cpu_down(task, cpu(3)).unwrap();
        assert!(csd.is_free(), "{protocol}");
        deaf(machine, &[]);
        machine.cpu_up(task, cpu(3)).unwrap();
        assert_eq!(machine.call_single_until(task, cpu(3), csd, Deadline::NEVER, &|_: &Off<'_>| ()), Ok(()));
    });
}

#[test]
fn what_is_not_sent_is_no_withdrawal() {
    run(Protocol::STANDSTILL, |machine, task| {
        let csd = leak(Csd::new());
        let never = Deadline::NEVER;
        let nothing = |_: &Off<'_>| ();
        let mut call = |who| machine.call_single_until(task, who, csd, never, &nothing);
        assert_eq!(call(cpu(0)), Ok(()), "here, at once");
        assert_eq!(call(CPU_1), Err(CallError::Offline(CPU_1)));
        assert_eq!(call(cpu(4)), Err(CallError::NoSuchCpu(cpu(4))));
        machine.cpu_up(task, CPU_1).unwrap();
        let flags = machine.platform().irq_save();
        let sent = machine.call_single_until(task, CPU_1, csd, never, &nothing);
        // SAFETY: from the save above.
        unsafe { machine.platform().irq_restore(flags) };
        assert_eq!(sent, Err(CallError::InterruptsOff));
        assert!(csd.is_free());
    });
}
