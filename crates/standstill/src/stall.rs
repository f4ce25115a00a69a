//! Who is missing: what a wait that has become long is told about.
//!
//! Who waits for a lock is not helped by the name of its holder, if that waits itself. So a report follows the chain to its end: to
//! the CPU that a stop waits for, to the one that the hotplug operation waits for, and to the callback that runs there.
//!
//! What is kept for this is relaxed and may be old, and nothing else depends on it.

use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::{slice, str};

use crate::cpu::CpuId;
use crate::event::{Calling, Stall, Walk, What};
use crate::hotplug::StateId;
use crate::machine::Machine;
use crate::platform::{Memory, Platform, Pointer, Runs, Site, Word};
use crate::stop::TicketLock;

/// The hotplug callback that runs for one CPU.
///
/// # Invariants
/// One thread at a time calls callbacks for a CPU. `name` is that of the `&'static str` whose length is in `now` whenever `now` was the
/// same before and after both were read.
pub(crate) struct Callback<P: Memory> {
    /// From the top: how many there were, the length of the name, the CPU that runs it, its state, its direction, and 1. The count
    /// alone: none runs.
    now: P::Word,
    name: P::Ptr<u8>,
}

const COUNT: u32 = 39;
const LEN: u32 = 27;
const RUNNER: u32 = 11;
const STATE: u32 = 3;

/// In [`Operation::awaits`]: it has not begun, and waits for the readers to go.
const READERS: usize = usize::MAX;

const fn field(word: usize, from: u32, to: u32) -> usize {
    word >> from & ((1 << (to - from)) - 1)
}

const _: () =
    assert!(crate::stop::MAX_CPUS <= 1 << (LEN - RUNNER) && StateId::COUNT <= 1 << (RUNNER - STATE));

impl<P: Memory> Callback<P> {
    pub(crate) const fn new() -> Self {
        Callback { now: P::Word::ZERO, name: P::Ptr::NULL }
    }

    fn begin(&self, runner: CpuId, state: StateId, name: &'static str, walk: Walk) {
        let name = if name.len() < 1 << (COUNT - LEN) { name } else { "(a long name)" };
        let count = (self.now.load(Relaxed) >> COUNT) + 1;
        // Release: who reads a new name (acquire) sees that the callback before has returned.
        self.name.store(name.as_ptr().cast_mut(), Release);
        let which = state.index() << STATE | (walk as usize) << 1 | 1;
        // Release: who reads it (acquire) finds its name.
        self.now.store(count << COUNT | name.len() << LEN | runner.index() << RUNNER | which, Release);
    }

    fn end(&self) {
        self.now.store(self.now.load(Relaxed) >> COUNT << COUNT, Relaxed);
    }

    /// The CPU that runs it, its name, and which one it is.
    fn read(&self) -> Option<(CpuId, &'static str, Calling)> {
        // Acquire, each: pairs with the releases in `begin`.
        let now = self.now.load(Acquire);
        if now & 1 == 0 {
            return None;
        }
        let name = self.name.load(Acquire);
        if self.now.load(Relaxed) != now {
            return None;
        }
        // SAFETY: `now` has not changed (its count wraps after 2^25 callbacks of one CPU, between two loads), so both are of one
        // `&'static str`, by the invariant.
        let name = unsafe { str::from_utf8_unchecked(slice::from_raw_parts(name, field(now, LEN, COUNT))) };
        let walk = [Walk::Up, Walk::Down, Walk::RollbackDown, Walk::RollbackUp][field(now, 1, STATE)];
        let state = StateId::from_index(field(now, STATE, RUNNER))?;
        Some((CpuId::new(field(now, RUNNER, LEN)), name, Calling { state, walk }))
    }
}

/// What the hotplug operation that is under way waits for.
pub(crate) struct Operation<P: Memory> {
    /// Twice the CPU, plus 1 if its threads are to leave, plus 1; 0: it waits for none; [`READERS`].
    awaits: P::Word,
    /// Who asked for it.
    from: P::Ptr<Location<'static>>,
}

impl<P: Memory> Operation<P> {
    pub(crate) const fn new() -> Self {
        Operation { awaits: P::Word::ZERO, from: P::Ptr::NULL }
    }

    /// The operation of `from` begins.
    pub(crate) fn begin(&self, from: &'static Location<'static>) {
        self.from.store(core::ptr::from_ref(from).cast_mut(), Relaxed);
    }

