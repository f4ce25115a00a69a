//! The loop that every CPU of a stop runs: the stage machine.

use core::hash::{Hash, Hasher};
use core::ops::{ControlFlow, Deref};
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::lock::TicketLock;
use super::receipts::Receipt;
use super::relay::Post;
use super::stage::{At, Stage, is_later};
use super::work::{MultiWork, Part, Works};
use crate::context::{Stopped, no_unwind};
use crate::cpu::CpuId;
use crate::event::What;
use crate::machine::Machine;
use crate::mask::AtomicCpuMask;
use crate::places::Finder;
use smpmem::run_loop;

use crate::platform::{DataCell, Deadline, Memory, Platform, Site, WaitContext, WaitFor, Word};

/// The function of a stop, without its type.
#[derive(Clone, Copy)]
pub(crate) struct Body {
    pub(crate) run: unsafe fn(*const (), &Stopped<'_>) -> i32,
    pub(crate) arg: *const (),
}

/// A stop's function lives on a stack that is the same in each replay of a run; its address is enough.
impl Hash for Body {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.arg.hash(state);
    }
}

impl Body {
    pub(crate) fn of<F: Fn(&Stopped<'_>) -> i32 + Sync>(f: &F) -> Self {
        Body { run: run::<F>, arg: ptr::from_ref(f).cast() }
    }
}

/// # Safety
/// `arg` is a `&F` that is alive until this returns.
unsafe fn run<F: Fn(&Stopped<'_>) -> i32 + Sync>(arg: *const (), stopped: &Stopped<'_>) -> i32 {
    // SAFETY: the contract of this function.
    let f = unsafe { &*arg.cast::<F>() };
    no_unwind(|| f(stopped))
}

/// The one stop that may be in flight. Who holds `turn` fills it in before it publishes PREPARE; a CPU that is late for an abandoned
/// stop may read it while the next one is filled in, so everything that it looks at is an atomic word.
pub(crate) struct Stop<P: Memory, const W: usize> {
    /// Stops take turns.
    pub(crate) turn: TicketLock<P>,
    /// Held by a CPU while it comes online, and by one that stops the machine before it has: so none appears in the middle of the other's
    /// stop. All other stops hold the hotplug lock, or don't ask who is online. Taken before `turn`.
    pub(crate) door: TicketLock<P>,
    /// Where the stop is.
    pub(crate) at: Line<P::Word>,
    /// Where the last stop has ended: every CPU acknowledged EXIT, or it was abandoned.
    pub(crate) done: Line<P::Word>,
    /// The CPUs that take part.
    pub(crate) members: AtomicCpuMask<P, W>,
    /// Those that will be gone after it.
    pub(crate) leaving: AtomicCpuMask<P, W>,
    /// Two disable stages (1) or one (0).
    pub(crate) split: P::Word,
    /// When the one that began it gives up, if it did not say.
    pub(crate) patience: P::Word,
    /// The function. Read in RUN only, by active CPUs.
    pub(crate) body: P::Cell<Body>,
}

impl<P: Memory, const W: usize> Stop<P, W> {
    pub(crate) const fn new() -> Self {
        Stop {
            turn: TicketLock::new(),
            door: TicketLock::new(),
            at: Line(P::Word::ZERO),
            done: Line(P::Word::ZERO),
            members: AtomicCpuMask::new(),
            leaving: AtomicCpuMask::new(),
            split: P::Word::ZERO,
            patience: P::Word::ZERO,
            body: P::Cell::EMPTY,
        }
    }

    pub(crate) fn places(&self, finder: &mut Finder) {
        finder.see("turn of the stops", &self.turn);
        finder.see("turn of the CPUs that come online", &self.door);
        finder.see("stop word", &self.at);
        finder.see("last stop that ended", &self.done);
        finder.see("members of the stop", &self.members);
        finder.see("CPUs that leave in the stop", &self.leaving);
        finder.see("split of the stop", &self.split);
        finder.see("patience of the stop", &self.patience);
        finder.see("function of the stop", &self.body);
    }
}

