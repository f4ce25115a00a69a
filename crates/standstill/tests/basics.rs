//! The library on the polled port: calls, stops, hotplug. Runs under Miri.

#![expect(
    clippy::disallowed_types,
    reason = "tests are no part of the library: they may have atomics of their own"
)]

mod polled;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use polled::{Off, Polled, run};
use standstill::context::{Pinned, Stopped};
use standstill::stop::Receipt;
use standstill::{CallError, CpuId, CpuMask, Csd, Machine, Protocol};

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

#[test]
fn a_cpu_comes_up_takes_calls_and_goes() {
    run(Protocol::STANDSTILL, |machine, task| {
        assert_eq!(machine.call_single(task, cpu(1), &|_: &Off<'_>| ()), Err(CallError::Offline(cpu(1))));
        machine.cpu_up(task, cpu(1)).unwrap();
        assert_eq!(machine.online().snapshot(), CpuMask::first_n(2));
        let ran_on = AtomicUsize::new(9);
        machine
            .call_single(task, cpu(1), &|_: &Off<'_>| {
                ran_on.store(standstill::platform::Irq::this_cpu(machine.platform()).index(), SeqCst);
            })
            .unwrap();
        assert_eq!(ran_on.load(SeqCst), 1);
        machine.cpu_down(task, cpu(1)).unwrap();
        assert_eq!(machine.online().snapshot(), CpuMask::first_n(1));
        assert_eq!(machine.call_single(task, cpu(1), &|_: &Off<'_>| ()), Err(CallError::Offline(cpu(1))));
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.call_single(task, cpu(1), &|_: &Off<'_>| ()).unwrap();
    });
}

#[test]
fn every_protocol_takes_a_cpu_down_and_brings_it_back() {
    for protocol in Protocol::ALL {
        run(*protocol, |machine, task| {
            for round in 0..3 {
                machine.cpu_up(task, cpu(1)).unwrap();
                machine.cpu_up(task, cpu(2)).unwrap();
                machine.cpu_down(task, cpu(1 + round % 2)).unwrap();
            }
        });
    }
}

#[test]
fn the_caller_is_moved_off_the_cpu_that_leaves() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.cpu_down(task, cpu(0)).unwrap();
        assert_eq!(machine.online().snapshot(), CpuMask::of(cpu(1)));
        let error = machine.cpu_down(task, cpu(1)).unwrap_err();
        assert_eq!(error, standstill::HotplugError::LastOnline(cpu(1)));
        machine.cpu_up(task, cpu(0)).unwrap();
    });
}

#[test]
fn calls_to_many_run_once_on_each_online_cpu_of_the_mask() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.cpu_up(task, cpu(3)).unwrap();
        let count: [AtomicUsize; 4] = Default::default();
        let f = |_: &Off<'_>| {
            count[standstill::platform::Irq::this_cpu(machine.platform()).index()].fetch_add(1, SeqCst);
        };
        let ran = machine.call_many(task, &CpuMask::first_n(4), &f).unwrap();
        assert_eq!(ran.to_string(), "1,3");
        let ran = machine.on_each_cpu(task, &f).unwrap();
        assert_eq!(ran.to_string(), "0-1,3");
        let ran = machine.on_each_cpu_cond(task, &CpuMask::first_n(4), |cpu| cpu.index() == 3, &f).unwrap();
        assert_eq!(ran.to_string(), "3");
        assert_eq!(machine.call_any(task, &[cpu(2), cpu(3)].into_iter().collect(), &f), Ok(cpu(3)));
        let counts: Vec<_> = count.iter().map(|count| count.load(SeqCst)).collect();
        assert_eq!(counts, [1, 2, 0, 4]);
    });
}

#[test]
fn a_csd_is_busy_until_its_target_took_it() {
    static RAN: AtomicUsize = AtomicUsize::new(0);
    fn count(_: &Off<'_>) {
        RAN.fetch_add(1, SeqCst);
    }
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        let csd: &'static Csd<_> = Box::leak(Box::new(Csd::new()));
        let f: &'static fn(&Off<'_>) = Box::leak(Box::new(count as fn(&Off<'_>)));
        // To this CPU, with its interrupts off: it can't be taken before they are on.
        machine.irq_off(task, |off| {
            machine.call_single_async(off, cpu(0), csd, f).unwrap();
            assert!(!csd.is_free());
            assert_eq!(machine.call_single_async(off, cpu(1), csd, f), Err(CallError::Busy));
            assert_eq!(RAN.load(SeqCst), 0);
        });
        assert!(csd.is_free());
        assert_eq!(RAN.load(SeqCst), 1);
    });
}

