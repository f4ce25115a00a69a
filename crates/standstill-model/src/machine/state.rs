//! The state of the simulated machine, apart from its memory and its stacks. All of it can be copied.

use std::panic::Location;

use crate::base::hash::Hash128;
use crate::vocab::step::{Access, Interrupt};

const LEVELS: usize = 4;
const LOOPS: usize = 2;
const WATCHED: usize = 12;

/// Is a CPU running?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Power {
    Off,
    On,
    Halted,
}

/// One CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) power: Power,
    pub(crate) irqs_on: bool,
    /// The hardware's mask is closed, too.
    pub(crate) hard_off: bool,
    pub(crate) in_stopper: bool,
    /// It left the online mask: its idle loop has to look.
    pub(crate) left: bool,
    /// The idle loop has a turn to do.
    pub(crate) idle_turn: bool,
    pub(crate) evicted: bool,
    /// Device lines are aimed at it.
    pub(crate) lines: bool,
    pub(crate) preempt: u8,
    pub(crate) pending: u8,
    /// Device interrupts that it may still get.
    pub(crate) devices: u8,
    /// The thread that it runs.
    pub(crate) current: u8,
    /// How it was started last.
    pub(crate) incarnation: u16,
}

impl Cpu {
    pub(crate) const OFF: Cpu = Cpu {
        power: Power::Off,
        irqs_on: false,
        hard_off: true,
        in_stopper: false,
        left: false,
        idle_turn: false,
        evicted: true,
        lines: false,
        preempt: 1,
        pending: 0,
        devices: 0,
        current: 0,
        incarnation: 0,
    };

    /// With a lazy mask: is it out of the online mask, and would note what arrives?
    pub(crate) const fn notes_offline(&self) -> bool {
        self.left && !self.irqs_on && !self.hard_off
    }

    /// As one word, for the fingerprint.
    pub(crate) fn word(&self) -> u64 {
        let flags = (self.power as u64)
            | u64::from(self.irqs_on) << 2
            | u64::from(self.in_stopper) << 3
            | u64::from(self.left) << 4
            | u64::from(self.idle_turn) << 5
            | u64::from(self.evicted) << 6
            | u64::from(self.lines) << 7;
        flags
            | u64::from(self.preempt) << 8
            | u64::from(self.pending) << 16
            | u64::from(self.devices) << 24
            | u64::from(self.current) << 32
            | u64::from(self.hard_off) << 40
    }
}

/// What a level of a thread's stack runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LevelKind {
    Thread,
    Stopper,
    Handler(Interrupt),
}

impl LevelKind {
    /// The context that it counts as, on its CPU: see [`Classes`](crate::reduction::visibility::Classes).
    pub(crate) const fn context(self) -> u32 {
        match self {
            LevelKind::Thread => 0,
            LevelKind::Stopper => 1,
            LevelKind::Handler(_) => 2,
        }
    }
}

/// One level of a thread's stack: the thread itself, the stopper on top of it, a handler on top of that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    pub(crate) kind: LevelKind,
    /// What the code here has read so far. The code is deterministic, so equal histories mean equal local states.
    pub(crate) history: Hash128,
    /// The history at the begin of each loop that is open.
    loops: [Hash128; LOOPS],
    open_loops: u8,
    /// The history at the last cut.
    turned: Hash128,
    /// The pinned sections that are open, the last one in bit 0: was it left out, by a mutant?
    pub(crate) pins: u32,
    /// How often the code here has changed something, modulo 256: a condition that does not hold must not.
    pub(crate) changes: u8,
}

impl Level {
    pub(crate) const fn new(kind: LevelKind) -> Level {
        Level {
            kind,
            history: Hash128::ZERO,
            loops: [Hash128::ZERO; LOOPS],
            open_loops: 0,
            turned: Hash128::ZERO,
            pins: 0,
            changes: 0,
        }
    }

    /// The code here has changed something that others can see.
    #[inline]
    pub(crate) const fn changed(&mut self) {
        self.changes = self.changes.wrapping_add(1);
    }

    pub(crate) fn loop_begins(&mut self) {
        assert!(
            usize::from(self.open_loops) < LOOPS,
            "loops with cuts are nested deeper than the model allows for"
        );
        self.loops[usize::from(self.open_loops)] = self.history;
        self.open_loops += 1;
    }

    pub(crate) fn loop_ends(&mut self) {
        self.open_loops -= 1;
    }

    /// Forgets what was read since the loop began; `state` is all that the loop remembers. Says whether that is the same as at the last
    /// cut.
    pub(crate) fn cut(&mut self, state: Hash128) -> bool {
        let Some(open) = usize::from(self.open_loops).checked_sub(1) else { return false };
        self.history = self.loops[open];
        self.history.mix_hash(state);
        std::mem::replace(&mut self.turned, self.history) == self.history
    }
}

/// What a context is about to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) kind: OpKind,
    pub(crate) place: usize,
    pub(crate) at: &'static Location<'static>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OpKind {
    /// An access, and whether it writes.
    Access(Access, bool),
    /// An event that stands before the access that it announces.
    Announce,
    /// An IPI is sent to the CPU with this number.
    Send,
    /// The interrupts of this CPU are closed: the last moment to take one.
    CloseIrqs,
    /// The CPU stops being preemptible: the last moment for its stopper.
    Pin,
    /// A condition is waited for.
    Wait,
    /// Who found that a condition does not hold is about to sleep, if the word that it sleeps on is what it was.
    Sleep,
    /// The idle loop waits for something to do.
    Idle,
    /// A CPU is started.
    Start,
    /// A thread was moved to another CPU.
    Moved,
    /// The thread has not run yet.
    Begin,
}

