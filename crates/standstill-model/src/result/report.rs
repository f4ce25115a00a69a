//! What a verdict says, as text: for a test that fails.

use std::fmt::Write as _;

use crate::result::verdict::Verdict;
use crate::vocab::progress::Coverage;
use crate::vocab::step::{Context, Step, StepWhat};

impl Verdict {
    /// Nothing, if the check [passed](Self::passed); else what is wrong, and the run that shows it, step by step.
    ///
    /// # Errors
    /// That text.
    pub fn story(&self) -> Result<(), String> {
        if self.passed() {
            return Ok(());
        }
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let Some(violation) = &self.violation else {
            let Coverage::Bounded { states, by } = self.coverage else { return Ok(()) };
            return Err(format!("nothing was found, and not all was searched: {by:?} after {states} states"));
        };
        let mut text = match violation.rule.parse::<u8>() {
            Ok(_) => violation.text.clone(),
            Err(_) => format!("{}: {}", violation.rule, violation.text),
        };
        if !violation.location.is_empty() {
            let _ = write!(text, " ({})", violation.location);
        }
        let _ = write!(
            text,
            "\nhow it happens, with {} interrupts and {} preemptions:",
            violation.interrupts, violation.preemptions
        );
        for step in &violation.steps {
            let _ = write!(text, "\n  {}", line(step));
        }
        Err(text)
    }
}

fn line(step: &Step) -> String {
    let context = match step.context {
        Context::Thread { name } => name.to_string(),
        Context::Stopper => "stopper".to_string(),
        Context::Handler { kind, .. } => format!("{kind:?} handler"),
    };
    let what = match &step.what {
        StepWhat::Access { op, cell, value, written, .. } => match written {
            Some(written) => format!("{op:?} {cell}: {value} becomes {written}"),
            None => format!("{op:?} {cell}: {value}"),
        },
        StepWhat::Event(what) => format!("{what:?}"),
        other => format!("{other:?}"),
    };
    format!("CPU {} {context:<16} {what}  {}", step.cpu, step.location)
}
