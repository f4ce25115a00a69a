//! Accesses that were moved left meet those of others, and what is learnt of that. See [`crate::reduction::movers`].

use crate::base::arena::steady;
use crate::base::hash::Hash128;
use crate::config::options::Ipi;
use crate::machine::state::OpKind;
use crate::machine::world::World;
use crate::reduction::movers::{AT_A_POINT, Entry, Key, MOST, Use};
use crate::vocab::choice::Choice;
use crate::vocab::pending::PENDING_CALL;
use crate::vocab::pending::PENDING_HALT;
use crate::vocab::pending::PENDING_STOP;
use std::panic::Location;

#[cfg(test)]
mod tests;

/// The pending bit of an interrupt, as a place.
pub(crate) const fn pending_place(cpu: usize, bit: u8) -> usize {
    0x1000 + cpu * 8 + bit as usize
}

impl World {
    fn key(&self, code: u64, place: usize, at: &'static Location<'static>) -> Key {
        let level = self.thread_ref().level().kind.context();
        let mut hash = Hash128::of_cell(steady(std::ptr::from_ref(at).addr()), code + 1);
        hash.mix(u64::from(level) | u64::from(self.cpu_ref().irqs_on) << 8);
        hash.mix(steady(place) as u64);
        hash.0 | 1
    }

    /// Does the operation that begins here have to be a point? If not, it is moved left.
    pub(crate) fn is_point(&mut self, code: u64, place: usize, at: &'static Location<'static>) -> bool {
        if !self.reduction.movers.on || !self.phase.branching {
            return true;
        }
        let key = self.key(code, place, at);
        if self.reduction.movers.entries.len() >= MOST {
            self.reduction.movers.learn(key);
        }
        if self.reduction.movers.points.contains(&key) {
            return true;
        }
        self.reduction.movers.unit = key;
        false
    }

    /// A send is moved left only if nothing on the target depends on its instant.
    pub(crate) fn is_point_to_send(&mut self, at: &'static Location<'static>) -> bool {
        self.options.ipi == Ipi::Instant || self.is_point(OpKind::Send.code(), 0, at)
    }

    /// An access is carried out that nobody else can meet.
    pub(crate) fn looks_at(&mut self, place: usize, how: Use) {
        if self.reduction.movers.on && self.phase.branching {
            self.reduction.movers.looks(place, how);
        }
    }

    /// An access is carried out by the context that runs: does it meet one that was moved?
    pub(crate) fn meet(&mut self, place: usize, how: Use) {
        if !self.reduction.movers.on || !self.phase.branching {
            return;
        }
        self.reduction.movers.looks(place, how);
        let (cpu, thread, depth, irqs_on) =
            (self.cpu, self.thread, self.thread_ref().depth, self.cpu_ref().irqs_on);
        let movers = &mut self.reduction.movers;
        let bit = 1 << cpu;
        let mut learnt = AT_A_POINT;
        let mut because = None;
        for (index, e) in movers.entries.iter_mut().enumerate() {
            if e.place != place {
                continue;
            }
            let own = usize::from(e.cpu) == cpu;
            if !e.how.conflicts(how) {
                // A second change: what waits is not waiting for the first alone.
                if how == Use::Add && !own {
                    e.enables = 0;
                }
                continue;
            }
            if own && !(usize::from(e.thread) == thread && e.depth < depth && e.irqs_on) || e.after & bit != 0
            {
                continue;
            }
            if movers.going && e.enables & bit != 0 {
                because = Some((index, *e));
                continue;
            }
            if how != Use::Read {
                e.enables = 0;
            }
            // Only the last one is learnt: with a point there, those before it may not be met any more.
            if e.key != AT_A_POINT {
                learnt = e.key;
            }
        }
        movers.learn(learnt);
        // What comes before it on its own stack comes before this, too.
        if let Some((index, cause)) = because {
            for e in &mut movers.entries[..=index] {
                let before = e.cpu == cause.cpu && e.thread == cause.thread && e.depth >= cause.depth;
                e.after |= if before { bit } else { 0 };
            }
        }
        if movers.unit != AT_A_POINT || how != Use::Read {
            let key = movers.unit;
            movers.entries.push(Entry {
                place,
                key,
                how,
                cpu: cpu as u8,
                thread: thread as u8,
                depth,
                irqs_on,
                enables: 0,
                after: 0,
            });
        }
    }

