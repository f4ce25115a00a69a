//! Waiting, loops with cuts, and what the library announces.

use crate::machine::announce::rest_for_ever;
use crate::machine::wait::wait_for;
use std::panic::Location;

use standstill::event::{Event, What};
use standstill::platform::{Cpus, Deadline, Wait, WaitContext, WaitFor};

use super::Model;
use crate::base::hash::Hash128;
use crate::config::mutant::Change;
use crate::machine::access::ModelWord;
use crate::machine::condition;
use crate::machine::point::point;
use crate::machine::state::{Op, OpKind};
use crate::machine::wait::Waiting;
use crate::machine::world::with;
use crate::monitor::events;
use crate::monitor::library::of;

/// The number of an announcement, for the place in the code that makes it: all come through one line.
fn event_code(what: &What) -> u64 {
    let stage = match what {
        What::StageEntered { stage, .. } | What::StageAck { stage, .. } => *stage as u64 + 1,
        _ => 0,
    };
    Hash128::of(&(std::mem::discriminant(what), stage)).0
}

/// The deadline that [`Wait::deadline_in`] returns where time plays no part.
const SOME_DEADLINE: Deadline = Deadline(1);

/// The end of the port's patience.
const PATIENCE: Deadline = Deadline(2);

/// Where the port's patience may end in every scenario in which time plays a part. Elsewhere it does in those that ask for it.
const PATIENCE_ENDS: [&str; 3] = [
    "cpu_up: the started CPU to answer",
    "cpu_up: the started CPU to be online",
    "cpu_down: the CPU to be dead",
];

/// What the machine has to know of a wait of the library.
fn waiting<'a>(wait: &'a WaitFor<'_>, sleeps: bool) -> Waiting<'a> {
    let patient = wait.deadline == PATIENCE;
    let ends = || PATIENCE_ENDS.contains(&wait.site.what) || with(|w| of(w).patience_ends);
    Waiting {
        what: wait.site.what,
        at: wait.site.at,
        site: &wait.site,
        yields: wait.context == WaitContext::Task,
        rests: wait.site.has_no_end(),
        may_expire: wait.deadline != Deadline::NEVER && (!patient || ends()),
        sleeps,
    }
}

/// Is it an event that stands before the access that it announces? Then the two are one step; see the events' own words.
fn announces(what: &What) -> bool {
    matches!(
        what,
        What::CallQueued(_)
            | What::CallReleased(_)
            | What::CallExpired(_)
            | What::CallDiscarded(_)
            | What::IpiSent { .. }
            | What::OnlineSet { .. }
            | What::OnlineCleared { .. }
            | What::AcceptingSet { .. }
            | What::AcceptingCleared { .. }
            | What::ActiveSet { .. }
            | What::ActiveCleared { .. }
            | What::StageEntered { .. }
            | What::StageAck { .. }
            | What::SyncMoved { .. }
            | What::WorkQueued(_)
            | What::StopperOpened
            | What::ReadUnlocked
            | What::WriteUnlocked
    )
}

// SAFETY: `wait_until` returns only what `poll` said, or `None` after the deadline; NEVER does not expire.
unsafe impl Wait for Model {
    fn deadline_in(&self, ns: u64) -> Deadline {
        if ns == self.timeout_ns() { PATIENCE } else { SOME_DEADLINE }
    }

    fn expired(&self, _: Deadline) -> bool {
        false
    }

    #[track_caller]
    fn wait_until<R>(
        &self,
        on: &ModelWord,
        wait: &WaitFor<'_>,
        poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        wait_for(on, &waiting(wait, true), poll)
    }

    /// Its waiters poll, also where others sleep.
    #[track_caller]
    fn watch_until<R>(
        &self,
        on: &ModelWord,
        wait: &WaitFor<'_>,
        poll: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        wait_for(on, &waiting(wait, false), poll)
    }

    #[track_caller]
    fn notify(&self, on: *const ModelWord) {
        if std::thread::panicking() {
            return;
        }
        let at = Location::caller();
        condition::only_looks("wakes others", at);
        with(|w| {
            if !w.mutates(Change::DropNotify, at) {
                // A port whose waiters sleep makes the change visible before it looks for them.
                if w.options.sleepers {
                    w.drain(w.cpu);
                    w.is_told(on.addr(), true);
                }
                w.step.notified.push(on.addr());
            }
        });
    }

    #[track_caller]
    fn event(&self, event: impl FnOnce() -> Event) {
        if std::thread::panicking() {
            return;
        }
        let event = event();
        let at = Location::caller();
        condition::only_looks("announces an event", at);
        let first = announces(&event.what) && with(|w| w.step.inside);
        if first {
            let noticed = with(|w| match event.what {
                _ if w.step.fused => true,
                What::IpiSent { .. } => w.is_point_to_send(at),
                what => w.is_point(event_code(&what), 0, at),
            });
            point(Op { kind: OpKind::Announce, place: 0, at }, noticed);
        }
        let broken = with(|w| {
            w.gives_up("something else is announced", at);
            events::event(w, &event, at);
            w.step.fused |= first;
            w.step.fault.is_some() && w.step.inside
        });
        if broken {
            // What comes after may rely on what was just broken.
            rest_for_ever();
        }
    }
}
