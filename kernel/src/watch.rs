//! What happens to the library's events: each CPU keeps its last ones for reports, counts, and asks the rules of scope Local, in place with
//! interrupts off. The rules of scope Pair see the events of all CPUs, one at a time, on machines with few.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};

use standstill::event::{Event, What};
use standstill::invariants::{Checks, Local, Pair, Tally, Violation};
use standstill::{CpuId, Protocol};
use standstill_x86_64::{cpu, irq};

use crate::lock::SpinLock;
use crate::{console, say};

/// How many events of each CPU are kept.
const KEPT: usize = 24;
/// How many calls and works the rules of scope Pair keep in mind.
const SLOTS: usize = 1 << 12;
/// With more CPUs they wait for each other too long.
const PAIR_CPUS: usize = 8;

/// What belongs to one CPU.
struct Place {
    /// How many events there were, for those who don't want to wait for the lock.
    count: AtomicU64,
    seat: SpinLock<Seat>,
}

struct Seat {
    last: [Option<Event>; KEPT],
    next: usize,
    tally: Tally,
    local: Local,
}

/// The first wait that took long.
#[derive(Clone, Copy)]
pub(crate) struct Stall {
    pub(crate) event: Event,
}

struct Watch {
    places: Vec<Place>,
    pair: Option<SpinLock<Box<Pair<SLOTS>>>>,
    first: SpinLock<Option<Violation>>,
    stall: SpinLock<Option<Stall>>,
}

/// Called for each event: the torture's own eyes.
pub(crate) type Hook = dyn Fn(&Event) + Sync;

static WATCH: AtomicPtr<Watch> = AtomicPtr::new(core::ptr::null_mut());
static HOOK: AtomicPtr<&'static Hook> = AtomicPtr::new(core::ptr::null_mut());

static LOG_WALKS: AtomicBool = AtomicBool::new(false);

/// Somebody listens: only then are events built.
static LISTENS: AtomicBool = AtomicBool::new(false);

/// Does anybody want events?
#[inline]
pub(crate) fn listens() -> bool {
    LISTENS.load(Relaxed)
}

/// From now on each step of a walk is a line on the console, or not.
pub(crate) fn log_walks(on: bool) {
    LOG_WALKS.store(on, Relaxed);
}

fn watch() -> Option<&'static Watch> {
    // SAFETY: null, or leaked.
    unsafe { WATCH.load(Acquire).as_ref() }
}

pub(crate) fn init(cpus: usize, protocol: Protocol) {
    let place = |cpu| Place {
        count: AtomicU64::new(0),
        seat: SpinLock::new(Seat {
            last: [None; KEPT],
            next: 0,
            tally: Tally::new(),
            local: Local::new(CpuId::new(cpu), protocol),
        }),
    };
    WATCH.store(
        Box::leak(Box::new(Watch {
            places: (0..cpus).map(place).collect(),
            pair: (cpus <= PAIR_CPUS).then(|| SpinLock::new(Box::new(Pair::new(protocol)))),
            first: SpinLock::new(None),
            stall: SpinLock::new(None),
        })),
        Release,
    );
    LISTENS.store(true, Relaxed);
}

pub(crate) fn set_hook(hook: &'static Hook) {
    HOOK.store(Box::into_raw(Box::new(hook)), Release);
    LISTENS.store(true, Relaxed);
}

/// Nobody calls it from now on but who is about to.
pub(crate) fn clear_hook() {
    HOOK.store(core::ptr::null_mut(), Release);
    LISTENS.store(watch().is_some(), Relaxed);
}

/// Nobody wants events any more: the machine is about to end, and a lock may be in use for ever.
pub(crate) fn close() {
    LISTENS.store(false, Relaxed);
}

/// How many events there were.
pub(crate) fn events() -> u64 {
    watch().iter().flat_map(|watch| &watch.places).map(|place| place.count.load(Relaxed)).sum()
}

