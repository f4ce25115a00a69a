//! One run again, step by step.
use crate::config::options::Options;
use crate::engine::search::Found;
use crate::machine::session::Ready;
use crate::machine::step::drain_all;
use crate::machine::step::take;
use crate::machine::world::with_ptr;
use crate::result::cost::Cost;
use crate::result::verdict::ReplayError;
use crate::result::verdict::Run;
use crate::result::verdict::Violation;
use crate::vocab::choice::bare;
use crate::vocab::choice::cpu_of;
use crate::vocab::choice::is_device;
use crate::vocab::fault::Fault;
use crate::vocab::step::Step;

/// Tells the whole story of a fault.
pub(crate) fn describe(options: &Options, fault: Fault, choices: Vec<u32>) -> Violation {
    let (steps, cost) =
        replay_counted(options, &choices).map(|(run, cost)| (run.steps, cost)).unwrap_or_default();
    Violation {
        rule: fault.rule,
        cpu: fault.cpu,
        text: fault.text,
        location: fault.location,
        steps,
        interrupts: cost.interrupts,
        preemptions: cost.preemptions,
        critical_pair: None,
        choices,
    }
}

/// Runs the schedule `choices` again.
///
/// # Errors
/// The schedule is not one of these options, or of this version of the code.
pub fn replay(options: &Options, choices: &[u32]) -> Result<Run, ReplayError> {
    replay_counted(options, choices).map(|(run, _)| run)
}

fn replay_counted(options: &Options, choices: &[u32]) -> Result<(Run, Cost), ReplayError> {
    let ready = Ready::new(options).map_err(ReplayError::BadOptions)?;
    let mut result = replay_in(&ready, choices)?;
    let learnt = with_ptr(ready.world, |w| std::mem::take(&mut w.reduction.classes.learnt_prepared));
    if learnt && result.0.violation.is_none() {
        // Who used a word before it was known what the word is for is seen now.
        with_ptr(ready.world, |w| w.undo_to(0));
        result = replay_in(&ready, choices)?;
    }
    Ok(result)
}

fn replay_in(ready: &Ready, choices: &[u32]) -> Result<(Run, Cost), ReplayError> {
    ready.record();
    let mut found = Found::new();
    let (mut possible, mut cost, mut last) = (Vec::new(), Cost::default(), None);
    for (at, choice) in choices.iter().enumerate() {
        with_ptr(ready.world, |w| w.enabled(&mut possible));
        let meant = with_ptr(ready.world, |w| w.may_be_meant(*choice));
        if !meant && !possible.contains(&bare(*choice)) {
            return Err(ReplayError::Diverged { at, choice: *choice, possible });
        }
        cost = cost.after(&possible, *choice, last);
        last = Some(cpu_of(*choice));
        with_ptr(ready.world, |w| {
            (w.step.budget, w.step.blocks) = (Some(*choice >> 16 & 0x7fff), Some(*choice >> 31 != 0));
        });
        take(ready.world, *choice, true);
        found.look(ready, true);
    }
    let steps = ready.recorded();
    // What is left in the buffers is nobody's business.
    drain_all(ready.world);
    with_ptr(ready.world, |w| w.enabled(&mut possible));
    let complete = possible.iter().all(|choice| is_device(*choice));
    Ok((told(ready, found, steps, cost, complete), cost))
}

/// The story of a run. `complete`: nothing has to happen any more.
pub(crate) fn told(ready: &Ready, mut found: Found, steps: Vec<Step>, cost: Cost, complete: bool) -> Run {
    if complete {
        found.look_at_end(ready);
    }
    let (interrupts, preemptions) = (cost.interrupts, cost.preemptions);
    let violation = found.fault.map(|(fault, choices)| Violation {
        rule: fault.rule,
        cpu: fault.cpu,
        text: fault.text,
        location: fault.location,
        steps: steps.clone(),
        interrupts,
        preemptions,
        critical_pair: None,
        choices,
    });
    Run { steps, violation, properties: found.counts, complete, interrupts, preemptions }
}
