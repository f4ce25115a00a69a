//! What a step shows: the story, and what is wrong.

use super::World;
use crate::machine::state::{Kind, LevelKind, Life, Power};
use crate::vocab::fault::{Fault, RULES};
use crate::vocab::step::{Context, Step, StepWhat};

impl World {
    /// Notes what went wrong; the first fault of a step counts.
    pub(crate) fn fail(&mut self, rule: impl Into<String>, text: impl Into<String>, location: String) {
        let (cpu, rule) = (self.cpu, rule.into());
        let known = RULES.contains(&rule.as_str()) || self.subject.monitor.is_rule(&rule);
        debug_assert!(known, "a replay file can't name the rule {rule}");
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
        if let Err(broken) = self.subject.monitor.finish() {
            self.cpu = broken.cpu;
            self.fail(broken.rule, broken.text, String::new());
        }
    }
}
