//! The watchdog. Nothing that hangs does so in silence:
//!
//! | what hangs | who notices |
//! |---|---|
//! | one CPU, its interrupts off | the online CPU before it, which looks in its timer interrupts and its idle loop whether that one still has such |
//! | all of them: a stop that does not end | the clock of `hpet.rs`: its NMIs find one CPU without them. And a CPU that spins in the stop |
//! | threads that wait for each other, while all CPUs are well | the first online CPU: a torture without events is over or stuck |
//!
//! Each ends the machine by a panic, which prints what every CPU did last.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use standstill::CpuId;
use standstill_x86_64::cpu;
use standstill_x86_64::time::now_ns;

use crate::{hpet, machine, sched, watch};

/// How long a CPU may be silent. Under emulation a whole CPU may not run for seconds.
const SILENCE_NS: u64 = 20_000_000_000;

static LIMIT_NS: AtomicU64 = AtomicU64::new(SILENCE_NS);
static BARKS: AtomicBool = AtomicBool::new(false);

/// What is looked at again and again, and should change.
struct Sign {
    last: AtomicU64,
    since: AtomicU64,
}

impl Sign {
    const fn new() -> Self {
        Sign { last: AtomicU64::new(0), since: AtomicU64::new(0) }
    }

    /// Looks at it now; true if it has been the same for too long.
    fn is_stale(&self, now_is: u64) -> bool {
        let now = now_ns();
        if self.last.swap(now_is, Relaxed) != now_is {
            self.since.store(now, Relaxed);
        }
        now.saturating_sub(self.since.load(Relaxed)) > LIMIT_NS.load(Relaxed)
    }
}

/// The beats of the CPU that gets the NMIs.
static AT_NMI: Sign = Sign::new();
/// The CPU that gets them.
static NMI_CPU: AtomicUsize = AtomicUsize::new(0);
/// All events, while a torture is on.
static EVENTS: Sign = Sign::new();
static EVENTS_COME: AtomicBool = AtomicBool::new(false);

/// Nobody, in [`CULPRIT`].
const NOBODY: usize = usize::MAX;
/// The CPU that hangs, by what the one knows that noticed it.
static CULPRIT: AtomicUsize = AtomicUsize::new(NOBODY);

/// The CPU that a report is about, if it is about one.
pub(crate) fn culprit() -> Option<CpuId> {
    let culprit = CULPRIT.load(Relaxed);
    (culprit != NOBODY).then(|| CpuId::new(culprit))
}

/// Who is at the end of the waits that begin with `cpu`: that one waits for nobody.
fn at_the_end_from(cpu: CpuId) -> CpuId {
    let mut at = cpu;
    // As many waits as there are CPUs, lest it be a circle.
    for _ in &machine().possible().snapshot() {
        match watch::awaited_by(at) {
            Some(next) if next != cpu => at = next,
            _ => break,
        }
    }
    at
}

/// From now on a silent CPU is a panic.
pub(crate) fn start(limit_ns: Option<u64>) {
    if let Some(ns) = limit_ns {
        LIMIT_NS.store(ns, Relaxed);
    }
    BARKS.store(true, Relaxed);
}

/// Something else is wrong, or the end is near.
pub(crate) fn stop() {
    BARKS.store(false, Relaxed);
}

/// From now on, or not any more, there is always an event before long.
pub(crate) fn expect_events(on: bool) {
    EVENTS.since.store(now_ns(), Relaxed);
    EVENTS_COME.store(on, Relaxed);
}

/// The beats of `cpu`, with its number, as which CPU is looked at is part of what is seen.
fn beats(cpu: CpuId) -> u64 {
    sched::local(cpu).beats.load(Relaxed) << 8 | cpu.index() as u64
}

/// In a timer interrupt, and now and then in the idle loop. Interrupts off.
pub(crate) fn look() {
    if !BARKS.load(Relaxed) {
        return;
    }
    let me = cpu::this_cpu();
    let online = machine().online().snapshot();
    if online.first() == Some(me) && EVENTS_COME.load(Relaxed) && EVENTS.is_stale(watch::events()) {
        bark(None, format_args!("nothing happens any more: no event"));
    }
    let Some(next) = online.after(me).or_else(|| online.first()).filter(|next| *next != me) else { return };
    let mine = sched::here();
    let seen = beats(next);
    let now = now_ns();
    if mine.watched.swap(seen, Relaxed) != seen {
        mine.watched_at.store(now, Relaxed);
    } else if now - mine.watched_at.load(Relaxed) > LIMIT_NS.load(Relaxed) {
        bark(
            Some(next),
            format_args!("{next} does not answer: no timer interrupt and no switch of threads there"),
        );
    }
}

/// An NMI, maybe of the clock, found this CPU at `at`.
pub(crate) fn nmi(at: u64) {
    let me = cpu::this_cpu();
    // The pin was aimed away when this one was on its way.
    if BARKS.load(Relaxed) && NMI_CPU.load(Relaxed) == me.index() && AT_NMI.is_stale(beats(me)) {
        match at_the_end_from(me) {
            hangs if hangs == me => bark(
                Some(me),
                format_args!(
                    "{me} hangs, and maybe all of them: an NMI found it at {at:#x}; no timer interrupt there"
                ),
            ),
            hangs => bark(
                Some(hangs),
                format_args!("{hangs} hangs, and {me} waits for it: no timer interrupt on {me}"),
            ),
        }
    }
}

/// The NMIs go to another online CPU than `cpu`. Within a hotplug operation, so that nobody else uses the I/O APIC.
pub(crate) fn leave(cpu: CpuId) {
    let mut others = machine().online().snapshot();
    others.remove(cpu);
    if NMI_CPU.load(Relaxed) == cpu.index()
        && let Some(other) = others.first()
    {
        NMI_CPU.store(other.index(), Relaxed);
        hpet::aim(other);
    }
}

/// A wait with interrupts off, or in the stopper, has taken so long.
pub(crate) fn spinning(waited_ns: u64) {
    if BARKS.load(Relaxed) && waited_ns > LIMIT_NS.load(Relaxed) {
        let me = cpu::this_cpu();
        let ms = waited_ns / 1_000_000;
        match watch::awaited_by(me).map(at_the_end_from) {
            Some(hangs) => {
                CULPRIT.store(hangs.index(), Relaxed);
                panic!("{me} has waited for {ms} ms, and {hangs} does not answer");
            }
            None => panic!("{me} has waited for {ms} ms, and nobody answers"),
        }
    }
}

#[cold]
fn bark(hangs: Option<CpuId>, what: core::fmt::Arguments<'_>) -> ! {
    stop();
    CULPRIT.store(hangs.map_or(NOBODY, CpuId::index), Relaxed);
    panic!("{what} for {} s", LIMIT_NS.load(Relaxed) / 1_000_000_000);
}
