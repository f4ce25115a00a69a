//! Hotplug on the polled port: walks, rollbacks, vetoes, starts that fail, and what runs beside them. Runs under Miri.

#![expect(
    clippy::disallowed_types,
    reason = "tests are no part of the library: they may have atomics of their own"
)]

mod polled;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use polled::{Four, Off, run};
use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::event::{Outcome, Walk, What};
use standstill::hotplug::{Callbacks, HotplugError, Reason, Section, StateId};
use standstill::platform::{Irq, Wait};
use standstill::stop::{StopError, StopWork, WorkState};
use standstill::{CallError, CpuId, CpuMask, Csd, Protocol};

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

const NO: Reason = Reason { code: -12, text: "no memory" };

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// A callback pair in the ONLINE section whose startup or teardown refuses when told to.
struct Switch {
    up: AtomicBool,
    down: AtomicBool,
}

fn online(switch: &'static Switch) -> Callbacks {
    Callbacks::Online {
        up: Some(leak(|_: &mut Task, _| if switch.up.load(SeqCst) { Err(NO) } else { Ok(()) })),
        down: Some(leak(|_: &mut Task, _| if switch.down.load(SeqCst) { Err(NO) } else { Ok(()) })),
    }
}

fn switch() -> &'static Switch {
    leak(Switch { up: AtomicBool::new(false), down: AtomicBool::new(false) })
}

/// The events of the log for which `f` returns something.
fn logged<T>(machine: &Four, mut f: impl FnMut(&What) -> Option<T>) -> Vec<T> {
    machine.platform().0.log.lock().unwrap().iter().filter_map(|event| f(&event.what)).collect()
}

/// The callbacks that were called for `who`, since the log had `from` entries of this kind.
fn walked(machine: &Four, who: CpuId) -> Vec<(&'static str, Walk, Outcome)> {
    let mut name = "";
    logged(machine, |what| match what {
        What::StateEnter { who: w, name: n, .. } if *w == who => {
            name = n;
            None
        }
        What::StateLeave { who: w, walk, outcome, .. } if *w == who => Some((name, *walk, *outcome)),
        _ => None,
    })
}

