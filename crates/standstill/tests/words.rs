//! Each error of the library, in each situation that makes one: its words are true of that situation,
//! and `is_retryable` says whether the same call succeeds once the situation has ended by itself.
//!
//! The tables are complete by construction: an error without a situation does not compile, and each
//! situation has to make the error that it stands for. On the polled port.

#![cfg(feature = "study")]
#![expect(
    clippy::disallowed_types,
    reason = "tests are no part of the library: they may have atomics of their own"
)]

mod polled;

use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use polled::{Board, Four, Off, Polled, run, run_with};
use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::event::What;
use standstill::hotplug::{Callbacks, HotplugError, Reason, Section, StateHandle, StateId};
use standstill::platform::{Deadline, Irq, Wait};
use standstill::stop::{StopError, StopWork};
use standstill::{CallError, Cancel, CpuId, CpuMask, Csd, Protocol};

/// What a situation told.
struct Told<E> {
    error: E,
    /// Words that belong there: the CPU, the thread, the state that is in the way.
    says: &'static [&'static str],
    /// What the same call answers when the situation has ended without the caller's doing.
    later: Result<(), E>,
}

type Situation<E> = fn() -> Told<E>;

fn told<E>(error: E, says: &'static [&'static str], later: Result<(), E>) -> Told<E> {
    Told { error, says, later }
}

/// The situations of each variant: the list of all, and those that may make an error that is given.
macro_rules! situations {
    ($all:ident, $of:ident: $error:ty { $($pattern:pat => [$($situation:ident),+ $(,)?],)+ }) => {
        fn $all() -> Vec<(&'static str, Situation<$error>)> {
            vec![$($((stringify!($situation), $situation as Situation<$error>),)+)+]
        }
        fn $of(error: &$error) -> &'static [&'static str] {
            match error {
                $($pattern => &[$(stringify!($situation)),+],)+
            }
        }
    };
}

fn examine<E: Display + Copy + std::fmt::Debug>(
    all: Vec<(&'static str, Situation<E>)>,
    of: fn(&E) -> &'static [&'static str],
    is_retryable: fn(&E) -> bool,
) {
    for (name, situation) in all {
        let Told { error, says, later } = situation();
        let words = error.to_string();
        println!("{name}: {words}; is_retryable {}; later {later:?}", is_retryable(&error));
        assert!(of(&error).contains(&name), "{name} made {error:?}");
        for word in says {
            assert!(words.contains(word), "{name}: `{words}` does not say `{word}`");
        }
        assert!(!words.contains('\n') && words.len() < 200, "{name}: `{words}` is no clear line");
        assert_eq!(is_retryable(&error), later.is_ok(), "{name}: `{words}`; the same call later: {later:?}");
    }
}

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn flag() -> &'static AtomicBool {
    leak(AtomicBool::new(false))
}

fn standstill<R: Send + 'static>(test: impl FnOnce(&'static Four, &mut Task) -> R + Send + 'static) -> R {
    run(Protocol::STANDSTILL, test)
}

/// The board of the port, whose switches make the situations.
fn board(machine: &Four) -> &'static Board {
    machine.platform().0
}

const IMPATIENT_MS: usize = if cfg!(miri) { 20_000 } else { 1_000 };

/// With little patience, `f`.
fn impatient<R>(machine: &Four, f: impl FnOnce() -> R) -> R {
    let patience = board(machine).timeout_ms.swap(IMPATIENT_MS, SeqCst);
    let result = f();
    board(machine).timeout_ms.store(patience, SeqCst);
    result
}

/// Repeats `f` for as long as it fails as it did first.
fn until_it_ends<R: PartialEq>(machine: &Four, first: &R, mut f: impl FnMut() -> R) -> R {
    loop {
        let again = f();
        if again != *first {
            return again;
        }
        machine.platform().breathe();
    }
}

const NO: Reason = Reason::new(-12, "no memory");

/// ONLINE callbacks that refuse for a CPU whose bit is set, on the way up and on the way down.
struct Switch {
    up: AtomicUsize,
    down: AtomicUsize,
}

fn switch() -> &'static Switch {
    leak(Switch { up: AtomicUsize::new(0), down: AtomicUsize::new(0) })
}

fn online(switch: &'static Switch) -> Callbacks {
    let refuses = |bits: &AtomicUsize, cpu: CpuId| bits.load(SeqCst) & 1 << cpu.index() != 0;
    let up = move |_: &mut Task, cpu: CpuId| if refuses(&switch.up, cpu) { Err(NO) } else { Ok(()) };
    let down = move |_: &mut Task, cpu: CpuId| if refuses(&switch.down, cpu) { Err(NO) } else { Ok(()) };
    Callbacks::Online { up: Some(leak(up)), down: Some(leak(down)) }
}

fn quiet() -> Callbacks {
    Callbacks::Online { up: None, down: None }
}

const CPU_1: CpuId = cpu(1);

type Hotplug = Told<HotplugError>;

