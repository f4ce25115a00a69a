//! What the torture says: plain values, for whoever prints them.

use standstill::event::Form;
use standstill::hotplug::HotplugError;

use crate::counts::{Calls, Ops};
use crate::hist::Dist;
use crate::rules::{Failure, Rule};

/// A few counts, while the torture runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Calls sent so far, refused ones included.
    pub sent: u64,
    /// Handlers that ran.
    pub ran: u64,
    /// Calls refused.
    pub refused: u64,
    /// CPUs taken down.
    pub down: u64,
    /// CPUs brought up.
    pub up: u64,
    /// CPUs online now.
    pub online: usize,
    /// How often each CPU that is present, the first one aside, was offline and online again, at least.
    pub cycles: u64,
}

/// How often one of the torture's own rules was checked and broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleCount {
    /// Its name.
    pub id: &'static str,
    /// How often it was checked.
    pub checked: u64,
    /// How often it did not hold.
    pub broken: u64,
}

/// Everything that the torture found out by itself.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// How many CPUs the machine has.
    pub cpus: usize,
    /// The calls of each form.
    pub calls: [(Form, Calls); Form::ALL.len()],
    /// CPUs taken down.
    pub down: Ops,
    /// CPUs brought up.
    pub up: Ops,
    /// Why the first hotplug operation failed that did and was not made to.
    pub veto: Option<HotplugError>,
    /// Stops of the machine that had nothing to do with hotplug.
    pub stops: u64,
    /// Stops that were abandoned at their deadline.
    pub aborted: u64,
    /// For how long stops kept CPUs frozen.
    pub frozen: Dist,
    /// The torture's own rules.
    pub rules: [RuleCount; Rule::ALL.len()],
    /// The first call of another CPU that was late, if [`observe`](crate::Torture::observe) was told.
    pub first_late: Option<Failure>,
    /// The first call of another CPU that was lost, as above.
    pub first_lost: Option<Failure>,
    /// The first thing that went wrong.
    pub first_failure: Option<Failure>,
}
