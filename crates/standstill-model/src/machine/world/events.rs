//! What a step shows: the story, the events for the rules, and what is broken.

use std::panic::Location;

use standstill::event::{CallInfo, Event, What};
use standstill::invariants::Tally;
use standstill::{CpuId, Property};

use super::World;
use crate::machine::state::{Kind, LevelKind, Life, Power};
use crate::monitor::rules::is_rule;
use crate::monitor::rules::steadied;
use crate::vocab::fault::Fault;
use crate::vocab::step::{Context, Step, StepWhat};

impl World {
    /// Notes what went wrong; the first fault of a step counts.
    pub(crate) fn fail(&mut self, rule: impl Into<String>, text: impl Into<String>, location: String) {
        let (cpu, rule) = (self.cpu, rule.into());
        debug_assert!(is_rule(&rule), "a replay file can't name the rule {rule}");
        self.step.fault.get_or_insert(Fault { rule, cpu, text: text.into(), location });
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> StepWhat, at: &std::panic::Location<'_>) {
        if self.recorder.record.is_none() {
            return;
        }
        let context = self.context_name();
        let (cpu, irqs_on, choice) =
            (self.cpu, self.cpu_ref().irqs_on, self.recorder.choices.len().saturating_sub(1));
        let location = format!("{}:{}", at.file(), at.line());
        let what = self.named(what());
        if let Some(steps) = &mut self.recorder.record {
            steps.push(Step { cpu, context, what, location, irqs_on, choice });
        }
    }

    fn context_name(&self) -> Context {
        let thread = self.thread_ref();
        match thread.level().kind {
            LevelKind::Thread => Context::Thread { name: thread.name },
            LevelKind::Stopper => Context::Stopper,
            LevelKind::Handler(kind) => Context::Handler { depth: thread.depth, kind },
        }
    }

    /// An event of the library: the rules see it.
    pub(crate) fn event(&mut self, event: &Event, at: &'static Location<'static>) {
        self.note(|| StepWhat::Event(event.what), at);
        let event = &steadied(*event);
        self.judge(event, at);
        self.meet_event(event);
        if self.undo.depth() > 0
            && let Some(other) = self.subject.rules.depends(event)
        {
            let text = format!(
                "the checker is wrong, not the code: it takes two events for independent, {} of CPU {} and {} of CPU {}, and their order makes a difference to the rules (see `monitor/footprint.rs`)",
                name_of(&other.what),
                other.cpu.index(),
                name_of(&event.what),
                event.cpu.index()
            );
            self.fail("footprint", text, format!("{}:{}", at.file(), at.line()));
        }
        let verdict = if self.undo.depth() == 0 {
            self.subject.rules.feed_for_good(event)
        } else {
            self.subject.rules.feed(event)
        };
        if let Err(violation) = verdict {
            let location = place(violation.call(), at);
            self.fail(violation.rule.to_string(), violation.to_string(), location);
        }
        match event.what {
            What::OnlineCleared { who } if who.index() == self.cpu => {
                self.cpu_mut().left = true;
                if self.subject.lazy && self.cpu_ref().pending != 0 && self.cpu_ref().notes_offline() {
                    self.noted_offline(self.cpu, at);
                }
            }
            What::IrqsClosed { .. } if !self.cpu_ref().hard_off => {
                let text = "a stop closes a CPU's interrupts, and the hardware's mask stays open";
                self.fail("require", text, format!("{}:{}", at.file(), at.line()));
            }
            What::OnlineSet { who } if who.index() == self.cpu => self.cpu_mut().left = false,
            What::StopBegin { leaving, .. } => self.phase.leaving = leaving.is_some(),
            What::StopPublished { .. } if self.phase.armed && self.phase.leaving && !self.phase.branching => {
                self.branch()
            }
            _ => {}
        }
    }

    /// With a lazy mask: an interrupt is noted by a CPU that is out of the online mask. Where none is to be taken there that is one too many.
    pub(crate) fn noted_offline(&mut self, on: usize, at: &Location<'_>) {
        self.step.broken |= 1 << Property::Spurious as u8;
        if self.options.protocol.promises().contains(&Property::Spurious) {
            let text = format!(
                "CPU {on} is out of the online mask and notes an interrupt: its local mask is closed, and the hardware's is not"
            );
            self.fail(Property::Spurious.letter().to_string(), text, format!("{}:{}", at.file(), at.line()));
        }
    }

    /// Which of W, L, S, O, F does the event show? The library's own tally says so.
    fn judge(&mut self, event: &Event, at: &Location<'_>) {
        if !matches!(
            event.what,
            What::CallLate(_) | What::IpiSpurious | What::CallLost(_) | What::CallBegin(..)
        ) {
            return;
        }
        let mut tally = Tally::new();
        if !self.cpu_ref().left {
            tally.feed(&Event { cpu: event.cpu, what: What::OnlineSet { who: event.cpu } });
        }
        tally.feed(event);
        for property in Property::ALL {
            if tally.count(property) > 0 {
                self.step.broken |= 1 << property as u8;
            }
        }
        let protocol = self.options.protocol;
        for property in tally.broken(&protocol) {
            let cpu = CpuId::new(self.cpu);
            let location = place(tally.first(property).and_then(|first| first.call), at);
            self.fail(property.letter().to_string(), format!("{cpu}: {}", broken(property)), location);
        }
    }

    /// Nothing has to happen any more: is everybody done, and do the rules agree?
    pub(crate) fn finish(&mut self) {
        let waits: Vec<_> = self
            .threads
            .iter()
            .flatten()
            .filter(|t| t.life == Life::Live && !(t.depth == 0 && (t.kind == Kind::Idle || t.rests)))
            .filter(|t| self.cpus[usize::from(t.cpu)].power != Power::Halted)
            .map(|t| {
                let level = match t.level().kind {
                    LevelKind::Thread => t.name.to_string(),
                    LevelKind::Stopper => "the stopper".to_string(),
                    LevelKind::Handler(kind) => format!("the handler of {kind:?}"),
                };
                format!("{level} on CPU {} at {}:{}", t.cpu, t.op.at.file(), t.op.at.line())
            })
            .collect();
        if !waits.is_empty() {
            self.fail("deadlock", format!("nobody can go on: {}", waits.join("; ")), String::new());
            return;
        }
        // What was under way on a CPU that was halted for good is never over.
        if self.cpus.iter().any(|cpu| cpu.power == Power::Halted) {
            return;
        }
        if let Err(violation) = self.subject.rules.get().clone().finish() {
            self.cpu = violation.cpu.index();
            self.fail(violation.rule.to_string(), violation.to_string(), String::new());
        }
    }
}

/// Where a call was asked for; of what is no call, where the event is emitted.
fn place(call: Option<CallInfo>, at: &Location<'_>) -> String {
    let at = call.map_or(at, |call| call.from);
    format!("{}:{}", at.file(), at.line())
}

/// The event's name, without what it says.
fn name_of(what: &What) -> String {
    let text = format!("{what:?}");
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    text[..end].to_string()
}

/// What happens where `property` does not hold.
pub(crate) fn broken(property: Property) -> &'static str {
    match property {
        Property::Late => "a handler finds a queued call while its CPU is offline",
        Property::Lost => "a queued call never runs: its CPU died with it",
        Property::Spurious => "an IPI is taken on an offline CPU",
        Property::Outside => "a call from another CPU runs while its CPU is outside the online mask",
        Property::Frozen => "a call from another CPU runs while the machine is frozen",
    }
}