situations! { hotplug_situations, hotplug_of: HotplugError {
    HotplugError::NotBooted => [not_booted],
    HotplugError::NoSuchCpu(_) => [no_such_cpu],
    HotplugError::NotPresent(_) => [not_present],
    HotplugError::StillUp(_) => [still_up],
    HotplugError::Disabled => [disabled, disabled_for_many],
    HotplugError::LastOnline(_) => [last_online, last_online_stays_active],
    HotplugError::LastActive(_) => [last_active],
    HotplugError::HeldByCaller => [held_for_reading, held_by_the_operation],
    HotplugError::NotARestState(_) => [no_rest_on_the_way_up, no_rest_on_the_way_down],
    HotplugError::BoundCaller(_) => [bound_caller],
    HotplugError::Veto { .. } => [veto_up, veto_down, veto_injected, veto_added, veto_removed],
    HotplugError::RollbackFailed { .. } => [
        rollback_failed_up, rollback_failed_down, rollback_failed_leaving, rollback_failed_added,
        rollback_failed_removed,
    ],
    HotplugError::Occupied { .. } => [occupied, not_idle_at_the_last_moment],
    HotplugError::Lines { .. } => [lines_have_no_place, lines_are_left_at_the_last_moment],
    HotplugError::Start { .. } => [can_not_be_started],
    HotplugError::NoAnswer(_) => [no_answer],
    HotplugError::GivenUp(_) => [given_up, given_up_asked_again, given_up_and_unplugged],
    HotplugError::Stuck(_) => [
        another_is_stuck_down, another_is_stuck_up, another_is_stuck_many, another_is_stuck_add,
        another_is_stuck_remove, of_two_the_one_that_is_stuck,
    ],
    HotplugError::NotDead(_) => [not_dead, not_dead_asked_again],
    HotplugError::Deadline { .. } => [a_third_cpu_is_deaf],
    HotplugError::Cancelled { .. } => [operation_is_cancelled],
    HotplugError::Hung { .. } => [callback_hangs, callback_hangs_for_another],
    HotplugError::CannotFail(_) => [can_not_fail],
    HotplugError::Full(_) => [full],
    HotplugError::NotInstalled(_) => [not_installed],
} }

#[test]
#[cfg_attr(miri, ignore = "it waits for a dozen deadlines")]
fn each_error_of_hotplug_is_true_of_what_made_it() {
    examine(hotplug_situations(), hotplug_of, HotplugError::is_retryable);
}

fn not_booted() -> Hotplug {
    let early: &'static Mutex<Option<HotplugError>> = leak(Mutex::default());
    let first = |machine: &'static Four, task: &mut Task| {
        *early.lock().unwrap() = machine.cpu_up(task, CPU_1).err();
    };
    let later = run_with(Protocol::STANDSTILL, CpuMask::first_n(4), first, |machine, task| {
        machine.cpu_up(task, CPU_1)
    });
    let error = early.lock().unwrap().expect("it is not booted");
    told(error, &["not booted"], later)
}

fn no_such_cpu() -> Hotplug {
    standstill(|machine, task| {
        let error = machine.cpu_up(task, cpu(4)).unwrap_err();
        told(error, &["CPU 4"], machine.cpu_up(task, cpu(4)))
    })
}

fn not_present() -> Hotplug {
    standstill(|machine, task| {
        machine.set_present(task, CPU_1, false).unwrap();
        let error = machine.cpu_up(task, CPU_1).unwrap_err();
        machine.set_present(task, CPU_1, true).unwrap();
        told(error, &["CPU 1", "plugged"], machine.cpu_up(task, CPU_1))
    })
}

fn still_up() -> Hotplug {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let error = machine.set_present(task, CPU_1, false).unwrap_err();
        machine.cpu_down(task, CPU_1).unwrap();
        told(error, &["CPU 1", "not offline"], machine.set_present(task, CPU_1, false))
    })
}

fn disabled() -> Hotplug {
    standstill(|machine, task| {
        machine.hotplug_disable(task).unwrap();
        let error = machine.cpu_up(task, CPU_1).unwrap_err();
        machine.hotplug_enable(task).unwrap();
        told(error, &["disabled"], machine.cpu_up(task, CPU_1))
    })
}

fn disabled_for_many() -> Hotplug {
    standstill(|machine, task| {
        machine.hotplug_disable(task).unwrap();
        let two = CpuMask::first_n(2);
        let error = machine.cpus_up(task, &two, |_, _| ()).unwrap_err();
        machine.hotplug_enable(task).unwrap();
        told(error, &["disabled"], machine.cpus_up(task, &two, |_, _| ()).map(|_| ()))
    })
}

fn last_online() -> Hotplug {
    standstill(|machine, task| {
        let error = machine.cpu_down(task, cpu(0)).unwrap_err();
        machine.cpu_up(task, CPU_1).unwrap();
        told(error, &["CPU 0", "last one online"], machine.cpu_down(task, cpu(0)))
    })
}

fn last_online_stays_active() -> Hotplug {
    standstill(|machine, task| {
        let error = machine.cpu_down_to(task, cpu(0), StateId::AP_ONLINE).unwrap_err();
        assert!(machine.active().contains(cpu(0)));
        machine.cpu_up(task, CPU_1).unwrap();
        let later = machine.cpu_down_to(task, cpu(0), StateId::AP_ONLINE);
        told(error, &["CPU 0", "last one online"], later)
    })
}

/// Others are online, and rest below ACTIVE.
fn last_active() -> Hotplug {
    standstill(|machine, task| {
        machine.cpu_up_to(task, CPU_1, StateId::AP_ONLINE).unwrap();
        let error = machine.cpu_down(task, cpu(0)).unwrap_err();
        assert!(machine.active().contains(cpu(0)));
        machine.cpu_up(task, CPU_1).unwrap();
        told(error, &["CPU 0", "activate another"], machine.cpu_down(task, cpu(0)))
    })
}

fn held_for_reading() -> Hotplug {
    standstill(|machine, task| {
        let mut guard = machine.cpus_read_lock(task);
        let error = machine.cpu_up(guard.task(), CPU_1).unwrap_err();
        told(error, &["holds the hotplug lock"], machine.cpu_up(guard.task(), CPU_1))
    })
}

fn held_by_the_operation() -> Hotplug {
    standstill(|machine, task| {
        let answers: &'static Mutex<Vec<Result<(), HotplugError>>> = leak(Mutex::default());
        let up = leak(|task: &mut Task, _| {
            for _ in 0..2 {
                answers.lock().unwrap().push(machine.cpu_up(task, cpu(2)));
            }
            Ok(())
        });
        machine.cpu_up(task, CPU_1).unwrap();
        machine.add_state(task, "asks", Callbacks::Online { up: Some(up), down: None }).unwrap();
        let answers = answers.lock().unwrap();
        told(answers[0].unwrap_err(), &["inside a callback"], answers[1])
    })
}

