//! What each event reads and changes of the rules' memory, as places, so that the order of two events is noticed where it matters.
//!
//! The rules are in [`standstill::invariants`]; what is said here is coarser than they are: what they keep for each call is one place, and so on.

use standstill::CpuId;
use standstill::event::{CallInfo, CallKey, Event, What, WorkKey};
use standstill::platform::Ipi;

use crate::machine::world::World;
use crate::reduction::movers::Use;

/// Places that are neither memory nor known to the scheduler.
const EVENTS: usize = 0x2000;

const fn place(kind: usize, cpu: usize) -> usize {
    EVENTS + kind * 64 + cpu
}

/// The fate of one call.
const fn call(key: CallKey) -> usize {
    1 << 63 | key.slot << 4 | key.to.index()
}

const fn work(key: WorkKey) -> usize {
    1 << 62 | key.work << 4 | key.to.index()
}

/// The order of the calls of one sender to one target.
const fn order(info: &CallInfo) -> usize {
    place(16 + info.sender.index(), info.key.to.index())
}

const STAGE: usize = place(0, 0);
const CLOSED: usize = place(0, 1);
const RUNNING: usize = place(0, 2);
const LOCK: usize = place(0, 3);
const ALL: usize = place(0, 4);

/// The online, active and accepting bits, the handshake and the walk of a CPU.
const fn life(cpu: CpuId) -> usize {
    place(1, cpu.index())
}

/// Whether a CPU is online and takes calls.
const fn mask(cpu: CpuId) -> usize {
    place(2, cpu.index())
}

/// What a CPU's own monitor keeps: of the IPIs it owes, of the calls that it runs, of its stopper, of the works that it queued.
const fn owed(cpu: CpuId) -> usize {
    place(3, cpu.index())
}

const fn runs(cpu: CpuId) -> usize {
    place(4, cpu.index())
}

const fn stopper(cpu: CpuId) -> usize {
    place(5, cpu.index())
}

const fn queued(cpu: CpuId) -> usize {
    place(6, cpu.index())
}

/// Is it what a CPU's own monitor keeps, that no other CPU's events use?
pub(crate) const fn is_private(place: usize) -> bool {
    place >= self::place(3, 0) && place < self::place(7, 0)
}

/// The event is fed to the rules: does it meet one that was moved?
pub(crate) fn meet_event(w: &mut World, event: &Event) {
    if w.reduction.movers.is_on() {
        touched(event, |place, how| {
            if is_private(place) && !w.cpu_ref().irqs_on {
                // Nobody else uses it, and nothing comes in between.
                w.looks_at(place, how);
            } else {
                w.meet(place, how);
            }
        });
    }
}

/// Do the two events, of different CPUs, use no part of the rules' memory in a way in which their order matters? That is what the search relies on, and what
/// [`Values::depends`](crate::monitor::rules::Values::depends) looks at.
pub(crate) fn independent(one: &Event, other: &Event) -> bool {
    let mut meets = false;
    touched(one, |place, how| touched(other, |its, its_how| meets |= place == its && how.conflicts(its_how)));
    !meets
}

