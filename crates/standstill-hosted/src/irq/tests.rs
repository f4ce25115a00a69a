use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use standstill::CpuId;
use standstill::platform::{Ipi, Irq, Sched};

use crate::testing::{plain, until, with_fake};

const ME: CpuId = CpuId::BOOT;

#[test]
fn an_interrupt_waits_for_the_local_mask_and_comes_once() {
    with_fake(plain(1), |fake, _| {
        let h = fake.hosted;
        let flags = h.irq_save();
        assert!(!h.irqs_on());
        for _ in 0..5 {
            h.send_ipi(ME, Ipi::Call);
        }
        // The signal came within the system call that sent it, and was noted.
        assert!(crate::board::here().closed.load(SeqCst), "the hard mask closed behind it");
        assert_eq!(fake.calls[0].load(SeqCst), 0);
        // SAFETY: matches the save.
        unsafe { h.irq_restore(flags) };
        assert_eq!(fake.calls[0].load(SeqCst), 1, "five requests latch one bit");
        assert!(h.irqs_on());
        h.send_ipi(ME, Ipi::Call);
        assert_eq!(fake.calls[0].load(SeqCst), 2, "the hard mask is open again");
    });
}

#[test]
fn nested_saves_restore_what_they_found() {
    with_fake(plain(1), |fake, _| {
        let h = fake.hosted;
        let outer = h.irq_save();
        let inner = h.irq_save();
        h.hard_irq_disable();
        h.send_ipi(ME, Ipi::Call);
        // SAFETY: matches the inner save.
        unsafe { h.irq_restore(inner) };
        assert!(!h.irqs_on());
        assert_eq!(fake.calls[0].load(SeqCst), 0);
        // SAFETY: matches the outer save.
        unsafe { h.irq_restore(outer) };
        assert_eq!(fake.calls[0].load(SeqCst), 1, "the restore opens the hard mask, too");
    });
}

#[test]
fn a_handler_runs_with_interrupts_off_and_what_comes_meanwhile_comes_after_it() {
    with_fake(plain(1), |fake, _| {
        static DEPTH: AtomicUsize = AtomicUsize::new(0);
        *fake.on_call.lock().unwrap() = |fake| {
            assert_eq!(DEPTH.fetch_add(1, SeqCst), 0, "handlers do not nest");
            assert!(!fake.hosted.irqs_on());
            if fake.calls[0].load(SeqCst) < 100 {
                fake.hosted.send_ipi(ME, Ipi::Call);
            }
            DEPTH.fetch_sub(1, SeqCst);
        };
        fake.hosted.send_ipi(ME, Ipi::Call);
        until(|| fake.calls[0].load(SeqCst) == 100);
    });
}

#[test]
fn the_stopper_waits_for_preemption_and_for_interrupts() {
    with_fake(plain(1), |fake, _| {
        let h = fake.hosted;
        let runs = || fake.stopper_runs[0].load(SeqCst);
        h.preempt_disable();
        h.preempt_disable();
        h.send_ipi(ME, Ipi::Stop);
        assert_eq!(runs(), 0);
        // SAFETY: matches.
        unsafe { h.preempt_enable() };
        assert_eq!(runs(), 0, "still one count");
        // SAFETY: matches.
        unsafe { h.preempt_enable() };
        assert_eq!(runs(), 1);
        let flags = h.irq_save();
        h.preempt_disable();
        h.send_ipi(ME, Ipi::Stop);
        // SAFETY: matches.
        unsafe { h.preempt_enable() };
        assert_eq!(runs(), 1, "interrupts are off");
        // SAFETY: matches.
        unsafe { h.irq_restore(flags) };
        assert_eq!(runs(), 2);
    });
}