    /// Who asked for the operation that is under way.
    #[track_caller]
    pub(crate) fn from(&self) -> &'static Location<'static> {
        // SAFETY: null, or set from a `&'static Location`.
        unsafe { self.from.load(Relaxed).as_ref() }.unwrap_or(Location::caller())
    }
}

/// What of a CPU the operation waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The CPU itself: its answer, or its hotplug thread's.
    Cpu,
    /// The threads that are still on it.
    Threads,
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// Runs `wait`, in which the operation waits for `who`.
    pub(crate) fn awaiting<R>(&self, who: CpuId, part: Part, wait: impl FnOnce() -> R) -> R {
        let awaits = &self.hotplug.operation.awaits;
        awaits.store((who.index() << 1 | usize::from(part == Part::Threads)) + 1, Relaxed);
        let result = wait();
        awaits.store(0, Relaxed);
        result
    }

    /// Runs `wait`, in which a writer waits for the readers.
    pub(crate) fn awaiting_readers<R>(&self, wait: impl FnOnce() -> R) -> R {
        let awaits = &self.hotplug.operation.awaits;
        awaits.store(READERS, Relaxed);
        let result = wait();
        awaits.store(0, Relaxed);
        result
    }

    /// Runs a callback for `who`, with its name where a report finds it.
    pub(crate) fn naming<R>(
        &self,
        who: CpuId,
        state: StateId,
        name: &'static str,
        walk: Walk,
        callback: impl FnOnce() -> R,
    ) -> R {
        let running = &self.callback[who.index()];
        running.begin(self.platform.this_cpu(), state, name, walk);
        let result = callback();
        running.end();
        result
    }

    /// Tells that a wait has become long, and what the CPU that is waited for runs.
    #[cold]
    pub(crate) fn report_stall(&self, site: Site, waited_ns: u64, missing: CpuId) {
        let here = |callback: &Callback<P>| callback.read().filter(|(runner, ..)| *runner == missing);
        let callback = || self.callback.iter().find_map(here);
        let port = self.platform.runs(missing);
        let (what, calling) = match self.cpu[missing.index()].call.running() {
            Some(function) => (function, None),
            None => callback().map_or((port.what, None), |(_, name, calling)| (name, Some(calling))),
        };
        self.tell(site, waited_ns, missing, Runs { what, ..port }, calling);
    }

    /// The same, of a thread that is still on `missing`.
    #[cold]
    pub(crate) fn report_thread(&self, site: Site, waited_ns: u64, missing: CpuId) {
        match self.platform.occupied(missing) {
            Some(what) => {
                let port = self.platform.runs(missing);
                self.tell(site, waited_ns, missing, Runs { what, ..port }, None);
            }
            None => self.report_stall(site, waited_ns, missing),
        }
    }

    fn tell(&self, site: Site, waited_ns: u64, missing: CpuId, runs: Runs, callback: Option<Calling>) {
        self.emit(|| What::Stalled(Stall { site, waited_ns, missing, runs, callback }));
    }

    /// The same, of whoever keeps `lock`. If a stop is under way, that is the CPUs which that one waits for.
    #[cold]
    pub(crate) fn report_turn(&self, site: Site, waited_ns: u64, lock: &TicketLock<P>) {
        if !self.report_stop(site, waited_ns) {
            self.report_stall(site, waited_ns, lock.holder());
        }
    }

    /// The same, of whoever the hotplug operation waits for that holds `writers`.
    #[cold]
    pub(crate) fn report_operation(&self, site: Site, waited_ns: u64, writers: &TicketLock<P>) {
        let awaits = self.hotplug.operation.awaits.load(Relaxed);
        if awaits == READERS {
            self.report_readers(site, waited_ns);
        } else if let Some(awaits) = awaits.checked_sub(1) {
            let who = CpuId::new(awaits >> 1);
            if awaits & 1 == 0 {
                self.report_stall(site, waited_ns, who);
            } else {
                self.report_thread(site, waited_ns, who);
            }
        } else if !self.report_stop(site, waited_ns) {
            // Its own CPU, unless it is in a callback.
            let runner = self.callback.iter().find_map(Callback::read);
            let missing = runner.map_or_else(|| writers.holder(), |(runner, ..)| runner);
            self.report_stall(site, waited_ns, missing);
        }
    }
}
