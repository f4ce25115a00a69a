//! The way up and down, and what can be in the way.

use std::sync::atomic::Ordering::Relaxed;

use standstill::context::{IrqOff, Task};
use standstill::hotplug::{Callbacks, Reason, StateHandle, StateId};
use standstill::platform::{Deadline, Irq, Site, Wait, WaitContext, WaitFor, Word};
use standstill::{CpuId, CpuMask, HotplugError};

use super::build::{Plain, Setup, all_up, branch, branch_at_stop, require};
use super::calls::{devices_call, nothing};
use crate::machine::access::ModelWord;
use crate::machine::world::with;
use crate::reduction::footprint;
use crate::scenario::Machined;

/// Brings up all CPUs but the last one.
pub(super) fn others_up<const N: usize>(machine: &Machined<N>, task: &mut Task) {
    for cpu in 1..N - 1 {
        if let Err(error) = machine.cpu_up(task, CpuId::new(cpu)) {
            panic!("CPU {cpu} does not come up in the set-up: {error}");
        }
    }
}

/// Brings up the last CPU.
pub(super) fn bring_up<const N: usize>(machine: &Machined<N>, task: &mut Task) {
    let last = CpuId::new(N - 1);
    if let Err(error) = machine.cpu_up(task, last) {
        panic!("{last} does not come up: {error}");
    }
    assert!(machine.online().contains(last) && machine.active().contains(last));
}

/// Takes down the last CPU.
pub(super) fn take_down<const N: usize>(machine: &Machined<N>, task: &mut Task) {
    let last = CpuId::new(N - 1);
    if let Err(error) = machine.cpu_down(task, last) {
        panic!("{last} does not go down: {error}");
    }
    assert!(!machine.online().contains(last) && !machine.active().contains(last));
}

pub(super) fn down_and_up<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    devices_call(s);
    s.task(move |task| {
        all_up(machine, task);
        branch();
        take_down(machine, task);
        bring_up(machine, task);
    });
}

pub(super) fn reader_vs_writer<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.task(move |task| {
        all_up(machine, task);
        branch();
        take_down(machine, task);
    });
    s.task(move |task| reads(machine, task));
}

/// Holds the lock for reading, and waits for others in between.
fn reads<const N: usize>(machine: &Machined<N>, task: &mut Task) {
    let last = CpuId::new(N - 1);
    let mut read = machine.cpus_read_lock(task);
    let before = machine.online().snapshot();
    let sent = machine.call_single(read.task(), last, &nothing);
    must_be!(sent.is_ok(), before.contains(last), "a CPU came or went under a reader's eyes");
    let after = machine.online().snapshot();
    must_be!(before, after, "the online mask changed under a reader's eyes");
    must_be!(
        machine.accepting().snapshot(),
        after,
        "a CPU is online and takes no calls under a reader's eyes"
    );
}

pub(super) fn readers_and_writers<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.task(move |task| {
        all_up(machine, task);
        branch();
        let changed = machine.hotplug_disable(task);
        must_be!(changed, Ok(()));
    });
    s.task_on(CpuId::new(N - 1), move |task| reads(machine, task));
    s.task(move |task| {
        let changed = machine.hotplug_disable(task);
        must_be!(changed, Ok(()));
        let down = machine.cpu_down(task, CpuId::new(N - 1));
        must_be!(down, Err(HotplugError::Disabled));
    });
}

/// Writers run a callback, each on a CPU of its own, and a reader waits inside its section: no callback runs beside it. It takes the lock once more,
/// which is free, a writer that waits for it or not.
pub(super) fn reader_keeps_out<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let inside = s.keep(ModelWord::ZERO);
    let alone = s.keep(move |_: &mut Task, _: CpuId| -> Result<(), Reason> {
        require(inside.load(Relaxed) == 0, "a callback runs while a reader holds the hotplug lock");
        Ok(())
    });
    let adds = move |task: &mut Task| {
        let added = machine.add_state(task, "alone", Callbacks::Prepare { up: Some(alone), dead: None });
        assert!(added.is_ok(), "nobody refuses: {added:?}");
    };
    s.task(move |task| {
        all_up(machine, task);
        branch();
        adds(task);
    });
    s.task_on(last, move |task| {
        let mut read = machine.cpus_read_lock(task);
        inside.store(1, Relaxed);
        must_be!(machine.call_single(read.task(), CpuId::BOOT, &nothing), Ok(()), "a call by a reader");
        drop(machine.cpus_read_lock(read.task()));
        inside.store(0, Relaxed);
    });
    s.task_on(last, adds);
}

