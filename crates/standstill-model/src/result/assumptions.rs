//! What a verdict holds under: each line is something that the search does not look at, or looks at in a sample only.
//!
//! | what the code is taken at its word for | how it is looked at |
//! |---|---|
//! | a guess is for the compare-and-swap that comes next | in each step: rule `guess` |
//! | nobody looks at what is stored in between | in the first steps of a search: rule `race` |
//! | a condition changes nothing while it does not hold | in each look: rule `condition` |
//! | a condition remembers nothing | in a sample of looks: rule `condition`; by the audit |
//! | an event uses no more of the rules' memory than `monitor/footprint.rs` says | in a sample of neighbours: rule `footprint` |
//! | plain memory is used by one CPU at a time | in each access: rule `race`, unless it is not asked for |
//! | a loop's state is all that it remembers; a plain value's hash tells all of it; contexts share the platform's memory alone; the code is deterministic | by the audit |
//! | an event is told together with the access that it announces; threads take turns where they wait | not at all |

use crate::config::options::{Ipi, MemoryModel, Options};
use crate::engine::explore::engine;

/// In the order in which they are shown. `expirations`: so many deadlines may expire.
pub(crate) fn assumptions(options: &Options, begins: Option<&str>, expirations: u8) -> Vec<String> {
    let mut all = vec![
        format!(
            "scenario {}: {} CPUs, at most {} device interrupt{} for each",
            options.scenario,
            options.cpus,
            options.irqs,
            if options.irqs == 1 { "" } else { "s" }
        ),
        match begins {
            Some(begins) => format!("steps have one fixed order until the branching begins: {begins}"),
            None => "steps have one fixed order until the scenario calls `branch`".to_string(),
        },
        match options.ipi {
            Ipi::Instant => "an IPI is taken at the next instruction boundary with interrupts on".to_string(),
            Ipi::Delayed => "an IPI is taken at any later time with interrupts on".to_string(),
        },
        match options.memory {
            MemoryModel::Sc => "memory is sequentially consistent".to_string(),
            MemoryModel::Tso { fenced: true } => {
                "memory is x86-TSO; IPI sends drain the store buffer".to_string()
            }
            MemoryModel::Tso { fenced: false } => {
                "memory is x86-TSO; IPI sends may overtake the store buffer".to_string()
            }
            MemoryModel::Ra => "memory has release/acquire views, without load buffering; a load finds one of the 16 newest messages"
                .to_string(),
        },
        match expirations {
            0 => "no deadline expires".to_string(),
            1 => "in each run at most one wait sees its deadline expire".to_string(),
            times => format!("in each run at most {times} waits see their deadlines expire"),
        },
        if options.sleepers {
            "who waits sleeps until its word is notified".to_string()
        } else {
            "who waits polls: a wake-up that is missing is not noticed".to_string()
        },
        "threads of one CPU take turns only where they wait".to_string(),
        "the code is deterministic, and its contexts communicate through the platform's memory alone"
            .to_string(),
        "conditions that are waited for remember nothing (a sample of them is looked at twice)".to_string(),
        "an event happens together with the access that it announces".to_string(),
    ];
    if !options.races {
        all.push("plain memory is used by one CPU at a time: data races are not looked for".to_string());
    }
    let engine = engine(options.engine);
    all.extend(engine.assumes().map(str::to_string));
    if engine.merges() {
        all.push("two states with the same hash of 128 bits are one".to_string());
        all.push("a plain value is told by its hash".to_string());
        all.push("a loop that cuts its history remembers nothing but its state".to_string());
        if options.audit.merges == 0 {
            all.push(
                "the last three, and that the code is deterministic, were not sampled: `--audit N` does"
                    .to_string(),
            );
        }
    }
    all
}
