//! Calls to a CPU that leaves.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use standstill::context::{IrqOff, Task};
use standstill::platform::{Irq, Wait, WaitContext, Word};
use standstill::{CallError, CpuId, CpuMask, Csd, Drain, Property};

use super::build::{Setup, all_up, branch, branch_at_stop, require};
use super::hotplug::take_down;
use super::stops::await_value;
use crate::machine::access::ModelWord;
use crate::machine::state::LevelKind;
use crate::machine::world::with;
use crate::port::Model;
use crate::scenario::Machined;

/// Device interrupts send an async call to the last CPU.
pub(super) fn devices_call<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let csds = s.keep([const { Csd::<Model>::new() }; N]);
    s.device(move |off, cpu| {
        // Refused or busy are fine: the sender knows.
        let _ = machine.call_single_async(off, last, &csds[cpu.index()], &nothing);
    });
}

#[expect(clippy::missing_const_for_fn, reason = "the function of a call")]
pub(super) fn nothing(_: &IrqOff<'_>) {}

/// The last CPU goes offline.
fn down<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.task(move |task| {
        all_up(machine, task);
        branch_at_stop();
        take_down(machine, task);
    });
}

/// The last CPU goes down, called by devices, while `beside` runs as another thread on CPU 0.
pub(super) fn beside_down<const N: usize>(
    s: &mut Setup<'_, N>,
    beside: impl Fn(&'static Machined<N>, &mut Task) + 'static,
) {
    devices_call(s);
    down(s);
    let machine = s.machine();
    s.task(move |task| beside(machine, task));
}

pub(super) fn offline_vs_device_irq<const N: usize>(s: &mut Setup<'_, N>) {
    devices_call(s);
    down(s);
}

/// As [`offline_vs_device_irq`], where only the hardware's mask keeps an interrupt from being noted.
pub(super) fn lazy_mask<const N: usize>(s: &mut Setup<'_, N>) {
    s.lazy_mask();
    devices_call(s);
    down(s);
}

pub(super) fn irqs_off_sender<const N: usize>(s: &mut Setup<'_, N>) {
    let csd = s.keep(Csd::new());
    beside_down(s, move |machine, task| {
        machine.irq_off(task, |off| {
            assert!(!machine.platform().irqs_on(), "the section has its interrupts on");
            let _ = machine.call_single_async(off, CpuId::new(N - 1), csd, &nothing);
        });
    });
}

pub(super) fn async_sender<const N: usize>(s: &mut Setup<'_, N>) {
    let csd = s.keep(Csd::new());
    beside_down(s, move |machine, task| {
        let _ = machine.call_single_async(task, CpuId::new(N - 1), csd, &nothing);
        let _ = machine.call_single_nowait(task, CpuId::new(N - 1), &nothing);
    });
}

pub(super) fn waiting_sender<const N: usize>(s: &mut Setup<'_, N>) {
    beside_down(s, |machine, task| {
        let sent = machine.call_single(task, CpuId::new(N - 1), &nothing);
        let lost = matches!(sent, Err(CallError::Lost(_)));
        let promised = machine.protocol().promises().contains(&Property::Lost);
        assert!(!(lost && promised), "a sender that waits was told that its call is lost");
    });
}

pub(super) fn two_senders<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let csd = s.keep(Csd::<Model>::new());
    s.device(move |off, _| {
        let _ = machine.call_single_async(off, last, csd, &nothing);
    });
    down(s);
    s.task(move |task| {
        let _ = machine.call_single_async(task, last, csd, &nothing);
    });
}

pub(super) fn call_many_vs_offline<const N: usize>(s: &mut Setup<'_, N>) {
    beside_down(s, |machine, task| {
        // Whoever is refused is not in the answer; what was accepted and lost is the rules' affair.
        let _ = machine.call_many(task, &CpuMask::first_n(N), &nothing);
    });
}

pub(super) fn boards_vs_offline<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.device(move |off, _| {
        let _ = machine.call_all_async(off, &nothing);
    });
    down(s);
    s.task(move |task| {
        let _ = machine.call_many_async(task, &CpuMask::first_n(N), &nothing);
    });
}

