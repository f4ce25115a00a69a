//! The threads of the machine: how they begin, move, leave the CPU to others, and end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{World, with};
use crate::machine::state::{Kind, Life, Power, Thread};
use crate::memory::knowers;
use crate::reduction::footprint::{self, How};
use crate::vocab::limits::MAX_CPUS;

fn thread_main(thread: usize) {
    let end = catch_unwind(AssertUnwindSafe(|| crate::machine::contexts::run_thread(thread)));
    let failed = end.err().map(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()))
            .unwrap_or_else(|| "a panic without a message".to_string());
        // The payload is the one thing of a run that owns memory.
        drop(panic);
        text
    });
    with(|w| {
        let at = w.thread_ref().op.at;
        w.gives_up("the thread ends", at);
        if let Some(text) = failed {
            let at = w.thread_ref().op.at;
            w.fail("panic", text, format!("{}:{}", at.file(), at.line()));
        }
        let (cpu, kind) = (w.cpu, w.thread_ref().kind);
        match kind {
            Kind::Task => w.reduction.touches.add(footprint::occupied(cpu), How::Writes),
            Kind::Hotplug => w.reduction.touches.add(footprint::parked(cpu), How::Writes),
            Kind::Idle => {}
        }
        w.thread_mut().life = Life::Done;
    });
}

impl World {
    /// Puts a thread in its slot. Its old life there is over.
    pub(crate) fn spawn(&mut self, slot: usize, kind: Kind, cpu: usize, name: &'static str) {
        self.undo.touch(slot, &self.threads[slot]);
        self.threads[slot] = Some(Thread::new(kind, cpu, name));
        self.stacks.slots[slot].start(thread_main, slot);
    }

    /// Moves a task to a CPU that takes tasks; false if there is none.
    pub(crate) fn move_thread(&mut self, thread: usize) -> bool {
        for cpu in 0..self.options.cpus {
            self.reduction.touches.add(footprint::scheduling(cpu), How::Reads);
        }
        let Some(to) = self.cpus.iter().position(|cpu| cpu.power == Power::On && !cpu.evicted) else {
            return false;
        };
        let from = self.threads[thread].as_ref().map_or(to, |t| usize::from(t.cpu));
        for cpu in [from, to] {
            self.reduction.touches.add(footprint::scheduling(cpu), How::Writes);
            self.reduction.touches.add(footprint::occupied(cpu), How::Writes);
        }
        self.reduction.touches.add(footprint::thread(thread), How::Writes);
        self.undo.touch(thread, &self.threads[thread]);
        if let Some(from) = self.threads[thread].as_ref().map(|t| usize::from(t.cpu)) {
            self.drain(from);
            self.memory.clocks.join(&mut self.undo.log, knowers::cpu(to), knowers::cpu(from));
        }
        if let Some(thread) = &mut self.threads[thread] {
            thread.cpu = to as u8;
        }
        true
    }

    /// If the current thread waits as threads may, its CPU goes idle, and the thread leaves a CPU that takes no tasks any more.
    pub(crate) fn yield_cpu(&mut self) {
        let thread = self.thread;
        let t = self.thread_ref();
        if !t.blocked || !t.yields || t.kind == Kind::Idle {
            return;
        }
        let (kind, cpu) = (t.kind, usize::from(t.cpu));
        if usize::from(self.cpus[cpu].current) == thread {
            self.reduction.touches.add(footprint::scheduling(cpu), How::Writes);
            self.cpus[cpu].current = cpu as u8;
        }
        if kind == Kind::Task && self.cpus[cpu].evicted {
            self.move_thread(thread);
        }
    }

    pub(crate) fn occupied(&self, cpu: usize) -> bool {
        self.threads
            .iter()
            .flatten()
            .any(|t| t.kind == Kind::Task && t.life == Life::Live && usize::from(t.cpu) == cpu)
    }

    pub(crate) fn parked(&self, cpu: usize) -> bool {
        self.threads[MAX_CPUS + cpu].as_ref().is_none_or(|t| t.life != Life::Live)
    }
}