fn no_rest_on_the_way_up() -> Hotplug {
    standstill(|machine, task| {
        let error = machine.cpu_up_to(task, CPU_1, StateId::BRINGUP).unwrap_err();
        told(error, &["bringup"], machine.cpu_up_to(task, CPU_1, StateId::BRINGUP))
    })
}

fn no_rest_on_the_way_down() -> Hotplug {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let state = Section::Starting.states().next().unwrap();
        let error = machine.cpu_down_to(task, CPU_1, state).unwrap_err();
        told(error, &["starting/0"], machine.cpu_down_to(task, CPU_1, state))
    })
}

fn bound_caller() -> Hotplug {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        board(machine).bound.store(true, SeqCst);
        let error = machine.cpu_down(task, cpu(0)).unwrap_err();
        assert!(machine.active().contains(cpu(0)));
        told(error, &["bound to CPU 0"], machine.cpu_down(task, cpu(0)))
    })
}

fn veto_up() -> Hotplug {
    standstill(|machine, task| {
        let switch = switch();
        machine.add_state(task, "workers", online(switch)).unwrap();
        switch.up.store(1 << 1, SeqCst);
        let error = machine.cpu_up(task, CPU_1).unwrap_err();
        assert_eq!(machine.state(CPU_1), StateId::OFFLINE, "everything was undone");
        switch.up.store(0, SeqCst);
        told(error, &["CPU 1", "workers", "no memory", "undone"], machine.cpu_up(task, CPU_1))
    })
}

fn veto_down() -> Hotplug {
    standstill(|machine, task| {
        let switch = switch();
        machine.add_state(task, "workers", online(switch)).unwrap();
        machine.cpu_up(task, CPU_1).unwrap();
        switch.down.store(1 << 1, SeqCst);
        let error = machine.cpu_down(task, CPU_1).unwrap_err();
        assert_eq!(machine.state(CPU_1), StateId::ACTIVE, "everything was undone");
        switch.down.store(0, SeqCst);
        told(error, &["CPU 1", "workers", "no memory", "undone"], machine.cpu_down(task, CPU_1))
    })
}

fn veto_injected() -> Hotplug {
    standstill(|machine, task| {
        let state = Section::Prepare.states().next().unwrap();
        machine.fail_once(task, CPU_1, state).unwrap();
        let error = machine.cpu_up(task, CPU_1).unwrap_err();
        told(error, &["CPU 1", "prepare/0", "injected"], machine.cpu_up(task, CPU_1))
    })
}

/// `add_state` with callbacks that refuse on CPU 2, after CPU 0 and CPU 1 were set up.
fn adds_to_three(
    machine: &Four,
    task: &mut Task,
    switch: &'static Switch,
) -> Result<StateHandle, HotplugError> {
    switch.up.store(1 << 2, SeqCst);
    machine.add_state(task, "workers", online(switch))
}

fn three_up(machine: &Four, task: &mut Task) {
    machine.cpu_up(task, CPU_1).unwrap();
    machine.cpu_up(task, cpu(2)).unwrap();
}

fn veto_added() -> Hotplug {
    standstill(|machine, task| {
        let switch = switch();
        three_up(machine, task);
        let error = adds_to_three(machine, task, switch).unwrap_err();
        switch.up.store(0, SeqCst);
        let later = machine.add_state(task, "workers", online(switch)).map(|_| ());
        told(error, &["CPU 2", "workers", "no memory", "undone"], later)
    })
}

fn veto_removed() -> Hotplug {
    standstill(|machine, task| {
        let switch = switch();
        three_up(machine, task);
        let workers = machine.add_state(task, "workers", online(switch)).unwrap();
        switch.down.store(1 << 2, SeqCst);
        let error = machine.remove_state(task, workers).unwrap_err();
        assert_eq!(machine.state_name(task, workers), Some("workers"));
        switch.down.store(0, SeqCst);
        told(error, &["CPU 2", "workers", "no memory", "undone"], machine.remove_state(task, workers))
    })
}

/// Two states, of which the first is left last on the way down.
fn two_states(machine: &Four, task: &mut Task) -> (&'static Switch, &'static Switch) {
    let (first, second) = (switch(), switch());
    machine.add_state(task, "first", online(first)).unwrap();
    machine.add_state(task, "second", online(second)).unwrap();
    (first, second)
}

fn rollback_failed_up() -> Hotplug {
    standstill(|machine, task| {
        let (first, second) = two_states(machine, task);
        second.up.store(1 << 1, SeqCst);
        first.down.store(1 << 1, SeqCst);
        let error = machine.cpu_up(task, CPU_1).unwrap_err();
        second.up.store(0, SeqCst);
        first.down.store(0, SeqCst);
        assert!(machine.online().contains(CPU_1), "it is left as it was then");
        told(error, &["CPU 1", "first", "no memory", "left as it was"], machine.cpu_up(task, CPU_1))
    })
}

fn rollback_failed_down() -> Hotplug {
    standstill(|machine, task| {
        let (first, second) = two_states(machine, task);
        machine.cpu_up(task, CPU_1).unwrap();
        first.down.store(1 << 1, SeqCst);
        second.up.store(1 << 1, SeqCst);
        let error = machine.cpu_down(task, CPU_1).unwrap_err();
        first.down.store(0, SeqCst);
        second.up.store(0, SeqCst);
        assert!(machine.online().contains(CPU_1) && !machine.active().contains(CPU_1));
        told(error, &["CPU 1", "second", "no memory", "left as it was"], machine.cpu_down(task, CPU_1))
    })
}

