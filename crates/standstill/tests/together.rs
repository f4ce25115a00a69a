//! Several CPUs brought up in one operation, on the polled port: what one of them does to the others, which is nothing. Runs under Miri.

#![expect(
    clippy::disallowed_types,
    reason = "tests are no part of the library: they may have atomics of their own"
)]

mod polled;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use polled::{Four, Off, run};
use standstill::context::{IrqOff, Stopped, Task};
use standstill::event::{Sync, What};
use standstill::hotplug::{Callbacks, HotplugError, Reason, StateId};
use standstill::platform::StartError;
use standstill::stop::StopError;
use standstill::{CpuId, CpuMask, Protocol};

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

fn cpus(all: &[usize]) -> CpuMask {
    all.iter().map(|n| cpu(*n)).collect()
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

const NO: Reason = Reason { code: -12, text: "no memory" };

/// Brings up CPUs 1 to 3: those that are up, and what was said of the others.
fn up(machine: &Four, task: &mut Task) -> (CpuMask, Vec<(CpuId, HotplugError)>) {
    let mut failed = Vec::new();
    let up = machine.cpus_up(task, &cpus(&[1, 2, 3]), |cpu, error| failed.push((cpu, error)));
    (up.unwrap(), failed)
}

/// Where the log has the first event for which `f` holds.
fn place(machine: &Four, f: impl Fn(&What) -> bool) -> Option<usize> {
    machine.platform().0.log.lock().unwrap().iter().position(|event| f(&event.what))
}

#[test]
fn all_come_up_and_each_section_is_left_by_all_before_the_next() {
    for protocol in [Protocol::STANDSTILL, Protocol::REFUSE] {
        run(protocol, |machine, task| {
            // Each waits in its STARTING callback until all have come there, and in its ONLINE callback again.
            let [started, online] = [(); 2].map(|()| leak(AtomicUsize::new(0)));
            let starting = Callbacks::Starting {
                starting: Some(leak(|_: &IrqOff<'_>, _| {
                    started.fetch_add(1, SeqCst);
                    while started.load(SeqCst) < 3 {
                        std::thread::yield_now();
                    }
                })),
                dying: None,
            };
            machine.add_state_nocalls(task, "timers", starting).unwrap();
            let meets = Callbacks::Online {
                up: Some(leak(|task: &mut Task, _| {
                    let guard = machine.cpus_read_lock(task);
                    online.fetch_add(1, SeqCst);
                    while online.load(SeqCst) < 3 {
                        machine.platform().breathe();
                    }
                    assert_eq!(machine.online().snapshot(), CpuMask::first_n(4));
                    drop(guard);
                    Ok(())
                })),
                down: None,
            };
            machine.add_state_nocalls(task, "workers", meets).unwrap();
            assert_eq!(up(machine, task), (cpus(&[1, 2, 3]), vec![]));
            assert_eq!(machine.active().snapshot(), CpuMask::first_n(4));
            for n in 1..4 {
                machine.call_single(task, cpu(n), &|_: &Off<'_>| ()).unwrap();
            }
            // Again: there is nothing to do.
            assert_eq!(up(machine, task), (cpus(&[1, 2, 3]), vec![]));
            let first = |f: fn(&What) -> bool| place(machine, f).unwrap();
            let kick =
                first(|what| matches!(what, What::SyncMoved { who, to: Sync::Kicked, .. } if *who == cpu(3)));
            let walks = first(|what| matches!(what, What::StateEnter { name: "workers", .. }));
            assert!(kick < walks);
            machine.cpu_down(task, cpu(2)).unwrap();
            assert_eq!(up(machine, task), (cpus(&[1, 2, 3]), vec![]));
        });
    }
}

#[test]
fn each_failure_is_told_and_touches_nobody_else() {
    run(Protocol::STANDSTILL, |machine, task| {
        let board = machine.platform().0;
        let refusing = leak(AtomicUsize::new(0));
        let refuses = |_: &mut Task, who: CpuId| {
            if refusing.load(SeqCst) & 1 << who.index() == 0 { Ok(()) } else { Err(NO) }
        };
        let dead = leak(AtomicUsize::new(0));
        let ended = |_: &mut Task, who: CpuId| {
            dead.fetch_or(1 << who.index(), SeqCst);
        };
        let prepare = Callbacks::Prepare { up: None, dead: Some(leak(ended)) };
        machine.add_state(task, "memory", prepare).unwrap();
        let online = Callbacks::Online { up: Some(leak(refuses)), down: None };
        let workers = machine.add_state_nocalls(task, "workers", online).unwrap();

        // One does not answer, one can't be started, one comes.
        let patience = board.timeout_ms.swap(if cfg!(miri) { 20_000 } else { 1_000 }, SeqCst);
        board.hold_start.store(1 << 1, SeqCst);
        board.refuse_start.store(1 << 2, SeqCst);
        let start = HotplugError::Start { cpu: cpu(2), error: StartError("it has no power") };
        let (there, mut failed) = up(machine, task);
        failed.sort_by_key(|(cpu, _)| *cpu);
        assert_eq!(failed, [(cpu(1), HotplugError::NoAnswer(cpu(1))), (cpu(2), start)]);
        assert_eq!(there, cpus(&[3]));
        assert_eq!(machine.online().snapshot(), cpus(&[0, 3]));
        assert_eq!(dead.swap(0, SeqCst), 0b110);
        for n in [1, 2] {
            assert_eq!(machine.state(cpu(n)), StateId::OFFLINE);
        }
        board.timeout_ms.store(patience, SeqCst);
        board.hold_start.store(0, SeqCst);
        board.refuse_start.store(0, SeqCst);

        // One refuses, one comes.
        refusing.store(1 << 1, SeqCst);
        let veto = HotplugError::Veto { cpu: cpu(1), state: workers.id(), name: "workers", reason: NO };
        assert_eq!(up(machine, task), (cpus(&[2, 3]), vec![(cpu(1), veto)]));
        assert_eq!(machine.active().snapshot(), cpus(&[0, 2, 3]));
        assert_eq!(dead.swap(0, SeqCst), 0b010);

        // Those that are not there, or not for anybody, beside one that comes.
        refusing.store(0, SeqCst);
        machine.cpu_down(task, cpu(2)).unwrap();
        machine.set_present(task, cpu(2), false).unwrap();
        let mut failed = vec![];
        let there = machine.cpus_up(task, &cpus(&[1, 2, 9]), |cpu, error| failed.push((cpu, error)));
        assert_eq!(there, Ok(cpus(&[1])));
        let absent = [HotplugError::NotPresent(cpu(2)), HotplugError::NoSuchCpu(cpu(9))];
        assert_eq!(failed, [(cpu(2), absent[0]), (cpu(9), absent[1])]);
        machine.hotplug_disable(task).unwrap();
        let there = machine.cpus_up(task, &cpus(&[1]), |cpu, _| panic!("{cpu}"));
        assert_eq!(there, Err(HotplugError::Disabled));
    });
}

#[test]
fn a_cpu_does_not_leave_again_while_another_one_may_run_callbacks() {
    run(Protocol::STANDSTILL, |machine, task| {
        let board = machine.platform().0;
        let go: &'static AtomicBool = leak(AtomicBool::new(false));
        let starting = leak(|_: &IrqOff<'_>, who: CpuId| {
            while who == cpu(1) && !go.load(SeqCst) {
                std::thread::yield_now();
            }
        });
        let slow = Callbacks::Starting { starting: Some(starting), dying: None };
        let slow = machine.add_state_nocalls(task, "slow", slow).unwrap();
        let refuses = leak(|_: &mut Task, who: CpuId| if who == cpu(2) { Err(NO) } else { Ok(()) });
        let online = Callbacks::Online { up: Some(refuses), down: None };
        machine.add_state_nocalls(task, "workers", online).unwrap();

        let patience = board.timeout_ms.swap(if cfg!(miri) { 20_000 } else { 1_000 }, SeqCst);
        let (there, failed) = up(machine, task);
        board.timeout_ms.store(patience, SeqCst);
        assert_eq!(there, cpus(&[3]));
        assert_eq!(failed[0], (cpu(1), HotplugError::GivenUp(cpu(1))));
        let HotplugError::RollbackFailed { cpu: who, first, reason, .. } = failed[1].1 else {
            panic!("{failed:?}")
        };
        assert_eq!((who, first), (cpu(2), NO));
        assert!(reason.text.contains("on its way"), "{reason}");
        // It rests where it is, and can go on or leave once the other one has come to its end.
        assert_eq!(machine.state(cpu(2)), StateId::AP_ONLINE);
        go.store(true, SeqCst);
        while machine.remove_state_nocalls(task, slow) == Err(HotplugError::Stuck(cpu(1))) {
            machine.platform().breathe();
        }
        machine.cpu_down(task, cpu(2)).unwrap();
        assert_eq!(machine.online().snapshot(), cpus(&[0, 3]));
    });
}

#[test]
fn each_may_stop_the_machine_before_it_is_online() {
    run(Protocol::STANDSTILL, |machine, task| {
        let stops = leak(AtomicUsize::new(0));
        let starting = leak(|off: &IrqOff<'_>, _| {
            let f = |_: &Stopped<'_>| {
                let before = machine.online().snapshot();
                for _ in 0..100 {
                    std::thread::yield_now();
                }
                i32::from(before != machine.online().snapshot())
            };
            let value: Result<i32, StopError<1>> = machine.stop_machine_from_inactive_cpu(off, None, &f);
            assert_eq!(value, Ok(0));
            stops.fetch_add(1, SeqCst);
        });
        let callbacks = Callbacks::Starting { starting: Some(starting), dying: None };
        machine.add_state_nocalls(task, "patches", callbacks).unwrap();
        assert_eq!(up(machine, task), (cpus(&[1, 2, 3]), vec![]));
        assert_eq!(stops.load(SeqCst), 3);
    });
}
