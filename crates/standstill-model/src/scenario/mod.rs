//! What happens in an exploration: which machine, which tasks, which interrupts.
//!
//! | file | what |
//! |---|---|
//! | `arrivals.rs` | several CPUs that come up together |
//! | `build.rs` | what a scenario is built from, and scenarios of other kernels |
//! | `calls.rs` | calls against a CPU that leaves |
//! | `early.rs` | operations each of whose waits may expire |
//! | `stops.rs` | stops of the machine, and works of stoppers |
//! | `hotplug.rs` | the way up and down, and what can be in the way |
//! | `list.rs` | all of them, by name |
//! | `payload.rs` | who sees what others wrote to plain memory: the library's promises about order |
//! | `payload_calls.rs` | those of calls, of the masks, and of the end of all others |
//! | `payload_hotplug.rs` | those of hotplug |
//! | `payload_stops.rs` | those of stops and works |
//! | `turns.rs` | waiting for a turn with a deadline |

/// What was seen has to be what is due; if not, the text names what was looked at, in the scenario's own words, or as its code says it.
macro_rules! must_be {
    ($seen:expr, $due:expr $(,)?) => {
        must_be!(@ $seen, $due, concat!("`", stringify!($seen), "`"))
    };
    ($seen:expr, $due:expr, $($what:tt)+) => {
        must_be!(@ $seen, $due, format_args!($($what)+))
    };
    (@ $seen:expr, $due:expr, $what:expr) => {
        match (&$seen, &$due) {
            (seen, due) => assert!(*seen == *due, "{}: it is {seen:?}, and has to be {due:?}", $what),
        }
    };
}

mod arrivals;
mod build;
mod calls;
mod early;
pub(crate) mod flat_counter;
mod hotplug;
mod list;
mod payload;
mod payload_calls;
mod payload_hotplug;
mod payload_stops;
mod stops;
mod turns;

use crate::monitor::library::Library;
use standstill::Machine;
use standstill_io::words::quote;

use crate::config::options::Options;
use crate::engine::explore;
use crate::machine::world::World;
use crate::port::Model;
use crate::scenario::flat_counter::LITMUS;
use crate::vocab::limits::MAX_CPUS;
use list::SCENARIOS;

pub use build::{Plain, Scenario, Setup, all_up, branch, branch_at_stop, require};

/// A scenario, for lists.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ScenarioInfo {
    /// Its name.
    pub name: &'static str,
    /// What happens, in one sentence.
    pub about: &'static str,
    /// The fewest CPUs that it makes sense for.
    pub min_cpus: usize,
    /// Where the branching begins.
    pub begins: &'static str,
    pub(crate) build: fn(&mut World),
}

pub(crate) const fn info(
    name: &'static str,
    about: &'static str,
    min_cpus: usize,
    begins: &'static str,
    build: fn(&mut World),
) -> ScenarioInfo {
    ScenarioInfo { name, about, min_cpus, begins, build }
}

/// The machine of a scenario.
pub(crate) type Machined<const N: usize> = Machine<Model, N, 1>;

/// All scenarios.
#[must_use]
pub fn scenarios() -> &'static [ScenarioInfo] {
    SCENARIOS
}

/// Scenarios without the library, for the tests of the engines.
#[must_use]
pub fn litmus() -> &'static [ScenarioInfo] {
    LITMUS
}

/// The scenario with this name.
pub(crate) fn by_name(name: &str) -> Option<&'static ScenarioInfo> {
    SCENARIOS.iter().chain(LITMUS).find(|scenario| scenario.name == name)
}

/// Where the branching begins, if that is known.
pub(crate) fn begins(options: &Options) -> Option<&'static str> {
    if options.own.is_some() { None } else { by_name(options.scenario).map(|scenario| scenario.begins) }
}

/// A fresh world, with what the options ask for.
pub(crate) fn build(options: &Options) -> Result<Box<World>, String> {
    let scenario = match &options.own {
        None => Err(refuse(options)?),
        Some(own) => {
            limits(options)?;
            if own.cpus() != options.cpus {
                return Err(format!(
                    "`{}` is written for {} CPUs, not for {}",
                    own.name(),
                    own.cpus(),
                    options.cpus
                ));
            }
            Ok(own)
        }
    };
    let mut world = World::new(options.clone(), Box::new(Library::new(options.protocol)))?;
    match scenario {
        Ok(own) => own.build(&mut world),
        Err(known) => (known.build)(&mut world),
    }
    Ok(world)
}

/// What can't be explored, whatever the scenario.
fn limits(options: &Options) -> Result<(), String> {
    explore::refuse(options)?;
    if options.irqs > 8 {
        return Err(format!("{} device interrupts for each CPU are more than 8", options.irqs));
    }
    Ok(())
}

/// Are the options such that they can be checked?
pub(crate) fn refuse(options: &Options) -> Result<&'static ScenarioInfo, String> {
    limits(options)?;
    let Some(scenario) = by_name(options.scenario) else {
        let count = SCENARIOS.len();
        return Err(format!(
            "there is no scenario `{}` among the {count} there are",
            quote(options.scenario)
        ));
    };
    if !(scenario.min_cpus..=MAX_CPUS).contains(&options.cpus) {
        return Err(format!(
            "`{}` runs on {} to {MAX_CPUS} CPUs, not on {}",
            scenario.name, scenario.min_cpus, options.cpus
        ));
    }
    Ok(scenario)
}

#[cfg(test)]
mod tests {
    /// What a check that fails says.
    fn said(check: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(check).expect_err("it fails");
        panic.downcast_ref::<String>().expect("a text").clone()
    }

    #[test]
    fn a_check_that_fails_names_what_it_looked_at() {
        let ran = [1, 2, 3];
        must_be!(ran.len(), 3);
        assert_eq!(said(|| must_be!([1, 2, 3].len(), 2)), "`[1, 2, 3].len()`: it is 3, and has to be 2");
        let text = said(|| must_be!(3, 2, "CPUs that ran the function"));
        assert_eq!(text, "CPUs that ran the function: it is 3, and has to be 2");
    }
}