/// A CPU is to leave again, and can't.
fn rollback_failed_leaving() -> Hotplug {
    standstill(|machine, task| {
        let switch = switch();
        machine.add_state(task, "workers", online(switch)).unwrap();
        switch.up.store(1 << 1, SeqCst);
        board(machine).lines_full.store(1 << 1, SeqCst);
        let error = machine.cpu_up(task, CPU_1).unwrap_err();
        switch.up.store(0, SeqCst);
        board(machine).lines_full.store(0, SeqCst);
        assert_eq!(machine.state(CPU_1), StateId::AP_ONLINE);
        told(error, &["CPU 1", "leaving again", "hands full", "no memory"], machine.cpu_up(task, CPU_1))
    })
}

fn rollback_failed_added() -> Hotplug {
    standstill(|machine, task| {
        let switch = switch();
        three_up(machine, task);
        switch.down.store(1 << 0, SeqCst);
        let error = adds_to_three(machine, task, switch).unwrap_err();
        switch.up.store(0, SeqCst);
        switch.down.store(0, SeqCst);
        let later = machine.add_state(task, "workers", online(switch)).map(|_| ());
        told(error, &["CPU 0", "workers", "failed, too", "left as it was"], later)
    })
}

fn rollback_failed_removed() -> Hotplug {
    standstill(|machine, task| {
        let switch = switch();
        three_up(machine, task);
        let workers = machine.add_state(task, "workers", online(switch)).unwrap();
        switch.down.store(1 << 2, SeqCst);
        switch.up.store(1 << 1, SeqCst);
        let error = machine.remove_state(task, workers).unwrap_err();
        switch.up.store(0, SeqCst);
        switch.down.store(0, SeqCst);
        let later = machine.remove_state(task, workers);
        told(error, &["CPU 1", "workers", "failed, too", "left as it was"], later)
    })
}

fn occupied() -> Hotplug {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        board(machine).squatted.store(1 << 1, SeqCst);
        let error = impatient(machine, || machine.cpu_down(task, CPU_1).unwrap_err());
        assert_eq!(machine.state(CPU_1), StateId::ACTIVE);
        board(machine).squatted.store(0, SeqCst);
        told(error, &["CPU 1", "squatter/1"], machine.cpu_down(task, CPU_1))
    })
}

fn not_idle_at_the_last_moment() -> Hotplug {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        board(machine).not_idle.store(1 << 1, SeqCst);
        let error = machine.cpu_down(task, CPU_1).unwrap_err();
        assert_eq!(machine.state(CPU_1), StateId::ACTIVE);
        board(machine).not_idle.store(0, SeqCst);
        told(error, &["CPU 1", "its stopper interrupted"], machine.cpu_down(task, CPU_1))
    })
}

fn lines_have_no_place() -> Hotplug {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        board(machine).lines_full.store(1 << 1, SeqCst);
        let error = machine.cpu_down(task, CPU_1).unwrap_err();
        assert_eq!(machine.state(CPU_1), StateId::ACTIVE);
        board(machine).lines_full.store(0, SeqCst);
        told(error, &["CPU 1", "lines", "hands full"], machine.cpu_down(task, CPU_1))
    })
}

fn lines_are_left_at_the_last_moment() -> Hotplug {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        board(machine).lines_stuck.store(true, SeqCst);
        let error = machine.cpu_down(task, CPU_1).unwrap_err();
        board(machine).lines_stuck.store(false, SeqCst);
        told(error, &["CPU 1", "lines", "no vector"], machine.cpu_down(task, CPU_1))
    })
}

fn can_not_be_started() -> Hotplug {
    standstill(|machine, task| {
        board(machine).refuse_start.store(1 << 1, SeqCst);
        let error = machine.cpu_up(task, CPU_1).unwrap_err();
        assert_eq!(machine.state(CPU_1), StateId::OFFLINE);
        board(machine).refuse_start.store(0, SeqCst);
        told(error, &["CPU 1", "no power"], machine.cpu_up(task, CPU_1))
    })
}

fn no_answer() -> Hotplug {
    standstill(|machine, task| {
        board(machine).hold_start.store(1 << 1, SeqCst);
        let error = impatient(machine, || machine.cpu_up(task, CPU_1).unwrap_err());
        board(machine).hold_start.store(0, SeqCst);
        told(error, &["CPU 1", "did not answer"], machine.cpu_up(task, CPU_1))
    })
}

/// CPUs that are given up in their STARTING callbacks: those whose bit is set stay there.
fn give_up(machine: &'static Four, task: &mut Task, cpus: &[usize]) -> (&'static AtomicUsize, HotplugError) {
    let stay = leak(AtomicUsize::new(0));
    for n in cpus {
        stay.fetch_or(1 << n, SeqCst);
    }
    let starting = leak(move |_: &IrqOff<'_>, who: CpuId| {
        while stay.load(SeqCst) & 1 << who.index() != 0 {
            std::thread::yield_now();
        }
    });
    let slow = Callbacks::Starting { starting: Some(starting), dying: None };
    machine.add_state_nocalls(task, "slow", slow).unwrap();
    let last = Mutex::new(None);
    let mask = cpus.iter().map(|n| cpu(*n)).collect();
    impatient(machine, || {
        machine.cpus_up(task, &mask, |_, error| *last.lock().unwrap() = Some(error)).unwrap();
    });
    (stay, last.into_inner().unwrap().expect("it is given up"))
}

/// Waits until nobody runs callbacks any more that was given up.
fn all_ended(machine: &'static Four, task: &mut Task) {
    while let Err(error) = machine.add_state_nocalls(task, "probe", quiet()) {
        assert!(matches!(error, HotplugError::Stuck(_)), "{error}");
        machine.platform().breathe();
    }
}

fn given_up() -> Hotplug {
    standstill(|machine, task| {
        let (stay, error) = give_up(machine, task, &[1]);
        stay.store(0, SeqCst);
        all_ended(machine, task);
        told(error, &["CPU 1", "can't be started again"], machine.cpu_up(task, CPU_1))
    })
}

