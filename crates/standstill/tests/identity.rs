//! What the library gives out and is handed back: a handle that is old, of another machine or used
//! again is never taken for somebody else's. On the polled port; runs under Miri.

#![expect(
    clippy::disallowed_types,
    reason = "tests are no part of the library: they may have atomics of their own"
)]

mod polled;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use polled::{Four, Off, Polled, run, run_with};
use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::hotplug::{Callbacks, HotplugError, Reason, StateHandle, StateId};
use standstill::stop::{Receipt, StopError, StopWork, WorkState};
use standstill::{CallError, CpuId, CpuMask, Csd, Machine, Protocol};

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

const NO: Reason = Reason::new(-12, "no memory");

/// What was called: (section, CPU, up).
type Log = &'static Mutex<Vec<(&'static str, usize, bool)>>;

fn log() -> Log {
    leak(Mutex::default())
}

fn prepare(log: Log) -> Callbacks {
    let up = move |_: &mut Task, cpu: CpuId| {
        log.lock().unwrap().push(("prepare", cpu.index(), true));
        Ok(())
    };
    let dead = move |_: &mut Task, cpu: CpuId| log.lock().unwrap().push(("prepare", cpu.index(), false));
    Callbacks::Prepare { up: Some(leak(up)), dead: Some(leak(dead)) }
}

fn starting(log: Log) -> Callbacks {
    let each = |up| {
        let callback =
            move |_: &IrqOff<'_>, cpu: CpuId| log.lock().unwrap().push(("starting", cpu.index(), up));
        Some(leak(callback) as &'static standstill::hotplug::IrqOffCallback)
    };
    Callbacks::Starting { starting: each(true), dying: each(false) }
}

fn online(log: Log) -> Callbacks {
    let each = |up| {
        let callback = move |_: &mut Task, cpu: CpuId| {
            log.lock().unwrap().push(("online", cpu.index(), up));
            Ok(())
        };
        Some(leak(callback) as &'static standstill::hotplug::ThreadCallback)
    };
    Callbacks::Online { up: each(true), down: each(false) }
}

fn quiet() -> Callbacks {
    Callbacks::Online { up: None, down: None }
}

/// A second machine on the same port, which nobody boots.
fn unbooted(machine: &Four) -> &'static Four {
    leak(Machine::new(Polled(machine.platform().0), Protocol::STANDSTILL))
}

#[test]
fn a_state_that_was_removed_is_not_the_one_that_has_its_place_now() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        for install in [online, prepare, starting] {
            let log = log();
            let old = machine.add_state(task, "driver A", quiet()).unwrap();
            machine.remove_state(task, old).unwrap();
            let before = machine.add_state(task, "driver A", install(log)).unwrap();
            machine.remove_state(task, before).unwrap();
            log.lock().unwrap().clear();
            let now = machine.add_state(task, "driver B", install(log)).unwrap();
            assert_eq!(now.id(), before.id(), "the place is used again");
            let gone = Err(HotplugError::NotInstalled(before.id()));
            assert_eq!(machine.remove_state(task, before), gone);
            assert_eq!(machine.remove_state_nocalls(task, before), gone);
            assert!(log.lock().unwrap().iter().all(|(_, _, up)| *up), "nobody tears driver B down");
            assert_eq!(machine.state_name(task, before), None);
            assert_eq!(machine.state_name(task, now), Some("driver B"));
            assert_eq!(machine.state_name(task, now.id()), Some("driver B"), "whoever has the place");
            if now.id().can_fail() {
                assert_eq!(machine.fail_once(task, cpu(1), before), gone);
            }
            machine.cpu_down(task, cpu(1)).unwrap();
            machine.cpu_up(task, cpu(1)).unwrap();
            machine.remove_state(task, now).unwrap();
        }
    });
}

#[test]
fn a_handle_of_one_machine_means_nothing_to_another() {
    run(Protocol::STANDSTILL, |machine, task| {
        let other = unbooted(machine);
        let mine = machine.add_state(task, "mine", quiet()).unwrap();
        let theirs = other.add_state(task, "theirs", quiet()).unwrap();
        assert_eq!(mine.id(), theirs.id());
        let gone = Err(HotplugError::NotInstalled(mine.id()));
        assert_eq!(machine.remove_state(task, theirs), gone);
        assert_eq!(other.remove_state_nocalls(task, mine), gone);
        assert_eq!(machine.state_name(task, theirs), None);
        assert_eq!(machine.fail_once(task, cpu(1), theirs), gone);
        other.remove_state(task, theirs).unwrap();
        machine.remove_state(task, mine).unwrap();
    });
}

