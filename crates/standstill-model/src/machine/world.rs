//! The world of one exploration: the machine's state, its fibres, and the way back.
//!
//! The scheduler runs on the ordinary stack and lets one fibre run at a time, from one announced operation to the next. What simulated
//! code asks for (an access, an IPI, a wait) comes in through [`with`].

use crate::machine::parts::Look;
use crate::machine::parts::Phase;
use crate::machine::parts::Recorder;
use crate::machine::parts::Stacks;
use crate::machine::parts::StepState;
use crate::machine::parts::Subject;
use crate::memory::MemoryState;
use crate::program::Monitor;
use crate::reduction::Reduction;
use std::cell::Cell;
use std::ptr;

use crate::base::arena::{self};
use crate::base::fibre::{Command, Slot};
use crate::config::mutation::Mutation;
use crate::config::options::{Engine, Options};
use crate::machine::marks::Undo;
use crate::machine::state::{Cpu, Power, Thread};
use crate::reduction::visibility::Who;
use crate::vocab::limits::{MAX_CPUS, THREADS};

mod events;
mod fingerprint;
mod threads;

/// One exploration: what is explored, the simulated machine as it is now, and what the search needs to know of the step that is being made.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) subject: Subject,
    pub(crate) stacks: Stacks,
    pub(crate) cpus: [Cpu; MAX_CPUS],
    pub(crate) threads: [Option<Thread>; THREADS],
    /// The CPU and the thread that run, or ran last.
    pub(crate) cpu: usize,
    pub(crate) thread: usize,
    pub(crate) memory: MemoryState,
    pub(crate) reduction: Reduction,
    pub(crate) step: StepState,
    pub(crate) look: Look,
    pub(crate) phase: Phase,
    pub(crate) recorder: Recorder,
    pub(crate) undo: Undo,
    pub(crate) mutation: Option<Box<Mutation>>,
    /// For the tests of the audit.
    #[cfg(test)]
    pub(crate) blind: Option<crate::machine::blind::Blind>,
}

/// A step that passes so many places goes round for ever; a schedule can't count more.
const MOST_PASSED: u32 = (1 << 15) - 1;

thread_local! {
    static WORLD: Cell<*mut World> = const { Cell::new(ptr::null_mut()) };
}

/// Calls `f` with the world of this OS thread.
#[inline(always)]
pub(crate) fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    let world = WORLD.get();
    assert!(!world.is_null(), "this code runs on the model's platform, outside of `standstill_model::check`");
    // SAFETY: set by `enter` to a world that is alive until `Entered` is dropped. One OS thread uses it, `f` neither switches fibres
    // nor calls `with`, and the scheduler holds no reference while a fibre runs.
    f(unsafe { &mut *world })
}

/// The world is this OS thread's until this is dropped.
pub(crate) struct Entered(*mut World, usize);

impl Drop for Entered {
    fn drop(&mut self) {
        WORLD.set(self.0);
        arena::leave(self.1);
    }
}

/// Makes `world` the one of this OS thread.
pub(crate) fn enter(world: *mut World) -> Entered {
    // SAFETY: a world that lives longer than what is returned, by the contract of `with`.
    let before = arena::enter(unsafe { &(*world).stacks.arena });
    Entered(WORLD.replace(world), before)
}

impl World {
    pub(crate) fn new(options: Options, monitor: Box<dyn Monitor>) -> Result<Box<World>, String> {
        Ok(Box::new(World {
            subject: Subject::new(monitor),
            stacks: Stacks::new(options.own.is_some())?,
            cpus: [Cpu::OFF; MAX_CPUS],
            threads: [const { None }; THREADS],
            cpu: 0,
            thread: 0,
            memory: MemoryState::new(options.memory, options.races),
            reduction: Reduction::new(options.memory, options.races),
            step: StepState::default(),
            look: Look::default(),
            phase: Phase::default(),
            recorder: Recorder::new(options.engine == Engine::Dpor),
            undo: Undo::default(),
            mutation: Mutation::of(&options),
            #[cfg(test)]
            blind: None,
            options,
        }))
    }

