//! What happens at the edges: CPUs that are given up, contexts that are wrong, machines that are not booted. On the polled port; runs under
//! Miri.

#![expect(
    clippy::disallowed_types,
    reason = "tests are no part of the library: they may have atomics of their own"
)]

mod polled;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use polled::{Four, Off, Polled, run};
use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::event::What;
use standstill::hotplug::{Callbacks, HotplugError, Reason, StateId};
use standstill::platform::{Irq, Wait};
use standstill::stop::{Receipt, Stage, StopError};
use standstill::{CpuId, CpuMask, Machine, Protocol};

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

const NO: Reason = Reason { code: -12, text: "no memory" };

/// A second machine on the same port, which nobody boots.
fn unbooted(machine: &Four) -> &'static Four {
    leak(Machine::new(Polled(machine.platform().0), Protocol::STANDSTILL))
}

#[test]
fn a_stuck_cpu_is_left_alone_and_nothing_changes_under_it() {
    run(Protocol::STANDSTILL, |machine, task| {
        let board = machine.platform().0;
        let (inside, go): (&'static AtomicBool, &'static AtomicBool) =
            (leak(AtomicBool::new(false)), leak(AtomicBool::new(false)));
        let dead: &'static AtomicUsize = leak(AtomicUsize::new(0));
        let count = leak(|_: &mut Task, _| {
            dead.fetch_add(1, SeqCst);
        });
        let prepare = Callbacks::Prepare { up: None, dead: Some(count) };
        machine.add_state(task, "memory", prepare).unwrap();
        let starting = leak(|_: &IrqOff<'_>, who: CpuId| {
            while who == cpu(1) && !go.load(SeqCst) {
                inside.store(true, SeqCst);
                std::thread::yield_now();
            }
            inside.store(false, SeqCst);
        });
        let slow = Callbacks::Starting { starting: Some(starting), dying: None };
        let slow = machine.add_state_nocalls(task, "slow", slow).unwrap();
        machine.cpu_up(task, cpu(2)).unwrap();

        let patience = board.timeout_ms.swap(if cfg!(miri) { 20_000 } else { 1_000 }, SeqCst);
        let (stuck, given_up) = (Err(HotplugError::Stuck(cpu(1))), Err(HotplugError::GivenUp(cpu(1))));
        assert_eq!(machine.cpu_up(task, cpu(1)), given_up);
        board.timeout_ms.store(patience, SeqCst);
        assert_eq!(machine.state(cpu(1)), StateId::BRINGUP);
        assert!(inside.load(SeqCst));
        // It runs callbacks of the table, and may send calls: neither may change meanwhile.
        assert_eq!(machine.cpu_down(task, cpu(1)), given_up);
        assert_eq!(machine.cpu_down(task, cpu(2)), stuck);
        assert_eq!(machine.remove_state_nocalls(task, slow), stuck);
        assert_eq!(dead.load(SeqCst), 0);

        // It comes to its end, too late: it never gets online, and the rest goes on without it.
        go.store(true, SeqCst);
        while machine.remove_state_nocalls(task, slow) == stuck {
            machine.platform().breathe();
        }
        assert!(!machine.online().contains(cpu(1)));
        assert_eq!(machine.cpu_up(task, cpu(1)), given_up);
        machine.cpu_down(task, cpu(2)).unwrap();
    });
}

#[test]
fn the_form_for_a_cpu_that_comes_up_is_refused_to_one_that_goes() {
    for protocol in [Protocol::STANDSTILL, Protocol::REFUSE] {
        run(protocol, |machine, task| {
            let answer: &'static Mutex<Option<StopError<1>>> = leak(Mutex::default());
            let dying = leak(|off: &IrqOff<'_>, _| {
                let stop = machine.stop_machine_from_inactive_cpu(off, None, &|_: &Stopped<'_>| 0);
                *answer.lock().unwrap() = stop.err();
            });
            let callbacks = Callbacks::Starting { starting: None, dying: Some(dying) };
            machine.add_state_nocalls(task, "stops", callbacks).unwrap();
            machine.cpu_up(task, cpu(1)).unwrap();
            machine.cpu_down(task, cpu(1)).unwrap();
            assert_eq!(*answer.lock().unwrap(), Some(StopError::NotComingUp(cpu(1))));
        });
    }
}

