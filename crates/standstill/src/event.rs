//! Everything that happens, as one enum: traces, the rules, the torture's counters and the pictures read it.
//!
//! An event is emitted by the CPU that does the thing ([`Event::cpu`]), next to the access that does it. What a
//! receiver can observe is announced *before* the access that lets it (a [`CallQueued`](What::CallQueued) before the
//! push), so that on a live machine, too, cause stands before effect in any log that a port can write.

use core::fmt;
use core::panic::Location;

use crate::cpu::CpuId;
use crate::hotplug::StateId;
use crate::platform::{Ipi, Runs, Site};
use crate::stop::Stage;

/// One thing that happened on one CPU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// The CPU that did it.
    pub cpu: CpuId,
    /// What it did.
    pub what: What,
}

/// The form of a cross-CPU call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Form {
    /// [`call_single_nowait`](crate::Machine::call_single_nowait): the sender's own slot, no wait.
    Single,
    /// [`call_single`](crate::Machine::call_single), [`call_any`](crate::Machine::call_any): one CPU, waited for.
    SingleWait,
    /// [`call_single_async`](crate::Machine::call_single_async): a caller-owned csd, no wait.
    Async,
    /// [`call_many_async`](crate::Machine::call_many_async): the CPUs of a mask, no wait.
    Many,
    /// [`call_many`](crate::Machine::call_many): the CPUs of a mask, waited for.
    ManyWait,
    /// [`call_all_async`](crate::Machine::call_all_async): all other CPUs, no wait.
    All,
    /// [`call_all`](crate::Machine::call_all): all other CPUs, waited for.
    AllWait,
}

impl Form {
    /// All forms.
    pub const ALL: [Form; 7] =
        [Form::Single, Form::SingleWait, Form::Async, Form::Many, Form::ManyWait, Form::All, Form::AllWait];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Form::Single => "single",
            Form::SingleWait => "single_wait",
            Form::Async => "async",
            Form::Many => "many",
            Form::ManyWait => "many_wait",
            Form::All => "all",
            Form::AllWait => "all_wait",
        }
    }

    /// Does the sender wait for the function to return?
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Form::SingleWait | Form::ManyWait | Form::AllWait)
    }
}

/// Names one accepted call from its queueing to its end: the slot it uses and the CPU it goes to. A slot is used
/// for one call at a time, so the key is unique among the calls that are pending.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallKey {
    /// The address of the csd, or of the sender's board.
    pub slot: usize,
    /// The target.
    pub to: CpuId,
}

/// What a call is, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallInfo {
    /// Which call.
    pub key: CallKey,
    /// The CPU that sent it.
    pub sender: CpuId,
    /// In which form.
    pub form: Form,
    /// The name of the function.
    pub func: &'static str,
    /// Where it was sent.
    pub from: &'static Location<'static>,
}

/// Who ran the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ran {
    /// The handler of a call IPI.
    Handler,
    /// The CPU that leaves, inside RUN, while the machine is frozen.
    DrainInRun,
    /// The CPU that leaves, by a protocol without a stop.
    Drain,
}

/// Names one work of a stopper: its address, and the CPU it is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WorkKey {
    /// The address of the work.
    pub work: usize,
    /// The CPU whose stopper gets it.
    pub to: CpuId,
}

/// The handshake between the CPU that starts another and the one that is started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[doc(alias = "cpuhp_sync_state")]
pub enum Sync {
    /// Not running; may be started.
    Dead = 0,
    /// The start signal was sent.
    Kicked = 1,
    /// It answered, and runs its STARTING callbacks.
    Alive = 2,
    /// It is in the online mask.
    Online = 3,
    /// It left the online mask and will die.
    Dying = 4,
    /// Nobody waits for it any more; if it comes up late, it dies.
    GivenUp = 5,
}

/// What a hotplug walk does with a state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Walk {
    /// Its startup callback, going up.
    Up,
    /// Its teardown callback, going down.
    Down,
    /// Its teardown callback, because a later startup failed.
    RollbackDown,
    /// Its startup callback, because a later teardown failed.
    RollbackUp,
}

