//! Races: two dependent events that could have come in the other order, and what has to be tried for that.
//!
//! Let `f` be a step, made or only thought of, and `e` an event before it that it depends on without any other between them. Were `e`
//! not there, nor what depends on it, would `f` still be possible? Then there are runs in which `f` comes first. One of them begins, after what was
//! before `e`, with what stays of the events behind `e`; so at least one CPU that makes the first step of such a beginning
//! (an *initial*) has to be tried where `e` was chosen.
//!
//! `e` and `f` are on one CPU only if `f` is an alternative that was barred when `e` was chosen: an interrupt that was not pending yet, a wait whose
//! condition did not hold yet. What was possible there is tried anyway: all choices of a CPU exclude each other.

use crate::base::fibre::Command;
use crate::config::options::Ipi;
use crate::engine::dpor::Explorer;
use crate::engine::dpor::local::{bit_of, is_expiry};
use crate::engine::dpor::trace::{Barred, Clock, join};
use crate::machine::state::OpKind;
use crate::machine::world::{run, with_ptr};
use crate::reduction::footprint::{self, FIRST_ADDRESS};
use crate::vocab::choice::{Choice, cpu_of};
use crate::vocab::pending::{PENDING_CALL, PENDING_HALT};

impl Explorer<'_> {
    /// Looks for the races of a step that is about to be made, or that is only thought of (`own` is false: then it has no order against
    /// the events of its own CPU). Gives the events that were looked at.
    ///
    /// An event without which `f` is still not possible does not hide those before it: a word that had another value
    /// in between, or the last deadline that may be over. Only one without which it is possible does: in the run in which `f` comes before
    /// that one, the others are found.
    pub(super) fn races_before(&mut self, f: Barred, own: bool) -> Vec<usize> {
        let cpu = cpu_of(f.choice);
        let needs = with_ptr(self.ready.world, |w| w.needs(f.choice));
        let known = self.trace.known(cpu);
        let dependent = self.trace.dependent(cpu, &needs);
        let mut all = known;
        for e in &dependent {
            join(&mut all, &self.trace.events[*e].clock);
        }
        let mut hidden = known;
        let mut looked_at = Vec::new();
        for e in dependent {
            if self.trace.is_before(e, &hidden) {
                continue;
            }
            looked_at.push(e);
            if self.is_feasible(f.choice, e) {
                self.reverse(e, f.choice, &all);
                join(&mut hidden, &self.trace.events[e].clock);
            }
        }
        if own {
            self.own_races(f, &all);
        }
        looked_at
    }

    /// The events of the same CPU that `f` could have come before.
    fn own_races(&mut self, f: Barred, clock: &Clock) {
        let cpu = cpu_of(f.choice);
        let own: Vec<usize> = self.trace.own(cpu).collect();
        for e in own {
            let event = &self.trace.events[e];
            if bit_of(f.choice).is_some() && (event.choice == f.choice || self.enabled_at(e, f.choice)) {
                // It was taken here, or could have been.
                return;
            }
            if event.barred.contains(&f) {
                if self.is_feasible(f.choice, e) {
                    self.reverse(e, f.choice, clock);
                }
                if bit_of(f.choice).is_some() {
                    // The run in which it comes before this one sees those before.
                    return;
                }
            }
        }
    }

    /// Would `f` be possible if the event `without`, and what depends on it, were not there?
    fn is_feasible(&mut self, f: u32, without: usize) -> bool {
        let Some((cpu, what)) = Choice::decode(f) else { return false };
        let is_pending = |explorer: &Self, bit: u8| {
            let now = explorer.pending_at_start[cpu] & bit != 0;
            explorer.trace.value(footprint::pending(cpu, bit), without).map_or(now, |value| value != 0)
        };
        match what {
            Choice::Interrupt(_) | Choice::Stopper => bit_of(f).is_none_or(|bit| is_pending(self, bit)),
            Choice::Flush | Choice::Old { .. } => true,
            Choice::Expire(_) => {
                self.trace.count(without, is_expiry) < usize::from(self.expirations_at_start)
            }
            Choice::Thread(thread) => {
                let (instant, open, waits) = with_ptr(self.ready.world, |w| {
                    let waits = w.threads[thread].as_ref().is_some_and(|t| t.op.kind == OpKind::Wait);
                    (w.options.ipi == Ipi::Instant, w.cpus[cpu].irqs_on, waits)
                });
                if instant && open && (is_pending(self, PENDING_CALL) || is_pending(self, PENDING_HALT)) {
                    return false;
                }
                !waits || self.would_hold(thread, without)
            }
        }
    }

    /// Would the condition hold that `thread` waits for? It is asked, with the values that its places would have.
    fn would_hold(&mut self, thread: usize, without: usize) -> bool {
        let world = self.ready.world;
        let (cpu, several, watch) = with_ptr(world, |w| {
            let t = w.threads[thread].as_ref();
            t.map_or((0, true, crate::machine::state::Watch::NONE), |t| {
                (usize::from(t.cpu), t.watch.open > 1, t.watch)
            })
        });
        if several || watch.iter().any(|(place, _)| place < FIRST_ADDRESS) {
            return true;
        }
        let mut values = Vec::new();
        for (place, _) in watch.iter() {
            if let Some(value) = self.trace.value(place, without) {
                values.push((place, value));
            }
        }
        with_ptr(world, |w| {
            w.mark(Some(thread));
            w.recorder.choices.push(0);
            for (place, value) in &values {
                // SAFETY: a word that a condition reads is alive as long as its wait.
                unsafe { w.undo.log.memory(*place, size_of::<usize>()) };
                // SAFETY: as above; one OS thread runs all.
                unsafe { *(*place as *mut usize) = *value };
            }
        });
        run(world, cpu, thread, Command::Peek);
        with_ptr(world, |w| {
            let blocked = w.threads[thread].as_ref().is_some_and(|t| t.blocked);
            w.undo();
            !blocked
        })
    }

    /// Sees to it that a run is tried in which `f` comes before the event `e`; `clock` is what `f` knows of.
    pub(super) fn reverse(&mut self, e: usize, f: u32, clock: &Clock) {
        if self.frames[e].tries_all {
            return;
        }
        let own = self.trace.events[e].cpu == cpu_of(f);
        let mut firsts: Vec<usize> = Vec::new();
        for event in e + 1..self.trace.len() {
            let cpu = self.trace.events[event].cpu;
            if self.trace.stays(event, e) && !firsts.iter().any(|k| self.trace.events[*k].cpu == cpu) {
                firsts.push(event);
            }
        }
        let is_initial = |clock: &Clock, me: usize| {
            firsts.iter().all(|other| *other == me || !self.trace.is_before(*other, clock))
        };
        let mut initials: Vec<u32> = firsts
            .iter()
            .filter(|event| is_initial(&self.trace.events[**event].clock, **event))
            .map(|event| self.trace.events[*event].choice)
            .collect();
        let first_of_its_cpu = !firsts.iter().any(|event| self.trace.events[*event].cpu == cpu_of(f));
        if !own && first_of_its_cpu && is_initial(clock, usize::MAX) && self.enabled_at(e, f) {
            initials.insert(0, f);
        }
        let frame = &mut self.frames[e];
        let tried =
            initials.iter().any(|choice| frame.cpus & 1 << cpu_of(*choice) != 0 || frame.sleeps(*choice));
        if let (false, Some(choice)) = (tried, initials.first()) {
            frame.cpus |= 1 << cpu_of(*choice);
        }
    }

    fn enabled_at(&self, e: usize, choice: u32) -> bool {
        self.frames[e].enabled.contains(&choice)
    }

    /// The run ends here. What can't happen now could have happened before something that has.
    pub(super) fn races_at_end(&mut self, enabled: &[u32]) {
        for cpu in 0..self.cpus {
            let barred =
                with_ptr(self.ready.world, |w| w.barred(cpu, enabled, self.expirations_at_start > 0));
            for f in barred {
                self.races_before(f, true);
            }
            // Nor has a CPU that is off, or has closed its interrupts for good, taken those that came too late.
            for f in [
                Choice::Interrupt(crate::vocab::step::Interrupt::Call),
                Choice::Interrupt(crate::vocab::step::Interrupt::Halt),
                Choice::Stopper,
            ] {
                let choice = f.encode(cpu);
                if !enabled.contains(&choice) {
                    self.own_races(Barred { choice, key: 0 }, &[0; crate::vocab::limits::MAX_CPUS]);
                }
            }
        }
    }
}