/// Calls `f` with each place that the event uses.
fn touched(e: &Event, mut f: impl FnMut(usize, Use)) {
    use Use::{Add, Read, Write};
    let me = e.cpu;
    match e.what {
        What::CallQueued(info) => {
            f(call(info.key), Write);
            f(order(&info), Write);
            f(mask(info.key.to), Read);
        }
        What::CallPushed { key, was_empty } => {
            f(call(key), Read);
            f(place(16 + me.index(), key.to.index()), Write);
            if was_empty {
                f(owed(me), Add);
            }
        }
        What::IpiSent { why: Ipi::Call, .. } => f(owed(me), Add),
        What::IpiSent { .. }
        | What::CallRefused { .. }
        | What::CallBusy { .. }
        | What::CallInPlace { .. } => {}
        What::CallReleased(key) | What::CallEnd(key) => {
            f(call(key), Write);
            f(runs(me), Write);
        }
        What::CallReturned { key, .. } | What::CallExpired(key) => f(call(key), Write),
        What::CallBegin(info, _) => {
            f(call(info.key), Write);
            f(order(&info), Write);
            f(runs(me), Write);
            f(mask(me), Read);
        }
        What::CallLate(info) => f(call(info.key), Read),
        What::CallLost(info) | What::CallDiscarded(info) => {
            f(call(info.key), Write);
            f(order(&info), Write);
        }
        What::IpiSpurious => f(mask(me), Read),
        What::DyingQueue { .. } => f(runs(me), Write),
        What::StopBegin { leaving, .. } => {
            f(STAGE, Write);
            f(CLOSED, Write);
            f(queued(me), Write);
            if let Some(who) = leaving {
                f(LOCK, Read);
                f(life(who), Write);
            }
        }
        What::StopPublished { .. } => {
            f(STAGE, Write);
            f(queued(me), Write);
            f(mask(me), Read);
        }
        What::StageEntered { .. } | What::StopAborted { .. } | What::StopEnd { .. } => f(STAGE, Write),
        What::StageAck { .. } => {
            f(STAGE, Read);
            f(stopper(me), Write);
        }
        What::IrqsClosed { active, split, .. } => {
            f(STAGE, Read);
            f(CLOSED, if active && split { Write } else { Add });
            f(stopper(me), Write);
        }
        What::IrqsRestored { .. } => {
            f(STAGE, Read);
            f(RUNNING, Read);
            f(CLOSED, Add);
            f(stopper(me), Write);
        }
        What::RunBegin { .. } => {
            f(STAGE, Read);
            f(CLOSED, Read);
            f(RUNNING, Add);
            f(stopper(me), Write);
        }
        What::RunEnd { .. } => {
            f(RUNNING, Add);
            f(stopper(me), Write);
        }
        What::StopperOpened | What::StopperClosed { .. } => f(stopper(me), Write),
        What::WorkQueued(key) | What::WorkTurnedAway(key) => {
            f(work(key), Write);
            f(queued(me), Add);
        }
        What::WorkClaimed(key) | What::WorkRefused(key) => f(work(key), Write),
        What::WorkBegin(key) | What::WorkEnd(key) => {
            f(work(key), Write);
            f(stopper(me), Write);
        }
        What::ReadLocked | What::ReadUnlocked | What::WriteLocked | What::WriteUnlocked => f(LOCK, Write),
        What::CallbacksGivenUp { who } => f(life(who), Write),
        What::DownBegin { who, .. }
        | What::DownEnd { who, .. }
        | What::UpBegin { who, .. }
        | What::UpEnd { who, .. } => {
            f(LOCK, Write);
            f(life(who), Write);
        }
        What::StateEnter { who, .. }
        | What::StateLeave { who, .. }
        | What::ActiveSet { who }
        | What::ActiveCleared { who }
        | What::ThreadsParked { who }
        | What::ThreadsUnparked { who }
        | What::SyncMoved { who, .. }
        | What::InjectionArmed { who, .. }
        | What::InjectionDropped { who, .. }
        | What::DeadSeen { who } => f(life(who), Write),
        What::AcceptingSet { who } | What::AcceptingCleared { who } | What::OnlineSet { who } => {
            f(life(who), Write);
            f(mask(who), Write);
        }
        What::OnlineCleared { who } => {
            f(life(who), Write);
            f(mask(who), Write);
            f(STAGE, Read);
            f(CLOSED, Read);
        }
        What::CpuStarted { .. } => {
            f(CLOSED, Add);
            f(runs(me), Write);
            f(stopper(me), Write);
            f(queued(me), Write);
            f(life(me), Write);
        }
        What::CpuDies => f(life(me), Write),
        What::Stalled(_) => f(ALL, Write),
    }
}
