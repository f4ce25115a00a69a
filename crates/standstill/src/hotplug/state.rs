//! The ordered states of a CPU, and the callbacks that hang on them.
//!
//! ```text
//!   OFFLINE  ── PREPARE/DEAD ──  BRINGUP  ── STARTING/DYING ──  AP_ONLINE  ── ONLINE ──  ACTIVE
//!      0          1 ..= 16         17            18 ..= 33          34        35 ..= 66     67
//!             on the control CPU          on the CPU itself,              on the CPU's own
//!             (it is not running)         interrupts off, can't fail      hotplug thread
//! ```
//!
//! Going up, a state's startup runs in ascending order; going down, its teardown in descending order. A CPU rests in
//! any state but those between `BRINGUP` and `AP_ONLINE`: that stretch is passed with interrupts off.

use core::fmt;
use core::hash::{Hash, Hasher};

use crate::context::{IrqOff, Task};
use crate::cpu::CpuId;

/// How many callbacks the PREPARE section takes.
pub const PREPARE_SLOTS: usize = 16;
/// How many callbacks the STARTING section takes.
pub const STARTING_SLOTS: usize = 16;
/// How many callbacks the ONLINE section takes.
pub const ONLINE_SLOTS: usize = 32;

/// One state of a CPU, by number. See the table in the module's source for the order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "cpuhp_state")]
pub struct StateId(u8);

/// The stretch of states that share a way of running.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Section {
    /// Startup (PREPARE) and teardown (DEAD) on the control CPU, while the CPU does not run. Startup may fail.
    Prepare,
    /// Startup (STARTING) and teardown (DYING) on the CPU itself with interrupts off. Can't fail.
    Starting,
    /// Startup and teardown on the CPU's own hotplug thread, interrupts on. Both may fail.
    Online,
}

impl Section {
    /// The states of this section: the first, and how many.
    pub(crate) const fn span(self) -> (u8, usize) {
        match self {
            Section::Prepare => (StateId::OFFLINE.0 + 1, PREPARE_SLOTS),
            Section::Starting => (StateId::BRINGUP.0 + 1, STARTING_SLOTS),
            Section::Online => (StateId::AP_ONLINE.0 + 1, ONLINE_SLOTS),
        }
    }
}

impl StateId {
    /// Not running; the state before the first PREPARE callback.
    pub const OFFLINE: StateId = StateId(0);
    /// All PREPARE callbacks done; the CPU is (being) started, or has just died.
    pub const BRINGUP: StateId = StateId(PREPARE_SLOTS as u8 + 1);
    /// In the online mask: interrupts on, calls are accepted, the stopper works.
    pub const AP_ONLINE: StateId = StateId(Self::BRINGUP.0 + STARTING_SLOTS as u8 + 1);
    /// All ONLINE callbacks done, in the active mask: open to everybody.
    pub const ACTIVE: StateId = StateId(Self::AP_ONLINE.0 + ONLINE_SLOTS as u8 + 1);
    /// How many states there are.
    pub const COUNT: usize = Self::ACTIVE.0 as usize + 1;

    /// The state with this number, if there is one.
    #[must_use]
    pub const fn from_index(index: usize) -> Option<StateId> {
        if index < Self::COUNT { Some(StateId(index as u8)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The section whose callback this state may have; `None` for the four fixed states.
    #[must_use]
    pub const fn section(self) -> Option<Section> {
        if self.0 == Self::OFFLINE.0 || self.0 == Self::BRINGUP.0 || self.0 == Self::AP_ONLINE.0 {
            None
        } else if self.0 < Self::BRINGUP.0 {
            Some(Section::Prepare)
        } else if self.0 < Self::AP_ONLINE.0 {
            Some(Section::Starting)
        } else if self.0 < Self::ACTIVE.0 {
            Some(Section::Online)
        } else {
            None
        }
    }

    /// May a CPU rest here?
    #[must_use]
    pub const fn can_rest(self) -> bool {
        self.0 < Self::BRINGUP.0 || self.0 >= Self::AP_ONLINE.0
    }

    /// May a walk fail here, so that a failure can be injected?
    #[must_use]
    pub const fn can_fail(self) -> bool {
        matches!(self.section(), Some(Section::Prepare | Section::Online))
    }

    pub(crate) const fn next(self) -> StateId {
        StateId(self.0 + 1)
    }

    pub(crate) const fn prev(self) -> StateId {
        StateId(self.0 - 1)
    }
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OFFLINE => f.write_str("offline"),
            Self::BRINGUP => f.write_str("bringup"),
            Self::AP_ONLINE => f.write_str("ap-online"),
            Self::ACTIVE => f.write_str("active"),
            _ => {
                let (name, section) = match self.section() {
                    Some(Section::Prepare) => ("prepare", Section::Prepare),
                    Some(Section::Starting) => ("starting", Section::Starting),
                    _ => ("online", Section::Online),
                };
                write!(f, "{name}/{}", self.0 - section.span().0)
            }
        }
    }
}

impl fmt::Debug for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}