fn install_one_of_each(machine: &Four, task: &mut Task) -> (StateId, StateId, &'static Switch) {
    let prepare = machine
        .add_state(
            task,
            "memory",
            Callbacks::Prepare {
                up: Some(leak(|_: &mut Task, _| Ok(()))),
                dead: Some(leak(|_: &mut Task, _| ())),
            },
        )
        .unwrap();
    machine
        .add_state(
            task,
            "timers",
            Callbacks::Starting {
                starting: Some(leak(|_: &IrqOff<'_>, _| ())),
                dying: Some(leak(|_: &IrqOff<'_>, _| ())),
            },
        )
        .unwrap();
    machine.add_state(task, "workers", online(switch())).unwrap();
    let last = switch();
    let state = machine.add_state(task, "domains", online(last)).unwrap().id();
    (prepare.id(), state, last)
}

#[test]
fn a_walk_calls_each_callback_once_in_order_and_its_mirror_on_the_way_down() {
    run(Protocol::STANDSTILL, |machine, task| {
        install_one_of_each(machine, task);
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.cpu_down(task, cpu(1)).unwrap();
        let names: Vec<_> = walked(machine, cpu(1)).iter().map(|(name, walk, _)| (*name, *walk)).collect();
        let up = ["memory", "timers", "workers", "domains"];
        let expected: Vec<_> = up
            .iter()
            .map(|name| (*name, Walk::Up))
            .chain(up.iter().rev().map(|name| (*name, Walk::Down)))
            .collect();
        assert_eq!(names, expected);
    });
}

#[test]
fn a_startup_that_refuses_is_undone_in_reverse_and_its_words_arrive_unchanged() {
    run(Protocol::STANDSTILL, |machine, task| {
        let (_, state, last) = install_one_of_each(machine, task);
        last.up.store(true, SeqCst);
        let error = machine.cpu_up(task, cpu(1)).unwrap_err();
        assert_eq!(error, HotplugError::Veto { cpu: cpu(1), state, name: "domains", reason: NO });
        assert_eq!(error.reason(), Some(NO));
        assert!(error.to_string().contains("domains") && error.to_string().contains("no memory"));
        let names: Vec<_> = walked(machine, cpu(1)).iter().map(|(name, _, _)| *name).collect();
        assert_eq!(names, ["memory", "timers", "workers", "domains", "workers", "timers", "memory"]);
        assert_eq!(machine.state(cpu(1)), StateId::OFFLINE);
        assert_eq!(machine.online().snapshot(), CpuMask::first_n(1));
        last.up.store(false, SeqCst);
        machine.cpu_up(task, cpu(1)).unwrap();
    });
}

#[test]
fn a_teardown_that_refuses_brings_the_cpu_back() {
    run(Protocol::STANDSTILL, |machine, task| {
        let first = switch();
        let state = machine.add_state(task, "first", online(first)).unwrap().id();
        machine.add_state(task, "second", online(switch())).unwrap();
        machine.cpu_up(task, cpu(1)).unwrap();
        first.down.store(true, SeqCst);
        let error = machine.cpu_down(task, cpu(1)).unwrap_err();
        assert_eq!(error, HotplugError::Veto { cpu: cpu(1), state, name: "first", reason: NO });
        assert_eq!(machine.state(cpu(1)), StateId::ACTIVE);
        assert!(machine.active().contains(cpu(1)));
        let tail: Vec<_> = walked(machine, cpu(1)).into_iter().skip(2).collect();
        assert_eq!(
            tail,
            [
                ("second", Walk::Down, Outcome::Ok),
                ("first", Walk::Down, Outcome::Failed),
                ("second", Walk::RollbackUp, Outcome::Ok),
            ]
        );
        machine.call_single(task, cpu(1), &|_: &Off<'_>| ()).unwrap();
    });
}

#[test]
fn a_rollback_that_fails_too_says_where_the_cpu_rests() {
    run(Protocol::STANDSTILL, |machine, task| {
        let (first, second) = (switch(), switch());
        machine.add_state(task, "first", online(first)).unwrap();
        let state = machine.add_state(task, "second", online(second)).unwrap().id();
        machine.cpu_up(task, cpu(1)).unwrap();
        first.down.store(true, SeqCst);
        second.up.store(true, SeqCst);
        let error = machine.cpu_down(task, cpu(1)).unwrap_err();
        assert_eq!(
            error,
            HotplugError::RollbackFailed { cpu: cpu(1), state, name: "second", reason: NO, first: NO }
        );
        assert!(machine.online().contains(cpu(1)) && !machine.active().contains(cpu(1)));
        second.up.store(false, SeqCst);
        machine.cpu_up(task, cpu(1)).unwrap();
        assert!(machine.active().contains(cpu(1)));
    });
}

#[test]
fn an_injected_failure_strikes_once_at_each_state_that_may_fail_and_at_no_other() {
    run(Protocol::STANDSTILL, |machine, task| {
        install_one_of_each(machine, task);
        for index in 0..StateId::COUNT {
            let state = StateId::from_index(index).unwrap();
            let injected = machine.fail_once(task, cpu(1), state);
            if !state.can_fail() {
                assert_eq!(injected, Err(HotplugError::CannotFail(state)));
                continue;
            }
            injected.unwrap();
            if cfg!(miri) && index % 10 != 5 {
                // A few of them are enough under Miri; the next round overwrites what was injected here.
                continue;
            }
            let error = machine.cpu_up(task, cpu(1)).unwrap_err();
            assert_eq!(error.reason().map(|reason| reason.code), Some(-11), "{state}: {error}");
            assert_eq!(machine.state(cpu(1)), StateId::OFFLINE);
            machine.cpu_up(task, cpu(1)).unwrap();
            if state.section() == Some(Section::Online) {
                machine.fail_once(task, cpu(1), state).unwrap();
                machine.cpu_down(task, cpu(1)).unwrap_err();
                assert_eq!(machine.state(cpu(1)), StateId::ACTIVE);
            }
            machine.cpu_down(task, cpu(1)).unwrap();
        }
    });
}

#[test]
fn an_injected_failure_that_is_taken_back_does_not_strike() {
    run(Protocol::STANDSTILL, |machine, task| {
        install_one_of_each(machine, task);
        let state = StateId::from_index(StateId::AP_ONLINE.index() + 1).unwrap();
        assert_eq!(machine.forget_failure(task, cpu(1)), Ok(None));
        machine.fail_once(task, cpu(1), state).unwrap();
        assert_eq!(machine.forget_failure(task, cpu(1)), Ok(Some(state)));
        assert_eq!(machine.forget_failure(task, cpu(1)), Ok(None));
        machine.cpu_up(task, cpu(1)).unwrap();
        // One that has struck is gone by itself.
        machine.fail_once(task, cpu(1), state).unwrap();
        machine.cpu_down(task, cpu(1)).unwrap_err();
        assert_eq!(machine.forget_failure(task, cpu(1)), Ok(None));
        let none = machine.forget_failure(task, CpuId::new(63));
        assert!(matches!(none, Err(HotplugError::NoSuchCpu(_))), "{none:?}");
    });
}

#[test]
fn a_refusal_at_the_last_moment_brings_everything_back() {
    for protocol in [Protocol::STANDSTILL, Protocol::REFUSE] {
        run(protocol, |machine, task| {
            install_one_of_each(machine, task);
            machine.cpu_up(task, cpu(1)).unwrap();
            machine.platform().0.lines_stuck.store(true, SeqCst);
            let error = machine.cpu_down(task, cpu(1)).unwrap_err();
            let HotplugError::Lines { reason, .. } = error else { panic!("{error}") };
            assert_eq!(reason.code, -28);
            assert_eq!(machine.state(cpu(1)), StateId::ACTIVE);
            let away = machine.platform().0.lines_away.load(SeqCst);
            assert_eq!(away, 0, "the lines of a CPU that stays are aimed at it again");
            machine.call_single(task, cpu(1), &|_: &Off<'_>| ()).unwrap();
            machine.stop_one_cpu(task, cpu(1), &|_: &mut Pinned<'_>| 0).unwrap();
            machine.platform().0.lines_stuck.store(false, SeqCst);
            machine.cpu_down(task, cpu(1)).unwrap();
        });
    }
}

#[test]
fn a_cpu_rests_at_intermediate_targets() {
    run(Protocol::STANDSTILL, |machine, task| {
        let (prepare, domains, _) = install_one_of_each(machine, task);
        machine.cpu_up_to(task, cpu(1), prepare).unwrap();
        assert_eq!(machine.state(cpu(1)), prepare);
        machine.cpu_up_to(task, cpu(1), StateId::AP_ONLINE).unwrap();
        assert!(machine.online().contains(cpu(1)) && !machine.active().contains(cpu(1)));
        assert_eq!(
            machine.cpu_up_to(task, cpu(2), StateId::BRINGUP),
            Err(HotplugError::NotARestState(StateId::BRINGUP))
        );
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.cpu_down_to(task, cpu(1), domains).unwrap();
        assert!(!machine.active().contains(cpu(1)));
        machine.cpu_down_to(task, cpu(1), prepare).unwrap();
        assert!(!machine.online().contains(cpu(1)));
        machine.cpu_down(task, cpu(1)).unwrap();
        assert_eq!(machine.state(cpu(1)), StateId::OFFLINE);
    });
}

#[test]
fn callbacks_come_and_go_while_the_machine_runs() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let calls: &'static Mutex<Vec<(bool, usize)>> = leak(Mutex::default());
        let state = machine
            .add_state(
                task,
                "late comer",
                Callbacks::Online {
                    up: Some(leak(|_: &mut Task, who: CpuId| {
                        calls.lock().unwrap().push((true, who.index()));
                        Ok(())
                    })),
                    down: Some(leak(|_: &mut Task, who: CpuId| {
                        calls.lock().unwrap().push((false, who.index()));
                        Ok(())
                    })),
                },
            )
            .unwrap();
        assert_eq!(machine.state_name(task, state), Some("late comer"));
        machine.remove_state(task, state).unwrap();
        assert_eq!(*calls.lock().unwrap(), [(true, 0), (true, 1), (false, 0), (false, 1)]);
        assert_eq!(machine.remove_state(task, state), Err(HotplugError::NotInstalled(state.id())));
        let refusing = switch();
        refusing.up.store(true, SeqCst);
        assert!(matches!(
            machine.add_state(task, "refuses", online(refusing)),
            Err(HotplugError::Veto { .. })
        ));
        assert_eq!(machine.state_name(task, state), None);
        for _ in 0..standstill::hotplug::ONLINE_SLOTS {
            machine.add_state_nocalls(task, "filler", online(switch())).unwrap();
        }
        assert_eq!(
            machine.add_state_nocalls(task, "one too many", online(switch())),
            Err(HotplugError::Full(Section::Online))
        );
    });
}

#[test]
fn refusals_name_their_reason() {
    run(Protocol::STANDSTILL, |machine, task| {
        assert_eq!(machine.cpu_down(task, cpu(0)), Err(HotplugError::LastOnline(cpu(0))));
        assert_eq!(machine.cpu_up(task, cpu(7)), Err(HotplugError::NoSuchCpu(cpu(7))));
        machine.set_present(task, cpu(3), false).unwrap();
        assert_eq!(machine.cpu_up(task, cpu(3)), Err(HotplugError::NotPresent(cpu(3))));
        assert_eq!(machine.set_present(task, cpu(0), false), Err(HotplugError::StillUp(cpu(0))));
        machine.hotplug_disable(task).unwrap();
        machine.hotplug_disable(task).unwrap();
        machine.hotplug_enable(task).unwrap();
        assert_eq!(machine.cpu_up(task, cpu(1)), Err(HotplugError::Disabled));
        machine.hotplug_enable(task).unwrap();
        machine.cpu_up(task, cpu(1)).unwrap();
        let mut guard = machine.cpus_read_lock(task);
        assert_eq!(machine.cpu_down(guard.task(), cpu(1)), Err(HotplugError::HeldByCaller));
        let nested = machine.cpus_read_lock(guard.task());
        drop(nested);
        assert_eq!(machine.stop_machine_cpuslocked(&mut guard, None, &|_: &Stopped<'_>| 0).unwrap().ran(), 1);
    });
}

#[test]
fn a_callback_may_call_and_stop_and_may_not_start_another_operation() {
    run(Protocol::STANDSTILL, |machine, task| {
        let seen: &'static Mutex<Option<HotplugError>> = leak(Mutex::default());
        machine
            .add_state_nocalls(
                task,
                "busy",
                Callbacks::Online {
                    up: Some(leak(|task: &mut Task, who: CpuId| {
                        machine.call_single(task, cpu(0), &|_: &Off<'_>| ()).unwrap();
                        assert_eq!(machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).unwrap().ran(), 1);
                        drop(machine.cpus_read_lock(task));
                        *seen.lock().unwrap() = machine.cpu_down(task, who).err();
                        Ok(())
                    })),
                    down: None,
                },
            )
            .unwrap();
        machine.cpu_up(task, cpu(1)).unwrap();
        assert_eq!(*seen.lock().unwrap(), Some(HotplugError::HeldByCaller));
    });
}

#[test]
fn to_enable_what_is_not_disabled_is_a_bug_of_the_caller_and_locks_nobody_out() {
    run(Protocol::STANDSTILL, |machine, task| {
        let enable = std::panic::AssertUnwindSafe(|| machine.hotplug_enable(task));
        assert!(std::panic::catch_unwind(enable).is_err());
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.hotplug_disable(task).unwrap();
        assert_eq!(machine.cpu_down(task, cpu(1)), Err(HotplugError::Disabled));
        machine.hotplug_enable(task).unwrap();
        machine.cpu_down(task, cpu(1)).unwrap();
    });
}

#[test]
fn works_behind_the_hotplug_stop_are_answered_refused() {
    for protocol in [Protocol::STANDSTILL, Protocol::REFUSE] {
        run(protocol, |machine, task| {
            machine.cpu_up(task, cpu(1)).unwrap();
            let work: &'static StopWork<_> = leak(StopWork::new());
            let ran: &'static AtomicUsize = leak(AtomicUsize::new(0));
            let f: &'static _ = leak(|_: &mut Pinned<'_>| ran.fetch_add(1, SeqCst) as i32);
            // Queued by the dying CPU itself in its DYING step: behind the work that takes it down.
            machine
                .add_state_nocalls(
                    task,
                    "queues a work",
                    Callbacks::Starting {
                        starting: None,
                        dying: Some(leak(|off: &IrqOff<'_>, who: CpuId| {
                            machine.stop_one_cpu_nowait(off, who, work, f).unwrap();
                        })),
                    },
                )
                .unwrap();
            machine.cpu_down(task, cpu(1)).unwrap();
            assert_eq!(work.state(), WorkState::Refused);
            assert_eq!(ran.load(SeqCst), 0);
            let again = machine.stop_one_cpu_nowait(task, cpu(1), work, f);
            assert_eq!(again, Err(StopError::Offline(cpu(1))));
        });
    }
}

#[test]
fn a_call_to_the_own_cpu_in_the_drain_is_refused() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let csd: &'static Csd<_> = leak(Csd::new());
        let answer: &'static Mutex<Option<CallError>> = leak(Mutex::default());
        let nothing: &'static fn(&Off<'_>) = leak(|_: &Off<'_>| ());
        machine
            .add_state_nocalls(
                task,
                "sends",
                Callbacks::Starting {
                    starting: None,
                    dying: Some(leak(|off: &IrqOff<'_>, who: CpuId| {
                        *answer.lock().unwrap() = machine.call_single_async(off, who, csd, nothing).err();
                    })),
                },
            )
            .unwrap();
        machine.cpu_down(task, cpu(1)).unwrap();
        assert_eq!(*answer.lock().unwrap(), Some(CallError::Offline(cpu(1))));
    });
}