/// How a callback ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It succeeded.
    Ok,
    /// It refused.
    Failed,
    /// It was not called: the one-shot fail injection struck.
    Injected,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    // ---- cross-CPU calls
    /// A call was accepted: it is about to be pushed.
    CallQueued(CallInfo),
    /// The push is done.
    CallPushed {
        /// Which call.
        key: CallKey,
        /// It found the list empty, so an IPI follows.
        was_empty: bool,
    },
    /// A call was refused: the target does not accept calls. Nothing was queued.
    CallRefused {
        /// The target.
        to: CpuId,
        /// In which form.
        form: Form,
    },
    /// A call was refused: its slot is still in use. Nothing was queued.
    CallBusy {
        /// The target.
        to: CpuId,
        /// In which form.
        form: Form,
    },
    /// A call to the sender's own CPU is about to run in place, interrupts off.
    CallInPlace {
        /// In which form.
        form: Form,
    },
    /// An IPI is about to be sent.
    IpiSent {
        /// To whom.
        to: CpuId,
        /// Why.
        why: Ipi,
    },
    /// A slot was released before its function starts (the forms without wait).
    CallReleased(CallKey),
    /// The function is about to start.
    CallBegin(CallInfo, Ran),
    /// The function returned.
    CallEnd(CallKey),
    /// The sender that waited got its answer and goes on.
    CallReturned {
        /// Which call.
        key: CallKey,
        /// It ran; otherwise its CPU died with it.
        ran: bool,
    },
    /// The deadline of a call expired: its sender withdraws it, unless its function has begun.
    CallExpired(CallKey),
    /// The target found this call withdrawn: its slot is free, and its function never runs.
    CallDiscarded(CallInfo),
    /// A handler found this call while its CPU was offline.
    CallLate(CallInfo),
    /// A call IPI is taken while its CPU is offline, whether it finds calls ([`CallLate`](What::CallLate) for each) or not.
    IpiSpurious,
    /// This call was still queued when its CPU was dead. It never ran.
    CallLost(CallInfo),
    /// The queue of the dying CPU was looked at after the DYING callbacks' point of no return.
    DyingQueue {
        /// It was empty.
        empty: bool,
    },

    // ---- stop machine
    /// A stop begins; this CPU controls it.
    StopBegin {
        /// The stop's number.
        epoch: usize,
        /// The CPU that will leave the machine in it.
        leaving: Option<CpuId>,
    },
    /// All works are queued and the stop begins to move.
    StopPublished {
        /// The stop's number.
        epoch: usize,
        /// How many CPUs take part: as many as accepted the work.
        expected: usize,
    },
    /// The last acknowledgement moved the stop to a stage.
    StageEntered {
        /// The stop's number.
        epoch: usize,
        /// The stage.
        stage: Stage,
    },
    /// This CPU saw the stage and did what it asks for.
    StageAck {
        /// The stop's number.
        epoch: usize,
        /// The stage.
        stage: Stage,
        /// This CPU is one of the active ones.
        active: bool,
    },
    /// This CPU closed its interrupts, local and hard, because the stage said so.
    IrqsClosed {
        /// The stop's number.
        epoch: usize,
        /// The stage.
        stage: Stage,
        /// This CPU is one of the active ones.
        active: bool,
        /// The protocol has two disable stages.
        split: bool,
    },
    /// This CPU's interrupts are as they were before the stop.
    IrqsRestored {
        /// The stop's number.
        epoch: usize,
        /// They were open before.
        were_on: bool,
        /// They are open now.
        are_on: bool,
    },
    /// This CPU is about to run the stop's function.
    RunBegin {
        /// The stop's number.
        epoch: usize,
        /// This CPU is one of the active ones.
        active: bool,
    },
    /// The stop's function returned.
    RunEnd {
        /// The stop's number.
        epoch: usize,
        /// Its value.
        value: i32,
    },
    /// The stop was abandoned at this stage: the deadline was over.
    StopAborted {
        /// The stop's number.
        epoch: usize,
        /// The stage that was not finished.
        stage: Stage,
    },
    /// The stop is over, for the CPU that controls it.
    StopEnd {
        /// The stop's number.
        epoch: usize,
    },

    // ---- stoppers
    /// The stopper of this CPU takes works from now on.
    StopperOpened,
    /// The stopper of this CPU takes no more works.
    StopperClosed {
        /// How many works it refused that were queued.
        refused: usize,
    },
    /// A work is about to be queued.
    WorkQueued(WorkKey),
    /// A work could not be queued: the stopper is closed.
    WorkTurnedAway(WorkKey),
    /// A queued work was claimed back by the one that queued it: it will not run.
    WorkClaimed(WorkKey),
    /// A work is about to run.
    WorkBegin(WorkKey),
    /// A work returned. For the one that ends a CPU's life there is none.
    WorkEnd(WorkKey),
    /// A queued work was answered "refused: offline" without running.
    WorkRefused(WorkKey),

    // ---- hotplug
    /// The hotplug lock was taken for reading.
    ReadLocked,
    /// It is about to be given back by a reader.
    ReadUnlocked,
    /// The hotplug lock was taken for writing.
    WriteLocked,
    /// It is about to be given back by the writer.
    WriteUnlocked,
    /// `who` starts to go down.
    DownBegin {
        /// The CPU.
        who: CpuId,
        /// How far.
        target: StateId,
    },
    /// The operation on `who` is over.
    DownEnd {
        /// The CPU.
        who: CpuId,
        /// It reached its target.
        ok: bool,
    },
    /// `who` starts to come up.
    UpBegin {
        /// The CPU.
        who: CpuId,
        /// How far.
        target: StateId,
    },
    /// The operation on `who` is over.
    UpEnd {
        /// The CPU.
        who: CpuId,
        /// It reached its target.
        ok: bool,
    },
    /// A callback of `who`'s walk is about to be called (or struck by an injection).
    StateEnter {
        /// The CPU.
        who: CpuId,
        /// The state.
        state: StateId,
        /// Its name.
        name: &'static str,
        /// The direction.
        walk: Walk,
        /// Interrupts of this CPU are open.
        irqs_on: bool,
    },
    /// The callback is over.
    StateLeave {
        /// The CPU.
        who: CpuId,
        /// The state.
        state: StateId,
        /// The direction.
        walk: Walk,
        /// How it ended.
        outcome: Outcome,
    },
    /// `who` is in the active mask.
    ActiveSet {
        /// The CPU.
        who: CpuId,
    },
    /// `who` is no longer in the active mask.
    ActiveCleared {
        /// The CPU.
        who: CpuId,
    },
    /// `who` accepts calls from now on.
    AcceptingSet {
        /// The CPU.
        who: CpuId,
    },
    /// `who` accepts no more calls.
    AcceptingCleared {
        /// The CPU.
        who: CpuId,
    },
    /// `who` is in the online mask.
    OnlineSet {
        /// The CPU.
        who: CpuId,
    },
    /// `who` is no longer in the online mask.
    OnlineCleared {
        /// The CPU.
        who: CpuId,
    },
    /// The threads that are bound to `who` are parked.
    ThreadsParked {
        /// The CPU.
        who: CpuId,
    },
    /// The threads that are bound to `who` run again.
    ThreadsUnparked {
        /// The CPU.
        who: CpuId,
    },
    /// The handshake of `who` is about to move.
    SyncMoved {
        /// The CPU.
        who: CpuId,
        /// From where. If somebody else moved it first, this move does not happen.
        from: Sync,
        /// To where.
        to: Sync,
    },
    /// The operation goes on without the callbacks that `who` runs: they did not return in time. Its thread undoes them by itself.
    CallbacksGivenUp {
        /// The CPU.
        who: CpuId,
    },
    /// The next walk of `who` that comes through `state` will fail there, once.
    InjectionArmed {
        /// The CPU.
        who: CpuId,
        /// The state.
        state: StateId,
    },
    /// It will not: it was taken back, or what was installed in its state is removed.
    InjectionDropped {
        /// The CPU.
        who: CpuId,
        /// The state.
        state: StateId,
    },
    /// This CPU started: its first event.
    CpuStarted {
        /// How many times it was started.
        incarnation: usize,
    },
    /// This CPU dies: its last event.
    CpuDies,
    /// A live CPU saw that `who` is dead.
    DeadSeen {
        /// The CPU.
        who: CpuId,
    },

    // ---- reports
    /// A wait on this CPU has become long, and `missing` is one of those it waits for.
    Stalled(Stall),
}

