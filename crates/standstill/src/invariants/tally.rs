//! Counting: calls by form, the five properties, stops and CPUs that come and go.

use super::call_of;
use crate::cpu::CpuId;
use crate::event::{CallInfo, Event, Form, Outcome, Ran, What};
use crate::platform::Ipi;
use crate::protocol::{Property, Protocol};

/// The calls of one form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct FormTally {
    /// Accepted, that is queued. A call to many counts once for each target.
    pub sent: u64,
    /// Begun on their target.
    pub ran: u64,
    /// Ended there.
    pub ended: u64,
    /// Run in place, by a sender that was its own target. Neither sent nor ran.
    pub in_place: u64,
    /// Refused: the target takes no calls.
    pub refused: u64,
    /// Refused: the slot was in use.
    pub busy: u64,
    /// Died with their CPU.
    pub lost: u64,
}

impl FormTally {
    fn merge(&mut self, other: &FormTally) {
        let FormTally { sent, ran, ended, in_place, refused, busy, lost } = other;
        self.sent += sent;
        self.ran += ran;
        self.ended += ended;
        self.in_place += in_place;
        self.refused += refused;
        self.busy += busy;
        self.lost += lost;
    }
}

/// The first time that a property did not hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Failure {
    /// Which one.
    pub property: Property,
    /// Where.
    pub cpu: CpuId,
    /// The call, if there was one.
    pub call: Option<CallInfo>,
}

/// Counters over events. Keep one for each CPU, fed with that CPU's events in their order, and [`merge`](Self::merge) them: so a live
/// port needs no lock. One for a whole machine, fed with the events of all CPUs, is wrong about O: it knows one CPU's online bit.
#[derive(Clone, Debug)]
pub struct Tally {
    /// W: calls that a handler found while its CPU was offline.
    pub late: u64,
    /// L: accepted calls that never ran.
    pub lost: u64,
    /// S: call IPIs taken while the CPU was offline, whatever they found.
    pub spurious: u64,
    /// O: calls from another CPU that began while the CPU was offline.
    pub outside: u64,
    /// F: calls from another CPU that began while the machine was frozen.
    pub frozen: u64,
    /// Calls that a leaving CPU ran by hand.
    pub drained: u64,
    /// Calls, by form.
    pub forms: [FormTally; Form::ALL.len()],
    /// Senders that waited and went on, once for each target.
    pub returned: u64,
    /// Call IPIs sent.
    pub call_ipis: u64,
    /// Stops begun.
    pub stops: u64,
    /// Stops that were abandoned.
    pub stops_aborted: u64,
    /// Works run, stops' parts included.
    pub works: u64,
    /// Works that were answered "refused".
    pub works_refused: u64,
    /// Operations that were to take a CPU down, and those that did.
    pub downs: (u64, u64),
    /// Operations that were to bring a CPU up, and those that did.
    pub ups: (u64, u64),
    /// CPUs that left the online mask.
    pub offlines: u64,
    /// CPUs that joined it; the boot CPU is one.
    pub onlines: u64,
    /// Failures that were injected.
    pub injected: u64,
    /// Stall reports.
    pub stalled: u64,
    online: bool,
    /// The form of the call that runs on this CPU: there is one at a time.
    running: Option<Form>,
    first: [Option<Failure>; Property::ALL.len()],
}

impl Tally {
    /// Nothing was counted yet, and the CPU is offline.
    #[must_use]
    pub const fn new() -> Self {
        Tally {
            late: 0,
            lost: 0,
            spurious: 0,
            outside: 0,
            frozen: 0,
            drained: 0,
            forms: [const { FormTally { sent: 0, ran: 0, ended: 0, in_place: 0, refused: 0, busy: 0, lost: 0 } };
                Form::ALL.len()],
            returned: 0,
            call_ipis: 0,
            stops: 0,
            stops_aborted: 0,
            works: 0,
            works_refused: 0,
            downs: (0, 0),
            ups: (0, 0),
            offlines: 0,
            onlines: 0,
            injected: 0,
            stalled: 0,
            online: false,
            running: None,
            first: [None; Property::ALL.len()],
        }
    }

    /// Counts from zero from here on. What the CPU does at the moment stays known.
    pub fn restart(&mut self) {
        *self = Tally { online: self.online, running: self.running, ..Tally::new() };
    }