#[test]
fn a_failure_that_was_injected_goes_with_what_it_was_meant_for() {
    run(Protocol::STANDSTILL, |machine, task| {
        let old = machine.add_state(task, "driver A", online(log())).unwrap();
        machine.fail_once(task, cpu(1), old).unwrap();
        machine.remove_state(task, old).unwrap();
        let now = machine.add_state(task, "driver B", online(log())).unwrap();
        assert_eq!(now.id(), old.id());
        machine.cpu_up(task, cpu(1)).expect("nobody asked for driver B to fail");
        // One that is armed for another place stays.
        machine.fail_once(task, cpu(1), now).unwrap();
        let third = machine.add_state(task, "driver C", quiet()).unwrap();
        machine.remove_state_nocalls(task, third).unwrap();
        let veto = machine.cpu_down(task, cpu(1)).unwrap_err();
        assert!(matches!(veto, HotplugError::Veto { state, .. } if state == now.id()), "{veto}");
    });
}

/// A driver that is there before the machine is booted is set up for the CPU that boots, as for any
/// other: what is torn down was set up.
#[test]
fn a_state_that_is_added_before_the_boot_is_set_up_on_the_cpu_that_boots() {
    let log = log();
    let kept: &'static Mutex<Vec<StateHandle>> = leak(Mutex::default());
    run_with(
        Protocol::STANDSTILL,
        CpuMask::first_n(4),
        move |machine, task| {
            let gone = machine.add_state(task, "gone again", online(log)).unwrap();
            machine.remove_state(task, gone).unwrap();
            assert_eq!(*log.lock().unwrap(), [("online", 0, true), ("online", 0, false)]);
            log.lock().unwrap().clear();
            for callbacks in [prepare(log), starting(log), online(log)] {
                kept.lock().unwrap().push(machine.add_state(task, "early", callbacks).unwrap());
            }
            let silent = machine.add_state_nocalls(task, "silent", quiet()).unwrap();
            kept.lock().unwrap().push(silent);
            let refuses = leak(|_: &mut Task, _| Err(NO));
            let veto = machine.add_state(task, "no", Callbacks::Online { up: Some(refuses), down: None });
            assert!(matches!(veto, Err(HotplugError::Veto { cpu: who, .. }) if who == cpu(0)), "{veto:?}");
        },
        move |machine, task| {
            let all = ["prepare", "starting", "online"];
            assert_eq!(*log.lock().unwrap(), all.map(|section| (section, 0, true)));
            log.lock().unwrap().clear();
            machine.cpu_up(task, cpu(1)).unwrap();
            assert_eq!(*log.lock().unwrap(), all.map(|section| (section, 1, true)));
            log.lock().unwrap().clear();
            machine.cpu_down(task, cpu(0)).unwrap();
            let down: Vec<_> = all.iter().rev().map(|section| (*section, 0, false)).collect();
            assert_eq!(*log.lock().unwrap(), down);
            machine.cpu_up(task, cpu(0)).unwrap();
            for handle in kept.lock().unwrap().iter() {
                machine.remove_state(task, *handle).expect("the handle is as good as any other");
            }
        },
    );
}

#[test]
fn before_the_boot_an_operation_says_so() {
    run(Protocol::STANDSTILL, |machine, task| {
        let early = unbooted(machine);
        let not_yet = Err(HotplugError::NotBooted);
        for n in [0, 1, 3, 4, 1_000] {
            assert_eq!(early.cpu_up(task, cpu(n)), not_yet);
            assert_eq!(early.cpu_up_to(task, cpu(n), StateId::AP_ONLINE), not_yet);
            assert_eq!(early.cpu_down(task, cpu(n)), not_yet);
            assert_eq!(early.set_present(task, cpu(n), true), not_yet);
            assert_eq!(early.set_present(task, cpu(n), false), not_yet);
            assert_eq!(early.fail_once(task, cpu(n), StateId::ACTIVE.prev_of_tests()), not_yet);
        }
        assert_eq!(early.cpus_up(task, &CpuMask::first_n(4), |_, _| ()), Err(HotplugError::NotBooted));
        early.hotplug_disable(task).unwrap();
        early.hotplug_enable(task).unwrap();
    });
}

/// The state below ACTIVE: one in which a walk can fail.
trait Below {
    fn prev_of_tests(self) -> StateId;
}

impl Below for StateId {
    fn prev_of_tests(self) -> StateId {
        StateId::from_index(self.index() - 1).unwrap()
    }
}