#[test]
fn stop_machine_runs_where_it_is_asked_to_and_says_so() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.cpu_up(task, cpu(2)).unwrap();
        let f = |_: &Stopped<'_>| standstill::platform::Irq::this_cpu(machine.platform()).index() as i32 + 10;
        {
            let receipts = machine.stop_machine(task, None, &f).unwrap();
            assert_eq!(receipts.of(cpu(0)), Receipt::Ran(10));
            assert_eq!(receipts.of(cpu(1)), Receipt::NotAMember);
            assert_eq!(receipts.first_failure(), Err((cpu(0), 10)));
        }
        let active = [cpu(1), cpu(2)].into_iter().collect();
        {
            let receipts = machine.stop_machine(task, Some(&active), &f).unwrap();
            assert_eq!(receipts.ran(), 2);
            assert_eq!(receipts.of(cpu(2)), Receipt::Ran(12));
        }
        {
            let receipts = machine.stop_two_cpus(task, cpu(0), cpu(2), &f).unwrap();
            assert_eq!(receipts.of(cpu(1)), Receipt::NotAMember);
            assert_eq!(receipts.ran(), 2);
        }
        assert!(machine.stop_two_cpus(task, cpu(0), cpu(3), &f).is_err());
        assert!(machine.stop_two_cpus(task, cpu(0), cpu(0), &f).is_err());
        assert!(machine.stop_machine(task, Some(&CpuMask::of(cpu(3))), &f).is_err());
        assert_eq!(machine.stop_one_cpu(task, cpu(2), &|_: &mut Pinned<'_>| 7), Ok(7));
        assert!(machine.stop_one_cpu(task, cpu(3), &|_: &mut Pinned<'_>| 7).is_err());
        machine.quiesce(task).unwrap();
    });
}

#[test]
fn stop_others_halts_them_and_names_those_that_did_not() {
    run(Protocol::STANDSTILL, |machine, task| {
        machine.cpu_up(task, cpu(1)).unwrap();
        machine.cpu_up(task, cpu(2)).unwrap();
        let left = machine.stop_others(task, if cfg!(miri) { 60_000_000_000 } else { 5_000_000_000 });
        assert_eq!(left, CpuMask::EMPTY);
    });
}

type Of<const N: usize, const W: usize> = Machine<Polled, N, W>;

/// Prints what a machine costs; see docs/decisions.md.
#[test]
fn a_machine_costs_so_much() {
    println!("a machine of 8 CPUs: {} bytes", size_of::<Of<8, 1>>());
    println!("each CPU of it:      {} bytes", Of::<8, 1>::BYTES_PER_CPU);
    println!("a machine of 4096:   {} bytes", size_of::<Of<4096, 64>>());
    println!("each CPU of it:      {} bytes", Of::<4096, 64>::BYTES_PER_CPU);
    assert_eq!(size_of::<Of<8, 1>>() - size_of::<Of<7, 1>>(), Of::<8, 1>::BYTES_PER_CPU);
    const { assert!(Of::<8, 1>::BYTES_PER_CPU <= 512, "eight cache lines for each CPU were the promise") };
    // A mask is all that a caller has on its stack: 512 bytes for 4096 CPUs.
    assert_eq!(size_of::<CpuMask<64>>(), 512);
    assert!(size_of::<standstill::stop::StopError<64>>() <= 528);
}

/// 4096 CPUs build, in a `static`, with nothing of that size on a stack.
#[test]
fn a_machine_of_4096_cpus_is_a_static() {
    const fn is_const<const N: usize, const W: usize>(port: Polled) -> Of<N, W> {
        Machine::new(port, Protocol::STANDSTILL)
    }
    let _: fn(Polled) -> Of<4096, 64> = is_const::<4096, 64>;
    assert_eq!(CpuMask::<64>::first_n(4096).len(), 4096);
}
