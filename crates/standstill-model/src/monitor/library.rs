//! What the port keeps of the library in each world.

use crate::monitor::properties::broken;
use std::any::Any;

use standstill::{Property, Protocol};

use super::rules::{self, Values};
use crate::base::hash::Hash128;
use crate::machine::access::ModelWord;
use crate::machine::world::World;
use crate::program::{Broken, Monitor};

/// The rules' memory, and how the simulated hardware is.
pub(crate) struct Library {
    pub(crate) rules: Values,
    /// The local mask is lazy.
    pub(crate) lazy: bool,
    /// How often the last look at a CPU's lines still finds one.
    pub(crate) lines_stay: Option<&'static ModelWord>,
    /// The port's patience may end wherever it is the bound.
    pub(crate) patience_ends: bool,
}

impl Library {
    pub(crate) fn new(protocol: Protocol) -> Library {
        Library { rules: Values::new(protocol), lazy: false, lines_stay: None, patience_ends: false }
    }
}

/// That of `world`.
pub(crate) fn of(world: &mut World) -> &mut Library {
    let monitor: &mut dyn Any = &mut *world.subject.monitor;
    monitor.downcast_mut().expect("the library runs in a world that watches it")
}

impl Monitor for Library {
    fn now(&self) -> u32 {
        self.rules.now()
    }

    fn set(&mut self, now: u32) {
        self.rules.set(now);
    }

    fn hash(&self) -> Hash128 {
        self.rules.hash()
    }

    fn bytes(&self) -> usize {
        self.rules.bytes()
    }

    fn forget(&mut self) {
        self.rules.forget();
    }

    fn finish(&self) -> Result<(), Broken> {
        self.rules.get().clone().finish().map_err(|violation| Broken {
            cpu: violation.cpu.index(),
            rule: violation.rule.to_string(),
            text: violation.to_string(),
        })
    }

    fn property(&self, number: usize) -> (char, &'static str) {
        let property = Property::ALL[number];
        (property.letter(), broken(property))
    }

    fn is_rule(&self, name: &str) -> bool {
        rules::is_rule(name)
    }
}