/// Numbers that no CPU has: beyond the machine, beyond a mask, and one in the middle that is not
/// possible.
#[test]
fn a_number_that_no_cpu_has_is_told_everywhere() {
    let possible = [0, 1, 3].map(cpu).into_iter().collect();
    run_with(
        Protocol::STANDSTILL,
        possible,
        |_, _| (),
        |machine, task| {
            for n in 1..4 {
                let _ = machine.cpu_up(task, cpu(n));
            }
            for n in [2, 4, 63, 64, 65, 4_096, u32::MAX as usize] {
                let far = cpu(n);
                let no_hotplug = Err(HotplugError::NoSuchCpu(far));
                assert_eq!(machine.cpu_up(task, far), no_hotplug);
                assert_eq!(machine.cpu_up_to(task, far, StateId::AP_ONLINE), no_hotplug);
                assert_eq!(machine.cpu_down(task, far), no_hotplug);
                assert_eq!(machine.cpu_down_to(task, far, StateId::AP_ONLINE), no_hotplug);
                assert_eq!(machine.set_present(task, far, true), no_hotplug);
                assert_eq!(machine.set_present(task, far, false), no_hotplug);
                assert_eq!(machine.fail_once(task, far, StateId::ACTIVE.prev_of_tests()), no_hotplug);
                assert_eq!(machine.state(far), StateId::OFFLINE);

                let no_call = Err(CallError::NoSuchCpu(far));
                let nothing = |_: &Off<'_>| ();
                assert_eq!(machine.call_single(task, far, &nothing), no_call);
                assert_eq!(machine.call_single_nowait(task, far, leak(nothing)), no_call);
                let csd = leak(Csd::new());
                assert_eq!(machine.call_single_async(task, far, csd, leak(nothing)), no_call);
                assert!(csd.is_free());

                let no_stop = StopError::<1>::NoSuchCpu(far);
                assert_eq!(machine.stop_one_cpu(task, far, &|_: &mut Pinned<'_>| 0), Err(no_stop));
                let work = leak(StopWork::new());
                let idle = leak(|_: &mut Pinned<'_>| 0);
                assert_eq!(machine.stop_one_cpu_nowait(task, far, work, idle), Err(no_stop));
                assert!(matches!(work.state(), WorkState::Idle | WorkState::Refused));
                for (a, b) in [(cpu(0), far), (far, cpu(1))] {
                    let pair = machine.stop_two_cpus(task, a, b, &|_: &Stopped<'_>| 0).err();
                    assert_eq!(pair, Some(no_stop));
                }
                assert!(!machine.online().contains(far) && !machine.possible().contains(far));
                let receipts = machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).unwrap();
                assert_eq!(receipts.of(far), Receipt::NotAMember);
            }
            // In a mask.
            let nothing = |_: &Off<'_>| ();
            let far = CpuMask::of(cpu(2)).or(&CpuMask::of(cpu(63)));
            assert_eq!(machine.call_any(task, &far, &nothing), Err(CallError::NoSuchCpu(cpu(63))));
            assert_eq!(machine.call_any(task, &CpuMask::EMPTY, &nothing), Err(CallError::EmptyMask));
            assert_eq!(machine.call_many(task, &far, &nothing), Ok(CpuMask::EMPTY));
            let stop = machine.stop_machine(task, Some(&far), &|_: &Stopped<'_>| 0).err();
            assert_eq!(stop, Some(StopError::NoSuchCpu(cpu(2))));
            let stop = machine.stop_machine(task, Some(&CpuMask::EMPTY), &|_: &Stopped<'_>| 0).err();
            assert_eq!(stop, Some(StopError::EmptyMask));
            let all = CpuMask::first_n(64);
            let failed = Mutex::new(vec![]);
            let up = machine.cpus_up(task, &all, |who, error| failed.lock().unwrap().push((who, error)));
            assert_eq!(up, Ok([0, 1, 3].map(cpu).into_iter().collect()));
            let failed = failed.into_inner().unwrap();
            assert_eq!(failed.len(), 61);
            assert!(failed.iter().all(|(who, error)| *error == HotplugError::NoSuchCpu(*who)));
        },
    );
}

/// A thread's token remembers whose lock it holds.
#[test]
fn what_a_thread_holds_of_one_machine_opens_nothing_of_another() {
    run(Protocol::STANDSTILL, |machine, task| {
        let other = unbooted(machine);
        let refused = |what: &str, f: &mut dyn FnMut()| {
            let panic = panic::catch_unwind(AssertUnwindSafe(f)).expect_err(what);
            let words = panic.downcast_ref::<&str>().copied().unwrap_or("");
            assert!(words.contains("another machine"), "{what}: {words}");
        };
        {
            let mut guard = machine.cpus_read_lock(task);
            refused("read lock", &mut || drop(other.cpus_read_lock(guard.task())));
            refused("read trylock", &mut || drop(other.cpus_read_trylock(guard.task())));
            refused("stop under the guard", &mut || {
                drop(other.stop_machine_cpuslocked(&mut guard, None, &|_: &Stopped<'_>| 0));
            });
            refused("stop", &mut || {
                drop(other.stop_machine(guard.task(), None, &|_: &Stopped<'_>| 0));
            });
            refused("quiesce", &mut || assert!(other.quiesce(guard.task()).is_ok()));
            refused("operation", &mut || {
                let _ = other.hotplug_disable(guard.task());
            });
            refused("state's name", &mut || {
                let _ = other.state_name(guard.task(), StateId::OFFLINE);
            });
        }
        // Once it holds nothing, it may deal with either.
        drop(other.cpus_read_lock(task));
        drop(machine.cpus_read_lock(task));
        machine.cpu_up(task, cpu(1)).unwrap();
    });
}

/// A slot belongs to one call at a time, and what became of a work to the last that used it.
#[test]
fn a_slot_that_is_in_use_is_busy_and_a_work_tells_of_its_last_use() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let (csd, work) = (leak(Csd::<Polled>::new()), leak(StopWork::<Polled>::new()));
        let ran = leak(AtomicUsize::new(0));
        let f = leak(|_: &Off<'_>| {
            ran.fetch_add(1, SeqCst);
        });
        machine.irq_off(task, |off| {
            assert_eq!(machine.call_single_async(off, cpu(0), csd, f), Ok(()));
            assert_eq!(machine.call_single_async(off, cpu(1), csd, f), Err(CallError::Busy));
            // Nor has another machine's call a right to it.
            let other = unbooted(machine);
            assert_eq!(other.call_single_async(off, cpu(0), csd, f), Ok(()), "in place, before its boot");
        });
        assert!(csd.is_free());
        assert_eq!(ran.load(SeqCst), 2);

        let value = leak(AtomicUsize::new(7));
        let g = leak(|_: &mut Pinned<'_>| value.load(SeqCst) as i32);
        assert_eq!(work.state(), WorkState::Idle);
        for expected in [7, -1, i32::MIN, i32::MAX, 0] {
            value.store(expected as usize, SeqCst);
            machine.pin(task, |pinned| {
                assert_eq!(machine.stop_one_cpu_nowait(pinned, cpu(0), work, g), Ok(()));
                assert_eq!(work.state(), WorkState::Queued);
                let again = machine.stop_one_cpu_nowait(pinned, cpu(1), work, g);
                assert_eq!(again, Err(StopError::Busy));
            });
            assert_eq!(work.state(), WorkState::Ran(expected));
        }
        assert_eq!(machine.stop_one_cpu_nowait(task, cpu(2), work, g), Err(StopError::Offline(cpu(2))));
        assert_eq!(work.state(), WorkState::Refused);
        assert_eq!(machine.stop_one_cpu_nowait(task, cpu(9), work, g), Err(StopError::NoSuchCpu(cpu(9))));
        assert_eq!(work.state(), WorkState::Refused, "a call that is refused at once leaves it alone");
    });
}

/// Receipts tell of the stop that their caller made, whatever the one before was asked for.
#[test]
fn receipts_are_those_of_the_last_stop() {
    let early_asked = [0, 2].map(cpu).into_iter().collect::<CpuMask>();
    run_with(
        Protocol::STANDSTILL,
        [0, 1].map(cpu).into_iter().collect(),
        move |machine, task| {
            let receipts = machine.stop_machine(task, Some(&early_asked), &|_: &Stopped<'_>| 3).unwrap();
            assert_eq!(receipts.of(cpu(0)), Receipt::Ran(3));
            assert_eq!(receipts.of(cpu(2)), Receipt::Refused, "it was asked for, and it is not online");
            assert_eq!(receipts.of(cpu(1)), Receipt::NotAMember);
        },
        move |machine, task| {
            machine.cpu_up(task, cpu(1)).unwrap();
            let all = CpuMask::first_n(2);
            let receipts = machine.stop_machine(task, Some(&all), &|_: &Stopped<'_>| -1).unwrap();
            let each: Vec<_> = receipts.iter().map(|(_, receipt)| receipt).collect();
            let (ran, not) = (Receipt::Ran(-1), Receipt::NotAMember);
            assert_eq!(each, [ran, ran, not, not], "CPU 2 is none of this machine");
            drop(receipts);
            let receipts = machine.stop_machine(task, None, &|_: &Stopped<'_>| 5).unwrap();
            assert_eq!((receipts.ran(), receipts.of(cpu(1))), (1, Receipt::NotAMember));
        },
    );
}

/// A CPU that answers a former start has the former number.
#[test]
fn a_cpu_that_answers_a_former_start_is_not_taken_for_the_new_one() {
    run(Protocol::STANDSTILL, |machine, task| {
        let board = machine.platform().0;
        let starts = leak(AtomicUsize::new(0));
        let counts = leak(|_: &IrqOff<'_>, _| {
            starts.fetch_add(1, SeqCst);
        });
        let callbacks = Callbacks::Starting { starting: Some(counts), dying: None };
        machine.add_state_nocalls(task, "counts", callbacks).unwrap();
        let patience = board.timeout_ms.swap(20, SeqCst);
        board.hold_start.store(1 << 1, SeqCst);
        for _ in 0..3 {
            assert_eq!(machine.cpu_up(task, cpu(1)), Err(HotplugError::NoAnswer(cpu(1))));
        }
        board.timeout_ms.store(patience, SeqCst);
        board.hold_start.store(0, SeqCst);
        machine.cpu_up(task, cpu(1)).unwrap();
        assert_eq!(starts.load(SeqCst), 1, "three are late, and one comes");
    });
}

/// A guard that is forgotten keeps CPUs from coming and going, and does nothing else.
#[test]
fn a_guard_that_is_forgotten_blocks_hotplug_and_nothing_else() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        std::mem::forget(machine.cpus_read_lock(task));
        assert_eq!(machine.cpu_down(task, cpu(1)), Err(HotplugError::HeldByCaller));
        let ended: &'static AtomicBool = leak(AtomicBool::new(false));
        machine.platform().task(1, move |task| {
            drop(machine.cpus_read_lock(task));
            drop(machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).unwrap());
            machine.call_all(task, &|_: &Off<'_>| ()).unwrap();
            ended.store(true, SeqCst);
        });
        while !ended.load(SeqCst) {
            machine.platform().breathe();
        }
    });
}

/// The numbers of stops have 44 bits, and are used again after the last: across that, every form works as
/// before, and a CPU that is late for a stop of the old numbers is not taken for one of the new.
#[cfg(feature = "study")]
#[test]
fn the_numbers_of_stops_are_used_again_and_nobody_notices() {
    use standstill::platform::Wait;

    for left in 0..4 {
        for protocol in [Protocol::STANDSTILL, Protocol::REFUSE] {
            let early = move |machine: &'static Four, _: &mut Task| machine.spend_epochs(left);
            run_with(protocol, CpuMask::first_n(4), early, |machine, task| {
                for n in 1..4 {
                    machine.cpu_up(task, cpu(n)).unwrap();
                }
                let all = CpuMask::first_n(4);
                assert_eq!(machine.stop_machine(task, Some(&all), &|_: &Stopped<'_>| 7).unwrap().ran(), 4);
                machine.quiesce(task).unwrap();
                drop(machine.stop_two_cpus(task, cpu(1), cpu(2), &|_: &Stopped<'_>| 0).unwrap());
                // One that is given up because of CPU 3, which is late for it.
                let (inside, go): (&AtomicBool, &AtomicBool) =
                    (leak(AtomicBool::new(false)), leak(AtomicBool::new(false)));
                machine.platform().task(3, move |task| {
                    machine.irq_off(task, |_| {
                        inside.store(true, SeqCst);
                        while !go.load(SeqCst) {
                            std::thread::yield_now();
                        }
                    });
                });
                while !inside.load(SeqCst) {
                    machine.platform().breathe();
                }
                let deadline = machine.platform().deadline_in(20_000_000);
                let stop = machine.stop_machine_deadline(task, None, deadline, &|_: &Stopped<'_>| 0).err();
                assert!(matches!(stop, Some(StopError::Deadline { .. })), "{stop:?}");
                go.store(true, SeqCst);
                assert_eq!(machine.stop_machine(task, Some(&all), &|_: &Stopped<'_>| 7).unwrap().ran(), 4);
                machine.cpu_down(task, cpu(2)).unwrap();
                machine.cpu_up(task, cpu(2)).unwrap();
            });
        }
    }
}