#[test]
fn a_cpu_that_comes_up_may_stop_the_machine() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(2)).unwrap();
        let ran: &'static Mutex<Vec<usize>> = leak(Mutex::default());
        machine
            .add_state_nocalls(
                task,
                "patches",
                Callbacks::Starting {
                    starting: Some(leak(|off: &IrqOff<'_>, _| {
                        let f = |_: &Stopped<'_>| {
                            ran.lock().unwrap().push(machine.platform().this_cpu().index());
                            0
                        };
                        assert_eq!(machine.stop_machine_from_inactive_cpu(off, None, &f), Ok(0));
                        let all = CpuMask::first_n(4);
                        assert_eq!(machine.stop_machine_from_inactive_cpu(off, Some(&all), &f), Ok(0));
                    })),
                    dying: None,
                },
            )
            .unwrap();
        machine.cpu_up(task, cpu(1)).unwrap();
        let mut ran = ran.lock().unwrap().clone();
        ran[1..].sort_unstable();
        assert_eq!(ran, [1, 0, 1, 2]);
        let error = machine
            .irq_off(task, |off| machine.stop_machine_from_inactive_cpu(off, None, &|_: &Stopped<'_>| 0));
        assert_eq!(error, Err(StopError::NotComingUp(cpu(0))));
    });
}

