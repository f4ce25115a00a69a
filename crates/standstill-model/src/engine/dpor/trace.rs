//! The run that the engine is in, as a partial order.
//!
//! Each event has a **clock**: how many events of each CPU come before it or are it. An event *happens before* another one if the two
//! are dependent (one CPU, or touches that conflict) and it comes first, or by a chain of such pairs.

use std::collections::HashMap;
use std::rc::Rc;

use crate::base::hash::{BuildHashed, Hash128};
use crate::reduction::footprint::{How, Touch};
use crate::vocab::limits::MAX_CPUS;

pub(crate) type Clock = [u16; MAX_CPUS];

pub(crate) fn join(to: &mut Clock, from: &Clock) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = (*to).max(*from);
    }
}

/// Something that its CPU could do as far as it is concerned, and could not for what others had done, or had not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Barred {
    pub(crate) choice: u32,
    /// Which of all the waits of a thread it is.
    pub(crate) key: u64,
}

/// One step of the run.
pub(crate) struct Event {
    pub(crate) cpu: usize,
    pub(crate) choice: u32,
    /// The number of the event on its CPU, from 1.
    pub(crate) index: u16,
    pub(crate) clock: Clock,
    pub(crate) touches: Rc<[Touch]>,
    /// What its CPU could not do instead.
    pub(crate) barred: Vec<Barred>,
    /// The trace up to here.
    hash: Hash128,
}

/// The run.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) events: Vec<Event>,
    /// Who touched each place, in the order of the run.
    places: HashMap<usize, Vec<(usize, How)>, BuildHashed>,
    /// The events of each CPU.
    own: [Vec<usize>; MAX_CPUS],
}

impl Trace {
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn clear(&mut self) {
        *self = Trace::default();
    }

    /// The events of one CPU, the last one first.
    pub(crate) fn own(&self, cpu: usize) -> impl Iterator<Item = usize> + '_ {
        self.own[cpu].iter().rev().copied()
    }

    /// Is `event` in what `clock` knows of?
    pub(crate) fn is_before(&self, event: usize, clock: &Clock) -> bool {
        let event = &self.events[event];
        clock[event.cpu] >= event.index
    }

    /// Is `event` one of those that would be there if the later event `without` were not?
    pub(crate) fn stays(&self, event: usize, without: usize) -> bool {
        event < without || event > without && !self.is_before(without, &self.events[event].clock)
    }

    /// What `cpu` knows of after its last event.
    pub(crate) fn known(&self, cpu: usize) -> Clock {
        self.own[cpu].last().map_or([0; MAX_CPUS], |last| self.events[*last].clock)
    }

    /// The events that a next step of `cpu` with these touches depends on, and that `cpu` does not know of; the last one first.
    pub(crate) fn dependent(&self, cpu: usize, touches: &[Touch]) -> Vec<usize> {
        let known = self.known(cpu);
        let mut all = Vec::new();
        for touch in touches {
            let Some(users) = self.places.get(&touch.place) else { continue };
            for (event, how) in users {
                if how.conflicts(touch.how) && !self.is_before(*event, &known) {
                    all.push(*event);
                }
            }
        }
        all.sort_unstable_by_key(|event| std::cmp::Reverse(*event));
        all.dedup();
        all
    }

    /// The events that a next step of `cpu` with these touches depends on without any other between them, the last one first; and
    /// what it knows of before it.
    pub(crate) fn rivals(&self, cpu: usize, touches: &[Touch]) -> (Clock, Vec<usize>) {
        let mut clock = self.known(cpu);
        let mut all = Vec::new();
        for touch in touches {
            let Some(users) = self.places.get(&touch.place) else { continue };
            for (event, how) in users.iter().rev() {
                if how.conflicts(touch.how) && self.events[*event].cpu != cpu {
                    all.push(*event);
                }
                if *how == How::Writes {
                    // All that was before conflicts with this one.
                    break;
                }
            }
        }
        all.sort_unstable_by_key(|event| std::cmp::Reverse(*event));
        all.dedup();
        all.retain(|event| {
            let rival = !self.is_before(*event, &clock);
            if rival {
                join(&mut clock, &self.events[*event].clock);
            }
            rival
        });
        (clock, all)
    }

    /// The next event. `clock` is what it knows of before it.
    pub(crate) fn push(
        &mut self,
        (cpu, choice): (usize, u32),
        mut clock: Clock,
        touches: Rc<[Touch]>,
        barred: Vec<Barred>,
    ) {
        clock[cpu] += 1;
        let index = clock[cpu];
        let mut hash = Hash128::ZERO;
        hash.mix(u64::from(choice));
        for known in clock {
            hash.mix(u64::from(known));
        }
        hash.mix(index.into());
        // A sum: the order of independent events makes no difference.
        if let Some(last) = self.events.last() {
            hash.add(last.hash);
        }
        let at = self.events.len();
        for touch in &*touches {
            self.places.entry(touch.place).or_default().push((at, touch.how));
        }
        self.own[cpu].push(at);
        self.events.push(Event { cpu, choice, index, clock, touches, barred, hash });
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop()?;
        for touch in &*event.touches {
            if let Some(users) = self.places.get_mut(&touch.place) {
                users.pop();
            }
        }
        self.own[event.cpu].pop();
        Some(event)
    }

    /// The same for two runs that differ in the order of independent events alone, and for no others.
    pub(crate) fn hash(&self) -> u128 {
        self.events.last().map_or(0, |last| last.hash.to_u128())
    }

    /// What `place` holds if the event `without` and what depends on it are not there; `None` if nobody has changed it.
    pub(crate) fn value(&self, place: usize, without: usize) -> Option<usize> {
        let users = self.places.get(&place)?;
        let touch = |event: usize| self.events[event].touches.iter().find(|touch| touch.place == place);
        let mut first = None;
        let mut value = None;
        for (event, how) in users {
            if *how == How::Reads {
                continue;
            }
            let Some(touch) = touch(*event) else { continue };
            first.get_or_insert(touch.old);
            if self.stays(*event, without) {
                value = Some(touch.new);
            }
        }
        value.or(first)
    }

    /// How many of the events that stay make this kind of choice.
    pub(crate) fn count(&self, without: usize, is: impl Fn(u32) -> bool) -> usize {
        (0..self.len()).filter(|event| self.stays(*event, without) && is(self.events[*event].choice)).count()
    }
}