pub(super) fn two_operations<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.task(move |task| {
        all_up(machine, task);
        branch();
        take_down(machine, task);
    });
    s.task(move |task| bring_up(machine, task));
}

pub(super) fn callers_own_cpu<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.task(move |task| {
        all_up(machine, task);
        branch();
        if let Err(error) = machine.cpu_down(task, CpuId::BOOT) {
            panic!("the CPU of the caller does not go down: {error}");
        }
        let here = machine.platform().this_cpu();
        assert!(here != CpuId::BOOT, "the caller is still on the CPU that it took down");
        must_be!(machine.online().snapshot(), CpuMask::first_n(N).without(&CpuMask::of(CpuId::BOOT)));
        if let Err(error) = machine.cpu_up(task, CpuId::BOOT) {
            panic!("the CPU that booted does not come back: {error}");
        }
    });
}

pub(super) fn late_cpu<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.deadlines_may_be_over(1);
    let gone = s.keep(ModelWord::ZERO);
    let starts = s.keep(move |_: &IrqOff<'_>, _: CpuId| {
        must_be!(gone.load(Relaxed), 0, "a callback runs after it was removed");
        assert!(!machine.platform().irqs_on(), "a STARTING callback runs with interrupts on");
    });
    let never = s.keep(|_: &IrqOff<'_>, _: CpuId| {
        require(false, "a DYING callback that was added later runs on a CPU that is given up");
    });
    s.task(move |task| {
        let callbacks = Callbacks::Starting { starting: Some(starts), dying: Some(starts) };
        let state = match machine.add_state(task, "starts", callbacks) {
            Ok(state) => state,
            Err(error) => panic!("the set-up of the scenario: {error}"),
        };
        others_up(machine, task);
        branch();
        match machine.cpu_up(task, last) {
            Ok(()) => assert!(machine.online().contains(last)),
            Err(HotplugError::NoAnswer(_) | HotplugError::GivenUp(_)) => {
                assert!(!machine.online().contains(last), "nobody waits for it any more, and it is online");
                match machine.remove_state_nocalls(task, state) {
                    Ok(()) => gone.store(1, Relaxed),
                    // It is in its callbacks still. Or it was: what is added then was never started there.
                    Err(error) => {
                        assert!(matches!(error, HotplugError::Stuck(_)), "{error}");
                        let new = Callbacks::Starting { starting: None, dying: Some(never) };
                        let added = machine.add_state_nocalls(task, "never", new);
                        assert!(matches!(added, Ok(_) | Err(HotplugError::Stuck(_))), "{added:?}");
                    }
                }
                await_off(machine, last);
            }
            Err(error) => panic!("{last} does not come up: {error}"),
        }
        match machine.remove_state_nocalls(task, state) {
            Ok(()) => must_be!(gone.load(Relaxed), 0),
            Err(error) => {
                assert!(matches!(error, HotplugError::NotInstalled(_)) && gone.load(Relaxed) == 1, "{error}");
            }
        }
    });
}

/// Waits until `cpu` runs nothing any more.
pub(super) fn await_off<const N: usize>(machine: &Machined<N>, cpu: CpuId) {
    let site = Site::here("a CPU to be off");
    let wait = WaitFor { site, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &|_| () };
    let dummy = ModelWord::ZERO;
    machine.platform().wait_until(&dummy, &wait, || {
        let place = footprint::off(cpu.index());
        with(|w| {
            let off = w.value_of(place);
            w.watch(place, off);
            (off != 0).then_some(())
        })
    });
    // By the time that somebody can tell that it is off, what it did last has reached everybody.
    with(|w| w.learn_all_of(cpu.index()));
}

pub(super) fn rollback<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    devices_call(s);
    s.task(move |task| {
        // No `Vec` here: what owns memory must not be on a stack that is put back to an earlier state.
        let kinds = [
            ("prepare", Callbacks::Prepare { up: Some(&works), dead: Some(&ends) }),
            ("first", Callbacks::Online { up: Some(&works), down: Some(&works) }),
            ("second", Callbacks::Online { up: Some(&works), down: Some(&works) }),
        ];
        let states = kinds.map(|(name, callbacks)| match machine.add_state(task, name, callbacks) {
            Ok(state) => state,
            Err(error) => panic!("the set-up of the scenario: {error}"),
        });
        all_up(machine, task);
        branch();
        for state in &states[1..] {
            inject(machine, task, last, *state);
            let down = machine.cpu_down(task, last);
            assert!(matches!(down, Err(HotplugError::Veto { .. })), "a failure was injected: {down:?}");
            assert!(machine.online().contains(last) && machine.active().contains(last));
        }
        // The DEAD callback is passed on the way, and can't fail: what is meant for the way up stays for it.
        inject(machine, task, last, states[0]);
        take_down(machine, task);
        for state in states {
            inject(machine, task, last, state);
            let up = machine.cpu_up(task, last);
            assert!(matches!(up, Err(HotplugError::Veto { .. })), "a failure was injected: {up:?}");
            assert!(!machine.online().contains(last));
        }
        if let Err(error) = machine.cpu_up(task, last) {
            panic!("{last} does not come back: {error}");
        }
    });
}

