//! One CPU's calls: as a sender, rule 4; as a receiver, rules 2, 6, 9, 10 and 11.

use crate::cpu::CpuId;
use crate::event::{CallKey, Event, Ran, What};
use crate::invariants::table::mix;
use crate::invariants::{Checks, Verdict};
use crate::platform::Ipi;
use crate::protocol::{Property, Protocol};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Calls {
    /// Pushes that found the list empty, less call IPIs. An interrupt between the two leaves it as it found it.
    owed: i64,
    /// The targets of those pushes, less the targets of those IPIs, each as a mixed number: 0 when they are the same.
    owed_to: usize,
    /// The slot that was released last, until its function begins.
    released: Option<CallKey>,
    /// The call that runs.
    running: Option<CallKey>,
    /// The dying queue was looked at, and the CPU has not been online since.
    sealed: bool,
}

impl Calls {
    pub(super) const fn new() -> Self {
        Calls { owed: 0, owed_to: 0, released: None, running: None, sealed: false }
    }

    pub(super) fn restart(&mut self) {
        self.released = None;
        self.running = None;
    }

    pub(super) fn feed(
        &mut self,
        e: &Event,
        protocol: &Protocol,
        online: bool,
        checks: &mut Checks,
    ) -> Verdict {
        let promises = |property| protocol.promises().contains(&property);
        match e.what {
            What::CallPushed { key, was_empty: true } => {
                self.owed += 1;
                self.owed_to = self.owed_to.wrapping_add(mix(key.to.index() + 1));
                Ok(())
            }
            What::IpiSent { to, why: Ipi::Call } => {
                self.owed -= 1;
                self.owed_to = self.owed_to.wrapping_sub(mix(to.index() + 1));
                if self.owed < 0 {
                    (self.owed, self.owed_to) = (0, 0);
                    return checks.ask(
                        4,
                        false,
                        e,
                        "a call IPI was sent and no push had found the list empty",
                    );
                }
                let same = self.owed > 0 || self.owed_to == 0;
                if self.owed == 0 {
                    self.owed_to = 0;
                }
                checks.ask(4, same, e, "a call IPI went to another CPU than the one whose list was empty")
            }
            What::CallReleased(key) => {
                let before = self.released.replace(key);
                checks.ask(
                    6,
                    before.is_none(),
                    e,
                    "a slot was released before the function of the last one began",
                )
            }
            What::CallBegin(info, ran) => {
                let released = self.released.take();
                let inside = self.running.replace(info.key);
                let foreign = info.sender != e.cpu;
                checks.ask(2, info.key.to == e.cpu, e, "a call runs on another CPU than its target")?;
                checks.ask(2, inside.is_none(), e, "a call begins inside another call of the same queue")?;
                if info.form.waits() {
                    checks.ask(6, released.is_none(), e, "a slot was released, and another call begins")?;
                } else {
                    let free = released == Some(info.key);
                    checks.ask(
                        6,
                        free,
                        e,
                        "a call without wait begins, and its slot was not released before",
                    )?;
                }
                if promises(Property::Outside) {
                    checks.ask(
                        9,
                        online || !foreign,
                        e,
                        "a foreign call begins while this CPU is offline",
                    )?;
                } else if promises(Property::Lost) {
                    checks.ask(
                        9,
                        !self.sealed,
                        e,
                        "a call begins after the last drain of a CPU that leaves",
                    )?;
                }
                if promises(Property::Late) && ran == Ran::Handler {
                    checks.ask(11, online, e, "a handler runs a call on an offline CPU")?;
                }
                Ok(())
            }
            What::CallEnd(key) => {
                let ended = self.running.take();
                checks.ask(2, ended == Some(key), e, "a call ends that is not the one that runs")
            }
            What::DyingQueue { empty } => {
                self.sealed = true;
                if promises(Property::Lost) {
                    checks.ask(
                        10,
                        empty,
                        e,
                        "the queue of the CPU that leaves is not empty after its last drain",
                    )
                } else {
                    Ok(())
                }
            }
            What::CallLate(_) if promises(Property::Late) => {
                checks.ask(11, false, e, "an IPI reached an offline CPU and found a call")
            }
            What::OnlineSet { who } if who == e.cpu => {
                self.sealed = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn finish(&self, cpu: CpuId, checks: &mut Checks) -> Verdict {
        checks.ask_at_end(4, self.owed == 0, cpu, "a push found the list empty and no call IPI was sent")?;
        checks.ask_at_end(2, self.running.is_none(), cpu, "a call began and never ended")
    }
}
