//! What one CPU could do next, as far as it is concerned, and what that depends on.

use crate::base::hash::Hash128;
use crate::config::options::Ipi;
use crate::engine::dpor::trace::Barred;
use crate::machine::state::{Kind, Life, OpKind, Power};
use crate::machine::world::World;
use crate::reduction::footprint::{self, How, Touch};
use crate::vocab::choice::Choice;
use crate::vocab::pending::{PENDING_CALL, PENDING_HALT, PENDING_STOP};
use crate::vocab::step::Interrupt;

/// The pending bit that a choice takes.
pub(super) fn bit_of(choice: u32) -> Option<u8> {
    match Choice::decode(choice)?.1 {
        Choice::Interrupt(Interrupt::Call) => Some(PENDING_CALL),
        Choice::Interrupt(Interrupt::Halt) => Some(PENDING_HALT),
        Choice::Stopper => Some(PENDING_STOP),
        _ => None,
    }
}

pub(super) fn is_expiry(choice: u32) -> bool {
    matches!(Choice::decode(choice), Some((_, Choice::Expire(_))))
}

impl World {
    fn idles(&self, cpu: usize) -> bool {
        let current = self.threads[usize::from(self.cpus[cpu].current)].as_ref();
        current.is_some_and(|t| t.kind == Kind::Idle && t.depth == 0 && t.op.kind == OpKind::Idle)
    }

    fn interruptible(&self, cpu: usize) -> bool {
        let c = &self.cpus[cpu];
        let begins = self.threads[usize::from(c.current)].as_ref().is_none_or(|t| t.op.kind == OpKind::Begin);
        c.power == Power::On && c.irqs_on && !begins
    }

    /// Which wait of its thread it is: the same as long as the thread has not gone on.
    pub(super) fn key_of(&self, choice: u32) -> u64 {
        let Some((_, Choice::Thread(thread) | Choice::Expire(thread))) = Choice::decode(choice) else {
            return 0;
        };
        let Some(t) = &self.threads[thread] else { return 0 };
        let mut key = Hash128::ZERO;
        key.mix(t.op.kind.code());
        key.mix(std::ptr::from_ref(t.op.at).addr() as u64);
        key.mix(u64::from(t.depth));
        key.mix_hash(t.level().history);
        key.0
    }

    /// What `cpu` could do next, as far as it is concerned, and can't: `enabled` is what it can. `time`: deadlines may be over.
    pub(super) fn barred(&self, cpu: usize, enabled: &[u32], time: bool) -> Vec<Barred> {
        let c = &self.cpus[cpu];
        let mut all = Vec::new();
        if c.power != Power::On {
            return all;
        }
        let Some(current) = &self.threads[usize::from(c.current)] else { return all };
        let mut add = |choice: Choice| {
            let choice = choice.encode(cpu);
            if !enabled.contains(&choice) {
                all.push(Barred { choice, key: self.key_of(choice) });
            }
        };
        if self.interruptible(cpu) {
            add(Choice::Interrupt(Interrupt::Halt));
            add(Choice::Interrupt(Interrupt::Call));
            if c.devices > 0 {
                add(Choice::Interrupt(Interrupt::Device));
            }
            if c.preempt == 0 && !c.in_stopper && current.depth == 0 {
                add(Choice::Stopper);
            }
        }
        let mut thread = |index: usize, expires: bool| {
            if expires && time {
                add(Choice::Expire(index));
            }
            add(Choice::Thread(index));
        };
        if self.idles(cpu) {
            for (index, t) in self.threads.iter().enumerate() {
                let Some(t) = t else { continue };
                if t.kind != Kind::Idle && t.life == Life::Live && usize::from(t.cpu) == cpu {
                    thread(index, t.may_expire && t.op.kind == OpKind::Wait);
                }
            }
            if c.idle_turn {
                thread(usize::from(c.current), false);
            }
        } else if current.life == Life::Live {
            thread(usize::from(c.current), current.may_expire && current.op.kind == OpKind::Wait);
        }
        all
    }

    /// What a choice touches before anything is carried out: that it is possible depends on this.
    pub(super) fn needs(&mut self, choice: u32) -> Vec<Touch> {
        let Some((cpu, what)) = Choice::decode(choice) else { return Vec::new() };
        let thread = self.thread_of(choice).unwrap_or(0);
        let current = usize::from(self.cpus[cpu].current);
        self.reduction.touches.begin(Vec::new());
        self.reduction.touches.add(footprint::scheduling(cpu), How::Reads);
        self.reduction.touches.add(footprint::thread(thread), How::Writes);
        if self.options.ipi == Ipi::Instant && self.interruptible(cpu) {
            for bit in [PENDING_CALL, PENDING_HALT, PENDING_STOP] {
                self.reduction.touches.add(footprint::pending(cpu, bit), How::Reads);
            }
        }
        match what {
            Choice::Interrupt(Interrupt::Device) => {
                self.reduction.touches.add(footprint::lines(cpu), How::Reads)
            }
            Choice::Interrupt(_) | Choice::Stopper => {
                if let Some(bit) = bit_of(choice) {
                    self.reduction.touches.change(footprint::pending(cpu, bit), How::Writes, 1, 0);
                }
            }
            Choice::Expire(_) => self.reduction.touches.add(footprint::EXPIRATIONS, How::Writes),
            Choice::Thread(_) | Choice::Old { .. } | Choice::Flush => {}
        }
        let waits = |w: &World, thread: usize| {
            w.threads[thread].as_ref().is_some_and(|t| t.life == Life::Live && t.op.kind == OpKind::Wait)
        };
        if matches!(what, Choice::Thread(_) | Choice::Expire(_)) && waits(self, thread) {
            self.touch_watch(thread);
        }
        // Whether a thread that waits has left the CPU to others depends on what it waits for.
        if waits(self, current) && self.threads[current].as_ref().is_some_and(|t| t.yields) {
            self.touch_watch(current);
        }
        // The idle loop has its turn only if no thread can go on.
        if matches!(what, Choice::Thread(thread) if thread == current) && self.idles(cpu) {
            for other in 0..self.threads.len() {
                let here = self.threads[other].as_ref().is_some_and(|t| usize::from(t.cpu) == cpu);
                if here && waits(self, other) {
                    self.touch_watch(other);
                }
            }
        }
        self.reduction.touches.end()
    }
}
