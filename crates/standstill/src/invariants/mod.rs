//! The rules: monitors that eat [`Event`]s and say which rule a log breaks.
//!
//! # Vocabulary
//! A **rule** has a number, and a **scope**: how much order its log must have. A **monitor** is a plain state machine over
//! events; it owns no lock and shares nothing, the port decides how it is fed. A **violation** names the rule, the CPU and the event.
//! A **tally** only counts.
//!
//! # Scopes
//!
//! | scope | monitor | its log |
//! |---|---|---|
//! | [`Local`](Scope::Local) | [`Local`], one for each CPU | the events of that CPU, in the order in which it emitted them |
//! | [`Pair`](Scope::Pair) | [`Pair`] | the events of all CPUs; cause before effect, otherwise in any order |
//! | [`Global`](Scope::Global) | [`Global`] | the events of all CPUs in the one order in which they happened |
//!
//! A live port can write the first two: a CPU's own events are in order by themselves, and the library announces whatever another CPU can
//! react to before it can. Nobody can write the third but a machine that is simulated: there [`Monitor`] runs all three.
//! A rule's scope is the weakest log that shows its main part. Some are sharper with more order: 6 and 53 are asked by [`Pair`]
//! too, 18, 19, 20, 27 and 34 by [`Global`], 36 by [`Pair`].
//!
//! # Rules that no log of events can show
//! The numbers are those of the project's list of 54 invariants; [`RULES`] holds those that are checked here. The others:
//!
//! | rule | why not here | where instead |
//! |---|---|---|
//! | 7 sender's writes are visible | values are no events | the torture's payload; data races in the model |
//! | 13, 14, 15 which CPUs `on_each_cpu`, conditions and `call_any` pick | masks and conditions are no events | unit tests |
//! | 26 order of stopper locks | there are none: FIFOs are lock-free, stops take turns | by construction |
//! | 30 return value of a stop | receipts are no events | unit tests |
//! | 38 instances of one state | there are none | by construction |
//! | 45 timers, RCU | the kernel's | the part about calls is in 9 and 10 |
//! | 46 wake-ups on inactive CPUs, 47 interrupt lines | the port's | the port's tests |
//! | 50 bounded waits | a log has no clock | tests with a CPU that never answers |
//! | 51 order of locks above the library | the kernel's | 31 holds the library's own part |
//! | 54 every rule was seen to fire | it is about the rules | the test that goes through [`RULES`] |
//!
//! # What a protocol changes
//! A rule that is one of the five [properties](crate::Property) is asked only where the protocol promises it: 1 (for calls that died with
//! their CPU) and 10 with L, 9 with O (in its weaker form with L), 11 with W, 48 (for IPIs) with S. What is not promised is
//! still counted by the [`Tally`].

mod checks;
mod global;
mod local;
mod monitor;
mod pair;
mod rules;
mod table;
mod tally;

use core::fmt;

use crate::cpu::CpuId;
use crate::event::{CallInfo, Event, What};

pub use checks::Checks;
pub use global::Global;
pub use local::Local;
pub use monitor::Monitor;
pub use pair::Pair;
pub use rules::RULES;
pub use tally::{Failure, FormTally, Tally};

/// The number of a rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(pub u8);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How much order a rule's log must have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// One CPU's own events.
    Local,
    /// All events, cause before effect.
    Pair,
    /// All events in one order.
    Global,
}

impl Scope {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Scope::Local => "local",
            Scope::Pair => "pair",
            Scope::Global => "global",
        }
    }
}

/// One rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    /// Its number.
    pub id: RuleId,
    /// The weakest log that shows its main part.
    pub scope: Scope,
    /// Its name, for tables.
    pub name: &'static str,
    /// What it says.
    pub text: &'static str,
}

/// What a monitor says about an event.
pub type Verdict = Result<(), Violation>;

/// A rule is broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Violation {
    /// Which rule.
    pub rule: RuleId,
    /// The CPU that did it.
    pub cpu: CpuId,
    /// The event that shows it; `None` for what is missing at the end.
    pub at: Option<Event>,
    /// What is wrong.
    pub detail: &'static str,
}

impl Violation {
    /// The call that it is about, if it is about one that the event describes.
    #[must_use]
    pub fn call(&self) -> Option<CallInfo> {
        call_of(&self.at?.what)
    }
}

fn call_of(what: &What) -> Option<CallInfo> {
    match *what {
        What::CallQueued(info)
        | What::CallBegin(info, _)
        | What::CallLate(info)
        | What::CallLost(info)
        | What::CallDiscarded(info) => Some(info),
        _ => None,
    }
}

/// One line: the rule, the CPU, what is wrong, and who sent the call if it is about one.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.rule.rule().map_or("unknown", |rule| rule.name);
        write!(f, "rule {} ({name}) broken on {}: {}", self.rule, self.cpu, self.detail)?;
        match (self.call(), self.at) {
            (Some(info), _) => write!(
                f,
                "; `{}` to {}, sent by {} as {} at {}:{}",
                info.func,
                info.key.to,
                info.sender,
                info.form.name(),
                info.from.file(),
                info.from.line()
            ),
            (None, Some(event)) => write!(f, "; at {:?}", event.what),
            (None, None) => write!(f, "; at the end"),
        }
    }
}

impl core::error::Error for Violation {}