/// Its own operations are told so, and not to wait for its callbacks.
fn given_up_asked_again() -> Hotplug {
    standstill(|machine, task| {
        let (stay, _) = give_up(machine, task, &[1]);
        let error = machine.cpu_down(task, CPU_1).unwrap_err();
        assert_eq!(machine.cpu_up(task, CPU_1), Err(error));
        stay.store(0, SeqCst);
        all_ended(machine, task);
        told(error, &["CPU 1", "can't be started again"], machine.cpu_down(task, CPU_1))
    })
}

fn given_up_and_unplugged() -> Hotplug {
    standstill(|machine, task| {
        let (stay, _) = give_up(machine, task, &[1]);
        stay.store(0, SeqCst);
        all_ended(machine, task);
        let error = machine.set_present(task, CPU_1, false).unwrap_err();
        told(error, &["CPU 1"], machine.set_present(task, CPU_1, false))
    })
}

/// `ask` is refused because of CPU 1; it answers something else when CPU 1 has ended its callbacks.
fn another_is_stuck(
    prepare: fn(&'static Four, &mut Task) -> StateHandle,
    ask: fn(&'static Four, &mut Task, StateHandle) -> Result<(), HotplugError>,
) -> Hotplug {
    standstill(move |machine, task| {
        let handle = prepare(machine, task);
        let (stay, _) = give_up(machine, task, &[1]);
        let error = ask(machine, task, handle).unwrap_err();
        stay.store(0, SeqCst);
        let later = until_it_ends(machine, &Err(error), || ask(machine, task, handle));
        told(error, &["nothing was changed", "CPU 1", "try again"], later)
    })
}

fn three_is_up(machine: &'static Four, task: &mut Task) -> StateHandle {
    machine.cpu_up(task, cpu(3)).unwrap();
    machine.add_state(task, "mine", quiet()).unwrap()
}

fn three_is_down(machine: &'static Four, task: &mut Task) -> StateHandle {
    machine.add_state(task, "mine", quiet()).unwrap()
}

fn another_is_stuck_down() -> Hotplug {
    another_is_stuck(three_is_up, |machine, task, _| machine.cpu_down(task, cpu(3)))
}

fn another_is_stuck_up() -> Hotplug {
    another_is_stuck(three_is_down, |machine, task, _| machine.cpu_up(task, cpu(3)))
}

fn another_is_stuck_many() -> Hotplug {
    another_is_stuck(three_is_down, |machine, task, _| {
        machine.cpus_up(task, &CpuMask::of(cpu(3)), |_, error| panic!("{error}")).map(|_| ())
    })
}

fn another_is_stuck_add() -> Hotplug {
    another_is_stuck(three_is_up, |machine, task, _| machine.add_state(task, "new", quiet()).map(|_| ()))
}

fn another_is_stuck_remove() -> Hotplug {
    another_is_stuck(three_is_up, |machine, task, handle| machine.remove_state(task, handle))
}

/// CPU 1 has ended its callbacks, and CPU 2 has not: CPU 2 is named.
fn of_two_the_one_that_is_stuck() -> Hotplug {
    standstill(|machine, task| {
        let (stay, _) = give_up(machine, task, &[1, 2]);
        let first = machine.cpu_up(task, cpu(3)).unwrap_err();
        assert_eq!(first, HotplugError::Stuck(CPU_1));
        stay.store(1 << 2, SeqCst);
        let error = until_it_ends(machine, &first, || machine.cpu_up(task, cpu(3)).unwrap_err());
        stay.store(0, SeqCst);
        let later = until_it_ends(machine, &Err(error), || machine.cpu_up(task, cpu(3)));
        told(error, &["CPU 2", "try again"], later)
    })
}

fn dies_late(machine: &Four, task: &mut Task) -> HotplugError {
    machine.cpu_up(task, CPU_1).unwrap();
    board(machine).hold_death.store(1 << 1, SeqCst);
    impatient(machine, || machine.cpu_down(task, CPU_1).unwrap_err())
}

fn not_dead() -> Hotplug {
    standstill(|machine, task| {
        let error = dies_late(machine, task);
        board(machine).hold_death.store(0, SeqCst);
        let later = until_it_ends(machine, &Err(error), || machine.cpu_down(task, CPU_1));
        told(error, &["CPU 1", "not seen dead"], later)
    })
}

fn not_dead_asked_again() -> Hotplug {
    standstill(|machine, task| {
        dies_late(machine, task);
        let error = machine.cpu_up(task, CPU_1).unwrap_err();
        board(machine).hold_death.store(0, SeqCst);
        let later = until_it_ends(machine, &Err(error), || machine.cpu_up(task, CPU_1));
        told(error, &["CPU 1", "not seen dead"], later)
    })
}

/// CPU 2 takes no interrupts until the flag is set that is returned.
fn deaf(machine: &'static Four) -> &'static AtomicBool {
    let (inside, go) = (flag(), flag());
    machine.platform().task(2, move |task| {
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
    go
}

fn a_third_cpu_is_deaf() -> Hotplug {
    standstill(|machine, task| {
        for n in [1, 2] {
            machine.cpu_up(task, cpu(n)).unwrap();
        }
        let go = deaf(machine);
        let error = impatient(machine, || machine.cpu_down(task, CPU_1)).unwrap_err();
        go.store(true, SeqCst);
        told(error, &["CPU 2", "in time", "undone"], machine.cpu_down(task, CPU_1))
    })
}

fn operation_is_cancelled() -> Hotplug {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let token = Cancel::new();
        machine.cancel(task, &token);
        let down = |task: &mut Task| machine.within(task, &token, |task| machine.cpu_down(task, CPU_1));
        let error = down(task).unwrap_err();
        told(error, &["cancelled", "undone"], down(task))
    })
}

/// The teardown of CPU 1 hangs until the flag is set; what `cpu_down` says of that.
fn hangs(machine: &'static Four, task: &mut Task) -> (HotplugError, &'static AtomicBool) {
    let go = flag();
    let down = leak(move |_: &mut Task, who: CpuId| {
        while who == CPU_1 && !go.load(SeqCst) {
            machine.platform().breathe();
        }
        Ok(())
    });
    let callbacks = Callbacks::Online { up: None, down: Some(down) };
    machine.add_state_nocalls(task, "slow driver", callbacks).unwrap();
    for n in [1, 2] {
        machine.cpu_up(task, cpu(n)).unwrap();
    }
    (impatient(machine, || machine.cpu_down(task, CPU_1)).unwrap_err(), go)
}

fn callback_hangs() -> Hotplug {
    standstill(|machine, task| {
        let (error, go) = hangs(machine, task);
        go.store(true, SeqCst);
        let later = until_it_ends(machine, &Err(error), || machine.cpu_down(task, CPU_1));
        told(error, &["CPU 1", "slow driver", "did not return in time"], later)
    })
}

fn callback_hangs_for_another() -> Hotplug {
    standstill(|machine, task| {
        let (_, go) = hangs(machine, task);
        let error = machine.cpu_down(task, cpu(2)).unwrap_err();
        go.store(true, SeqCst);
        let later = until_it_ends(machine, &Err(error), || machine.cpu_down(task, cpu(2)));
        told(error, &["CPU 1", "slow driver", "did not return in time"], later)
    })
}

fn can_not_fail() -> Hotplug {
    standstill(|machine, task| {
        let error = machine.fail_once(task, CPU_1, StateId::ACTIVE).unwrap_err();
        told(error, &["active"], machine.fail_once(task, CPU_1, StateId::ACTIVE))
    })
}

fn full() -> Hotplug {
    standstill(|machine, task| {
        let mut last = None;
        let error = loop {
            match machine.add_state(task, "filler", quiet()) {
                Ok(handle) => last = Some(handle),
                Err(error) => break error,
            }
        };
        machine.remove_state(task, last.unwrap()).unwrap();
        told(error, &["Online", "taken"], machine.add_state(task, "filler", quiet()).map(|_| ()))
    })
}

fn not_installed() -> Hotplug {
    standstill(|machine, task| {
        let old = machine.add_state(task, "old", quiet()).unwrap();
        machine.remove_state(task, old).unwrap();
        machine.add_state(task, "new", quiet()).unwrap();
        let error = machine.remove_state(task, old).unwrap_err();
        told(error, &["online/0", "not installed"], machine.remove_state(task, old))
    })
}

type Call = Told<CallError>;

situations! { call_situations, call_of: CallError {
    CallError::NoSuchCpu(_) => [no_cpu_to_call, not_possible_to_call],
    CallError::EmptyMask => [nobody_to_call],
    CallError::Offline(_) => [offline_to_call, offline_before_the_boot, offline_of_a_mask],
    CallError::Busy => [csd_is_busy, own_slot_is_busy, board_is_busy],
    CallError::InterruptsOff => [waits_with_interrupts_off, waits_for_many_with_interrupts_off],
    CallError::Withdrawn(_) => [withdrawn],
    CallError::Lost(_) => [lost],
} }

#[test]
fn each_error_of_calls_is_true_of_what_made_it() {
    examine(call_situations(), call_of, CallError::is_retryable);
}

fn nothing(_: &Off<'_>) {}

fn no_cpu_to_call() -> Call {
    standstill(|machine, task| {
        let error = machine.call_single(task, cpu(4), &nothing).unwrap_err();
        told(error, &["CPU 4"], machine.call_single(task, cpu(4), &nothing))
    })
}

fn not_possible_to_call() -> Call {
    run_with(
        Protocol::STANDSTILL,
        CpuMask::first_n(2),
        |_, _| (),
        |machine, task| {
            let error = machine.call_single(task, cpu(2), &nothing).unwrap_err();
            told(error, &["no CPU 2"], machine.call_single(task, cpu(2), &nothing))
        },
    )
}

fn nobody_to_call() -> Call {
    standstill(|machine, task| {
        let call = |task: &mut Task| machine.call_any(task, &CpuMask::EMPTY, &nothing).map(|_| ());
        told(call(task).unwrap_err(), &["mask is empty"], call(task))
    })
}

fn offline_to_call() -> Call {
    standstill(|machine, task| {
        let error = machine.call_single(task, CPU_1, &nothing).unwrap_err();
        machine.cpu_up(task, CPU_1).unwrap();
        told(error, &["CPU 1", "offline", "nothing was sent"], machine.call_single(task, CPU_1, &nothing))
    })
}

fn offline_before_the_boot() -> Call {
    let early: &'static Mutex<Option<CallError>> = leak(Mutex::default());
    let first = |machine: &'static Four, task: &mut Task| {
        *early.lock().unwrap() = machine.call_single(task, CPU_1, &nothing).err();
    };
    let later = run_with(Protocol::STANDSTILL, CpuMask::first_n(4), first, |machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        machine.call_single(task, CPU_1, &nothing)
    });
    let error = early.lock().unwrap().expect("it is offline");
    told(error, &["CPU 1", "offline"], later)
}

fn offline_of_a_mask() -> Call {
    standstill(|machine, task| {
        let mask: CpuMask = [1, 2, 63].map(cpu).into_iter().collect();
        let error = machine.call_any(task, &mask, &nothing).unwrap_err();
        machine.cpu_up(task, CPU_1).unwrap();
        told(error, &["CPU 2", "offline"], machine.call_any(task, &mask, &nothing).map(|_| ()))
    })
}

fn csd_is_busy() -> Call {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let csd = leak(Csd::new());
        let error = machine.irq_off(task, |off| {
            machine.call_single_async(off, cpu(0), csd, &nothing).unwrap();
            machine.call_single_async(off, CPU_1, csd, &nothing).unwrap_err()
        });
        told(error, &["in use", "taken it"], machine.call_single_async(task, CPU_1, csd, &nothing))
    })
}

