//! One CPU's life: when it is online, what it does for its own and for other CPUs' hotplug. Rules 23, 34, 36, 48, 53.

use crate::event::{Event, What};
use crate::hotplug::Section;
use crate::invariants::{Checks, Verdict};
use crate::protocol::{Property, Protocol};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Life {
    pub(super) online: bool,
    /// It said that it dies, and was not started since.
    pub(super) dead: bool,
}

impl Life {
    pub(super) const fn new() -> Self {
        Life { online: false, dead: false }
    }

    pub(super) fn feed(
        &mut self,
        e: &Event,
        protocol: &Protocol,
        stopper_open: bool,
        checks: &mut Checks,
    ) -> Verdict {
        let fresh = matches!(e.what, What::CpuStarted { .. });
        let dead = self.dead;
        self.dead &= !fresh;
        if dead || fresh {
            checks.ask(48, fresh, e, "a dead CPU does something before it was started again")?;
        }
        match e.what {
            What::OnlineSet { who } => {
                let own = who == e.cpu;
                self.online |= own;
                checks.ask(34, own, e, "a CPU sets the online bit of another")?;
                checks.ask(23, stopper_open, e, "the CPU is online and its stopper is not open yet")
            }
            What::OnlineCleared { who } => {
                let own = who == e.cpu;
                self.online &= !own;
                checks.ask(34, own, e, "a CPU clears the online bit of another")
            }
            What::IpiSpurious if protocol.promises().contains(&Property::Spurious) => {
                checks.ask(48, false, e, "a CPU that stays deaf took an IPI while it is offline")
            }
            What::CpuDies => {
                self.dead = true;
                checks.ask(48, !self.online, e, "a CPU dies that is still in the online mask")
            }
            What::DeadSeen { who } => checks.ask(53, who != e.cpu, e, "a CPU notes its own death"),
            What::StateEnter { who, state, irqs_on, .. } => {
                let own = who == e.cpu;
                match state.section() {
                    Some(Section::Prepare) => {
                        checks.ask(36, irqs_on, e, "a PREPARE or DEAD callback runs with interrupts off")
                    }
                    Some(Section::Starting) => {
                        // On an online CPU it is one that is being added or removed: the library closes interrupts around it.
                        let off = !irqs_on || self.online;
                        checks.ask(36, own, e, "a STARTING or DYING callback runs on another CPU")?;
                        checks.ask(36, off, e, "a STARTING or DYING callback runs with interrupts on")
                    }
                    Some(Section::Online) => {
                        checks.ask(36, own, e, "an ONLINE callback runs on another CPU")?;
                        checks.ask(36, irqs_on, e, "an ONLINE callback runs with interrupts off")
                    }
                    None => checks.ask(36, false, e, "a callback runs in a state that has none"),
                }
            }
            _ => Ok(()),
        }
    }
}
