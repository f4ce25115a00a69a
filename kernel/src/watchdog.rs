//! The watchdog: in each timer interrupt a CPU looks whether the next online one still has such interrupts.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU64};

use standstill::CpuId;
use standstill_x86_64::cpu;
use standstill_x86_64::time::now_ns;

use crate::sched;

/// How long a CPU may be silent. Under emulation a whole CPU may not run for seconds.
const SILENCE_NS: u64 = 20_000_000_000;

static LIMIT_NS: AtomicU64 = AtomicU64::new(SILENCE_NS);
static BARKS: AtomicBool = AtomicBool::new(false);

/// From now on a silent CPU is a panic.
pub(crate) fn start(limit_ns: Option<u64>) {
    if let Some(ns) = limit_ns {
        LIMIT_NS.store(ns, Relaxed);
    }
    BARKS.store(true, Relaxed);
}

/// In a timer interrupt.
pub(crate) fn look() {
    if !BARKS.load(Relaxed) {
        return;
    }
    let me = cpu::this_cpu();
    let online = crate::machine().online().snapshot();
    let Some(next) = online.after(me).or_else(|| online.first()).filter(|next| *next != me) else { return };
    let (mine, theirs) = (sched::here(), sched::local(next));
    // Which CPU is watched is part of what was seen.
    let seen = theirs.beats.load(Relaxed) << 8 | next.index() as u64;
    let now = now_ns();
    if mine.watched.swap(seen, Relaxed) != seen {
        mine.watched_at.store(now, Relaxed);
    } else if now - mine.watched_at.load(Relaxed) > LIMIT_NS.load(Relaxed) {
        silent(next);
    }
}

/// A wait with interrupts off, or in the stopper, has taken so long.
pub(crate) fn spinning(waited_ns: u64) {
    if BARKS.load(Relaxed) && waited_ns > LIMIT_NS.load(Relaxed) {
        panic!("{} has waited for {} ms, and nobody answers", cpu::this_cpu(), waited_ns / 1_000_000);
    }
}

#[cold]
fn silent(cpu: CpuId) -> ! {
    BARKS.store(false, Relaxed);
    panic!(
        "{cpu} does not answer: no timer interrupt there for {} s",
        LIMIT_NS.load(Relaxed) / 1_000_000_000
    );
}
