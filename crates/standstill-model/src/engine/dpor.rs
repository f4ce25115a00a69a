//! Engine 2: every trace once, without remembering states: dynamic partial-order reduction with source sets and sleep sets.
//!
//! # Vocabulary
//! An **event** is a step of a run. Two events are **dependent** if they are on one CPU or touch a place in conflicting ways ([`crate::reduction::footprint`]).
//! Runs that differ in the order of independent events are one **trace**. A **sleep set** holds the choices whose traces were all seen
//! before: it is why no trace is seen twice. A run in which all that can happen is asleep is **blocked**: it is no trace,
//! and was not worth beginning. Which CPUs have to be tried at a place is found out from the *races* of the runs that were made (`race.rs`).
//!
//! # Why it shares nothing with the stateful search
//! It has no fingerprints, no histories and no cut points: only the machine itself and its way back are the same. So the two check each
//! other: they must find the same ends.
//!
//! # What is exact, and what is coarser than need be
//! A CPU is one process, whose possible choices exclude each other: all of them are tried wherever one of them is. What a step touches is
//! observed while it is made, so whether two steps commute is known, not guessed. Wherever it can't be known cheaply whether a
//! race can be reversed (conditions that read several places, threads that move), it is taken to be possible: that costs blocked runs, and loses
//! no trace.
//!
//! A device interrupt may also never come. So there is one search for each number of them on each CPU (a **cell**), in which
//! all of them come; a run that can't take them all is one of another cell.
//!
//! What the rules keep of events is not among the places: rules that compare CPUs which share no place are judged in one order of
//! each trace. W, L, S, O and F are a CPU's own affair, and are judged in all.
//!
//! # Parts
//! The first steps of a search can be tried in full, with sleep sets alone, up to a certain depth; what hangs below is then cut into parts
//! that know nothing of each other, and no trace is in two of them. See [`crate::result::shard`].

mod local;
mod race;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Instant;

use crate::base::hash::{BuildHashed, Hash128};
use crate::base::room;
use crate::config::options::Options;
use crate::engine::dpor::trace::Trace;
use crate::engine::search::{End, Found, limit};
use crate::machine::session::Ready;
use crate::machine::step::take;
use crate::machine::world::with_ptr;
use crate::reduction::footprint::Touch;
use crate::vocab::choice::{cpu_of, is_interrupt};
use crate::vocab::fault::Fault;
use crate::vocab::limits::MAX_CPUS;
use crate::vocab::progress::{Bound, Progress};

/// How much is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// What no race asks for, and what is asleep.
    Source,
    /// What is asleep: each trace once, with more blocked runs.
    #[cfg(test)]
    Sleep,
    /// Nothing: each order of all steps.
    #[cfg(test)]
    All,
}

/// Which part of a search is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub(crate) index: u32,
    pub(crate) of: u32,
    /// The first so many steps are tried in full.
    pub(crate) depth: usize,
}

impl Part {
    pub(crate) const WHOLE: Part = Part { index: 0, of: 1, depth: 0 };
}

/// A choice whose traces were all seen, with what its step touches.
struct Sleeper {
    choice: u32,
    touches: Rc<[Touch]>,
}

/// A state on the way to where the search is.
struct Frame {
    enabled: Vec<u32>,
    /// The CPUs that are tried here.
    cpus: u32,
    /// So no race has to ask for one.
    tries_all: bool,
    sleep: Vec<Sleeper>,
    tried: Vec<u32>,
}

impl Frame {
    fn sleeps(&self, choice: u32) -> bool {
        self.sleep.iter().any(|sleeper| sleeper.choice == choice)
    }
}

/// A search.
pub(crate) struct Explorer<'a> {
    ready: &'a Ready,
    mode: Mode,
    part: Part,
    cpus: usize,
    trace: Trace,
    frames: Vec<Frame>,
    pending_at_start: [u8; MAX_CPUS],
    expirations_at_start: u8,
    /// How many device interrupts come on each CPU.
    cell: [u8; MAX_CPUS],
    /// How many parts of the search have begun.
    begun: u64,
    pub(crate) traces: HashSet<u128, BuildHashed>,
    /// Traces that were seen again: none, if sleep sets do what they are for.
    pub(crate) again: u64,
    pub(crate) blocked: u64,
}

/// A run that is longer than this goes round in circles.
pub(crate) const LONGEST: usize = 20_000;
/// No more runs than this are between two looks at the limits.
const REPORT: u64 = 1 << 8;

