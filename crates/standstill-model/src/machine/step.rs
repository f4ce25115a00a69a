//! The scheduler: what can happen next, and letting it happen.
//!
//! A choice is one number: what (bits 12 to 15), the CPU (bits 8 to 11), and which (bits 0 to 7). In a schedule the bits from 16 on say how
//! many places were passed in its step where others could have come in, and nobody could have noticed (of a flush: how many stores it
//! stands for);
//! bit 31, whether it ended in a wait that blocks.

use crate::base::fibre::Command;
use crate::config::options::Ipi;
use crate::machine::state::{Kind, Life, OpKind, Power};
use crate::machine::store_buffers::drains;
use crate::machine::world::{World, run, with_ptr};
use crate::vocab::choice::Choice;
use crate::vocab::choice::bare;
use crate::vocab::limits::MAX_CPUS;
use crate::vocab::pending::{PENDING_CALL, PENDING_HALT, PENDING_STOP};
use crate::vocab::step::Interrupt;

impl World {
    /// All that can happen next, in a fixed order.
    pub(crate) fn enabled(&self, to: &mut Vec<u32>) {
        to.clear();
        for cpu in 0..self.options.cpus {
            self.enabled_on(cpu, to);
        }
    }

    fn enabled_on(&self, cpu: usize, to: &mut Vec<u32>) {
        let c = &self.cpus[cpu];
        let stores = !self.memory.buffers.is_empty(cpu);
        if stores {
            to.push(Choice::Flush.encode(cpu));
        }
        // A replay does not know which of its stores wait for nothing: the schedule says what comes first.
        let drained = !stores || self.step.budget.is_some();
        if c.power != Power::On {
            return;
        }
        let Some(current) = &self.threads[usize::from(c.current)] else { return };
        let interruptible = c.irqs_on && current.op.kind != OpKind::Begin;
        let stoppable = interruptible && c.preempt == 0 && !c.in_stopper && current.depth == 0;
        let mut add = |choice: Choice| to.push(choice.encode(cpu));
        let instant = self.options.ipi == Ipi::Instant;
        if c.pending & PENDING_HALT != 0 && interruptible {
            if drained {
                add(Choice::Interrupt(Interrupt::Halt));
            }
            if instant {
                return;
            }
        }
        if c.pending & PENDING_CALL != 0 && interruptible {
            if drained {
                add(Choice::Interrupt(Interrupt::Call));
            }
            if instant {
                return;
            }
        }
        if self.subject.device.is_some()
            && c.devices > 0
            && c.lines
            && interruptible
            && self.phase.branching
            && drained
        {
            add(Choice::Interrupt(Interrupt::Device));
        }
        if c.pending & PENDING_STOP != 0 && stoppable {
            if drained {
                add(Choice::Stopper);
            }
            if instant {
                return;
            }
        }
        let idles = current.kind == Kind::Idle && current.depth == 0 && current.op.kind == OpKind::Idle;
        let mut others = false;
        if idles {
            for (index, thread) in self.threads.iter().enumerate() {
                let Some(t) = thread else { continue };
                if t.kind == Kind::Idle || t.life != Life::Live || usize::from(t.cpu) != cpu {
                    continue;
                }
                if self.phase.expirations > 0 && t.may_expire && t.op.kind == OpKind::Wait {
                    add(Choice::Expire(index));
                }
                // The first task leads to where the branching begins; the others wait for it.
                let held = !self.phase.branching && t.op.kind == OpKind::Begin && index > 2 * MAX_CPUS;
                if !t.blocked && !held {
                    others = true;
                    if drained || !drains(&t.op, self.options.memory) {
                        self.choices_of(index, &mut add);
                    }
                }
            }
        }
        let expires = self.phase.expirations > 0 && current.may_expire && current.op.kind == OpKind::Wait;
        if current.life == Life::Live && expires && !idles {
            add(Choice::Expire(usize::from(c.current)));
        }
        let ready = match current.op.kind {
            OpKind::Idle => c.idle_turn && !others,
            OpKind::Wait => !current.blocked,
            _ => true,
        };
        let may = drained || !drains(&current.op, self.options.memory);
        if ready && may && current.life == Life::Live {
            self.choices_of(usize::from(c.current), &mut add);
        }
    }

    /// A thread goes on: with the newest message, or with an older one, where it has the choice.
    fn choices_of(&self, index: usize, add: &mut impl FnMut(Choice)) {
        let Some(t) = &self.threads[index] else { return };
        let ages = match t.op.kind {
            OpKind::Access(..) => self.ages(usize::from(t.cpu), t.op.place, t.wants),
            // Who compares another word before it sleeps may miss something by a look in vain.
            OpKind::Wait if t.watch.open <= 1 && self.options.sleepers && t.sleeps && t.several(true) => {
                self.ages_of(usize::from(t.cpu), &t.watch)
            }
            OpKind::Wait if t.watch.open <= 1 => t.ages,
            _ => 1,
        };
        // The newest is always there, for a look in vain, too.
        add(Choice::Thread(index));
        for age in (1..u16::BITS).filter(|age| ages & 1 << age != 0) {
            add(Choice::Old { thread: index, age });
        }
    }

