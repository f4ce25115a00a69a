//! Operations that end early: by the port's patience, by a deadline, by another CPU. What each leaves behind, and
//! whom it names. On the polled port; runs under Miri.

#![expect(
    clippy::disallowed_types,
    reason = "tests are no part of the library: they may have atomics of their own"
)]

mod polled;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use polled::{Four, Off, Polled, run};
use standstill::context::{Pinned, Stopped, Task};
use standstill::hotplug::{Callbacks, HotplugError, Reason, StateId};
use standstill::platform::{Deadline, Wait};
use standstill::stop::StopError;
use standstill::{Bound, Cancel, CpuId, CpuMask, Protocol};

const PROTOCOLS: [Protocol; 3] = [Protocol::STANDSTILL, Protocol::SINGLE_DEAF, Protocol::REFUSE];

/// How long control waits for what does not come.
const IMPATIENT_MS: usize = if cfg!(miri) { 20_000 } else { 300 };

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn flag() -> &'static AtomicBool {
    leak(AtomicBool::new(false))
}

/// A CPU that takes no interrupts until it is let go. It can cancel what waits for it.
struct Deaf {
    go: &'static AtomicBool,
    heard: &'static AtomicBool,
    cancels: &'static Mutex<Option<&'static Cancel<Polled>>>,
}

impl Deaf {
    fn new(machine: &'static Four, who: usize) -> Self {
        let (inside, go, heard) = (flag(), flag(), flag());
        let cancels: &'static Mutex<Option<&'static Cancel<Polled>>> = leak(Mutex::new(None));
        machine.platform().task(who, move |task| {
            machine.irq_off(task, |off| {
                inside.store(true, SeqCst);
                while !go.load(SeqCst) {
                    std::thread::yield_now();
                    if let Some(token) = cancels.lock().unwrap().take() {
                        std::thread::sleep(Duration::from_millis(5));
                        machine.cancel(off, token);
                    }
                }
            });
            heard.store(true, SeqCst);
        });
        until(machine, inside);
        Deaf { go, heard, cancels }
    }

    fn hears_again(self, machine: &'static Four) {
        self.go.store(true, SeqCst);
        until(machine, self.heard);
    }
}

fn until(machine: &'static Four, flag: &AtomicBool) {
    while !flag.load(SeqCst) {
        machine.platform().breathe();
    }
}

/// Runs `f` with little patience.
fn impatient<R>(machine: &'static Four, f: impl FnOnce() -> R) -> R {
    let timeout = &machine.platform().0.timeout_ms;
    let patience = timeout.swap(IMPATIENT_MS, SeqCst);
    let result = f();
    timeout.store(patience, SeqCst);
    result
}