impl<'a> Explorer<'a> {
    pub(crate) fn new(ready: &'a Ready, options: &Options, mode: Mode, part: Part) -> Explorer<'a> {
        let (pending_at_start, expirations_at_start) = with_ptr(ready.world, |w| {
            w.undo_to(0);
            // All points are events here: what was moved would hide what a step touches.
            w.reduction.movers.switch_on(&Options { reduce: false, ..options.clone() });
            (std::array::from_fn(|cpu| w.cpus[cpu].pending), w.phase.expirations)
        });
        Explorer {
            ready,
            mode,
            part,
            cpus: options.cpus,
            trace: Trace::default(),
            frames: Vec::new(),
            pending_at_start,
            expirations_at_start,
            cell: [0; MAX_CPUS],
            begun: 0,
            traces: HashSet::default(),
            again: 0,
            blocked: 0,
        }
    }

    /// All cells.
    pub(crate) fn explore(
        &mut self,
        options: &Options,
        began: Instant,
        found: &mut Found,
        progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> End {
        loop {
            with_ptr(self.ready.world, |w| {
                w.undo_to(0);
                for (cpu, devices) in w.cpus.iter_mut().zip(self.cell) {
                    cpu.devices = devices;
                }
            });
            self.trace.clear();
            self.frames.clear();
            match self.cell(options, began, found, progress) {
                End::Exhausted => {}
                end => return end,
            }
            // The next cell, as a number whose digits are those of the CPUs.
            let next = self.cell[..self.cpus].iter().position(|digit| usize::from(*digit) < options.irqs);
            let Some(next) = next else {
                if self.part.of == 1 {
                    found.expect_an_end();
                }
                return End::Exhausted;
            };
            self.cell[..next].fill(0);
            self.cell[next] += 1;
        }
    }

    fn cell(
        &mut self,
        options: &Options,
        began: Instant,
        found: &mut Found,
        progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> End {
        let mut sleep: Vec<Sleeper> = Vec::new();
        let mut enabled = Vec::new();
        let mut dead = found.look(self.ready, true);
        loop {
            if with_ptr(self.ready.world, |w| w.reduction.classes.changed) {
                return End::Again;
            }
            found.steps = with_ptr(self.ready.world, |w| w.recorder.steps);
            if found.fault.is_some() && !options.keep_going {
                return End::Bounded(Bound::Violation);
            }
            if room::has_run_out() {
                return End::Bounded(Bound::Bytes);
            }
            if dead {
                enabled.clear();
            } else {
                with_ptr(self.ready.world, |w| w.enabled(&mut enabled));
            }
            let asleep = |choice: &u32| sleep.iter().any(|sleeper| sleeper.choice == *choice);
            let mine = self.is_mine(enabled.is_empty());
            let next = enabled.iter().copied().filter(|choice| mine && !asleep(choice));
            let last = self.trace.events.last().map(|event| event.cpu);
            // Interrupts last, and no CPU is left without need.
            let next = next.min_by_key(|choice| (is_interrupt(*choice), Some(cpu_of(*choice)) != last));
            if let Some(choice) = next {
                if self.frames.len() == LONGEST {
                    let text = format!("a run of {LONGEST} steps has no end: somebody goes round for ever");
                    let fault = Fault {
                        rule: "livelock".to_string(),
                        cpu: cpu_of(choice),
                        text,
                        location: String::new(),
                    };
                    let choices = with_ptr(self.ready.world, |w| w.recorder.choices.clone());
                    found.broken(fault, &choices);
                    return End::Bounded(Bound::Violation);
                }
                let tries_all = self.mode != Mode::Source || self.frames.len() < self.part.depth;
                self.frames.push(Frame {
                    enabled: enabled.clone(),
                    cpus: if tries_all { u32::MAX } else { 1 << cpu_of(choice) },
                    tries_all,
                    sleep: std::mem::take(&mut sleep),
                    tried: Vec::new(),
                });
                found.depth = found.depth.max(self.frames.len());
                sleep = self.step(choice);
            } else {
                if mine {
                    if enabled.is_empty() && !dead {
                        self.look_at_end(found);
                    } else {
                        self.blocked += u64::from(!dead);
                    }
                    self.races_at_end(&enabled);
                    found.runs += 1;
                    if options.is_time_to_look(found.runs, REPORT) {
                        found.bytes = self.bytes();
                        found.growth = (self.traces.capacity() * 2 * 17) as u64;
                        if let Some(bound) = limit(options, began, found, self.frames.len(), progress) {
                            return End::Bounded(bound);
                        }
                    }
                }
                let Some(choice) = self.back() else {
                    found.bytes = found.bytes.max(self.bytes());
                    return End::Exhausted;
                };
                sleep = self.step(choice);
            }
            dead = if self.part.index == 0 || self.frames.len() > self.part.depth {
                found.look(self.ready, true)
            } else {
                // What all parts begin with counts in the first one.
                Found::new().look(self.ready, true)
            };
        }
    }

    /// Does what hangs here belong to this part?
    fn is_mine(&mut self, ends: bool) -> bool {
        let depth = self.frames.len();
        if self.part.of == 1 || depth > self.part.depth || depth < self.part.depth && !ends {
            return true;
        }
        self.begun += 1;
        // Mixed, so that the parts get alike shares of what is worth something: most beginnings are blocked soon.
        let mut mixed = Hash128::ZERO;
        mixed.mix(self.begun);
        mixed.0 % u64::from(self.part.of) == u64::from(self.part.index)
    }

    /// Makes a step from the last frame. Gives what sleeps after it.
    fn step(&mut self, choice: u32) -> Vec<Sleeper> {
        let world = self.ready.world;
        let cpu = cpu_of(choice);
        let frame = self.frames.len() - 1;
        let (me, barred) = with_ptr(world, |w| {
            let me = trace::Barred { choice, key: w.key_of(choice) };
            (me, w.barred(cpu, &self.frames[frame].enabled, self.expirations_at_start > 0))
        });
        let races = self.mode == Mode::Source;
        let mut looked_at = Vec::new();
        if races {
            for f in &barred {
                self.races_before(*f, false);
            }
            looked_at = self.races_before(me, true);
        }
        let needs = with_ptr(world, |w| w.needs(choice));
        with_ptr(world, |w| w.reduction.touches.begin(needs));
        take(world, choice, true);
        let touches: Rc<[Touch]> = with_ptr(world, |w| w.reduction.touches.end()).into();
        let (clock, rivals) = self.trace.rivals(cpu, &touches);
        if races {
            for e in rivals {
                if !looked_at.contains(&e) {
                    self.reverse(e, choice, &clock);
                }
            }
        }
        let frame = &mut self.frames[frame];
        frame.tried.push(choice);
        let sleep = match self.mode {
            #[cfg(test)]
            Mode::All => Vec::new(),
            _ => frame
                .sleep
                .iter()
                .filter(|sleeper| {
                    cpu_of(sleeper.choice) != cpu && are_independent(&sleeper.touches, &touches)
                })
                .map(|sleeper| Sleeper { choice: sleeper.choice, touches: Rc::clone(&sleeper.touches) })
                .collect(),
        };
        self.trace.push((cpu, choice), clock, touches, barred);
        sleep
    }

    /// Goes back to the last frame where something is left to try, and says what. What was tried there sleeps from now on.
    fn back(&mut self) -> Option<u32> {
        loop {
            let at = self.frames.len().checked_sub(1)?;
            with_ptr(self.ready.world, |w| w.undo_to(at));
            let frame = &mut self.frames[at];
            if let Some(event) = self.trace.pop() {
                frame.sleep.push(Sleeper { choice: event.choice, touches: event.touches });
            }
            let next = frame.enabled.iter().copied().find(|choice| {
                let asks = frame.cpus & 1 << cpu_of(*choice) != 0;
                let sleeps = match self.mode {
                    #[cfg(test)]
                    Mode::All => frame.tried.contains(choice),
                    _ => frame.sleeps(*choice),
                };
                asks && !sleeps
            });
            if next.is_some() {
                return next;
            }
            self.frames.pop();
        }
    }

    /// Nothing can happen any more.
    fn look_at_end(&mut self, found: &mut Found) {
        let world = self.ready.world;
        let taken: [u8; MAX_CPUS] = with_ptr(world, |w| std::array::from_fn(|cpu| w.cpus[cpu].devices));
        if taken.iter().any(|left| *left != 0) {
            // The same run is in the cell without those that can't come here.
            return;
        }
        if self.traces.insert(self.trace.hash()) {
            found.states += 1;
        } else {
            self.again += 1;
        }
        // As the other engines see it: what did not come is left.
        with_ptr(world, |w| {
            let irqs = w.options.irqs as u8;
            for cpu in 0..self.cpus {
                w.cpus[cpu].devices = irqs - self.cell[cpu];
            }
        });
        found.look_at_end(self.ready);
        with_ptr(world, |w| {
            for (cpu, left) in w.cpus.iter_mut().zip(taken) {
                cpu.devices = left;
            }
        });
    }

    fn bytes(&self) -> u64 {
        let undo = with_ptr(self.ready.world, |w| w.undo.peak());
        (self.traces.capacity() * 17 + undo) as u64
    }
}

fn are_independent(a: &[Touch], b: &[Touch]) -> bool {
    // Both are sorted by place.
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        match x.place.cmp(&y.place) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                if x.how.conflicts(y.how) {
                    return false;
                }
                (i, j) = (i + 1, j + 1);
            }
        }
    }
    true
}