/// Why a callback or a port refused: the code and the words reach the caller of `cpu_up` or `cpu_down` unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reason {
    /// A number that the kernel gives a meaning, e.g. an errno.
    pub code: i32,
    /// What is in the way.
    pub text: &'static str,
}

impl Reason {
    /// For a callback or a port that refuses: `Err(Reason::new(-12, "no memory"))`.
    #[must_use]
    pub const fn new(code: i32, text: &'static str) -> Self {
        Reason { code, text }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.text, self.code)
    }
}

/// A callback that runs in a thread: PREPARE and ONLINE.
pub type ThreadCallback = dyn Fn(&mut Task, CpuId) -> Result<(), Reason> + Sync;
/// A callback that runs with interrupts off: STARTING and DYING.
pub type IrqOffCallback = dyn Fn(&IrqOff<'_>, CpuId) + Sync;
/// A callback that runs in a thread and can't fail: DEAD.
pub type DeadCallback = dyn Fn(&mut Task, CpuId) + Sync;

/// What is installed on a state. Each side may be missing.
#[derive(Clone, Copy)]
pub enum Callbacks {
    /// In the PREPARE section.
    Prepare {
        /// Before the CPU is started, on the control CPU.
        up: Option<&'static ThreadCallback>,
        /// After it died, on the control CPU.
        dead: Option<&'static DeadCallback>,
    },
    /// In the STARTING section.
    Starting {
        /// On the CPU as it comes up.
        starting: Option<&'static IrqOffCallback>,
        /// On the CPU as it goes, after it left the online mask.
        dying: Option<&'static IrqOffCallback>,
    },
    /// In the ONLINE section.
    Online {
        /// On the CPU's thread, as it comes up.
        up: Option<&'static ThreadCallback>,
        /// On the CPU's thread, as it goes.
        down: Option<&'static ThreadCallback>,
    },
}

impl Callbacks {
    /// The section that these callbacks go to.
    #[must_use]
    pub const fn section(&self) -> Section {
        match self {
            Callbacks::Prepare { .. } => Section::Prepare,
            Callbacks::Starting { .. } => Section::Starting,
            Callbacks::Online { .. } => Section::Online,
        }
    }
}

/// What one call of [`add_state`](crate::Machine::add_state) has installed. States are places that are
/// used again; a handle stands for that one use, on that machine, and for no later one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateHandle {
    pub(super) id: StateId,
    pub(super) owner: Owner,
}

impl StateHandle {
    /// The state that it was installed in.
    #[must_use]
    pub const fn id(self) -> StateId {
        self.id
    }
}

impl fmt::Display for StateHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl fmt::Debug for StateHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (use {})", self.id, self.owner.number)
    }
}

/// Whose use of a state it is. Numbers have a word, and so are not used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    /// The machine, by its address: it is not moved once it is booted.
    pub(super) machine: usize,
    /// How many were installed before it.
    pub(super) number: usize,
}

/// A state by its place, whatever is installed there; or by its handle, if that is still installed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StateKey {
    pub(super) id: StateId,
    pub(super) owner: Option<Owner>,
}

impl From<StateId> for StateKey {
    fn from(id: StateId) -> Self {
        StateKey { id, owner: None }
    }
}

impl From<StateHandle> for StateKey {
    fn from(handle: StateHandle) -> Self {
        StateKey { id: handle.id, owner: Some(handle.owner) }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "use {}", self.number)
    }
}

/// A slot of the state table that is in use.
#[derive(Clone, Copy)]
pub(crate) struct Installed {
    pub(crate) name: &'static str,
    pub(crate) callbacks: Callbacks,
    /// See [`Owner::number`].
    pub(super) number: usize,
}

/// The name stands for the slot: callbacks are addresses, which differ from build to build.
impl Hash for Installed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.number.hash(state);
        self.callbacks.section().hash(state);
    }
}