fn own_slot_is_busy() -> Call {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let error = machine.irq_off(task, |off| {
            machine.call_single_nowait(off, cpu(0), &nothing).unwrap();
            machine.call_single_nowait(off, CPU_1, &nothing).unwrap_err()
        });
        told(error, &["in use"], machine.call_single_nowait(task, CPU_1, &nothing))
    })
}

fn board_is_busy() -> Call {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        board(machine).hold_calls.store(1 << 1, SeqCst);
        machine.call_all_async(task, &nothing).unwrap();
        let error = machine.call_all_async(task, &nothing).unwrap_err();
        board(machine).hold_calls.store(0, SeqCst);
        let mut call = || machine.call_all_async(task, &nothing).map(|_| ());
        let later = until_it_ends(machine, &Err(error), &mut call);
        told(error, &["in use"], later)
    })
}

fn withdrawn() -> Call {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let csd = leak(Csd::new());
        board(machine).hold_calls.store(1 << 1, SeqCst);
        let deadline = machine.platform().deadline_in(20_000_000);
        let error = machine.call_single_until(task, CPU_1, csd, deadline, &nothing).unwrap_err();
        board(machine).hold_calls.store(0, SeqCst);
        let mut call = || machine.call_single_until(task, CPU_1, csd, Deadline::NEVER, &nothing);
        let later = until_it_ends(machine, &Err(CallError::Busy), &mut call);
        told(error, &["CPU 1", "withdrawn", "never runs"], later)
    })
}

