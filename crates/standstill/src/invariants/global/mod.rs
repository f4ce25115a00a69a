//! The rules that need one order of all events: what must, or must not, be at the same instant.

mod order;
mod stops;

use self::order::Order;
use self::stops::Stops;
use super::{Checks, Verdict};
use crate::cpu::CpuId;
use crate::event::{Event, What};
use crate::hotplug::Section;
use crate::protocol::{Protocol, Stages};

/// The monitor of a log that is totally ordered: in the model, where an event and its access are one step. On a live machine two
/// CPUs' events have no such order, and these rules would accuse the innocent.
///
/// Bounded, and without history: two runs that led to the same state hash alike.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Global<const N: usize> {
    protocol: Protocol,
    online: [bool; N],
    accepting: [bool; N],
    /// Holders of the hotplug lock.
    readers: usize,
    writer: bool,
    /// The CPUs that are in transition: one that goes down, or those that come up together.
    moving: [bool; N],
    downwards: bool,
    /// The CPUs that run a STARTING callback, or a DYING one.
    starting: [bool; N],
    stops: Stops<N>,
    order: Order,
    checks: Checks,
}

impl<const N: usize> Global<N> {
    /// The monitor of a machine of `N` CPUs that runs `protocol`, from before its first event.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        Global {
            protocol,
            online: [false; N],
            accepting: [false; N],
            readers: 0,
            writer: false,
            moving: [false; N],
            downwards: false,
            starting: [false; N],
            stops: Stops::new(),
            order: Order::new(),
            checks: Checks::new(),
        }
    }

    /// Looks at one event. After a violation the monitor goes on from what the event says.
    ///
    /// # Errors
    /// The first rule that the event breaks.
    pub fn feed(&mut self, event: &Event) -> Verdict {
        let order = self.order.feed(event, &mut self.checks);
        let stops = self.stops.feed(event, &mut self.checks);
        order.and(stops).and(self.masks(event)).and(self.locks(event))
    }

    fn masks(&mut self, e: &Event) -> Verdict {
        let checks = &mut self.checks;
        match e.what {
            What::OnlineSet { who } => {
                let boots = !self.online.contains(&true);
                let joined = self.stops.joined_by_one_outside(&self.online);
                set(&mut self.online, who, true);
                checks.ask(
                    34,
                    !joined,
                    e,
                    "a CPU comes online in the middle of the stop by another one that comes up",
                )?;
                checks.ask(
                    31,
                    self.writer || boots,
                    e,
                    "a CPU comes online and nobody holds the hotplug lock for writing",
                )?;
            }
            What::AcceptingSet { who } => set(&mut self.accepting, who, true),
            What::AcceptingCleared { who } => set(&mut self.accepting, who, false),
            What::OnlineCleared { who } => {
                set(&mut self.online, who, false);
                checks.ask(42, self.online.contains(&true), e, "the last CPU leaves the online mask")?;
                checks.ask(
                    31,
                    self.writer,
                    e,
                    "a CPU leaves the online mask and nobody holds the hotplug lock for writing",
                )?;
                checks.ask(
                    33,
                    !self.starting.contains(&true),
                    e,
                    "a CPU leaves the online mask while another one runs its STARTING callbacks",
                )?;
                if self.protocol.stages() != Stages::None {
                    let frozen = self.stops.frozen_for(who, &self.online);
                    checks.ask(
                        34,
                        frozen,
                        e,
                        "a CPU leaves the online mask while another one is not frozen",
                    )?;
                }
            }
            What::CallQueued(info) => {
                let to = info.key.to.index();
                let accepts = self.accepting.get(to).is_none_or(|yes| *yes);
                let online = self.online.get(to).is_none_or(|yes| *yes);
                // Without a stop a sender may have looked just before the bit went. The pass waits for it: until the CPU leaves the
                // online mask, or, if that is all that refuses, even longer.
                let grace = self.protocol.stages() == Stages::None && (online || !self.protocol.refuse_first);
                checks.ask(
                    8,
                    accepts || grace,
                    e,
                    "a call is queued for a CPU that does not accept calls",
                )?;
            }
            _ => {}
        }
        Ok(())
    }

    fn locks(&mut self, e: &Event) -> Verdict {
        let checks = &mut self.checks;
        match e.what {
            What::ReadLocked => {
                self.readers += 1;
                checks.ask(41, !self.writer, e, "a reader holds the hotplug lock beside a writer")
            }
            What::ReadUnlocked => {
                let held = self.readers > 0;
                self.readers = self.readers.saturating_sub(1);
                checks.ask(41, held, e, "the hotplug lock is given back by a reader, and none holds it")
            }
            What::WriteLocked => {
                let other = core::mem::replace(&mut self.writer, true);
                checks.ask(41, !other, e, "two writers hold the hotplug lock")?;
                checks.ask(41, self.readers == 0, e, "a writer holds the hotplug lock beside a reader")
            }
            What::WriteUnlocked => {
                let held = core::mem::replace(&mut self.writer, false);
                checks.ask(41, held, e, "the hotplug lock is given back by a writer, and none holds it")?;
                checks.ask(
                    31,
                    !self.moving.contains(&true),
                    e,
                    "the hotplug lock is given back and a CPU is still in transition",
                )
            }
            What::UpBegin { who, .. } | What::DownBegin { who, .. } => {
                let down = matches!(e.what, What::DownBegin { .. });
                let free = if down { !self.moving.contains(&true) } else { !self.downwards };
                set(&mut self.moving, who, true);
                self.downwards |= down;
                checks.ask(33, free, e, "a CPU starts to move while another one is in transition")?;
                checks.ask(
                    31,
                    self.writer,
                    e,
                    "a CPU starts to move and nobody holds the hotplug lock for writing",
                )
            }
            What::UpEnd { who, .. } | What::DownEnd { who, .. } => {
                let moved = self.moving.get(who.index()).is_none_or(|moved| *moved);
                set(&mut self.moving, who, false);
                self.downwards &= self.moving.contains(&true);
                checks.ask(33, moved, e, "a CPU is done that was not in transition")
            }
            What::StateEnter { who, state, .. } if state.section() == Some(Section::Starting) => {
                // Of a CPU that is online they are called when they are added or removed.
                let offline = self.online.get(who.index()).is_some_and(|online| !online);
                set(&mut self.starting, who, offline);
                Ok(())
            }
            What::StateLeave { who, state, .. } if state.section() == Some(Section::Starting) => {
                set(&mut self.starting, who, false);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Looks at what is left when the machine is quiet.
    ///
    /// # Errors
    /// The first rule that the end breaks.
    pub fn finish(&mut self) -> Verdict {
        let cpu = CpuId::BOOT;
        let stop = self.stops.over();
        self.checks
            .ask_at_end(41, !self.writer && self.readers == 0, cpu, "somebody still holds the hotplug lock")
            .and(self.checks.ask_at_end(
                33,
                !self.moving.contains(&true),
                cpu,
                "a CPU is still in transition",
            ))
            .and(self.checks.ask_at_end(27, stop, cpu, "a stop has begun and is not over"))
    }

    /// How many pending calls found no room, and whose order was not watched.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.order.overflowed()
    }

    /// How often each rule was asked and broken.
    #[must_use]
    pub const fn checks(&self) -> &Checks {
        &self.checks
    }
}

/// A CPU that the monitor was not built for is ignored.
fn set(mask: &mut [bool], cpu: CpuId, value: bool) {
    if let Some(bit) = mask.get_mut(cpu.index()) {
        *bit = value;
    }
}