impl OpKind {
    /// A number for the history.
    pub(crate) const fn code(self) -> u64 {
        match self {
            OpKind::Access(access, _) => 16 + access as u64,
            OpKind::Announce => 1,
            OpKind::Send => 2,
            OpKind::CloseIrqs => 3,
            OpKind::Pin => 4,
            OpKind::Wait => 5,
            OpKind::Idle => 6,
            OpKind::Start => 7,
            OpKind::Moved => 8,
            OpKind::Begin => 9,
            OpKind::Sleep => 10,
        }
    }
}

impl Op {
    #[track_caller]
    pub(crate) fn here(kind: OpKind, place: usize) -> Op {
        Op { kind, place, at: Location::caller() }
    }
}

/// What an access needs to find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wants {
    /// Any value.
    Load,
    /// A value that a compare-and-swap will expect.
    Guess,
    Store,
    Modify,
    /// A compare-and-swap that expects this value.
    Swap(usize),
}

/// What a wait depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    places: [(usize, usize); WATCHED],
    len: u8,
    /// How many different places of these others can change.
    pub(crate) open: u8,
}

impl Watch {
    pub(crate) const NONE: Watch = Watch { places: [(0, 0); WATCHED], len: 0, open: 0 };

    /// Adds a place with the value that was read. Only the first reading counts: an older value is the safer one.
    pub(crate) fn add(&mut self, place: usize, value: usize, open: bool) {
        if self.iter().any(|(known, _)| known == place) {
            return;
        }
        assert!(usize::from(self.len) < WATCHED, "a condition reads more places than the model can watch");
        self.places[usize::from(self.len)] = (place, value);
        self.len += 1;
        self.open += u8::from(open);
    }

    /// Does one place alone decide?
    pub(crate) const fn is_one(&self) -> bool {
        self.len == 1
    }

    /// The first place.
    pub(crate) const fn first(&self) -> usize {
        self.places[0].0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.places[..usize::from(self.len)].iter().copied()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    Live,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Idle,
    Hotplug,
    Task,
}

/// One thread, with what runs on top of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    pub(crate) life: Life,
    pub(crate) kind: Kind,
    pub(crate) cpu: u8,
    /// The condition that it waits for does not hold.
    pub(crate) blocked: bool,
    /// It waits as a thread may: others can run meanwhile.
    pub(crate) yields: bool,
    /// It waits for something to do, maybe without end. (Part of what it waits for, so not hashed.)
    pub(crate) rests: bool,
    /// Its wait has a deadline that may be over.
    pub(crate) may_expire: bool,
    pub(crate) depth: u8,
    levels: [Level; LEVELS],
    pub(crate) op: Op,
    pub(crate) wants: Wants,
    pub(crate) watch: Watch,
    /// Under `ra`: the ages of the messages with which what it waits for holds.
    pub(crate) ages: u16,
    /// The word that it sleeps on.
    pub(crate) on: usize,
    /// It does sleep there, where waiters sleep: it does not only watch.
    pub(crate) sleeps: bool,
    pub(crate) name: &'static str,
}

impl Thread {
    #[track_caller]
    pub(crate) fn new(kind: Kind, cpu: usize, name: &'static str) -> Thread {
        Thread {
            life: Life::Live,
            kind,
            cpu: cpu as u8,
            blocked: false,
            yields: false,
            rests: false,
            may_expire: false,
            depth: 0,
            levels: [const { Level::new(LevelKind::Thread) }; LEVELS],
            op: Op::here(OpKind::Begin, 0),
            wants: Wants::Load,
            watch: Watch::NONE,
            ages: 1,
            on: 0,
            sleeps: false,
            name,
        }
    }

    /// Is the condition that is waited for carried out place by place? If it reads one place it is one step; who sleeps on that place
    /// finds out in the same step.
    pub(crate) fn several(&self, sleepers: bool) -> bool {
        self.watch.open > 1
            || sleepers && self.watch.iter().any(|(place, _)| place >= 128 && place != self.on)
    }

    pub(crate) fn level(&self) -> &Level {
        &self.levels[usize::from(self.depth)]
    }

    pub(crate) fn level_mut(&mut self) -> &mut Level {
        &mut self.levels[usize::from(self.depth)]
    }

    pub(crate) fn push(&mut self, kind: LevelKind) {
        self.depth += 1;
        assert!(usize::from(self.depth) < LEVELS, "contexts are nested deeper than the model allows for");
        self.levels[usize::from(self.depth)] = Level::new(kind);
    }

    pub(crate) fn pop(&mut self) {
        self.depth -= 1;
    }

    /// All of it that makes a difference, for the fingerprint.
    pub(crate) fn hash_into(&self, hash: &mut Hash128) {
        let flags = self.life as u64
            | u64::from(self.blocked) << 2
            | u64::from(self.yields) << 3
            | u64::from(self.may_expire) << 4
            | u64::from(self.cpu) << 8
            | u64::from(self.depth) << 16;
        hash.mix(flags);
        if self.life == Life::Live {
            hash.mix(self.op.kind.code());
            for level in &self.levels[..=usize::from(self.depth)] {
                hash.mix(u64::from(level.kind.context()));
                hash.mix_hash(level.history);
            }
        }
    }
}