#[test]
fn handlers_interrupt_the_stopper_and_the_stopper_does_not_nest() {
    with_fake(plain(1), |fake, _| {
        static DEPTH: AtomicUsize = AtomicUsize::new(0);
        *fake.on_stop.lock().unwrap() = |fake| {
            assert_eq!(DEPTH.fetch_add(1, SeqCst), 0, "the stopper does not run on top of itself");
            let h = fake.hosted;
            assert!(h.irqs_on());
            let calls = fake.calls[0].load(SeqCst);
            h.send_ipi(ME, Ipi::Call);
            assert_eq!(fake.calls[0].load(SeqCst), calls + 1, "a handler runs on top of the stopper");
            if fake.stopper_runs[0].load(SeqCst) < 10 {
                h.send_ipi(ME, Ipi::Stop);
            }
            h.preempt_disable();
            // SAFETY: matches.
            unsafe { h.preempt_enable() };
            DEPTH.fetch_sub(1, SeqCst);
        };
        fake.hosted.send_ipi(ME, Ipi::Stop);
        until(|| fake.stopper_runs[0].load(SeqCst) == 10);
        assert!(fake.hosted.irqs_on());
        fake.hosted.send_ipi(ME, Ipi::Call);
        assert_eq!(
            fake.calls[0].load(SeqCst),
            11,
            "interrupts are open after the handler that ran the stopper"
        );
    });
}

#[test]
fn a_report_names_where_interrupts_were_closed() {
    with_fake(plain(1), |fake, _| {
        let h = fake.hosted;
        assert_eq!(h.runs(ME).irqs_off_at, None);
        let line = line!() + 1;
        let flags = h.irq_save();
        let runs = h.runs(ME);
        assert_eq!(runs.what, "main");
        assert_eq!(runs.irqs_off_at.map(|l| (l.file(), l.line())), Some((file!(), line)));
        // SAFETY: matches.
        unsafe { h.irq_restore(flags) };
        assert_eq!(h.runs(ME).irqs_off_at, None);
    });
}

#[test]
fn a_storm_from_another_cpu_loses_nothing() {
    with_fake(plain(2), |fake, _| {
        static SENT: AtomicUsize = AtomicUsize::new(0);
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        fake.up(1);
        // The handler takes all that was sent before it: the count after the last one is complete.
        *fake.on_call.lock().unwrap() = |_| SEEN.store(SENT.load(SeqCst), SeqCst);
        fake.hosted.spawn_once("storm", CpuId::new(1), move |_| {
            for _ in 0..20_000 {
                SENT.fetch_add(1, SeqCst);
                fake.hosted.send_ipi(ME, Ipi::Call);
            }
        });
        let h = fake.hosted;
        while SEEN.load(SeqCst) != 20_000 {
            let flags = h.irq_save();
            h.hard_irq_disable();
            // SAFETY: matches.
            unsafe { h.irq_restore(flags) };
            std::thread::yield_now();
        }
    });
}

#[test]
fn the_interconnect_delays_and_loses_nothing() {
    let config =
        crate::Config { ipi_latency: Some(crate::Latency { one_in: 1, max_ns: 50_000 }), ..plain(2) };
    with_fake(config, |fake, _| {
        static SENT: AtomicUsize = AtomicUsize::new(0);
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        fake.up(1);
        *fake.on_call.lock().unwrap() = |_| SEEN.store(SENT.load(SeqCst), SeqCst);
        for _ in 0..2_000 {
            let sent = SENT.fetch_add(1, SeqCst) + 1;
            fake.hosted.send_ipi(CpuId::new(1), Ipi::Call);
            until(|| SEEN.load(SeqCst) == sent);
        }
        assert_eq!(fake.hosted.stats().delayed, 2_000);
    });
}

#[test]
fn an_nmi_halts_a_cpu_whose_interrupts_are_off() {
    with_fake(plain(2), |fake, _| {
        use standstill::platform::Cpus;
        static OFF: AtomicUsize = AtomicUsize::new(0);
        fake.up(1);
        fake.hosted.spawn_once("deaf", CpuId::new(1), move |_| {
            let _flags = fake.hosted.irq_save();
            fake.hosted.hard_irq_disable();
            OFF.store(1, SeqCst);
            loop {
                std::hint::spin_loop();
            }
        });
        until(|| OFF.load(SeqCst) == 1);
        fake.hosted.halt_hard(CpuId::new(1));
        until(|| fake.hosted.runs(CpuId::new(1)).what == "nothing: it is halted");
    });
}
