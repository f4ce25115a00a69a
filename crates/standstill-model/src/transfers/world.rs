//! CPUs with clocks, cache lines with owners, and who runs next.
//!
//! Each context of the simulated machine is a coroutine. The one whose CPU's clock is lowest goes on until its next access. So accesses happen in the
//! order of time, and nothing is random.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ptr;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use standstill::event::What;
use standstill::platform::Entry;
use standstill::stop::Stage;

use super::{Cost, StageCost};

const STACK: usize = 128 * 1024;
const LINE: usize = 64;

type Co = Coroutine<(), (), (), DefaultStack>;

#[derive(Default)]
struct Line {
    /// Who has a copy; alone, if `dirty`.
    holders: Vec<usize>,
    dirty: bool,
    /// When the last transfer is over.
    free_at: u64,
    /// How many times anybody took it to write.
    version: u64,
}

/// One context.
pub(super) struct Thread {
    cpu: usize,
    /// It runs its CPU's stopper when there is work.
    pub(super) stops: bool,
    yielder: Cell<*const Yielder<(), ()>>,
    fibre: RefCell<Option<Co>>,
    ready: Cell<bool>,
    /// The lines that it read since it began to look, and their versions then.
    watched: RefCell<Vec<(usize, u64)>>,
}

#[derive(Default)]
pub(super) struct Cpu {
    now: Cell<u64>,
    pub(super) irqs_off: Cell<bool>,
    pub(super) preempt: Cell<usize>,
    pub(super) in_stopper: Cell<bool>,
    pub(super) stop_pending: Cell<bool>,
}

/// What is measured, while a stop is.
#[derive(Default)]
struct Meter {
    on: bool,
    /// CPUs are held before they acknowledge.
    hold: bool,
    transfers: u64,
    /// Threads that are about to acknowledge.
    held: Vec<usize>,
    /// Where the transfers were counted to, and the time then.
    since: (u64, u64),
    costs: Vec<StageCost>,
    down: Cost,
}

pub(super) struct World {
    pub(super) cpus: Vec<Cpu>,
    threads: RefCell<Vec<&'static Thread>>,
    current: Cell<usize>,
    lines: RefCell<BTreeMap<usize, Line>>,
    meter: RefCell<Meter>,
    uncounted: Cell<bool>,
    /// The machine comes up: contexts take turns only where they wait.
    pub(super) comes_up: Cell<bool>,
    pub(super) fan_in: usize,
    pub(super) entry: Cell<Option<&'static dyn Entry>>,
}

std::thread_local! {
    static WORLD: Cell<Option<&'static World>> = const { Cell::new(None) };
}

pub(super) fn world() -> &'static World {
    WORLD.get().expect("a machine is counted")
}