    /// Counts one event of this tally's CPU.
    #[inline]
    pub fn feed(&mut self, event: &Event) {
        match event.what {
            What::CallQueued(info) => self.form(info.form).sent += 1,
            What::CallRefused { form, .. } => self.form(form).refused += 1,
            What::CallBusy { form, .. } => self.form(form).busy += 1,
            What::CallInPlace { form } => self.form(form).in_place += 1,
            What::IpiSent { why: Ipi::Call, .. } => self.call_ipis += 1,
            What::CallBegin(info, ran) => self.begin(event, &info, ran),
            What::CallEnd(_) => {
                if let Some(form) = self.running.take() {
                    self.form(form).ended += 1;
                }
            }
            What::CallReturned { .. } => self.returned += 1,
            What::CallLate(_) => {
                self.late += 1;
                self.fail(Property::Late, event);
            }
            What::IpiSpurious => {
                self.spurious += 1;
                self.fail(Property::Spurious, event);
            }
            What::CallLost(info) => {
                self.lost += 1;
                self.form(info.form).lost += 1;
                self.fail(Property::Lost, event);
            }
            What::StopBegin { .. } => self.stops += 1,
            What::StopAborted { .. } => self.stops_aborted += 1,
            What::WorkBegin(_) => self.works += 1,
            What::WorkRefused(_) => self.works_refused += 1,
            What::DownBegin { .. } => self.downs.0 += 1,
            What::DownEnd { ok: true, .. } => self.downs.1 += 1,
            What::UpBegin { .. } => self.ups.0 += 1,
            What::UpEnd { ok: true, .. } => self.ups.1 += 1,
            What::OnlineSet { who } if who == event.cpu => {
                self.onlines += u64::from(!self.online);
                self.online = true;
            }
            What::OnlineCleared { who } if who == event.cpu => {
                self.offlines += u64::from(self.online);
                self.online = false;
            }
            What::StateLeave { outcome: Outcome::Injected, .. } => self.injected += 1,
            What::Stalled(_) => self.stalled += 1,
            _ => {}
        }
    }

    fn begin(&mut self, event: &Event, info: &CallInfo, ran: Ran) {
        self.form(info.form).ran += 1;
        self.running = Some(info.form);
        self.drained += u64::from(ran != Ran::Handler);
        if info.sender == event.cpu {
            return;
        }
        if !self.online {
            self.outside += 1;
            self.fail(Property::Outside, event);
        }
        if ran == Ran::DrainInRun {
            self.frozen += 1;
            self.fail(Property::Frozen, event);
        }
    }

    fn form(&mut self, form: Form) -> &mut FormTally {
        &mut self.forms[form as usize]
    }

    fn fail(&mut self, property: Property, event: &Event) {
        let first = &mut self.first[property as usize];
        if first.is_none() {
            *first = Some(Failure { property, cpu: event.cpu, call: call_of(&event.what) });
        }
    }

    /// How often `property` did not hold.
    #[must_use]
    pub const fn count(&self, property: Property) -> u64 {
        match property {
            Property::Late => self.late,
            Property::Lost => self.lost,
            Property::Spurious => self.spurious,
            Property::Outside => self.outside,
            Property::Frozen => self.frozen,
        }
    }

    /// The calls of one form.
    #[must_use]
    pub const fn of(&self, form: Form) -> &FormTally {
        &self.forms[form as usize]
    }

    /// The first time that `property` did not hold, on the CPU that was merged first.
    #[must_use]
    pub const fn first(&self, property: Property) -> Option<&Failure> {
        self.first[property as usize].as_ref()
    }

    /// The properties that `protocol` promises and that did not hold, in the order of W, L, S, O, F.
    pub fn broken<'a>(&'a self, protocol: &'a Protocol) -> impl Iterator<Item = Property> + 'a {
        Property::ALL
            .into_iter()
            .filter(|property| protocol.promises().contains(property) && self.count(*property) > 0)
    }

    /// Was every promise of `protocol` kept?
    #[must_use]
    pub fn kept(&self, protocol: &Protocol) -> bool {
        self.broken(protocol).next().is_none()
    }

    /// Adds what was counted on another CPU.
    pub fn merge(&mut self, other: &Tally) {
        self.late += other.late;
        self.lost += other.lost;
        self.spurious += other.spurious;
        self.outside += other.outside;
        self.frozen += other.frozen;
        self.drained += other.drained;
        for (mine, theirs) in self.forms.iter_mut().zip(&other.forms) {
            mine.merge(theirs);
        }
        self.returned += other.returned;
        self.call_ipis += other.call_ipis;
        self.stops += other.stops;
        self.stops_aborted += other.stops_aborted;
        self.works += other.works;
        self.works_refused += other.works_refused;
        self.downs = (self.downs.0 + other.downs.0, self.downs.1 + other.downs.1);
        self.ups = (self.ups.0 + other.ups.0, self.ups.1 + other.ups.1);
        self.offlines += other.offlines;
        self.onlines += other.onlines;
        self.injected += other.injected;
        self.stalled += other.stalled;
        for (mine, theirs) in self.first.iter_mut().zip(other.first) {
            *mine = mine.or(theirs);
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}
