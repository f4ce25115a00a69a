//! One CPU's stopper, and its part in stops. Rules 16, 18 to 21, 24, 27 to 29, 43.

use crate::cpu::CpuId;
use crate::event::{Event, What, WorkKey};
use crate::invariants::{Checks, Verdict};
use crate::protocol::{Protocol, Stages};
use crate::stop::{Stage, is_later_epoch};

/// This CPU's part in one stop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Part {
    epoch: usize,
    acked: Stage,
    ran: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Stops {
    open: bool,
    /// The work that runs.
    work: Option<WorkKey>,
    /// Works that this CPU queued since it last began or published a stop. A handler's works are among them.
    accepted: usize,
    part: Option<Part>,
    /// The stop for which this CPU closed its interrupts.
    closed: Option<usize>,
}

impl Stops {
    pub(super) const fn new() -> Self {
        Stops { open: false, work: None, accepted: 0, part: None, closed: None }
    }

    pub(super) const fn stopper_open(&self) -> bool {
        self.open
    }

    pub(super) fn restart(&mut self) {
        self.work = None;
        self.closed = None;
        self.accepted = 0;
    }

    pub(super) fn feed(
        &mut self,
        e: &Event,
        protocol: &Protocol,
        online: bool,
        checks: &mut Checks,
    ) -> Verdict {
        match e.what {
            What::StopperOpened => self.open = true,
            What::StopperClosed { .. } => self.open = false,
            What::WorkQueued(_) => self.accepted += 1,
            What::WorkTurnedAway(_) => self.accepted = self.accepted.saturating_sub(1),
            What::WorkBegin(key) => {
                let inside = self.work.replace(key);
                checks.ask(
                    24,
                    key.to == e.cpu,
                    e,
                    "a work runs on another CPU than the one it was queued for",
                )?;
                checks.ask(28, self.open, e, "a work begins on a stopper that is closed")?;
                checks.ask(29, inside.is_none(), e, "a work begins inside another one")?;
            }
            What::WorkEnd(key) => {
                let ended = self.work.take();
                checks.ask(29, ended == Some(key), e, "a work ends that is not the one that runs")?;
            }
            What::StopBegin { leaving, .. } => {
                self.accepted = 0;
                checks.ask(
                    43,
                    leaving != Some(e.cpu),
                    e,
                    "the stop is controlled by the CPU that leaves in it",
                )?;
            }
            What::StopPublished { expected, .. } => {
                let accepted = core::mem::take(&mut self.accepted);
                // A CPU that is not online yet takes part itself, without a work.
                let most = accepted + usize::from(!online);
                checks.ask(19, expected <= most, e, "the stop waits for more CPUs than accepted its work")?;
            }
            What::StageAck { epoch, stage, active } => {
                return self.ack(e, protocol, epoch, stage, active, checks);
            }
            What::IrqsClosed { epoch, stage, active, split } => {
                let closed = self.closed.replace(epoch);
                checks.ask(
                    21,
                    closed.is_none(),
                    e,
                    "interrupts are closed for a stop that had closed them already",
                )?;
                // A pair has active CPUs only, and so nothing to split.
                let two = split || active || protocol.stages() == Stages::Single;
                checks.ask(20, two, e, "one disable stage for all, in a protocol that has two")?;
                let own = if split && !active { Stage::DisableIrqInactive } else { Stage::DisableIrqActive };
                checks.ask(20, stage == own, e, "interrupts are closed in the other CPUs' disable stage")?;
            }
            What::IrqsRestored { were_on, are_on, .. } => {
                self.closed = None;
                checks.ask(21, were_on == are_on, e, "interrupts are not as they were before the stop")?;
            }
            What::RunBegin { epoch, active } => {
                let again = self.part.is_some_and(|part| part.epoch == epoch && part.ran);
                if let Some(part) = self.part.as_mut().filter(|part| part.epoch == epoch) {
                    part.ran = true;
                }
                checks.ask(16, active, e, "the stop's function runs on a CPU that is not active")?;
                checks.ask(16, !again, e, "the stop's function runs twice on one CPU")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn ack(
        &mut self,
        e: &Event,
        protocol: &Protocol,
        epoch: usize,
        stage: Stage,
        active: bool,
        checks: &mut Checks,
    ) -> Verdict {
        let before = self.part;
        let (acked, ran) = match before {
            Some(part) if part.epoch == epoch => (part.acked, part.ran),
            _ => (Stage::None, false),
        };
        self.part = Some(Part { epoch, acked: stage, ran });
        if let Some(part) = before.filter(|part| part.epoch != epoch) {
            checks.ask(
                27,
                is_later_epoch(epoch, part.epoch),
                e,
                "this CPU takes part in an older stop after a newer one",
            )?;
            let closed = self.closed.take();
            checks.ask(
                21,
                closed.is_none(),
                e,
                "a new stop begins and the interrupts of the last are still closed",
            )?;
        }
        checks.ask(
            18,
            follows(acked, stage, active, protocol),
            e,
            "a stage is acknowledged out of order, or twice",
        )?;
        if stage == Stage::Run && active {
            checks.ask(16, ran, e, "an active CPU acknowledges RUN and did not run the function")?;
        }
        Ok(())
    }

    pub(super) fn finish(&self, cpu: CpuId, checks: &mut Checks) -> Verdict {
        checks.ask_at_end(29, self.work.is_none(), cpu, "a work began and never ended")?;
        checks.ask_at_end(
            21,
            self.closed.is_none(),
            cpu,
            "interrupts were closed for a stop and never restored",
        )
    }
}

/// May a CPU whose last acknowledgement was `before` acknowledge `stage` next?
fn follows(before: Stage, stage: Stage, active: bool, protocol: &Protocol) -> bool {
    let single = protocol.stages() == Stages::Single;
    match stage {
        Stage::Prepare => before == Stage::None,
        Stage::DisableIrqInactive => before == Stage::Prepare && !single,
        // A pair has active CPUs only, and one disable stage.
        Stage::DisableIrqActive => {
            before == Stage::DisableIrqInactive || before == Stage::Prepare && (active || single)
        }
        Stage::Run => before == Stage::DisableIrqActive,
        // A pass ends with PREPARE for its CPUs.
        Stage::Exit => before == Stage::Run,
        Stage::None | Stage::Seal => false,
    }
}
