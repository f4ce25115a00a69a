//! CPUs that do not answer, do not die in time, or do not come to an end: on the polled port. Runs under Miri.

#![expect(
    clippy::disallowed_types,
    reason = "tests are no part of the library: they may have atomics of their own"
)]

mod polled;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use polled::{Off, run};
use standstill::context::{IrqOff, Task};
use standstill::hotplug::{Callbacks, HotplugError, Reason, StateId};
use standstill::{CpuId, CpuMask, Protocol};

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

const NO: Reason = Reason { code: -12, text: "no memory" };

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

#[test]
fn a_cpu_that_never_answers_ends_in_an_error_and_a_late_one_dies() {
    run(Protocol::STANDSTILL, |machine, task| {
        let board = machine.platform().0;
        let patience = board.timeout_ms.swap(20, SeqCst);
        board.hold_start.store(1 << 1, SeqCst);
        assert_eq!(machine.cpu_up(task, cpu(1)), Err(HotplugError::NoAnswer(cpu(1))));
        assert_eq!(machine.state(cpu(1)), StateId::OFFLINE);
        board.timeout_ms.store(patience, SeqCst);
        board.hold_start.store(0, SeqCst);
        // The late one finds that it was given up, and the next start is another incarnation.
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.call_single(task, cpu(1), &|_: &Off<'_>| ()).unwrap();
        assert_eq!(machine.online().snapshot(), CpuMask::first_n(2));
    });
}

/// How long control waits in tests in which it waits in vain.
const IMPATIENT_MS: usize = if cfg!(miri) { 20_000 } else { 1_000 };

#[test]
fn a_cpu_that_was_not_seen_dead_is_as_good_as_any_other_once_it_is() {
    run(Protocol::STANDSTILL, |machine, task| {
        let board = machine.platform().0;
        machine.cpu_up(task, cpu(1)).unwrap();
        let patience = board.timeout_ms.swap(IMPATIENT_MS, SeqCst);
        board.hold_death.store(1 << 1, SeqCst);
        let not_dead = HotplugError::NotDead(cpu(1));
        assert_eq!(machine.cpu_down(task, cpu(1)), Err(not_dead));
        assert_eq!(machine.cpu_up(task, cpu(1)), Err(not_dead));
        assert!(not_dead.is_retryable());
        assert_eq!(machine.state(cpu(1)), StateId::BRINGUP);

        // It dies, late; and then it can't be started, and does not answer, which are no reasons to give it up for good.
        board.refuse_start.store(1 << 1, SeqCst);
        board.hold_death.store(0, SeqCst);
        let refused = loop {
            match machine.cpu_up(task, cpu(1)) {
                Err(HotplugError::NotDead(_)) => machine.platform().breathe(),
                other => break other,
            }
        };
        assert!(matches!(refused, Err(HotplugError::Start { .. })), "{refused:?}");
        board.refuse_start.store(0, SeqCst);
        board.hold_start.store(1 << 1, SeqCst);
        assert_eq!(machine.cpu_up(task, cpu(1)), Err(HotplugError::NoAnswer(cpu(1))));
        board.hold_start.store(0, SeqCst);
        board.timeout_ms.store(patience, SeqCst);
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.cpu_down(task, cpu(1)).unwrap();
        assert_eq!(machine.state(cpu(1)), StateId::OFFLINE);
    });
}

#[test]
fn a_cpu_that_was_not_seen_dead_when_it_left_again_does_not_rest_where_it_was() {
    run(Protocol::STANDSTILL, |machine, task| {
        let board = machine.platform().0;
        let refuses: &'static AtomicBool = leak(AtomicBool::new(true));
        let up = leak(|_: &mut Task, _| if refuses.load(SeqCst) { Err(NO) } else { Ok(()) });
        machine.add_state_nocalls(task, "workers", Callbacks::Online { up: Some(up), down: None }).unwrap();
        let patience = board.timeout_ms.swap(IMPATIENT_MS, SeqCst);
        board.hold_death.store(1 << 1, SeqCst);
        let error = machine.cpu_up(task, cpu(1)).unwrap_err();
        let HotplugError::RollbackFailed { cpu: who, state, first, reason, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((who, state, first), (cpu(1), StateId::BRINGUP, NO));
        assert_eq!(machine.state(cpu(1)), state);
        assert!(reason.text.contains("dead"), "{error}");
        board.hold_death.store(0, SeqCst);
        board.timeout_ms.store(patience, SeqCst);
        refuses.store(false, SeqCst);
        while machine.cpu_up(task, cpu(1)) == Err(HotplugError::NotDead(cpu(1))) {
            machine.platform().breathe();
        }
        assert!(machine.active().contains(cpu(1)));
    });
}

#[test]
fn the_cpu_that_runs_callbacks_still_is_named_and_not_one_that_was_not_seen_dead() {
    run(Protocol::STANDSTILL, |machine, task| {
        let board = machine.platform().0;
        let go: &'static AtomicBool = leak(AtomicBool::new(false));
        let starting = leak(|_: &IrqOff<'_>, who: CpuId| {
            while who == cpu(2) && !go.load(SeqCst) {
                std::thread::yield_now();
            }
        });
        let slow = Callbacks::Starting { starting: Some(starting), dying: None };
        machine.add_state_nocalls(task, "slow", slow).unwrap();
        machine.cpu_up(task, cpu(1)).unwrap();
        let patience = board.timeout_ms.swap(IMPATIENT_MS, SeqCst);
        board.hold_death.store(1 << 1, SeqCst);
        let down = machine.cpu_down(task, cpu(1));
        let up = [2, 3].map(|n| machine.cpu_up(task, cpu(n)));
        board.timeout_ms.store(patience, SeqCst);
        board.hold_death.store(0, SeqCst);
        go.store(true, SeqCst);
        assert_eq!(down, Err(HotplugError::NotDead(cpu(1))));
        assert_eq!(up, [Err(HotplugError::GivenUp(cpu(2))), Err(HotplugError::Stuck(cpu(2)))]);
        while machine.cpu_up(task, cpu(3)) == Err(HotplugError::Stuck(cpu(2))) {
            machine.platform().breathe();
        }
        assert!(machine.active().contains(cpu(3)));
    });
}
