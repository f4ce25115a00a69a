//! What lies at an address of a machine, in words: for checkers, debuggers and reports. Nothing else calls this.

use core::fmt;
use core::mem::size_of_val;

use crate::cpu::CpuId;
use crate::machine::Machine;
use crate::platform::Platform;

/// A part of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// What it is, e.g. `call queue`.
    pub what: &'static str,
    /// The CPU that it belongs to, if it belongs to one.
    pub of: Option<CpuId>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Some(cpu) => write!(f, "{} of {cpu}", self.what),
            None => f.write_str(self.what),
        }
    }
}

/// Looks at the parts of something, one after the other, for the one at an address.
pub(crate) struct Finder {
    address: usize,
    what: Option<&'static str>,
}

impl Finder {
    /// Here is `part`, called `what`.
    pub(crate) fn see<T>(&mut self, what: &'static str, part: &T) {
        let from = core::ptr::from_ref(part).addr();
        if self.address.checked_sub(from).is_some_and(|offset| offset < size_of_val(part)) {
            self.what = Some(what);
        }
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    /// What lies at this address, if it is in the machine.
    #[must_use]
    pub fn place_at(&self, address: usize) -> Option<Place> {
        let mut finder = Finder { address, what: None };
        self.places(&mut finder);
        self.stop.places(&mut finder);
        self.hotplug.places(&mut finder);
        finder.see("halt of the machine", &self.halt);
        if let Some(what) = finder.what {
            return Some(Place { what, of: None });
        }
        self.cpu.iter().enumerate().find_map(|(index, cpu)| {
            cpu.places(&mut finder);
            cpu.hotplug.places(&mut finder);
            cpu.call.places(&mut finder);
            cpu.stop.places(&mut finder);
            finder.what.map(|what| Place { what, of: Some(CpuId::new(index)) })
        })
    }
}
