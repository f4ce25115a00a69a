use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use standstill::CpuId;
use standstill::context::IrqOff;
use standstill::platform::{Irq, Sched};
use standstill_torture::Ground;

use crate::Config;
use crate::testing::{plain, with_fake};

#[test]
fn a_raise_while_pending_is_coalesced_and_counted() {
    with_fake(Config { lines: 2, ..plain(1) }, |fake, _| {
        let h = fake.hosted;
        let board = h.board;
        let flags = h.irq_save();
        assert!(board.lines.raise(board, 1));
        assert!(!board.lines.raise(board, 1), "still pending");
        assert_eq!(board.lines.account(), (1, 0));
        // SAFETY: matches.
        unsafe { h.irq_restore(flags) };
        assert_eq!(board.lines.account(), (1, 1));
        assert!(board.lines.raise(board, 1));
        assert_eq!(board.lines.account(), (2, 2));
        assert_eq!(h.stats().coalesced, 1);
    });
}

#[test]
fn a_line_follows_its_route_and_what_is_pending_is_handed_over() {
    static LAST: AtomicUsize = AtomicUsize::new(usize::MAX);
    with_fake(Config { lines: 2, ..plain(2) }, |fake, _| {
        let h = fake.hosted;
        let board = h.board;
        let (zero, one) = (CpuId::BOOT, CpuId::new(1));
        board.lines.set_handler(Box::leak(Box::new(move |_, _: &IrqOff<'_>| {
            LAST.store(h.this_cpu().index(), SeqCst)
        })));
        assert!(h.aim_lines_away(zero).is_err(), "there is no other CPU yet");
        fake.up(1);
        h.lines_back(one);
        board.lines.raise(board, 1);
        crate::testing::until(|| LAST.load(SeqCst) == 1);
        board.lines.raise(board, 0);
        crate::testing::until(|| LAST.load(SeqCst) == 0);

        // Line 0 is pending here when its route goes away: it is handled there.
        let flags = h.irq_save();
        board.lines.raise(board, 0);
        assert!(h.lines_left(zero).is_err(), "it is still aimed here");
        h.aim_lines_away(zero).unwrap();
        h.lines_left(zero).unwrap();
        crate::testing::until(|| LAST.load(SeqCst) == 1);
        crate::testing::until(|| board.lines.account() == (3, 3));
        // SAFETY: matches.
        unsafe { h.irq_restore(flags) };
        assert_eq!(LAST.load(SeqCst), 1, "nothing was left here");
    });
}

#[test]
fn routes_that_change_under_fire_lose_nothing() {
    static HANDLED: AtomicUsize = AtomicUsize::new(0);
    with_fake(Config { lines: 8, ..plain(3) }, |fake, task| {
        let h = fake.hosted;
        fake.up(1);
        fake.up(2);
        h.start_devices(&|_, _| {
            HANDLED.fetch_add(1, SeqCst);
        });
        for round in 0..200 {
            let cpu = CpuId::new(round % 3);
            h.aim_lines_away(cpu).unwrap();
            h.sleep_ns(task, 50_000);
            h.lines_back(cpu);
        }
        let (raised, handled) = h.stop_devices(task);
        assert!(raised > 0);
        assert_eq!(raised, handled);
        assert_eq!(handled, HANDLED.load(SeqCst) as u64);
    });
}