/// What changes during a stop, on a cache line of its own, so that it does not take away the lines that the stop's CPUs only read.
#[repr(align(64))]
pub(crate) struct Line<T>(T);

impl<T> Deref for Line<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The stop's part of one CPU.
pub(crate) struct StopCpu<P: Memory> {
    pub(crate) works: Works<P>,
    pub(crate) multi: MultiWork<P>,
    /// The last stage word that this CPU acknowledged, for reports.
    pub(crate) progress: P::Word,
    /// What became of this CPU's part in the last stop.
    pub(crate) receipt: P::Word,
}

impl<P: Memory> StopCpu<P> {
    pub(crate) fn places(&self, finder: &mut Finder) {
        finder.see("stopper queue", &self.works);
        finder.see("stopper's part in the stop", &self.multi);
        finder.see("progress in the stop", &self.progress);
        finder.see("receipt of the stop", &self.receipt);
    }

    pub(crate) const fn new() -> Self {
        StopCpu {
            works: Works::new(),
            multi: MultiWork::new(),
            progress: P::Word::ZERO,
            receipt: P::Word::ZERO,
        }
    }
}

/// What a CPU remembers in the loop.
#[derive(Hash)]
struct Loop<F: Hash> {
    me: CpuId,
    part: Part,
    /// Where it looks at the stage.
    post: Post,
    /// The stage word that this CPU acted on last.
    seen: usize,
    /// What the interrupts were, once this CPU closed them.
    flags: Option<F>,
    /// They were open then.
    were_on: bool,
    /// What the function returned here.
    value: Option<i32>,
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// This CPU plays its part in a stop. Does not return if it leaves the machine in it and stays deaf.
    pub(super) fn run_stop(&self, me: CpuId, part: Part) {
        let mut state = Loop {
            me,
            part,
            post: self.take_post(me, part),
            seen: At::new(part.epoch, Stage::None).pack(),
            flags: None,
            were_on: false,
            value: None,
        };
        run_loop(&self.platform, self, &mut state, Self::step);
    }