    /// An access is carried out that nobody can come in between of, but which comes in between of those of a context that it interrupted: was one of those
    /// moved over it?
    pub(crate) fn meet_below(&mut self, place: usize, how: Use) {
        if !self.reduction.movers.on || !self.phase.branching {
            return;
        }
        let (thread, depth) = (self.thread, self.thread_ref().depth);
        let met = self.reduction.movers.entries.iter().rev().find(|e| {
            e.place == place
                && usize::from(e.thread) == thread
                && e.depth < depth
                && e.irqs_on
                && e.key != AT_A_POINT
                && e.how.conflicts(how)
        });
        let key = met.map_or(AT_A_POINT, |e| e.key);
        self.reduction.movers.learn(key);
    }

    /// The key of the wait that `thread` has announced.
    fn key_of_wait(&self, thread: usize) -> Option<Key> {
        let t = self.threads[thread].as_ref()?;
        let irqs_on = self.cpus[usize::from(t.cpu)].irqs_on;
        let mut hash = Hash128::of_cell(steady(std::ptr::from_ref(t.op.at).addr()), OpKind::Wait.code() + 1);
        hash.mix(u64::from(t.level().kind.context()) | u64::from(irqs_on) << 8);
        hash.mix(steady(t.op.place) as u64);
        Some(hash.0 | 1)
    }

    /// A wait among `enabled` that can end and is moved left, to here: then nothing else has to be tried. Not one of a thread that lets
    /// others run meanwhile.
    pub(crate) fn eager(&self, enabled: &[u32]) -> Option<u32> {
        if !self.reduction.movers.on {
            return None;
        }
        enabled.iter().copied().find(|choice| {
            let Some((_, Choice::Thread(thread))) = Choice::decode(*choice) else { return false };
            let Some(t) = &self.threads[thread] else { return false };
            t.op.kind == OpKind::Wait
                && !t.yields
                && t.watch.is_one()
                && self.key_of_wait(thread).is_some_and(|key| !self.reduction.movers.points.contains(&key))
        })
    }

    /// The wait of the current thread goes on.
    pub(crate) fn begin_going(&mut self) {
        self.reduction.movers.unit = AT_A_POINT;
        if self.reduction.movers.eager {
            self.reduction.movers.unit = self.key_of_wait(self.thread).unwrap_or(AT_A_POINT);
        }
        self.reduction.movers.eager = false;
        self.reduction.movers.going = true;
    }

    /// `thread` waited, and was looked at again after the step of the current CPU.
    pub(crate) fn woken(&mut self, thread: usize) {
        let Some(t) = &self.threads[thread] else { return };
        if !t.blocked && t.watch.is_one() {
            self.reduction.movers.woke(t.watch.first(), self.cpu, usize::from(t.cpu));
        }
    }

    /// An interrupt is sent: it becomes pending, or is already.
    pub(crate) fn meet_send(&mut self, to: usize, bit: u8, raises: bool) {
        let place = pending_place(to, bit);
        self.meet(place, Use::Add);
        if raises
            && let Some(e) = self.reduction.movers.entries.last_mut()
            && e.place == place
        {
            e.enables = 1 << to;
        }
    }

    /// A CPU starts or dies: what was pending there is gone.
    pub(crate) fn meet_power(&mut self, cpu: usize) {
        for bit in [PENDING_CALL, PENDING_STOP, PENDING_HALT] {
            self.meet(pending_place(cpu, bit), Use::Write);
        }
    }

    /// An interrupt is taken.
    pub(crate) fn meet_deliver(&mut self, bit: u8) {
        self.reduction.movers.at_point();
        self.reduction.movers.going = true;
        let place = pending_place(self.cpu, bit);
        self.meet(place, Use::Write);
        self.reduction.movers.going = false;
        // What came before this can't conflict any more: only this CPU takes what is pending here, or dies with it.
        let me = 1 << self.cpu;
        self.reduction
            .movers
            .entries
            .retain(|e| e.place != place || e.after & me == 0 && e.key != AT_A_POINT);
    }
}
