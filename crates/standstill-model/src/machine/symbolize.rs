//! Names for places of memory, for people: the machine knows its own, a stack is its thread's, and what the scenario keeps has a type.

use crate::machine::world::World;
use crate::vocab::limits::MAX_CPUS;
use crate::vocab::step::StepWhat;

/// The place as it is noted; a recorded step says its [name](World::named).
pub(crate) fn noted(place: usize) -> String {
    place.to_string()
}

impl World {
    /// What happens in a step, with the name of the place that it is about.
    pub(crate) fn named(&self, mut what: StepWhat) -> StepWhat {
        if let StepWhat::Access { cell, .. } | StepWhat::Drain { cell, .. } = &mut what
            && let Ok(place) = cell.parse()
        {
            *cell = self.name_of(place);
        }
        what
    }

    fn name_of(&self, place: usize) -> String {
        if let Some(name) = self.subject.describe.and_then(|describe| describe(place)) {
            return name;
        }
        if let Some(index) = self.stacks.slots.iter().position(|slot| slot.holds(place)) {
            let name = self.threads[index].as_ref().map_or("a thread", |thread| thread.name);
            return if index < MAX_CPUS {
                format!("a word on the idle stack of CPU {index}")
            } else {
                format!("a word on the stack of the {name}")
            };
        }
        let kept = self.subject.kept.iter().find(|kept| kept.holds(place));
        kept.map_or_else(|| "a word".to_string(), |kept| format!("a {} of the scenario", kept.short()))
    }
}