#[test]
fn an_active_cpu_that_is_offline_has_the_receipt_refused() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let active: CpuMask = [cpu(0), cpu(3)].into_iter().collect();
        let receipts = machine.stop_machine(task, Some(&active), &|_: &Stopped<'_>| 0).unwrap();
        assert_eq!(receipts.of(cpu(0)), Receipt::Ran(0));
        assert_eq!(receipts.of(cpu(1)), Receipt::NotAMember);
        assert_eq!(receipts.of(cpu(3)), Receipt::Refused);
    });
}

#[test]
#[should_panic(expected = "another machine")]
fn the_lock_of_one_machine_is_not_taken_for_that_of_another() {
    run(Protocol::STANDSTILL, |machine, task| {
        let other = unbooted(machine);
        let mut guard = machine.cpus_read_lock(task);
        drop(other.cpus_read_lock(guard.task()));
    });
}

#[test]
fn the_survivor_of_stop_others_is_not_caught_by_a_stop_that_was_under_way() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.pin(task, |pinned| {
            machine.platform().task(1, |task| {
                let _ = machine.stop_machine(task, None, &|_: &Stopped<'_>| 0);
            });
            let stage = |what: &What| matches!(what, What::StageEntered { epoch, .. } if *epoch > 0);
            while !machine.platform().0.log.lock().unwrap().iter().any(|event| stage(&event.what)) {
                std::thread::yield_now();
            }
            let left = machine.stop_others(pinned, if cfg!(miri) { 60_000_000_000 } else { 5_000_000_000 });
            assert_eq!(left, CpuMask::EMPTY);
        });
        // Its own stopper had work; it is alone now, and goes on.
    });
}

#[test]
fn a_deadline_bounds_the_wait_for_the_turn_too() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let held = machine.stop_two_cpus(task, cpu(0), cpu(1), &|_: &Stopped<'_>| 0).unwrap();
        let answer: &'static Mutex<Option<StopError<1>>> = leak(Mutex::default());
        machine.platform().task(1, move |task| {
            let deadline = machine.platform().deadline_in(1_000_000);
            let stop = machine.stop_machine_deadline(task, None, deadline, &|_: &Stopped<'_>| 0);
            *answer.lock().unwrap() = stop.err();
        });
        while answer.lock().unwrap().is_none() {
            machine.platform().breathe();
        }
        let error = answer.lock().unwrap().unwrap();
        assert_eq!(error, StopError::Deadline { stage: Stage::None, missing: CpuMask::EMPTY });
        assert!(error.to_string().contains("turn"), "{error}");
        drop(held);
        drop(machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).unwrap());
    });
}

#[test]
fn what_add_state_undoes_it_undoes_in_reverse() {
    run(Protocol::STANDSTILL, |machine, task| {
        for n in 1..4 {
            machine.cpu_up(task, cpu(n)).unwrap();
        }
        let order: &'static Mutex<Vec<usize>> = leak(Mutex::default());
        let up = leak(|_: &mut Task, who: CpuId| if who == cpu(3) { Err(NO) } else { Ok(()) });
        let down = leak(|_: &mut Task, who: CpuId| {
            order.lock().unwrap().push(who.index());
            Ok(())
        });
        machine.add_state(task, "x", Callbacks::Online { up: Some(up), down: Some(down) }).unwrap_err();
        assert_eq!(*order.lock().unwrap(), [2, 1, 0]);
    });
}