#[test]
fn a_held_cpu_is_named_and_the_next_stop_works() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let (held, release): (&'static AtomicBool, &'static AtomicBool) =
            (leak(AtomicBool::new(false)), leak(AtomicBool::new(false)));
        machine.platform().task(1, move |task| {
            machine.irq_off(task, |_| {
                held.store(true, SeqCst);
                while !release.load(SeqCst) {
                    std::thread::yield_now();
                }
            });
        });
        while !held.load(SeqCst) {
            machine.platform().breathe();
        }
        let deadline = machine.platform().deadline_in(4 * polled::STALL.as_nanos() as u64);
        let error = machine.stop_machine_deadline(task, None, deadline, &|_: &Stopped<'_>| 0).err();
        let Some(StopError::Deadline { missing, .. }) = error else { panic!("{error:?}") };
        assert_eq!(missing, CpuMask::of(cpu(1)));
        let named = logged(machine, |what| match what {
            What::Stalled(stall) => Some((stall.missing, stall.runs.irqs_off_at.is_some())),
            _ => None,
        });
        assert!(named.contains(&(cpu(1), true)), "{named:?}");
        // While its work of the abandoned stop is still in the list of the held CPU.
        let again = machine.platform().deadline_in(1000);
        assert!(machine.stop_machine_deadline(task, None, again, &|_: &Stopped<'_>| 0).is_err());
        release.store(true, SeqCst);
        let active = CpuMask::first_n(2);
        assert_eq!(machine.stop_machine(task, Some(&active), &|_: &Stopped<'_>| 0).unwrap().ran(), 2);
    });
}

#[test]
fn readers_keep_writers_out_and_neither_starves() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let rounds = if cfg!(miri) { 3 } else { 200 };
        let done: &'static AtomicUsize = leak(AtomicUsize::new(0));
        for at in [0, 1, 0] {
            machine.platform().task(at, move |task| {
                for _ in 0..rounds {
                    let mut guard = machine.cpus_read_lock(task);
                    let before = machine.online().snapshot();
                    machine.platform().breathe();
                    drop(machine.cpus_read_trylock(guard.task()).expect("it is held already"));
                    assert_eq!(before, machine.online().snapshot());
                    drop(guard);
                    machine.platform().breathe();
                }
                done.fetch_add(1, SeqCst);
            });
        }
        let mut operations = 0;
        while done.load(SeqCst) < 3 {
            machine.cpu_up(task, cpu(2)).unwrap();
            machine.cpu_down(task, cpu(2)).unwrap();
            operations += 2;
        }
        assert!(operations > 0);
    });
}

#[test]
fn who_only_tries_the_lock_is_refused_beside_a_writer_and_leaves_nothing_behind() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let [asks, tried, got]: [&'static AtomicBool; 3] = [(); 3].map(|()| leak(AtomicBool::new(false)));
        let up = leak(move |task: &mut Task, _| {
            assert!(machine.cpus_read_trylock(task).is_some(), "the writer itself needs nothing");
            asks.store(true, SeqCst);
            while !tried.load(SeqCst) {
                machine.platform().breathe();
            }
            Ok(())
        });
        let prepare = Callbacks::Prepare { up: Some(up), dead: None };
        machine.add_state_nocalls(task, "memory", prepare).unwrap();
        machine.platform().task(1, move |task| {
            while !asks.load(SeqCst) {
                machine.platform().breathe();
            }
            assert!(machine.cpus_read_trylock(task).is_none(), "a CPU comes up");
            tried.store(true, SeqCst);
            while machine.cpus_read_trylock(task).is_none() {
                machine.platform().breathe();
            }
            got.store(true, SeqCst);
        });
        machine.cpu_up(task, cpu(2)).unwrap();
        while !got.load(SeqCst) {
            machine.platform().breathe();
        }
        machine.cpu_down(task, cpu(2)).unwrap();
    });
}