/// A failure on the way up takes a CPU back to where it was: also if that is not the very bottom, and if it was online there.
pub(super) fn half_way<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.task(move |task| {
        let kinds = [
            ("early", Callbacks::Prepare { up: Some(&works), dead: Some(&ends) }),
            ("late", Callbacks::Online { up: Some(&works), down: Some(&works) }),
        ];
        let [early, late] = kinds.map(|(name, callbacks)| match machine.add_state(task, name, callbacks) {
            Ok(state) => state,
            Err(error) => panic!("the set-up of the scenario: {error}"),
        });
        others_up(machine, task);
        branch();
        for rest in [early.id(), StateId::AP_ONLINE] {
            must_be!(machine.cpu_up_to(task, last, rest), Ok(()));
            inject(machine, task, last, late);
            let up = machine.cpu_up(task, last);
            assert!(matches!(up, Err(HotplugError::Veto { .. })), "a failure was injected: {up:?}");
            must_be!(machine.state(last), rest, "it does not rest where it did before");
            must_be!(machine.online().contains(last), rest == StateId::AP_ONLINE);
        }
        bring_up(machine, task);
    });
}

/// Callbacks are removed, and others get their place: what was meant for the first ones means nothing to them.
pub(super) fn old_handle<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.task(move |task| {
        all_up(machine, task);
        branch();
        let callbacks = Callbacks::Online { up: Some(&works), down: Some(&works) };
        let [old, new] = [true, false].map(|gone| match machine.add_state(task, "driver", callbacks) {
            Ok(state) => {
                if gone {
                    inject(machine, task, last, state);
                    assert_eq!(machine.remove_state_nocalls(task, state), Ok(()));
                }
                state
            }
            Err(error) => panic!("callbacks can't be installed: {error}"),
        });
        assert_eq!(new.id(), old.id(), "the place is used again");
        let gone = Err(HotplugError::NotInstalled(old.id()));
        assert_eq!(machine.remove_state(task, old), gone, "an old handle is taken for another one");
        assert_eq!(machine.cpu_down(task, last), Ok(()), "a failure strikes those that it was not meant for");
        assert_eq!(machine.remove_state(task, new), Ok(()));
    });
}

#[expect(clippy::missing_const_for_fn, clippy::unnecessary_wraps, reason = "a callback")]
fn works(_: &mut Task, _: CpuId) -> Result<(), Reason> {
    Ok(())
}

#[expect(clippy::missing_const_for_fn, reason = "a callback")]
fn ends(_: &mut Task, _: CpuId) {}

pub(super) fn inject<const N: usize>(machine: &Machined<N>, task: &mut Task, cpu: CpuId, state: StateHandle) {
    if let Err(error) = machine.fail_once(task, cpu, state) {
        panic!("a failure can't be injected: {error}");
    }
}

pub(super) fn halt<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    let stop = move |off: &IrqOff<'_>| {
        assert!(!machine.platform().irqs_on());
        let left = machine.stop_others(off, 1);
        assert!(left.is_empty(), "each of them answers, and {left} did not stop");
    };
    s.device(move |off, _| stop(off));
    s.task(move |task| {
        all_up(machine, task);
        branch();
        machine.irq_off(task, stop);
    });
}