#[test]
fn a_rollback_that_fails_keeps_the_first_reason() {
    run(Protocol::STANDSTILL, |machine, task| {
        let refuse: &'static AtomicBool = leak(AtomicBool::new(false));
        let up = leak(|_: &mut Task, _| if refuse.load(SeqCst) { Err(NO) } else { Ok(()) });
        machine.add_state(task, "x", Callbacks::Online { up: Some(up), down: None }).unwrap();
        machine.cpu_up(task, cpu(1)).unwrap();
        // The lines refuse, and then the callback refuses to come back.
        machine.platform().0.lines_stuck.store(true, SeqCst);
        refuse.store(true, SeqCst);
        let error = machine.cpu_down(task, cpu(1)).unwrap_err();
        let HotplugError::RollbackFailed { reason, first, .. } = error else { panic!("{error:?}") };
        assert_eq!((reason, first.code), (NO, -28));

        // The callback refuses, and then the CPU can't leave again.
        let error = machine.cpu_up(task, cpu(2)).unwrap_err();
        let HotplugError::RollbackFailed { reason, first, .. } = error else { panic!("{error:?}") };
        assert_eq!((reason.code, first), (-28, NO));
        assert_eq!(machine.state(cpu(2)), StateId::AP_ONLINE);
    });
}