    fn step(&self, s: &mut Loop<P::Flags>) -> ControlFlow<()> {
        // Acquire: pairs with the release of `advance`, or of a relay that has seen that.
        let word = self.stage_word(s.me, s.post).load(Acquire);
        let at = At::unpack(word);
        // A copy may be behind, down to earlier stops.
        let moved = is_later(word, s.seen);
        let over = moved && (at.epoch != s.part.epoch || at.aborted);
        if over {
            self.relay(s.me, s.post, word);
        }
        if over || self.halt.is_taken() {
            self.reopen(s);
            return ControlFlow::Break(());
        }
        if !moved || at.stage == Stage::Seal {
            self.await_stage(s, word);
            return ControlFlow::Continue(());
        }
        s.seen = word;
        self.relay(s.me, s.post, word);
        self.act(s, at);
        if at.stage == Stage::Exit {
            self.leave(s, at);
            return ControlFlow::Break(());
        }
        self.acknowledge(s, at);
        // Of a pass nothing is read after that: it may be over by now.
        if s.part.pass { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// What a CPU does in each stage.
    fn act(&self, s: &mut Loop<P::Flags>, at: At) {
        let active = s.part.active;
        match at.stage {
            Stage::None | Stage::Prepare | Stage::Seal => {}
            Stage::DisableIrqInactive => {
                if !active {
                    self.close(s, at, active);
                }
            }
            Stage::DisableIrqActive => {
                if active || s.flags.is_none() {
                    self.close(s, at, active);
                }
            }
            Stage::Run => {
                if active {
                    self.run_body(s);
                }
            }
            Stage::Exit => {}
        }
    }

    /// What follows a stage that all have acknowledged.
    fn advance(&self, at: At, pass: bool) {
        let next = match at.stage {
            Stage::None => Stage::Prepare,
            Stage::Prepare if pass => Stage::Exit,
            Stage::Prepare if self.stop.split.load(Relaxed) != 0 => Stage::DisableIrqInactive,
            Stage::Prepare => Stage::DisableIrqActive,
            Stage::DisableIrqInactive => Stage::DisableIrqActive,
            Stage::DisableIrqActive => Stage::Seal,
            Stage::Seal => Stage::Run,
            Stage::Run => Stage::Exit,
            Stage::Exit => {
                // Release: pairs with the acquire of the one that waits for the stop's end.
                self.stop.done.store(at.pack(), Release);
                self.platform.notify(&raw const *self.stop.done);
                return;
            }
        };
        let next = At::new(at.epoch, next);
        self.emit(|| What::StageEntered { epoch: at.epoch, stage: next.stage });
        // Fails only if the stop was abandoned. Release: pairs with the acquire in `step`; what the others did came here with their
        // acknowledgements. See the module.
        if self.stop.at.compare_exchange(at.pack(), next.pack(), Release, Relaxed).is_err() {
            return;
        }
        if pass {
            // Nobody looks at the word any more. A pass that was abandoned does not come here: it was a pass of all, or is none.
            self.advance(next, pass);
            return;
        }
        if next.stage == Stage::Seal {
            // Nobody but the active CPUs can send any more, and from here on nobody sends to those that leave, they themselves
            // included: so a drain in RUN ends.
            self.seal();
            self.advance(next, pass);
            return;
        }
        self.platform.notify(&raw const *self.stop.at);
    }

    fn acknowledge(&self, s: &Loop<P::Flags>, at: At) {
        let me = s.me;
        self.emit(|| What::StageAck { epoch: at.epoch, stage: at.stage, active: s.part.active });
        self.cpu[me.index()].stop.progress.store(at.pack(), Relaxed);
        if self.count_in(me, s.part, at) {
            self.advance(at, s.part.pass);
        }
    }

    /// Both masks, as a lazy one may still let a handler note an interrupt.
    fn close(&self, s: &mut Loop<P::Flags>, at: At, active: bool) {
        s.were_on = self.platform.irqs_on();
        s.flags = Some(self.platform.irq_save());
        self.platform.hard_irq_disable();
        self.emit(|| What::IrqsClosed { epoch: at.epoch, stage: at.stage, active, split: s.part.split });
    }

    fn reopen(&self, s: &mut Loop<P::Flags>) {
        if let Some(flags) = s.flags.take() {
            // SAFETY: from the save in `close`, on this CPU.
            unsafe { self.platform.irq_restore(flags) };
            let (epoch, were_on) = (s.part.epoch, s.were_on);
            self.emit(|| What::IrqsRestored { epoch, were_on, are_on: self.platform.irqs_on() });
        }
    }

    fn run_body(&self, s: &mut Loop<P::Flags>) {
        self.emit(|| What::RunBegin { epoch: s.part.epoch, active: true });
        // SAFETY: the stage is RUN, so the caller wrote the function before PREPARE, and waits until every CPU acknowledged EXIT: the
        // cell is not written and what it points to is alive. This CPU is active and has closed its interrupts.
        let value = unsafe {
            let body = self.stop.body.read();
            (body.run)(body.arg, &Stopped::new())
        };
        s.value = Some(value);
        self.cpu[s.me.index()].stop.receipt.store(Receipt::Ran(value).pack(), Relaxed);
        self.emit(|| What::RunEnd { epoch: s.part.epoch, value });
    }

    /// EXIT. After the acknowledgement the stop may be over for everybody else, so nothing of it is read after.
    fn leave(&self, s: &mut Loop<P::Flags>, at: At) {
        let gone = self.protocol.deaf && s.value == Some(0) && s.part.leaves;
        self.acknowledge(s, at);
        if gone {
            self.die(s.me);
        }
        self.reopen(s);
    }

    fn await_stage(&self, s: &Loop<P::Flags>, word: usize) {
        let at = At::unpack(if is_later(word, s.seen) { word } else { s.seen });
        let abortable =
            matches!(at.stage, Stage::Prepare | Stage::DisableIrqInactive | Stage::DisableIrqActive);
        let deadline = match abortable {
            // Relaxed: as with the brief; see there.
            true if s.part.watches => Deadline(self.stop.patience.load(Relaxed)),
            true => self.deadline_of(s.me),
            false => Deadline::NEVER,
        };
        let site = self.site_of(
            s.me,
            match at.stage {
                Stage::None => "stop_machine: the works to be queued",
                Stage::Prepare => "stop_machine: the acknowledgements of PREPARE",
                Stage::DisableIrqInactive => "stop_machine: the acknowledgements of DISABLE_IRQ_INACTIVE",
                Stage::DisableIrqActive => "stop_machine: the acknowledgements of DISABLE_IRQ_ACTIVE",
                Stage::Seal => "stop_machine: the queues to be shut",
                Stage::Run => "stop_machine: the function to return",
                Stage::Exit => "stop_machine: the end",
            },
        );
        let stalled = |waited_ns| {
            if self.speaks_for(s.me, at) {
                self.report_missing(site, waited_ns, at);
            }
        };
        let context = if s.flags.is_some() { WaitContext::Frozen } else { WaitContext::Spin };
        let wait = WaitFor { site, context, deadline, stalled: &stalled };
        let watched = self.stage_word(s.me, s.post);
        let moved = || (watched.load(Relaxed) != word).then_some(());
        if self.platform.wait_until(watched, &wait, moved).is_none() {
            self.abandon(at);
            // Now the stage word has moved, by this CPU or by another one before. A relay passes that on.
            if !ptr::eq(watched, &raw const *self.stop.at) {
                self.platform.wait_until(watched, &WaitFor { deadline: Deadline::NEVER, ..wait }, moved);
            }
        }
    }

    /// Ends stop number `epoch`, if it is under way and nobody can run its function yet.
    pub(crate) fn abandon_epoch(&self, epoch: usize) {
        loop {
            // Relaxed: the exchange decides.
            let at = At::unpack(self.stop.at.load(Relaxed));
            if at.epoch != epoch || at.aborted || at.stage >= Stage::Seal || self.abandon(at) {
                return;
            }
        }
    }

    /// Ends a stop whose bound was reached, unless it moves on at this very moment. True if it did.
    pub(super) fn abandon(&self, at: At) -> bool {
        let aborted = At { aborted: true, ..at };
        // Relaxed: nothing has run, so nothing is handed over.
        if self.stop.at.compare_exchange(at.pack(), aborted.pack(), Relaxed, Relaxed).is_err() {
            return false;
        }
        self.emit(|| What::StopAborted { epoch: at.epoch, stage: at.stage });
        self.platform.notify(&raw const *self.stop.at);
        // It has ended, for who waits for that. By now the next stop may have, too. Relaxed, as above.
        let mut seen = self.stop.done.load(Relaxed);
        while is_later(aborted.pack(), seen) {
            match self.stop.done.compare_exchange(seen, aborted.pack(), Relaxed, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        self.platform.notify(&raw const *self.stop.done);
        true
    }

    /// One CPU speaks for all that wait in the same stage: the first that acknowledged it. What it looks at may be old: it is for reports.
    fn speaks_for(&self, me: CpuId, at: At) -> bool {
        if at.stage == Stage::None {
            return true;
        }
        let first = self.stop.members.now().iter().find(|cpu| self.has_acknowledged(*cpu, at));
        first == Some(me)
    }

    pub(super) fn has_acknowledged(&self, cpu: CpuId, at: At) -> bool {
        !is_later(At { aborted: false, ..at }.pack(), self.cpu[cpu.index()].stop.progress.load(Relaxed))
    }

    /// Tells of each CPU that the stop waits for; false if there is none.
    pub(super) fn report_missing(&self, site: Site, waited_ns: u64, at: At) -> bool {
        let members = self.stop.members.now();
        let missing = || members.iter().filter(|cpu| !self.has_acknowledged(*cpu, at));
        missing().for_each(|cpu| self.report_stall(site, waited_ns, cpu));
        missing().next().is_some()
    }

    /// The same, on behalf of one that waits for the stop which is under way; false if there is none.
    pub(crate) fn report_stop(&self, site: Site, waited_ns: u64) -> bool {
        let at = At::unpack(self.stop.at.load(Relaxed));
        let ended = At::unpack(self.stop.done.load(Relaxed)).epoch >= at.epoch;
        !ended && self.report_missing(site, waited_ns, at)
    }
}