/// The token says that interrupts are on, and they are not.
fn waits_with_interrupts_off() -> Call {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let flags = machine.platform().irq_save();
        let error = machine.call_single(task, CPU_1, &nothing).unwrap_err();
        let later = machine.call_single(task, CPU_1, &nothing);
        // SAFETY: from the save above.
        unsafe { machine.platform().irq_restore(flags) };
        told(error, &["interrupts off", "async"], later)
    })
}

fn waits_for_many_with_interrupts_off() -> Call {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let flags = machine.platform().irq_save();
        let error = machine.on_each_cpu(task, &nothing).unwrap_err();
        let later = machine.on_each_cpu(task, &nothing).map(|_| ());
        // SAFETY: from the save above.
        unsafe { machine.platform().irq_restore(flags) };
        told(error, &["interrupts off", "async"], later)
    })
}

/// Without a drain, a call whose IPI is under way when its CPU leaves.
fn lost() -> Call {
    run(Protocol::LINUX_3_14, |machine, task| {
        three_up(machine, task);
        board(machine).hold_calls.store(1 << 1, SeqCst);
        let answer: &'static Mutex<Option<Result<(), CallError>>> = leak(Mutex::default());
        let sends = flag();
        machine.platform().task(2, move |task| {
            sends.store(true, SeqCst);
            *answer.lock().unwrap() = Some(machine.call_single(task, CPU_1, &nothing));
        });
        let queued = |board: &Board| {
            let sent = |what: &What| matches!(what, What::CallPushed { key, .. } if key.to == CPU_1);
            board.log.lock().unwrap().iter().any(|event| sent(&event.what))
        };
        while !queued(board(machine)) {
            machine.platform().breathe();
        }
        machine.cpu_down(task, CPU_1).unwrap();
        while answer.lock().unwrap().is_none() {
            machine.platform().breathe();
        }
        board(machine).hold_calls.store(0, SeqCst);
        machine.cpu_up(task, CPU_1).unwrap();
        let error = answer.lock().unwrap().unwrap().unwrap_err();
        told(error, &["CPU 1", "died", "never ran"], machine.call_single(task, CPU_1, &nothing))
    })
}

type Stop = Told<StopError<1>>;

situations! { stop_situations, stop_of: StopError<1> {
    StopError::Deadline { .. } => [
        deadline_before_the_turn, deadline_beside_an_operation, deadline_with_a_cpu_missing,
        deadline_of_a_work,
    ],
    StopError::Cancelled => [stop_is_cancelled],
    StopError::NoneOnline => [none_online],
    StopError::EmptyMask => [nobody_to_run],
    StopError::NoSuchCpu(_) => [no_cpu_to_run, not_possible_in_a_pair, not_possible_in_a_mask],
    StopError::Offline(_) => [offline_to_stop, offline_in_a_pair],
    StopError::Busy => [work_is_busy],
    StopError::NotComingUp(_) => [not_coming_up],
    StopError::SameCpu(_) => [same_cpu],
} }

#[test]
fn each_error_of_stops_is_true_of_what_made_it() {
    examine(stop_situations(), stop_of, StopError::is_retryable);
}

fn idle(_: &Stopped<'_>) -> i32 {
    0
}

fn stop(machine: &'static Four, task: &mut Task, ns: u64) -> Result<(), StopError<1>> {
    let deadline = if ns == 0 { Deadline::NEVER } else { machine.platform().deadline_in(ns) };
    machine.stop_machine_deadline(task, None, deadline, &idle).map(drop)
}

/// On CPU 1, what a stop with a deadline of a millisecond answers.
fn impatient_stop(machine: &'static Four) -> StopError<1> {
    let answer: &'static Mutex<Option<Result<(), StopError<1>>>> = leak(Mutex::default());
    machine.platform().task(1, move |task| *answer.lock().unwrap() = Some(stop(machine, task, 1_000_000)));
    loop {
        if let Some(answer) = *answer.lock().unwrap() {
            return answer.unwrap_err();
        }
        machine.platform().breathe();
    }
}