/// A board is waited for: it is in use by the last call of this CPU's handlers.
pub(super) fn board_is_busy<const N: usize>(s: &mut Setup<'_, N>) {
    let machine = s.machine();
    s.device(move |off, _| {
        let _ = machine.call_all_async(off, &nothing);
    });
    s.task(move |task| {
        all_up(machine, task);
        branch();
        let ran = machine.call_all(task, &nothing);
        must_be!(ran.map(|ran| ran.len()), Ok(N - 1));
    });
}

pub(super) fn pinned_sender<const N: usize>(s: &mut Setup<'_, N>) {
    beside_down(s, |machine, task| {
        let last = CpuId::new(N - 1);
        machine.pin(task, |pinned| {
            // No stop begins, so who takes calls now takes them until the section ends.
            if machine.accepting().contains(last) {
                must_be!(machine.call_single(pinned, last, &nothing), Ok(()));
                let ran = machine.call_all(pinned, &nothing);
                assert!(ran.is_ok_and(|ran| ran.contains(last)), "it took calls a moment ago");
            }
        });
    });
}

pub(super) fn call_forms<const N: usize>(s: &mut Setup<'_, N>) {
    beside_down(s, |machine, task| {
        let last = CpuId::new(N - 1);
        let everybody = CpuMask::first_n(N);
        match machine.call_any(task, &CpuMask::of(last), &nothing) {
            Ok(cpu) => must_be!(cpu, last),
            Err(CallError::Offline(_) | CallError::Lost(_)) => {}
            Err(error) => panic!("a call to any of one: {error}"),
        }
        for ran in [
            machine.on_each_cpu(task, &|_: &IrqOff<'_>| {
                require(!machine.platform().irqs_on(), "a call runs with interrupts on");
            }),
            machine.on_each_cpu_cond(task, &everybody, |cpu| cpu == CpuId::BOOT, &nothing),
        ] {
            assert!(ran.is_ok_and(|ran| ran.contains(CpuId::BOOT)), "the caller's own CPU is online");
        }
    });
}

pub(super) fn call_to_self<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let csds = s.keep([const { [const { Csd::<Model>::new() }; 2] }; N]);
    let fs: &'static [_; N] = s.keep(std::array::from_fn(|from| {
        move |off: &IrqOff<'_>| {
            let sent = machine.call_single_async(off, last, &csds[from][1], &nothing);
            // In a drain it is refused: whoever leaves takes no calls, its own included. Else the drain of calls that call again would not end.
            let in_drain = with(|w| w.thread_ref().level().kind == LevelKind::Stopper);
            let shut = machine.protocol().drain() == Drain::RunStart;
            require(!(in_drain && shut) || sent == Err(CallError::Offline(last)), "a drain queues a call");
        }
    }));
    s.device(move |off, cpu| {
        let _ = machine.call_single_async(off, last, &csds[cpu.index()][0], &fs[cpu.index()]);
    });
    down(s);
}

/// While the function of a call runs that nobody waits for, its slot and its board are free: the function sends its own slot again, and its sender the
/// board.
pub(super) fn free_while_it_runs<const N: usize>(s: &mut Setup<'_, N>) {
    let (machine, last) = (s.machine(), s.last());
    let csd = s.keep(Csd::<Model>::new());
    let (inside, goes_on) = (s.keep(ModelWord::ZERO), s.keep(ModelWord::ZERO));
    let again = s.keep(move |off: &IrqOff<'_>| {
        let sent = machine.call_single_async(off, last, csd, &nothing);
        require(sent == Ok(()), "the function of an async call finds its own slot in use");
    });
    let stays = s.keep(move |_: &IrqOff<'_>| {
        // Release: who sees all of them inside sees their boards free.
        inside.fetch_add(1, Release);
        machine.platform().notify(inside);
        await_value(machine.platform(), goes_on, 1, WaitContext::Frozen);
    });
    s.task(move |task| {
        all_up(machine, task);
        branch();
        must_be!(machine.call_single_async(task, last, csd, again), Ok(()));
        must_be!(machine.call_all_async(task, stays).map(|sent| sent.len()), Ok(N - 1));
        await_value(machine.platform(), inside, N - 1, WaitContext::Task);
        // The functions run, on all of them. Acquire: pairs with the releases of `inside`.
        let _ = inside.load(Acquire);
        let sent = machine.call_all_async(task, &nothing).map(|sent| sent.len());
        must_be!(sent, Ok(N - 1), "a sender finds its board in use while the functions run");
        goes_on.store(1, Relaxed);
        machine.platform().notify(goes_on);
    });
}