/// Callbacks that are removed, or added, while the last CPU rests in exactly their state: it is past that state, and no further.
pub(super) fn removed_where_it_rests<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let (ups, downs) = (s.plain_each::<usize>(), s.plain_each::<usize>());
    let up = s.keep(move |_: &mut Task, cpu: CpuId| -> Result<(), Reason> {
        ups[cpu.index()].set(ups[cpu.index()].get() + 1);
        Ok(())
    });
    let dead = s.keep(move |_: &mut Task, cpu: CpuId| downs[cpu.index()].set(downs[cpu.index()].get() + 1));
    let prepare = Callbacks::Prepare { up: Some(up), dead: Some(dead) };
    let each = move |counts: &[Plain<usize>; N], others: usize, its: usize, what: &str| {
        for (cpu, count) in counts.iter().enumerate() {
            let (due, called) = (if cpu == N - 1 { its } else { others }, count.get());
            must_be!(called, due, "how often {what} of CPU {cpu} was called");
            count.set(0);
        }
    };
    s.task(move |task| {
        let [rest, above] =
            ["rest", "above"].map(|name| match machine.add_state_nocalls(task, name, prepare) {
                Ok(state) => state,
                Err(error) => panic!("the set-up of the scenario: {error}"),
            });
        let from_zero = || ups.iter().chain(downs).for_each(|cell| cell.set(0));
        from_zero();
        // The others are called for as they come up.
        others_up(machine, task);
        from_zero();
        branch();
        must_be!(machine.cpu_up_to(task, last, rest.id()), Ok(()));
        each(ups, 0, 1, "the startup on the way");
        must_be!(machine.remove_state(task, rest), Ok(()));
        each(downs, 1, 1, "the teardown of the state where the last CPU rests");
        must_be!(machine.remove_state(task, above), Ok(()));
        each(downs, 1, 0, "the teardown of the state above it");
        // The lowest that is free is where the last CPU rests.
        let (again, next) =
            (machine.add_state(task, "again", prepare), machine.add_state(task, "next", prepare));
        assert!(again.is_ok() && next.is_ok(), "there is room: {again:?}, {next:?}");
        each(ups, 2, 1, "the startups of what is added");
        bring_up(machine, task);
        each(ups, 0, 1, "the startup on the rest of the way");
    });
}

/// DYING callbacks undo what the STARTING ones did, in reverse and once: of a CPU that is late, and nobody waits for it any more.
pub(super) fn dying_order<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.deadlines_may_be_over(1);
    let heights = s.plain_each::<usize>();
    let moves = move |from: usize, to: usize| {
        move |_: &IrqOff<'_>, cpu: CpuId| {
            let height = &heights[cpu.index()];
            let text = if to > from {
                "a STARTING callback runs twice, or out of order"
            } else {
                "a DYING callback runs twice, or before the one that started after it"
            };
            require(height.get() == from, text);
            height.set(to);
        }
    };
    let (first, second) = (s.keep(moves(0, 1)), s.keep(moves(1, 2)));
    let (second_back, first_back) = (s.keep(moves(2, 1)), s.keep(moves(1, 0)));
    s.task(move |task| {
        let both = [
            Callbacks::Starting { starting: Some(first), dying: Some(first_back) },
            Callbacks::Starting { starting: Some(second), dying: Some(second_back) },
        ];
        for callbacks in both {
            if let Err(error) = machine.add_state_nocalls(task, "counts", callbacks) {
                panic!("the set-up of the scenario: {error}");
            }
        }
        for height in heights {
            height.set(0);
        }
        others_up(machine, task);
        branch();
        // The walk down is the same if it goes when it was up.
        match machine.cpu_up(task, last) {
            Ok(()) => {
                require(heights[N - 1].get() == 2, "a CPU is up, and not all its STARTING callbacks have run")
            }
            Err(HotplugError::NoAnswer(_) | HotplugError::GivenUp(_)) => {
                await_off(machine, last);
                let all = heights[N - 1].get() == 0;
                require(all, "a CPU is gone, and not all that its STARTING callbacks did is undone");
            }
            Err(error) => panic!("{last} does not come up: {error}"),
        }
    });
}

/// An interrupt line is still aimed at the CPU that leaves when all others are frozen: it refuses in RUN, and is what it was before.
pub(super) fn refused_in_run<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    s.lines_stay(1);
    devices_call(s);
    s.task(move |task| {
        let callbacks = Callbacks::Online { up: Some(&works), down: Some(&works) };
        if let Err(error) = machine.add_state(task, "online", callbacks) {
            panic!("the set-up of the scenario: {error}");
        }
        all_up(machine, task);
        branch_at_stop();
        let down = machine.cpu_down(task, last);
        assert!(
            matches!(down, Err(HotplugError::Lines { cpu, .. }) if cpu == last),
            "a line stays: {down:?}"
        );
        must_be!(machine.state(last), StateId::ACTIVE, "the CPU that refused is not what it was");
        for mask in [machine.online(), machine.active(), machine.accepting()] {
            assert!(mask.contains(last), "the CPU that refused is missing in a mask");
        }
        must_be!(machine.call_single(task, last, &nothing), Ok(()), "the CPU that refused takes calls");
        take_down(machine, task);
    });
}