fn stop_is_cancelled() -> Stop {
    standstill(|machine, task| {
        let token = Cancel::new();
        machine.cancel(task, &token);
        let error = machine.stop_machine_deadline(task, None, &token, &idle).err().unwrap();
        let later = machine.stop_machine_deadline(task, None, &token, &idle).map(drop);
        told(error, &["cancelled", "nothing ran"], later)
    })
}

fn deadline_of_a_work() -> Stop {
    standstill(|machine, task| {
        for n in [1, 2] {
            machine.cpu_up(task, cpu(n)).unwrap();
        }
        let go = deaf(machine);
        let work = |_: &mut Pinned<'_>| 0;
        let error = impatient(machine, || machine.stop_one_cpu(task, cpu(2), &work)).unwrap_err();
        go.store(true, SeqCst);
        told(error, &["CPU 2", "did not run"], machine.stop_one_cpu(task, cpu(2), &work).map(drop))
    })
}

fn deadline_before_the_turn() -> Stop {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let held = machine.stop_two_cpus(task, cpu(0), CPU_1, &idle).unwrap();
        let error = impatient_stop(machine);
        drop(held);
        told(error, &["turn", "another stop is under way"], stop(machine, task, 0))
    })
}

fn deadline_beside_an_operation() -> Stop {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let answer: &'static Mutex<Option<StopError<1>>> = leak(Mutex::default());
        let up = leak(move |_: &mut Task, _| {
            answer.lock().unwrap().get_or_insert_with(|| impatient_stop(machine));
            Ok(())
        });
        machine.add_state(task, "slow", Callbacks::Prepare { up: Some(up), dead: None }).unwrap();
        let error = answer.lock().unwrap().expect("it was called");
        told(error, &["turn", "a hotplug operation"], stop(machine, task, 0))
    })
}

fn deadline_with_a_cpu_missing() -> Stop {
    standstill(|machine, task| {
        machine.cpu_up(task, CPU_1).unwrap();
        let (inside, go) = (flag(), flag());
        machine.platform().task(1, move |task| {
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
        let error = stop(machine, task, 300_000_000).unwrap_err();
        go.store(true, SeqCst);
        told(error, &["PREPARE", "CPU 1", "nothing ran"], stop(machine, task, 0))
    })
}

fn none_online() -> Stop {
    standstill(|machine, task| {
        let mask = CpuMask::of(CPU_1);
        let error = machine.stop_machine(task, Some(&mask), &idle).map(drop).unwrap_err();
        machine.cpu_up(task, CPU_1).unwrap();
        told(error, &["none of the CPUs", "online"], machine.stop_machine(task, Some(&mask), &idle).map(drop))
    })
}

fn nobody_to_run() -> Stop {
    standstill(|machine, task| {
        let mut ask = || machine.stop_machine(task, Some(&CpuMask::EMPTY), &idle).map(drop);
        told(ask().unwrap_err(), &["mask is empty"], ask())
    })
}

fn no_cpu_to_run() -> Stop {
    standstill(|machine, task| {
        let mut ask = || machine.stop_one_cpu(task, cpu(64), &|_: &mut Pinned<'_>| 0).map(drop);
        told(ask().unwrap_err(), &["no CPU 64"], ask())
    })
}

fn not_possible_in_a_pair() -> Stop {
    run_with(
        Protocol::STANDSTILL,
        CpuMask::first_n(2),
        |_, _| (),
        |machine, task| {
            let mut ask = || machine.stop_two_cpus(task, cpu(0), cpu(3), &idle).map(drop);
            told(ask().unwrap_err(), &["no CPU 3"], ask())
        },
    )
}

fn not_possible_in_a_mask() -> Stop {
    run_with(
        Protocol::STANDSTILL,
        CpuMask::first_n(2),
        |_, _| (),
        |machine, task| {
            let mut ask = || machine.stop_machine(task, Some(&CpuMask::of(cpu(3))), &idle).map(drop);
            told(ask().unwrap_err(), &["no CPU 3"], ask())
        },
    )
}

fn offline_to_stop() -> Stop {
    standstill(|machine, task| {
        let ask = |task: &mut Task| machine.stop_one_cpu(task, CPU_1, &|_: &mut Pinned<'_>| 0).map(drop);
        let error = ask(task).unwrap_err();
        machine.cpu_up(task, CPU_1).unwrap();
        told(error, &["CPU 1", "offline"], ask(task))
    })
}

fn offline_in_a_pair() -> Stop {
    standstill(|machine, task| {
        let error = machine.stop_two_cpus(task, CPU_1, cpu(0), &idle).map(drop).unwrap_err();
        machine.cpu_up(task, CPU_1).unwrap();
        told(error, &["CPU 1", "offline"], machine.stop_two_cpus(task, CPU_1, cpu(0), &idle).map(drop))
    })
}

fn work_is_busy() -> Stop {
    standstill(|machine, task| {
        let work = leak(StopWork::<Polled>::new());
        let f = leak(|_: &mut Pinned<'_>| 0);
        let error = machine.pin(task, |pinned| {
            machine.stop_one_cpu_nowait(pinned, cpu(0), work, f).unwrap();
            machine.stop_one_cpu_nowait(pinned, cpu(0), work, f).unwrap_err()
        });
        told(error, &["still queued"], machine.stop_one_cpu_nowait(task, cpu(0), work, f))
    })
}

fn not_coming_up() -> Stop {
    standstill(|machine, task| {
        let ask = |off: &IrqOff<'_>| machine.stop_machine_from_inactive_cpu(off, None, &idle).map(drop);
        let (error, later) = machine.irq_off(task, |off| (ask(off).unwrap_err(), ask(off)));
        told(error, &["CPU 0", "STARTING"], later)
    })
}

fn same_cpu() -> Stop {
    standstill(|machine, task| {
        let mut ask = || machine.stop_two_cpus(task, CPU_1, CPU_1, &idle).map(drop);
        told(ask().unwrap_err(), &["CPU 1", "stop_one_cpu"], ask())
    })
}