/// A whole search, or one part of it.
pub(crate) fn search(
    ready: &Ready,
    options: &Options,
    part: Part,
    began: Instant,
    found: &mut Found,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> End {
    let mut explorer = Explorer::new(ready, options, Mode::Source, part);
    let end = explorer.explore(options, began, found, progress);
    found.traces = explorer.traces;
    found.blocked = explorer.blocked;
    end
}

/// How many beginnings there are for each part.
const SHARES: u64 = 512;
/// More is never tried in full.
const DEEPEST: usize = 64;

/// To which depth everything has to be tried for `of` parts to have enough to share.
pub(crate) fn depth_for(ready: &Ready, options: &Options, of: u32) -> usize {
    if of == 1 {
        return 0;
    }
    let options = Options { limits: crate::config::options::Limits::default(), ..options.clone() };
    let mut depth = 4;
    while depth < DEEPEST {
        // No part has this index: what hangs below is only counted.
        let part = Part { index: of, of, depth };
        let mut explorer = Explorer::new(ready, &options, Mode::Source, part);
        explorer.explore(&options, Instant::now(), &mut Found::new(), &mut |_| ControlFlow::Continue(()));
        if explorer.begun >= SHARES * u64::from(of) {
            break;
        }
        depth += 2;
    }
    depth
}