/// Takes an event, in every context but NMI.
pub(crate) fn event(event: &Event) {
    let stays = cpu::preempt_count() > 0 || !irq::are_on();
    assert!(
        stays,
        "an event of {} may be recorded by another CPU: the port's `event` has to disable preemption around it: {event:?}",
        event.cpu
    );
    // SAFETY: null, or leaked.
    if let Some(hook) = unsafe { HOOK.load(Acquire).as_ref() } {
        hook(event);
    }
    let Some(watch) = watch() else { return };
    let Some(place) = watch.places.get(event.cpu.index()) else { return };
    let verdict = {
        let mut seat = place.seat.lock();
        let next = seat.next;
        seat.last[next % KEPT] = Some(*event);
        seat.next = next + 1;
        place.count.store(seat.next as u64, Relaxed);
        seat.tally.feed(event);
        seat.local.feed(event)
    };
    note(watch, verdict);
    if LOG_WALKS.load(Relaxed) {
        console::log_walk(&event.what);
    }
    if let Some(pair) = &watch.pair {
        let verdict = pair.lock().feed(event);
        note(watch, verdict);
    }
    if let What::Stalled(stall) = event.what {
        watch.stall.lock().get_or_insert(Stall { event: *event });
        say!("{}", stall.told_by(event.cpu));
    }
}

fn note(watch: &Watch, verdict: Result<(), Violation>) {
    if let Err(violation) = verdict {
        let mut first = watch.first.lock();
        if first.is_none() {
            *first = Some(violation);
            drop(first);
            say!("a rule is broken: {violation:?}");
        }
    }
}

/// Nothing comes any more.
pub(crate) fn finish() {
    let Some(watch) = watch() else { return };
    for place in &watch.places {
        let verdict = place.seat.lock().local.finish();
        note(watch, verdict);
    }
    if let Some(pair) = &watch.pair {
        let verdict = pair.lock().finish();
        note(watch, verdict);
    }
}

pub(crate) fn tally() -> Tally {
    let mut all = Tally::new();
    for place in watch().iter().flat_map(|watch| &watch.places) {
        all.merge(&place.seat.lock().tally);
    }
    all
}

pub(crate) fn checks() -> Checks {
    let mut all = Checks::new();
    let Some(watch) = watch() else { return all };
    for place in &watch.places {
        all.merge(place.seat.lock().local.checks());
    }
    if let Some(pair) = &watch.pair {
        all.merge(pair.lock().checks());
    }
    all
}

/// What follows is counted from zero: of what was before, the rules know only what goes on.
pub(crate) fn restart() {
    let Some(watch) = watch() else { return };
    for place in &watch.places {
        let mut seat = place.seat.lock();
        seat.tally.restart();
        seat.local.restart_checks();
    }
    if let Some(pair) = &watch.pair {
        pair.lock().restart_checks();
    }
    *watch.first.lock() = None;
    *watch.stall.lock() = None;
}

/// Whom `cpu` waits for: the last thing that it said is that it has waited for long. In every context.
pub(crate) fn awaited_by(cpu: CpuId) -> Option<CpuId> {
    let seat = watch()?.places.get(cpu.index())?.seat.try_lock()?;
    let last = seat.last[seat.next.checked_sub(1)? % KEPT]?;
    match last.what {
        What::Stalled(stall) => Some(stall.missing),
        _ => None,
    }
}

pub(crate) fn first_violation() -> Option<Violation> {
    *watch()?.first.lock()
}

pub(crate) fn first_stall() -> Option<Stall> {
    *watch()?.stall.lock()
}

/// Prints the last events of `cpu`, oldest first.
pub(crate) fn print_last(cpu: CpuId) {
    let Some(place) = watch().and_then(|watch| watch.places.get(cpu.index())) else { return };
    let Some(seat) = place.seat.try_lock() else {
        say!("  (its events are in use)");
        return;
    };
    for event in (0..KEPT).filter_map(|i| seat.last[(seat.next + i) % KEPT].as_ref()) {
        say!("  {:?}", event.what);
    }
}
