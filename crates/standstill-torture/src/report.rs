//! What the torture says: plain values, for whoever prints them.

use standstill::event::Form;
use standstill::hotplug::HotplugError;
use standstill::invariants::Tally;

use crate::counts::{Calls, Ops};
use crate::hist::Dist;
use crate::rules::{Failure, Rule};

/// A few counts, while the torture runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Calls sent so far, refused ones included. A handler may run before its sender has counted the
    /// call; here such a call counts as sent.
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

impl Report {
    /// The calls of each form, with what only the events know: a sender that waits for many is told who ran the call, not who died with it.
    #[must_use]
    pub fn calls_seen(&self, tally: &Tally) -> [(Form, Calls); Form::ALL.len()] {
        self.calls.map(|(form, mut calls)| {
            if matches!(form, Form::ManyWait | Form::AllWait) {
                let unseen = tally.of(form).lost;
                calls.sent += unseen;
                calls.lost += unseen;
            }
            (form, calls)
        })
    }

    /// Did each hotplug operation reach its target that was not made to fail? A machine that refuses all of
    /// them breaks no other rule, as nothing happens on it.
    #[must_use]
    pub const fn operations(&self) -> RuleCount {
        let (down, up) = (&self.down, &self.up);
        let failed = (down.tried - down.ok - down.vetoed) + (up.tried - up.ok - up.vetoed);
        RuleCount { id: "operations-succeed", checked: down.tried + up.tried, broken: failed }
    }

    /// Did something happen, and is nothing wrong, as far as the torture knows by itself? What the events
    /// show comes on top, if they are listened to: [`agreement`](Self::agreement), and the monitors of
    /// `standstill::invariants`.
    #[must_use]
    pub fn passed(&self) -> bool {
        let own = self.rules.iter().all(|rule| rule.broken == 0) && self.operations().broken == 0;
        let balanced = self.calls.iter().all(|(_, calls)| calls.balanced() && calls.lost == 0);
        let nothing_failed = self.veto.is_none()
            && self.first_late.is_none()
            && self.first_lost.is_none()
            && self.first_failure.is_none();
        let ran = self.calls.iter().any(|(_, calls)| calls.ran > 0);
        own && balanced && nothing_failed && ran
    }

    /// Do the workloads and the events tell the same story? For the forms that nobody else uses: what handlers counted is what the
    /// library says it ran, and what senders were told is what it says it refused.
    #[must_use]
    pub fn agreement(&self, tally: &Tally) -> RuleCount {
        let mut rule = RuleCount { id: "counts-agree", checked: 0, broken: 0 };
        for (form, calls) in self.calls.iter().filter(|(form, _)| !form.waits()) {
            let events = tally.of(*form);
            let mut check = |mine: u64, theirs: u64| {
                rule.checked += 1;
                rule.broken += u64::from(mine != theirs);
            };
            check(calls.ran, events.ran + events.in_place);
            check(calls.lost, events.lost);
            check(calls.busy, events.busy);
            if matches!(form, Form::Single | Form::Async) {
                check(calls.refused, events.refused);
            }
        }
        rule
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn report(calls: impl Fn(Form) -> Calls) -> Report {
        Report {
            cpus: 2,
            calls: Form::ALL.map(|form| (form, calls(form))),
            down: Ops::default(),
            up: Ops::default(),
            veto: None,
            stops: 0,
            aborted: 0,
            frozen: Dist::default(),
            rules: Rule::ALL.map(|rule| RuleCount { id: rule.id(), checked: 0, broken: 0 }),
            first_late: None,
            first_lost: None,
            first_failure: None,
        }
    }

    #[test]
    fn a_run_passes_if_something_happened_and_nothing_is_wrong() {
        let good = || report(|_| Calls { sent: 3, ran: 2, refused: 1, ..Calls::default() });
        assert!(good().passed());
        assert!(!report(|_| Calls::default()).passed(), "nothing happened");
        assert!(!report(|_| Calls { sent: 3, ran: 2, ..Calls::default() }).passed(), "a call has no end");
        let lost = |_| Calls { sent: 3, ran: 2, lost: 1, ..Calls::default() };
        assert!(!report(lost).passed(), "a call is lost");
        let mut broken = good();
        broken.rules[0].broken = 1;
        assert!(!broken.passed(), "a rule is broken");
        let error = HotplugError::Disabled;
        assert!(!Report { veto: Some(error), ..good() }.passed(), "nothing could be tried");
        let refused = Ops { tried: 3, ok: 1, vetoed: 1, ..Ops::default() };
        for refuses in [Report { down: refused, ..good() }, Report { up: refused, ..good() }] {
            assert_eq!((refuses.operations().checked, refuses.operations().broken), (3, 1));
            assert!(!refuses.passed(), "an operation was refused, and no rule of the torture is broken");
        }
        let made_to = Ops { tried: 3, ok: 1, vetoed: 2, ..Ops::default() };
        assert!(Report { down: made_to, ..good() }.passed());
    }

    #[test]
    fn workloads_and_events_that_disagree_are_noticed() {
        let tally = Tally::new();
        assert_eq!(report(|_| Calls::default()).agreement(&tally).broken, 0);
        assert!(report(|_| Calls::default()).agreement(&tally).checked > 0);
        for wrong in [
            Calls { ran: 1, ..Calls::default() },
            Calls { lost: 1, ..Calls::default() },
            Calls { busy: 1, ..Calls::default() },
            Calls { refused: 1, ..Calls::default() },
        ] {
            let of_async = |form| if form == Form::Async { wrong } else { Calls::default() };
            assert_eq!(report(of_async).agreement(&tally).broken, 1, "{wrong:?}");
        }
    }
}