impl World {
    /// Makes the world of this OS thread. It is never freed: what stands in a coroutine of it can't be unwound.
    pub(super) fn make(cpus: usize, fan_in: usize) -> &'static World {
        let world: &'static World = Box::leak(Box::new(World {
            cpus: (0..cpus).map(|_| Cpu::default()).collect(),
            threads: RefCell::default(),
            current: Cell::new(0),
            lines: RefCell::default(),
            meter: RefCell::default(),
            uncounted: Cell::new(false),
            comes_up: Cell::new(true),
            fan_in,
            entry: Cell::new(None),
        }));
        WORLD.set(Some(world));
        world
    }

    pub(super) fn me(&self) -> &'static Thread {
        self.threads.borrow()[self.current.get()]
    }

    pub(super) fn at(&self) -> usize {
        self.me().cpu
    }

    pub(super) fn cpu(&self) -> &Cpu {
        &self.cpus[self.at()]
    }

    pub(super) fn spawn(&self, cpu: usize, stops: bool, body: impl FnOnce() + 'static) {
        let thread: &'static Thread = Box::leak(Box::new(Thread {
            cpu,
            stops,
            yielder: Cell::new(ptr::null()),
            fibre: RefCell::new(None),
            ready: Cell::new(true),
            watched: RefCell::default(),
        }));
        let stack = DefaultStack::new(STACK).expect("memory for a stack");
        *thread.fibre.borrow_mut() =
            Some(Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                thread.yielder.set(yielder);
                body();
            }));
        self.threads.borrow_mut().push(thread);
    }

    /// Lets the context run whose CPU is furthest behind; false if none can.
    pub(super) fn step(&self) -> bool {
        let next = {
            let threads = self.threads.borrow();
            let ready = threads.iter().enumerate().filter(|(_, thread)| thread.ready.get());
            let next = ready.min_by_key(|(id, thread)| (self.cpus[thread.cpu].now.get(), *id));
            let Some((id, _)) = next else { return false };
            id
        };
        self.current.set(next);
        let thread = self.me();
        let mut fibre = thread.fibre.borrow_mut().take().expect("a context that is ready is not over");
        match fibre.resume(()) {
            CoroutineResult::Yield(()) => *thread.fibre.borrow_mut() = Some(fibre),
            CoroutineResult::Return(()) => thread.ready.set(false),
        }
        true
    }

    fn suspend(&self) {
        let yielder = self.me().yielder.get();
        // SAFETY: set when the coroutine that runs began; it lives on that coroutine's stack, as long as this is not over.
        unsafe { (*yielder).suspend(()) }
    }

    /// The context begins to look at something.
    pub(super) fn look(&self) {
        self.me().watched.borrow_mut().clear();
    }

    /// The context goes on when one of the lines that it has read since [`look`](Self::look) was taken away to be written, or an
    /// interrupt comes.
    pub(super) fn sleep(&self) {
        let me = self.me();
        let changed = {
            let lines = self.lines.borrow();
            me.watched.borrow().iter().any(|(line, version)| lines[line].version != *version)
        };
        if !changed {
            me.ready.set(false);
        }
        self.suspend();
    }

    /// Runs `f` as if it did not happen.
    pub(super) fn uncounted<R>(&self, f: impl FnOnce() -> R) -> R {
        self.uncounted.set(true);
        let result = f();
        self.uncounted.set(false);
        result
    }

    /// One access to memory.
    pub(super) fn touch(&self, address: usize, writes: bool) {
        if self.uncounted.get() {
            return;
        }
        if !self.comes_up.get() {
            self.suspend();
        }
        let (me, at) = (self.me(), self.at());
        let number = address / LINE;
        let mut lines = self.lines.borrow_mut();
        let line = lines.entry(number).or_default();
        let has = line.holders.contains(&at) && (!writes || line.dirty);
        let now = &self.cpus[at].now;
        if !has {
            let over = now.get().max(line.free_at) + 1;
            line.free_at = over;
            now.set(over);
            self.meter.borrow_mut().transfers += 1;
            if writes {
                line.holders.clear();
            }
            line.holders.push(at);
            line.dirty = writes;
        }
        if writes {
            line.version += 1;
            let (version, until) = (line.version, now.get());
            for thread in self.threads.borrow().iter() {
                let watches = thread.watched.borrow().iter().any(|(seen, _)| *seen == number);
                if watches
                    && !thread.ready.get()
                    && !ptr::eq(*thread, me)
                    && self.cpus[thread.cpu].now.get() <= until
                {
                    self.wake(thread, until);
                }
            }
            let mut mine = me.watched.borrow_mut();
            mine.iter_mut().filter(|(seen, _)| *seen == number).for_each(|(_, seen)| *seen = version);
        } else {
            me.watched.borrow_mut().push((number, line.version));
        }
    }

    fn wake(&self, thread: &Thread, time: u64) {
        let now = &self.cpus[thread.cpu].now;
        now.set(now.get().max(time));
        thread.ready.set(true);
    }

    /// An interrupt to the stopper of `to`.
    pub(super) fn interrupt(&self, to: usize) {
        self.cpus[to].stop_pending.set(true);
        let time = self.cpu().now.get();
        let threads = self.threads.borrow();
        for thread in threads.iter().filter(|thread| thread.cpu == to && thread.stops && !thread.ready.get())
        {
            self.wake(thread, time);
        }
    }

    /// The next stop is measured.
    pub(super) fn measure(&self, hold: bool) {
        *self.meter.borrow_mut() = Meter { on: true, hold, ..Meter::default() };
    }

    pub(super) fn measured(&self) -> Vec<StageCost> {
        std::mem::take(&mut self.meter.borrow_mut().costs)
    }

    /// Looks at an event of the library.
    pub(super) fn event(&self, what: &What) {
        if !self.meter.borrow().on {
            return;
        }
        match what {
            What::StageAck { .. } if self.meter.borrow().hold => self.hold(),
            What::StageEntered { stage, .. } => self.stage_ends(*stage),
            What::StopEnd { .. } => {
                self.stage_ends(Stage::None);
                self.meter.borrow_mut().on = false;
            }
            _ => {}
        }
    }

    fn cost_since(&self, meter: &Meter) -> Cost {
        let (transfers, time) = meter.since;
        Cost { transfers: meter.transfers - transfers, depth: self.cpu().now.get() - time }
    }

    /// This CPU has seen the stage. Nobody acknowledges it before all have.
    fn hold(&self) {
        let mut meter = self.meter.borrow_mut();
        meter.held.push(self.current.get());
        if meter.held.len() < self.cpus.len() {
            drop(meter);
            self.me().watched.borrow_mut().clear();
            self.me().ready.set(false);
            self.suspend();
            return;
        }
        let held = std::mem::take(&mut meter.held);
        let threads = self.threads.borrow();
        let last = held.iter().map(|id| self.cpus[threads[*id].cpu].now.get()).max().unwrap_or(0);
        for id in &held {
            self.wake(threads[*id], last);
        }
        meter.down = self.cost_since(&meter);
        meter.since = (meter.transfers, last);
    }

    /// The last acknowledgement was counted, and `next` comes.
    fn stage_ends(&self, next: Stage) {
        let mut meter = self.meter.borrow_mut();
        let (up, down) = (self.cost_since(&meter), meter.down);
        // The stage that ends is the one before; SEAL is a part of the way down to RUN, and is not acknowledged.
        let stage = match next {
            Stage::DisableIrqInactive => Some(Stage::Prepare),
            Stage::DisableIrqActive => Some(Stage::DisableIrqInactive),
            Stage::Seal => Some(Stage::DisableIrqActive),
            Stage::Exit => Some(Stage::Run),
            Stage::None => Some(Stage::Exit),
            _ => None,
        };
        if let Some(stage) = stage {
            meter.costs.push(StageCost { stage, down, up, flow: Cost::default() });
        }
        if next != Stage::Run {
            meter.since = (meter.transfers, self.cpu().now.get());
        }
    }
}