#[test]
fn before_the_boot_everything_runs_in_place() {
    run(Protocol::STANDSTILL, |machine, task| {
        let early = unbooted(machine);
        let me = early.platform().this_cpu();
        assert_eq!(early.stop_one_cpu(task, me, &|_: &mut Pinned<'_>| 7), Ok(7));
        assert_eq!(early.stop_machine(task, None, &|_: &Stopped<'_>| 7).unwrap().of(me), Receipt::Ran(7));
        let other = CpuMask::of(cpu(2));
        let nobody = early.stop_machine(task, Some(&other), &|_: &Stopped<'_>| 7).err();
        assert_eq!(nobody, Some(StopError::NoneOnline));
        let ran = AtomicUsize::new(0);
        let count = |_: &Off<'_>| {
            ran.fetch_add(1, SeqCst);
        };
        early.call_single(task, me, &count).unwrap();
        assert_eq!(early.on_each_cpu(task, &count).unwrap(), CpuMask::of(me));
        assert!(early.call_single(task, cpu(2), &count).is_err());
        early.quiesce(task).unwrap();
        assert_eq!(ran.load(SeqCst), 2);
    });
}

#[test]
fn a_machine_of_one_cpu_works() {
    run(Protocol::STANDSTILL, |machine, task| {
        // Three of the four never come: with respect to every mask this is a machine of one.
        machine.call_single(task, cpu(0), &|_: &Off<'_>| ()).unwrap();
        assert_eq!(machine.call_all(task, &|_: &Off<'_>| ()).unwrap(), CpuMask::EMPTY);
        assert_eq!(machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).unwrap().ran(), 1);
        assert_eq!(machine.stop_one_cpu(task, cpu(0), &|_: &mut Pinned<'_>| 3), Ok(3));
        assert_eq!(machine.cpu_down(task, cpu(0)), Err(HotplugError::LastOnline(cpu(0))));
    });
}

/// The last look comes before the drain: whoever makes it come after it is to change the docs.
#[test]
fn what_a_drained_call_leaves_behind_is_not_looked_at_again() {
    for protocol in [Protocol::STANDSTILL, Protocol::SINGLE_DEAF, Protocol::REFUSE] {
        run(protocol, |machine, task| {
            let board = machine.platform().0;
            machine.cpu_up(task, cpu(1)).unwrap();
            // Its IPI is under way for as long as the CPU lives.
            board.hold_calls.store(1 << 1, SeqCst);
            let wakes = leak(|_: &Off<'_>| {
                board.not_idle.store(1 << 1, SeqCst);
            });
            machine.call_single_nowait(task, cpu(1), wakes).unwrap();
            assert_eq!(machine.cpu_down(task, cpu(1)), Ok(()));
            assert_eq!(board.not_idle.load(SeqCst), 1 << 1, "the call was drained");
        });
    }
}

#[test]
fn a_start_that_fails_leaves_the_states_that_were_there_before() {
    run(Protocol::STANDSTILL, |machine, task| {
        let ends: &'static AtomicUsize = leak(AtomicUsize::new(0));
        let dead = leak(|_: &mut Task, _| {
            ends.fetch_add(1, SeqCst);
        });
        let early =
            machine.add_state(task, "early", Callbacks::Prepare { up: None, dead: Some(dead) }).unwrap();
        let late =
            machine.add_state(task, "late", Callbacks::Prepare { up: None, dead: Some(dead) }).unwrap();
        assert!(early.id() < late.id());
        machine.cpu_up_to(task, cpu(1), early.id()).unwrap();
        machine.platform().0.refuse_start.store(1 << 1, SeqCst);
        let up = machine.cpu_up(task, cpu(1));
        assert!(matches!(up, Err(HotplugError::Start { .. })), "{up:?}");
        assert_eq!(machine.state(cpu(1)), early.id(), "it rests where it did before");
        assert_eq!(ends.load(SeqCst), 1, "what this operation set up is torn down, and nothing else");
    });
}

#[test]
fn a_state_that_can_not_be_removed_is_set_up_again_where_it_was_torn_down() {
    run(Protocol::STANDSTILL, |machine, task| {
        let there: &'static [AtomicUsize; 4] = leak([const { AtomicUsize::new(0) }; 4]);
        let refuses: &'static AtomicUsize = leak(AtomicUsize::new(1));
        let up = leak(|_: &mut Task, who: CpuId| {
            there[who.index()].fetch_add(1, SeqCst);
            Ok(())
        });
        let down = leak(|_: &mut Task, who: CpuId| {
            if who.index() == refuses.load(SeqCst) {
                return Err(NO);
            }
            there[who.index()].fetch_sub(1, SeqCst);
            Ok(())
        });
        for who in 1..3 {
            machine.cpu_up(task, cpu(who)).unwrap();
        }
        let state =
            machine.add_state(task, "stays", Callbacks::Online { up: Some(up), down: Some(down) }).unwrap();
        let now = || [0, 1, 2, 3].map(|who: usize| there[who].load(SeqCst));
        for who in [0, 1, 2] {
            refuses.store(who, SeqCst);
            let removed = machine.remove_state(task, state);
            assert!(matches!(removed, Err(HotplugError::Veto { reason: NO, .. })), "{removed:?}");
            assert_eq!(now(), [1, 1, 1, 0], "CPU {who} refused, and the others have what was set up there");
        }
        refuses.store(9, SeqCst);
        assert_eq!(machine.remove_state(task, state), Ok(()));
        assert_eq!(now(), [0; 4]);
    });
}

#[test]
fn who_is_bound_to_the_last_cpu_is_told_that_it_is_the_last() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.platform().0.bound.store(true, SeqCst);
        assert_eq!(machine.cpu_down(task, cpu(0)), Err(HotplugError::LastOnline(cpu(0))));
        machine.cpu_up(task, cpu(1)).unwrap();
        assert_eq!(machine.cpu_down(task, cpu(0)), Err(HotplugError::BoundCaller(cpu(0))));
        for mask in [machine.online(), machine.active(), machine.accepting()] {
            assert_eq!(mask.snapshot(), CpuMask::first_n(2), "a CPU that could not leave is what it was");
        }
        assert_eq!(machine.state(cpu(0)), StateId::ACTIVE);
    });
}

#[test]
fn a_cpu_is_not_stopped_before_the_last_thread_has_left_it() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let board = machine.platform().0;
        board.squatted.store(1 << 1, SeqCst);
        // The thread leaves once somebody has waited for that long enough to complain.
        let leaves = std::thread::spawn(|| {
            let stalled = |event: &standstill::event::Event| matches!(event.what, What::Stalled(_));
            while !board.log.lock().unwrap().iter().any(stalled) {
                std::thread::yield_now();
            }
            board.squatted.store(0, SeqCst);
        });
        let gone = machine.cpu_down(task, cpu(1));
        // A `cpu_down` that has not waited has not complained: then nobody waits for the thread.
        gone.expect("cpu_down waits for the thread that is on its way");
        leaves.join().unwrap();
    });
}
