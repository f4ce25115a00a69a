//! Sending without wait, with the account of it: for invokers and for the handlers of devices.

use standstill::event::Form;
use standstill::{CallError, CpuId, CpuMask};

use crate::ground::Ground;
use crate::record::Record;
use crate::rules::{Failure, Rule};
use crate::shared::Core;

impl<P: Ground, const N: usize, const W: usize> Core<P, N, W> {
    /// Sends one call to `to` with `send`, on the account of `record`. The caller stays on its CPU, and the record is settled.
    /// Says how many calls it was: 1, or 0 if the slot was busy.
    pub(crate) fn post_one(
        &self,
        record: &Record<W>,
        to: CpuId,
        send: impl FnOnce(CpuId) -> Result<(), CallError>,
    ) -> u64 {
        let counts = self.form(record.form);
        let asked = CpuMask::of(to);
        self.open(record, &asked);
        let calm = self.calm();
        let sent = send(to);
        match sent {
            Ok(()) => self.check_taken(calm, &asked, &asked),
            // The record is settled, so its own slot is free.
            Err(CallError::Busy) => {
                let others = record.form != Form::Async;
                self.rules.check(Rule::Taken, others, |rule| self.failure(rule, self.ground().this_cpu()));
            }
            Err(_) => self.check_taken(calm, &asked, &CpuMask::EMPTY),
        }
        match sent {
            Ok(()) => {
                record.accepted(&asked);
                counts.sent(1);
                1
            }
            Err(CallError::Busy) => {
                counts.busy();
                0
            }
            Err(_) => {
                counts.sent(1);
                counts.refused(1);
                1
            }
        }
    }

    /// Sends one call to many with `send`, on the account of `record`. The caller stays on its CPU, and the record is
    /// settled. `named`: the caller named the CPUs, so those of them that did not take the call refused it.
    pub(crate) fn post_many(
        &self,
        record: &Record<W>,
        asked: &CpuMask<W>,
        named: bool,
        send: impl FnOnce() -> Result<CpuMask<W>, CallError>,
    ) -> u64 {
        let counts = self.form(record.form);
        let me = self.ground().this_cpu();
        let mut others = *asked;
        others.remove(me);
        self.open(record, &others);
        let calm = self.calm();
        let Ok(taken) = send() else {
            counts.busy();
            return 0;
        };
        record.accepted(&taken);
        self.check_taken(calm, &others, &taken);
        self.rules.check(Rule::RanSet, taken.is_subset(&others), |rule| Failure {
            func: Some(record.stream.func()),
            sender: Some(me),
            ..self.failure(rule, me)
        });
        let refused = if named { others.without(&taken).len() as u64 } else { 0 };
        let n = taken.len() as u64 + refused;
        counts.sent(n);
        counts.refused(refused);
        n
    }

    /// Opens the account of a call that this CPU sends: the stream is the CPU's.
    fn open(&self, record: &Record<W>, asked: &CpuMask<W>) {
        self.check_settled(record);
        let me = self.ground().this_cpu().index();
        record.begin(me, self.next_in(record.stream, me), self.era(), asked);
    }
}