/// A wait that has become long.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stall {
    /// Where the CPU of the event waits.
    pub site: Site,
    /// For how long so far, in nanoseconds.
    pub waited_ns: u64,
    /// Who is missing.
    pub missing: CpuId,
    /// What the missing CPU runs: a function that it was sent, a hotplug callback, or what the port knows.
    pub runs: Runs,
    /// If it runs a hotplug callback: which one. Its name is in `runs`.
    pub callback: Option<Calling>,
}

/// A hotplug callback that runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Calling {
    /// Of this state.
    pub state: StateId,
    /// In this direction.
    pub walk: Walk,
}

impl Stall {
    /// The report in words, told by the CPU that waits.
    #[must_use]
    pub const fn told_by(&self, cpu: CpuId) -> impl fmt::Display + '_ {
        Told(cpu, self)
    }

    /// What the missing CPU runs, in words.
    #[must_use]
    pub const fn running(&self) -> impl fmt::Display + '_ {
        Running(self)
    }
}

struct Running<'a>(&'a Stall);

impl fmt::Display for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.runs.what)?;
        let Some(Calling { state, walk }) = self.0.callback else { return Ok(()) };
        let way = match walk {
            Walk::Up => "up",
            Walk::Down => "down",
            Walk::RollbackUp => "back up",
            Walk::RollbackDown => "back down",
        };
        write!(f, ", the callback of state {state} on the way {way}")
    }
}

struct Told<'a>(CpuId, &'a Stall);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told(cpu, stall) = *self;
        let Stall { site, waited_ns, missing, runs, .. } = stall;
        let ms = waited_ns / 1_000_000;
        write!(f, "{cpu} waits for {missing} since {ms} ms: {site}; {missing} runs {}", stall.running())?;
        match runs.irqs_off_at {
            Some(at) => write!(f, ", interrupts off since {}:{}", at.file(), at.line()),
            None => Ok(()),
        }
    }
}