/// Everything works: the lock is free, the turn is, and each CPU that is up takes calls.
fn is_whole(machine: &'static Four, task: &mut Task, up: usize) {
    let all = CpuMask::first_n(up);
    for mask in [machine.online(), machine.active(), machine.accepting()] {
        assert_eq!(mask.snapshot(), all);
    }
    assert_eq!(machine.quiesce(task), Ok(()));
    assert_eq!(machine.stop_machine(task, Some(&all), &|_: &Stopped<'_>| 0).unwrap().ran(), up);
    for who in &all {
        assert_eq!(machine.call_single(task, who, &|_: &Off<'_>| ()), Ok(()));
        assert_eq!(machine.stop_one_cpu(task, who, &|_: &mut Pinned<'_>| 5), Ok(5));
    }
    machine.cpu_down(task, cpu(up - 1)).unwrap();
    machine.cpu_up(task, cpu(up - 1)).unwrap();
}

fn up_to(machine: &'static Four, task: &mut Task, count: usize) {
    for who in 1..count {
        machine.cpu_up(task, cpu(who)).unwrap();
    }
}

#[test]
fn a_cpu_that_does_not_die_is_waited_for_no_longer_than_patience_says() {
    for protocol in PROTOCOLS {
        run(protocol, move |machine, task| {
            up_to(machine, task, 3);
            let board = machine.platform().0;
            board.hold_death.store(1 << 2, SeqCst);
            let down = impatient(machine, || machine.cpu_down(task, cpu(2)));
            assert_eq!(down, Err(HotplugError::NotDead(cpu(2))), "{protocol}");
            // Nobody else is kept waiting for it.
            assert_eq!(machine.quiesce(task), Ok(()));
            assert_eq!(machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).unwrap().ran(), 1);
            let pair = machine.stop_two_cpus(task, cpu(0), cpu(2), &|_: &Stopped<'_>| 0).err();
            assert_eq!(pair, Some(StopError::Offline(cpu(2))));
            let one = machine.stop_one_cpu(task, cpu(2), &|_: &mut Pinned<'_>| 0);
            assert_eq!(one, Err(StopError::Offline(cpu(2))));
            machine.cpu_down(task, cpu(1)).unwrap();
            machine.cpu_up(task, cpu(1)).unwrap();
            board.hold_death.store(0, SeqCst);
            while machine.cpu_up(task, cpu(2)) == Err(HotplugError::NotDead(cpu(2))) {
                machine.platform().breathe();
            }
            is_whole(machine, task, 3);
        });
    }
}

/// A DYING callback hangs, without a stop around it: the CPU is out of the mask, and its stopper is open still.
#[test]
fn who_hangs_on_its_way_out_keeps_nobody() {
    run(Protocol::REFUSE, |machine, task| {
        let go = flag();
        let dying = leak(move |_: &Off<'_>, who: CpuId| {
            while who == cpu(2) && !go.load(SeqCst) {
                std::thread::yield_now();
            }
        });
        let callbacks = Callbacks::Starting { starting: None, dying: Some(dying) };
        machine.add_state_nocalls(task, "hangs", callbacks).unwrap();
        up_to(machine, task, 3);
        let down = impatient(machine, || machine.cpu_down(task, cpu(2)));
        assert_eq!(down, Err(HotplugError::NotDead(cpu(2))));
        assert_eq!(machine.quiesce(task), Ok(()));
        // A pair does not ask who is online: its part is queued there, and answered when the stopper closes.
        let (pair, answered) = (leak(Mutex::new(None)), flag());
        machine.platform().task(0, move |task| {
            let f = |_: &Stopped<'_>| 0;
            let error = machine.stop_two_cpus(task, cpu(1), cpu(2), &f).err();
            *pair.lock().unwrap() = error;
            answered.store(true, SeqCst);
        });
        for _ in 0..50 {
            machine.platform().breathe();
        }
        go.store(true, SeqCst);
        until(machine, answered);
        assert_eq!(*pair.lock().unwrap(), Some(StopError::Offline(cpu(2))));
        while machine.cpu_up(task, cpu(2)) == Err(HotplugError::NotDead(cpu(2))) {
            machine.platform().breathe();
        }
        is_whole(machine, task, 3);
    });
}

#[test]
fn a_third_cpu_that_is_deaf_ends_the_operation_and_is_named() {
    for protocol in PROTOCOLS {
        run(protocol, move |machine, task| {
            up_to(machine, task, 3);
            let deaf = Deaf::new(machine, 2);
            let began = Instant::now();
            let down = impatient(machine, || machine.cpu_down(task, cpu(1)));
            assert!(began.elapsed() < Duration::from_millis(IMPATIENT_MS as u64 * 20));
            let Err(error @ HotplugError::Deadline { missing, .. }) = down else { panic!("{down:?}") };
            assert_eq!(missing, cpu(2), "{protocol}: {error}");
            assert!(error.is_retryable());
            assert_eq!(machine.state(cpu(1)), StateId::ACTIVE);
            assert!(machine.active().contains(cpu(1)) && machine.accepting().contains(cpu(1)));
            // A pass that was given up is none, and says so, and so does a stop without a deadline of its own.
            let quiet = impatient(machine, || machine.quiesce(task));
            let Err(StopError::Deadline { missing, .. }) = quiet else { panic!("{quiet:?}") };
            assert_eq!(missing, CpuMask::of(cpu(2)));
            let stop = impatient(machine, || machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).err());
            let Some(StopError::Deadline { missing, .. }) = stop else { panic!("{stop:?}") };
            assert!(missing.contains(cpu(2)));
            let ran = AtomicUsize::new(0);
            let work = |_: &mut Pinned<'_>| ran.fetch_add(1, SeqCst) as i32;
            let one = impatient(machine, || machine.stop_one_cpu(task, cpu(2), &work));
            assert!(matches!(one, Err(StopError::Deadline { .. })), "{one:?}");
            deaf.hears_again(machine);
            assert_eq!(machine.stop_one_cpu(task, cpu(2), &|_: &mut Pinned<'_>| 8), Ok(8));
            assert_eq!(ran.load(SeqCst), 0, "a work that was taken back runs");
            is_whole(machine, task, 3);
        });
    }
}

/// The CPU that is to leave does not answer itself: nothing that was begun on it stays.
#[test]
fn the_cpu_that_is_to_leave_is_deaf() {
    for protocol in PROTOCOLS {
        run(protocol, move |machine, task| {
            up_to(machine, task, 3);
            // Not active, so that nobody has to pass before its threads are asked.
            machine.cpu_down_to(task, cpu(2), StateId::AP_ONLINE).unwrap();
            let deaf = Deaf::new(machine, 2);
            let down = impatient(machine, || machine.cpu_down(task, cpu(2)));
            assert!(
                matches!(down, Err(HotplugError::Deadline { missing, .. }) if missing == cpu(2)),
                "{down:?}"
            );
            assert_eq!(machine.state(cpu(2)), StateId::AP_ONLINE);
            deaf.hears_again(machine);
            machine.cpu_up(task, cpu(2)).unwrap();
            is_whole(machine, task, 3);
        });
    }
}

#[test]
fn a_reader_that_stays_ends_the_operation() {
    run(Protocol::STANDSTILL, |machine, task| {
        up_to(machine, task, 2);
        let (holds, go, gone) = (flag(), flag(), flag());
        machine.platform().task(1, move |task| {
            let guard = machine.cpus_read_lock(task);
            holds.store(true, SeqCst);
            until(machine, go);
            drop(guard);
            gone.store(true, SeqCst);
        });
        until(machine, holds);
        let down = impatient(machine, || machine.cpu_down(task, cpu(1)));
        assert!(matches!(down, Err(HotplugError::Deadline { .. })), "{down:?}");
        let add = Callbacks::Online { up: None, down: None };
        let added = impatient(machine, || machine.add_state(task, "late", add));
        assert!(matches!(added, Err(HotplugError::Deadline { .. })), "{added:?}");
        // Readers are let in again.
        assert!(machine.cpus_read_trylock(task).is_some());
        go.store(true, SeqCst);
        until(machine, gone);
        is_whole(machine, task, 2);
    });
}

/// What to do, and how it looks when it ended early.
type Operation = (&'static str, fn(&'static Four, &mut Task) -> Result<(), Early>);

#[derive(Debug, PartialEq)]
enum Early {
    Expired,
    Cancelled,
    Other(String),
}

impl From<HotplugError> for Early {
    fn from(error: HotplugError) -> Self {
        match error {
            HotplugError::Deadline { .. } => Early::Expired,
            HotplugError::Cancelled { .. } => Early::Cancelled,
            other => Early::Other(other.to_string()),
        }
    }
}

impl From<StopError<1>> for Early {
    fn from(error: StopError<1>) -> Self {
        match error {
            StopError::Deadline { .. } => Early::Expired,
            StopError::Cancelled => Early::Cancelled,
            other => Early::Other(other.to_string()),
        }
    }
}

const NOTHING: Callbacks = Callbacks::Online { up: None, down: None };

/// Every operation that waits for CPU 2, which is deaf.
const OPERATIONS: &[Operation] = &[
    ("cpu_down", |m, task| Ok(m.cpu_down(task, cpu(1))?)),
    ("cpu_down of the deaf one", |m, task| Ok(m.cpu_down(task, cpu(2))?)),
    ("cpu_down_to", |m, task| Ok(m.cpu_down_to(task, cpu(1), StateId::AP_ONLINE)?)),
    ("add_state", |m, task| {
        let up = leak(|_: &mut Task, _: CpuId| Ok(()));
        Ok(m.add_state(task, "x", Callbacks::Online { up: Some(up), down: None }).map(drop)?)
    }),
    ("quiesce", |m, task| Ok(m.quiesce(task)?)),
    ("stop_machine", |m, task| Ok(m.stop_machine(task, None, &|_: &Stopped<'_>| 0).map(drop)?)),
    ("stop_machine_cpuslocked", |m, task| {
        let mut guard = m.cpus_read_lock(task);
        Ok(m.stop_machine_cpuslocked(&mut guard, None, &|_: &Stopped<'_>| 0).map(drop)?)
    }),
    ("stop_two_cpus", |m, task| Ok(m.stop_two_cpus(task, cpu(0), cpu(2), &|_: &Stopped<'_>| 0).map(drop)?)),
    ("stop_one_cpu", |m, task| Ok(m.stop_one_cpu(task, cpu(2), &|_: &mut Pinned<'_>| 0).map(drop)?)),
];

#[test]
fn every_operation_ends_by_a_deadline_and_by_another_cpu() {
    for protocol in PROTOCOLS {
        run(protocol, move |machine, task| {
            up_to(machine, task, 3);
            for (name, operation) in OPERATIONS {
                let deaf = Deaf::new(machine, 2);
                let deadline = machine.platform().deadline_in(20_000_000);
                let result = machine.within(task, deadline, |task| operation(machine, task));
                assert_eq!(result, Err(Early::Expired), "{protocol}: {name}");

                let token: &'static Cancel<Polled> = leak(Cancel::new());
                // All others may be in a stop by then, and wait for it.
                *deaf.cancels.lock().unwrap() = Some(token);
                let forever = Bound::until(Deadline::NEVER).or_cancelled(token);
                let result = machine.within(task, forever, |task| operation(machine, task));
                assert_eq!(result, Err(Early::Cancelled), "{protocol}: {name}");
                assert!(token.is_cancelled());
                deaf.hears_again(machine);
                is_whole(machine, task, 3);
            }
        });
    }
}

/// Waiting for the lock that another operation holds, and for the turn of the stops.
#[test]
fn who_waits_for_its_turn_can_be_cancelled() {
    run(Protocol::STANDSTILL, |machine, task| {
        up_to(machine, task, 2);
        let receipts = machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).unwrap();
        let (token, ended) = (leak(Cancel::new()), leak(AtomicUsize::new(0)));
        let waiting: [Operation; 4] = [
            ("cpu_down", |m, task| Ok(m.cpu_down(task, cpu(1))?)),
            ("hotplug_disable", |m, task| Ok(m.hotplug_disable(task)?)),
            ("add_state_nocalls", |m, task| Ok(m.add_state_nocalls(task, "x", NOTHING).map(drop)?)),
            ("stop_two_cpus", |m, task| {
                Ok(m.stop_two_cpus(task, cpu(0), cpu(1), &|_: &Stopped<'_>| 0).map(drop)?)
            }),
        ];
        for (name, operation) in waiting {
            machine.platform().task(1, move |task| {
                let result = machine.within(task, token, |task| operation(machine, task));
                assert_eq!(result, Err(Early::Cancelled), "{name}");
                ended.fetch_add(1, SeqCst);
            });
        }
        for _ in 0..100 {
            machine.platform().breathe();
        }
        assert_eq!(ended.load(SeqCst), 0, "the receipts keep everybody out");
        machine.platform().task(0, move |task| machine.cancel(task, token));
        while ended.load(SeqCst) < waiting.len() {
            machine.platform().breathe();
        }
        drop(receipts);
        is_whole(machine, task, 2);
    });
}

#[test]
fn a_token_that_was_cancelled_before_ends_what_begins_later_until_it_is_made_new() {
    run(Protocol::STANDSTILL, |machine, task| {
        up_to(machine, task, 2);
        let mut token = Cancel::new();
        machine.cancel(task, &token);
        let down = machine.within(task, &token, |task| machine.cpu_down(task, cpu(1)));
        assert!(matches!(down, Err(HotplugError::Cancelled { .. })), "{down:?}");
        let stop = machine.stop_machine_deadline(task, None, &token, &|_: &Stopped<'_>| 0).err();
        assert_eq!(stop, Some(StopError::Cancelled));
        token.rearm();
        machine.within(task, &token, |task| machine.cpu_down(task, cpu(1))).unwrap();
        machine.within(task, &token, |task| machine.cpu_up(task, cpu(1))).unwrap();
        // The bound is gone with the function that it was for.
        machine.cancel(task, &token);
        is_whole(machine, task, 2);
    });
}

#[test]
fn a_start_that_is_cancelled_is_undone() {
    run(Protocol::STANDSTILL, |machine, task| {
        let board = machine.platform().0;
        up_to(machine, task, 2);
        board.hold_start.store(1 << 2 | 1 << 3, SeqCst);
        let token: &'static Cancel<Polled> = leak(Cancel::new());
        machine.platform().task(1, move |task| {
            for _ in 0..100 {
                machine.platform().breathe();
            }
            machine.cancel(task, token);
        });
        let mut failed = 0;
        let up = machine.within(task, token, |task| {
            machine.cpus_up(task, &CpuMask::first_n(4), |_, error| {
                assert!(matches!(error, HotplugError::Cancelled { .. }), "{error}");
                failed += 1;
            })
        });
        assert_eq!((up, failed), (Ok(CpuMask::first_n(2)), 2));
        assert_eq!([2, 3].map(|n| machine.state(cpu(n))), [StateId::OFFLINE; 2]);
        board.hold_start.store(0, SeqCst);
        up_to(machine, task, 4);
        is_whole(machine, task, 4);
    });
}

/// A callback that waits until it is let go, for CPU 1 and while it is `armed`.
fn hanging(
    machine: &'static Four,
    armed: &'static AtomicBool,
    go: &'static AtomicBool,
    ran: &'static AtomicUsize,
) -> &'static (impl Fn(&mut Task, CpuId) -> Result<(), Reason> + Sync) {
    leak(move |_: &mut Task, who: CpuId| {
        while who == cpu(1) && armed.load(SeqCst) && !go.load(SeqCst) {
            machine.platform().breathe();
        }
        ran.fetch_add(1, SeqCst);
        Ok(())
    })
}

fn counter() -> &'static AtomicUsize {
    leak(AtomicUsize::new(0))
}

#[test]
fn a_teardown_that_hangs_is_named_keeps_no_lock_and_undoes_itself() {
    for protocol in PROTOCOLS {
        run(protocol, move |machine, task| {
            let (armed, go, ups, downs) = (flag(), flag(), counter(), counter());
            let up = hanging(machine, flag(), go, ups);
            let down = hanging(machine, armed, go, downs);
            let callbacks = Callbacks::Online { up: Some(up), down: Some(down) };
            let state = machine.add_state_nocalls(task, "hangs", callbacks).unwrap();
            up_to(machine, task, 3);
            armed.store(true, SeqCst);
            let error = impatient(machine, || machine.cpu_down(task, cpu(1))).unwrap_err();
            let HotplugError::Hung { cpu: who, state: at, name } = error else { panic!("{error}") };
            assert_eq!((who, at, name), (cpu(1), state.id(), "hangs"));
            assert!(error.is_retryable() && !machine.active().contains(cpu(1)));

            // No lock is held: stops and readers go on. What would break the callback's promises is refused, by its name.
            assert!(machine.cpus_read_trylock(task).is_some());
            assert_eq!(machine.quiesce(task), Ok(()));
            assert_eq!(machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).unwrap().ran(), 1);
            assert_eq!(machine.cpu_down(task, cpu(2)), Err(error));
            assert_eq!(machine.cpu_up(task, cpu(3)), Err(error));
            assert_eq!(machine.add_state_nocalls(task, "x", NOTHING).map(drop), Err(error));
            assert_eq!(machine.remove_state(task, state), Err(error));

            go.store(true, SeqCst);
            while machine.remove_state_nocalls(task, state) == Err(error) {
                machine.platform().breathe();
            }
            assert!(machine.active().contains(cpu(1)), "it is back where it was");
            assert_eq!((ups.load(SeqCst), downs.load(SeqCst)), (3, 1), "one teardown, undone");
            is_whole(machine, task, 3);
        });
    }
}

#[test]
fn a_failure_that_is_asked_for_while_a_teardown_hangs_does_not_strike_its_undoing() {
    run(Protocol::STANDSTILL, |machine, task| {
        let (armed, go) = (flag(), flag());
        let down = hanging(machine, armed, go, counter());
        let callbacks = Callbacks::Online { up: None, down: Some(down) };
        let hangs = machine.add_state_nocalls(task, "hangs", callbacks).unwrap();
        // It is torn down before the one that hangs.
        let above = machine.add_state_nocalls(task, "above", NOTHING).unwrap();
        up_to(machine, task, 2);
        armed.store(true, SeqCst);
        let error = impatient(machine, || machine.cpu_down(task, cpu(1))).unwrap_err();
        assert!(matches!(error, HotplugError::Hung { state, .. } if state == hangs.id()), "{error}");
        assert_eq!(machine.fail_once(task, cpu(1), above), Ok(()));
        go.store(true, SeqCst);
        while machine.remove_state_nocalls(task, hangs) == Err(error) {
            machine.platform().breathe();
        }
        assert!(machine.active().contains(cpu(1)), "it is back where it was");
        let left = machine.forget_failure(task, cpu(1));
        assert_eq!(left, Ok(Some(above.id())), "it is there for the next walk");
    });
}

#[test]
fn a_startup_that_hangs_leaves_its_cpu_online_and_not_active() {
    run(Protocol::STANDSTILL, |machine, task| {
        let (armed, go, ups, downs) = (flag(), flag(), counter(), counter());
        let callbacks = Callbacks::Online {
            up: Some(hanging(machine, armed, go, ups)),
            down: Some(hanging(machine, flag(), go, downs)),
        };
        machine.add_state_nocalls(task, "hangs", callbacks).unwrap();
        armed.store(true, SeqCst);
        let mut failed = Vec::new();
        let up = impatient(machine, || {
            machine.cpus_up(task, &CpuMask::first_n(3), |who, error| failed.push((who, error)))
        });
        assert_eq!(up, Ok([0, 2].map(cpu).into_iter().collect()), "the others are not kept back");
        let [(who, error @ HotplugError::Hung { .. })] = failed[..] else { panic!("{failed:?}") };
        assert_eq!(who, cpu(1));
        assert_eq!(machine.cpu_down(task, cpu(2)), Err(error));
        go.store(true, SeqCst);
        while machine.cpu_down(task, cpu(2)) == Err(error) {
            machine.platform().breathe();
        }
        assert_eq!(machine.state(cpu(1)), StateId::AP_ONLINE);
        machine.cpu_up(task, cpu(1)).unwrap();
        is_whole(machine, task, 2);
    });
}

#[test]
fn a_state_whose_startup_hangs_is_not_installed_in_the_end() {
    run(Protocol::STANDSTILL, |machine, task| {
        up_to(machine, task, 3);
        let (armed, go, ups, downs) = (flag(), flag(), counter(), counter());
        let callbacks = Callbacks::Online {
            up: Some(hanging(machine, armed, go, ups)),
            down: Some(hanging(machine, flag(), go, downs)),
        };
        armed.store(true, SeqCst);
        let error = impatient(machine, || machine.add_state(task, "hangs", callbacks).map(drop)).unwrap_err();
        assert!(
            matches!(error, HotplugError::Hung { cpu: who, name: "hangs", .. } if who == cpu(1)),
            "{error}"
        );
        assert_eq!((ups.load(SeqCst), downs.load(SeqCst)), (1, 1), "CPU 0 was set up, and torn down again");
        go.store(true, SeqCst);
        let added = loop {
            match machine.add_state(task, "next", NOTHING) {
                Err(again) if again == error => machine.platform().breathe(),
                other => break other.unwrap(),
            }
        };
        assert_eq!((ups.load(SeqCst), downs.load(SeqCst)), (2, 2), "and so was CPU 1, when it could");
        let HotplugError::Hung { state, .. } = error else { unreachable!() };
        assert_eq!(added.id(), state, "the slot is free");
        machine.remove_state(task, added).unwrap();
        is_whole(machine, task, 3);
    });
}

/// Something wakes a thread that is bound to the CPU after that has stopped taking calls: the last look sees it.
#[test]
fn who_leaves_without_a_stop_looks_once_more() {
    run(Protocol::REFUSE, |machine, task| {
        up_to(machine, task, 3);
        let board = machine.platform().0;
        // The lines are clear at the first look, and not at the second one.
        board.lines_stuck_after.store(1, SeqCst);
        let error = machine.cpu_down(task, cpu(2)).unwrap_err();
        assert!(matches!(error, HotplugError::Lines { cpu: who, .. } if who == cpu(2)), "{error}");
        assert_eq!(machine.state(cpu(2)), StateId::ACTIVE);
        board.lines_stuck_after.store(usize::MAX, SeqCst);
        is_whole(machine, task, 3);
    });
}
