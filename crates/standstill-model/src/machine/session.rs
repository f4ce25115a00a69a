//! From nothing to the state in which the branching begins, by one fixed schedule.

use std::cell::Cell;

use crate::config::options::Options;
use crate::machine::state::{Cpu, Kind, Power};
use crate::machine::step::take;
use crate::machine::world::{Entered, World, enter, with_ptr};
use crate::scenario;
use crate::vocab::fault::Fault;
use crate::vocab::step::Step;

/// A world that is set up, and this OS thread's.
pub(crate) struct Ready {
    pub(crate) world: *mut World,
    _entered: Entered,
}

impl Drop for Ready {
    fn drop(&mut self) {
        // SAFETY: from `Box::into_raw` below, and no fibre runs.
        drop(unsafe { Box::from_raw(self.world) });
    }
}

thread_local! {
    static PAST_SETUP: Cell<bool> = const { Cell::new(false) };
}

/// Is the last check that this thread has begun past the set-up of its scenario? For a process that
/// has to say where a mutant ended it.
#[must_use]
pub fn past_setup() -> bool {
    PAST_SETUP.get()
}

/// More steps than any set-up needs.
const PATIENCE: usize = 1_000_000;

/// How each text begins that says why a set-up has failed: it is the code's doing then, and not that of the options.
pub(crate) const SETUP: &str = "the set-up of the scenario";

fn failed(fault: &Fault) -> String {
    let at = if fault.location.is_empty() { String::new() } else { format!(" ({})", fault.location) };
    format!("{SETUP} fails: {}: {}{at}", fault.rule, fault.text)
}

impl Ready {
    pub(crate) fn new(options: &Options) -> Result<Ready, String> {
        PAST_SETUP.set(false);
        let mut world = scenario::build(options)?;
        world.cpus[0] = Cpu { power: Power::On, ..Cpu::OFF };
        world.spawn(0, Kind::Idle, 0, "idle");
        let world = Box::into_raw(world);
        let ready = Ready { world, _entered: enter(world) };
        let mut enabled = Vec::new();
        for _ in 0..PATIENCE {
            let next = with_ptr(world, |w| {
                if let Some(fault) = &w.step.fault {
                    return Err(failed(fault));
                }
                if w.phase.branching {
                    return Ok(None);
                }
                w.enabled(&mut enabled);
                if enabled.is_empty() {
                    // Who waits, and where, is what a search says of a deadlock.
                    w.finish();
                }
                match (&w.step.fault, enabled.first()) {
                    (Some(fault), _) => Err(failed(fault)),
                    (None, Some(choice)) => Ok(Some(*choice)),
                    (None, None) => Err(format!("{SETUP} ends, and nobody has called `branch`")),
                }
            })?;
            let Some(choice) = next else {
                with_ptr(world, |w| {
                    w.recorder.choices.clear();
                    w.recorder.steps = 0;
                    w.step.broken = 0;
                    for cpu in &mut w.cpus {
                        cpu.devices = w.options.irqs as u8;
                    }
                });
                PAST_SETUP.set(true);
                return Ok(ready);
            };
            take(world, choice, false);
        }
        let (cpu, at) = with_ptr(world, |w| (w.cpu, w.thread_ref().op.at));
        Err(format!(
            "{SETUP} does not end: after {PATIENCE} steps CPU {cpu} is at {}:{}",
            at.file(),
            at.line()
        ))
    }

    /// What it was made of.
    pub(crate) fn options(&self) -> Options {
        with_ptr(self.world, |w| w.options.clone())
    }

    pub(crate) fn record(&self) {
        with_ptr(self.world, |w| w.recorder.record = Some(Vec::new()));
    }

    pub(crate) fn recorded(&self) -> Vec<Step> {
        with_ptr(self.world, |w| w.recorder.record.take()).unwrap_or_default()
    }
}