    pub(crate) fn thread_ref(&self) -> &Thread {
        self.threads[self.thread].as_ref().expect("the current thread exists")
    }

    pub(crate) fn thread_mut(&mut self) -> &mut Thread {
        self.threads[self.thread].as_mut().expect("the current thread exists")
    }

    pub(crate) fn cpu_ref(&self) -> &Cpu {
        &self.cpus[self.cpu]
    }

    pub(crate) fn cpu_mut(&mut self) -> &mut Cpu {
        &mut self.cpus[self.cpu]
    }

    /// The context of the code that runs.
    pub(crate) fn context(&self) -> Who {
        Who::new(self.cpu, self.thread_ref().level().kind.context(), self.cpu_ref().irqs_on)
    }

    pub(crate) fn learn(&mut self, word: u64) {
        self.thread_mut().level_mut().history.mix(word);
    }

    /// Is a place where others could come in passed without a stop? A schedule remembers how many were in each step, so that it can be
    /// replayed by who does not know what is shared.
    pub(crate) fn passes(&mut self, noticed: bool) -> bool {
        if std::mem::take(&mut self.phase.begins) {
            // The set-up ends here, whatever is known of what is shared.
            self.step.fused = false;
            return false;
        }
        let passes = match self.step.budget {
            Some(budget) => self.step.passed < budget,
            None => !noticed || self.step.fused,
        };
        if noticed {
            self.step.fused = false;
        }
        self.step.passed += u32::from(passes);
        passes
    }

    /// Has this step no end? Nothing in it can be noticed by anybody else, so nobody ends it.
    pub(crate) fn goes_round(&mut self) -> bool {
        if self.step.passed < MOST_PASSED {
            return false;
        }
        let at = self.thread_ref().op.at;
        let (file, line) = (at.file(), at.line());
        self.fail(
            "livelock",
            format!("CPU {} goes round for ever in one step", self.cpu),
            format!("{file}:{line}"),
        );
        true
    }

    /// The branching begins, at the next place where others could come in.
    pub(crate) fn branch(&mut self) {
        self.phase.branching = true;
        self.phase.begins = true;
    }

    /// What `place` holds, also if it is no memory.
    pub(crate) fn value_of(&self, place: usize) -> usize {
        match place {
            // Who occupies a CPU, and whether its hotplug thread is parked: see `port`.
            1..64 => usize::from(self.occupied(place - 1)),
            64..96 => usize::from(self.parked(place - 64)),
            96..128 => usize::from(self.cpus[place - 96].power != Power::On),
            // SAFETY: a word of a machine, or of the stack of a thread that waits on it.
            _ => unsafe { *(place as *const usize) },
        }
    }
}

/// Lets the fibre of thread `thread` on CPU `cpu` run to its next announcement.
pub(crate) fn run(world: *mut World, cpu: usize, thread: usize, command: Command) {
    // SAFETY: `world` is the one that was entered, and no reference to it is held.
    let slot: *mut Slot = with_ptr(world, |w| {
        (w.cpu, w.thread) = (cpu, thread);
        w.step.inside = true;
        w.step.fused = false;
        (w.look.waited, w.look.reload, w.reduction.guess) = (0, 0, None);
        w.reduction.movers.at_point();
        (w.look.polling, w.look.aged) = (false, None);
        &raw mut w.stacks.slots[thread]
    });
    // SAFETY: only live threads are run.
    unsafe { Slot::resume(slot, command) };
    with_ptr(world, |w| {
        w.step.inside = false;
        w.step.fused = false;
    });
}

/// As [`with`], for the scheduler.
pub(crate) fn with_ptr<R>(world: *mut World, f: impl FnOnce(&mut World) -> R) -> R {
    // SAFETY: the scheduler owns the world, and fibres use it only while they run.
    f(unsafe { &mut *world })
}