    /// In a replay: may `choice` be meant? Who does not know what is shared takes some waits to depend on more than they do, and does not
    /// know when they can go on; the schedule does.
    pub(crate) fn may_be_meant(&self, choice: u32) -> bool {
        let Some((cpu, Choice::Thread(thread) | Choice::Old { thread, .. })) = Choice::decode(choice) else {
            return false;
        };
        let (Some(c), Some(Some(t))) = (self.cpus.get(cpu), self.threads.get(thread)) else { return false };
        let Some(current) = &self.threads[usize::from(c.current)] else { return false };
        let idles = current.kind == Kind::Idle && current.depth == 0 && current.op.kind == OpKind::Idle;
        let here = usize::from(c.current) == thread || idles;
        let waits = t.op.kind == OpKind::Wait || t.op.kind == OpKind::Idle && c.idle_turn;
        c.power == Power::On && here && t.life == Life::Live && waits && usize::from(t.cpu) == cpu
    }

    /// The thread whose fibre carries out a choice.
    pub(crate) fn thread_of(&self, choice: u32) -> Option<usize> {
        let (cpu, what) = Choice::decode(choice)?;
        Some(match what {
            Choice::Thread(thread) | Choice::Expire(thread) | Choice::Old { thread, .. } => thread,
            _ => usize::from(self.cpus.get(cpu)?.current),
        })
    }
}

/// Carries out a choice that is enabled. It can be undone once the set-up is over.
pub(crate) fn take(world: *mut World, choice: u32, undoable: bool) {
    let Some((cpu, what)) = Choice::decode(choice) else { return };
    let command = match what {
        Choice::Thread(_) | Choice::Old { .. } => Command::Go,
        Choice::Interrupt(kind) => Command::Interrupt(kind),
        Choice::Stopper => Command::Stopper,
        Choice::Expire(_) => Command::Expire,
        Choice::Flush => Command::Peek,
    };
    let thread = with_ptr(world, |w| {
        let thread = w.thread_of(choice).unwrap_or(0);
        if undoable {
            w.mark((what != Choice::Flush).then_some(thread));
        }
        if !w.reduction.movers.eager {
            let depth = w.threads[thread].as_ref().map_or(0, |t| usize::from(t.depth));
            let own = matches!(what, Choice::Thread(_) | Choice::Expire(_));
            w.reduction.movers.step(cpu, thread, depth + usize::from(!own));
        }
        w.recorder.choices.push(bare(choice));
        w.step.passed = 0;
        w.step.notified.clear();
        w.memory.written.clear();
        w.memory.clocks.settles = w.step.budget.is_none();
        w.look.age = if let Choice::Old { age, .. } = what { age } else { 0 };
        w.step.broken = 0;
        w.recorder.steps += 1;
        if matches!(what, Choice::Thread(_) | Choice::Expire(_) | Choice::Old { .. }) {
            w.cpus[cpu].current = thread as u8;
        }
        if matches!(what, Choice::Expire(_)) {
            w.phase.expirations -= 1;
        }
        thread
    });
    if what == Choice::Flush {
        with_ptr(world, |w| w.flush_by_choice(cpu));
    } else {
        if matches!(what, Choice::Interrupt(_) | Choice::Stopper) {
            with_ptr(world, |w| w.drain(cpu));
        }
        run(world, cpu, thread, command);
    }
    with_ptr(world, |w| {
        let passed = w.step.passed;
        assert!(passed < 1 << 15, "a step passes more places than a schedule can count");
        let blocks = what != Choice::Flush
            && w.threads[thread].as_ref().is_some_and(|t| t.op.kind == OpKind::Wait && t.blocked);
        if let Some(last) = w.recorder.choices.last_mut() {
            *last |= passed << 16 | u32::from(blocks) << 31;
        }
    });
    with_ptr(world, World::drop_messages);
    settle(world);
}

/// Looks again at each condition that depends on something that has changed.
pub(crate) fn settle(world: *mut World) {
    for thread in 0..crate::vocab::limits::THREADS {
        let peek = with_ptr(world, |w| {
            let t = w.threads[thread].as_ref()?;
            if t.life != Life::Live || t.op.kind != OpKind::Wait {
                return None;
            }
            // What is no memory, nobody notifies: the port knows.
            let sleeps = w.options.sleepers && t.sleeps;
            let told = !sleeps || w.step.notified.contains(&t.on);
            let (several, cpu) = (t.several(sleeps), usize::from(t.cpu));
            let changed = t.watch.iter().any(|(place, value)| {
                // Under `ra` it also counts what its CPU has got to know, and a message that is not the newest.
                let news = w.is_ra() && (w.memory.written.contains(&place) || cpu == w.cpu && !several);
                (told || place < 128) && (news || w.value_seen(cpu, place) != value)
            });
            // Who sleeps is woken, whether its condition holds or not.
            let woken = several && told && sleeps;
            if !changed && !woken {
                return None;
            }
            w.undo.touch(thread, &w.threads[thread]);
            if several {
                if let Some(t) = &mut w.threads[thread] {
                    t.blocked = false;
                }
                return None;
            }
            Some(cpu)
        });
        if let Some(cpu) = peek {
            let last = with_ptr(world, |w| (w.cpu, w.thread));
            run(world, cpu, thread, Command::Peek);
            with_ptr(world, |w| {
                w.yield_cpu();
                (w.cpu, w.thread) = last;
                w.woken(thread);
            });
        }
    }
}

/// All that is on its way anywhere reaches memory.
pub(crate) fn drain_all(world: *mut World) {
    with_ptr(world, |w| {
        for cpu in 0..MAX_CPUS {
            w.drain(cpu);
        }
    });
    settle(world);
}
