//! [`Record`]: the account of one call at a time, and of all calls that went through it.
//!
//! A sender writes a record, sends the call, and does not use the record again before all handlers are over: so what the
//! record says belongs to the call that a handler serves. The last access of a handler is [`end`](Record::end)
//! (release), and [`is_idle`](Record::is_idle) (acquire) observes it.
//!
//! What a handler must see at once is plain (relaxed) here on purpose: making it visible is the library's job, and it is checked.

use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use standstill::event::Form;
use standstill::{CpuId, CpuMask};

/// A set of CPUs that handlers add themselves to.
pub(crate) struct SharedMask<const W: usize>([AtomicU64; W]);

impl<const W: usize> SharedMask<W> {
    pub(crate) const fn new() -> Self {
        SharedMask([const { AtomicU64::new(0) }; W])
    }

    pub(crate) fn clear(&self) {
        for word in &self.0 {
            word.store(0, Relaxed);
        }
    }

    pub(crate) fn assign(&self, mask: &CpuMask<W>) {
        self.clear();
        for cpu in mask {
            self.insert(cpu);
        }
    }

    /// Adds `cpu`; false if it was there already.
    pub(crate) fn insert(&self, cpu: CpuId) -> bool {
        let bit = 1 << (cpu.index() % 64);
        self.0[cpu.index() / 64].fetch_or(bit, Relaxed) & bit == 0
    }

    pub(crate) fn contains(&self, cpu: CpuId) -> bool {
        let word = self.0.get(cpu.index() / 64).map_or(0, |w| w.load(Relaxed));
        word & 1 << (cpu.index() % 64) != 0
    }

    pub(crate) fn get(&self) -> CpuMask<W> {
        let mut mask = CpuMask::EMPTY;
        for (w, word) in self.0.iter().enumerate() {
            let mut bits = word.load(Relaxed);
            while bits != 0 {
                mask.insert(CpuId::new(w * 64 + bits.trailing_zeros() as usize));
                bits &= bits - 1;
            }
        }
        mask
    }
}

/// The account of one call at a time. See the module.
pub(crate) struct Record<const W: usize> {
    /// In which form this record is used.
    pub(crate) form: Form,
    /// In which stream its calls are ordered.
    pub(crate) stream: Stream,
    /// Who sends: a CPU for the forms without wait, an invoker for those that wait.
    pub(crate) origin: AtomicU32,
    /// The call's place in its stream.
    pub(crate) order: AtomicU32,
    /// The CPUs that the call goes to.
    pub(crate) asked: SharedMask<W>,
    /// Those whose handler began.
    pub(crate) ran: SharedMask<W>,
    /// The CPUs that accepted it; written by the sender when it knows, and read by nobody else.
    pub(crate) taken: SharedMask<W>,
    /// How many handlers of the call wrote here, for the sender that waits.
    pub(crate) out: AtomicU64,
    /// How many bring-ups were over when the call was sent.
    pub(crate) era: AtomicU64,
    /// How many (call, target) were accepted in this record's life, less those known to be lost; written by the sender only.
    accepted: AtomicU64,
    /// How many handlers are over in this record's life.
    ended: AtomicU64,
}

/// The calls whose order is checked together: one form, and apart from it the handlers of devices, which interrupt
/// senders of the same form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stream {
    Form(Form),
    Device,
}

impl Stream {
    pub(crate) const COUNT: usize = Form::ALL.len() + 1;

    /// The name of the handlers of its calls.
    pub(crate) const fn func(self) -> &'static str {
        match self {
            Stream::Form(Form::Single) => "single_handler",
            Stream::Form(Form::SingleWait) => "single_wait_handler",
            Stream::Form(Form::Async) => "async_handler",
            Stream::Form(Form::Many) => "many_handler",
            Stream::Form(Form::ManyWait) => "many_wait_handler",
            Stream::Form(Form::All) => "all_handler",
            Stream::Form(Form::AllWait) => "all_wait_handler",
            Stream::Device => "device_handler",
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Stream::Form(form) => form as usize,
            Stream::Device => Form::ALL.len(),
        }
    }
}

impl<const W: usize> Record<W> {
    pub(crate) const fn new(form: Form, stream: Stream) -> Self {
        Record {
            form,
            stream,
            origin: AtomicU32::new(0),
            order: AtomicU32::new(0),
            asked: SharedMask::new(),
            ran: SharedMask::new(),
            taken: SharedMask::new(),
            out: AtomicU64::new(0),
            era: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// Are all handlers of the last call over? Acquire: pairs with [`end`](Self::end).
    pub(crate) fn is_idle(&self) -> bool {
        self.ended.load(Acquire) == self.accepted.load(Relaxed)
    }

    /// Opens the account of a new call; the record is idle.
    pub(crate) fn begin(&self, origin: usize, order: u32, era: u64, asked: &CpuMask<W>) {
        self.asked.assign(asked);
        self.ran.clear();
        self.taken.clear();
        self.out.store(0, Relaxed);
        self.era.store(era, Relaxed);
        self.origin.store(origin as u32, Relaxed);
        self.order.store(order, Relaxed);
    }

    /// The call was accepted by `targets`.
    pub(crate) fn accepted(&self, targets: &CpuMask<W>) {
        self.taken.assign(targets);
        self.accepted.store(self.accepted.load(Relaxed) + targets.len() as u64, Relaxed);
    }

    /// The CPUs that accepted the call, and whose handler did not begin.
    pub(crate) fn missing(&self) -> CpuMask<W> {
        self.taken.get().without(&self.ran.get())
    }

    /// The CPUs whose handler began though they refused the call. Meaningful when the call is over.
    pub(crate) fn intruders(&self) -> CpuMask<W> {
        self.ran.get().without(&self.taken.get())
    }

    /// `targets` of those that were accepted will never run.
    pub(crate) fn lost(&self, targets: u64) {
        self.accepted.store(self.accepted.load(Relaxed) - targets, Relaxed);
    }

    /// A handler is over: its last access. Release: pairs with [`is_idle`](Self::is_idle).
    pub(crate) fn end(&self) {
        self.ended.fetch_add(1, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_idle_when_all_handlers_ended() {
        let record = Record::<1>::new(Form::Many, Stream::Form(Form::Many));
        assert!(record.is_idle());
        record.begin(3, 1, 0, &CpuMask::first_n(3));
        record.accepted(&CpuMask::first_n(2));
        assert_eq!((record.is_idle(), record.missing()), (false, CpuMask::first_n(2)));
        record.ran.insert(CpuId::new(1));
        assert_eq!(record.missing(), CpuMask::of(CpuId::new(0)));
        record.end();
        record.end();
        assert!(record.is_idle());
    }

    #[test]
    fn a_handler_on_a_cpu_that_refused_is_an_intruder() {
        let record = Record::<1>::new(Form::Many, Stream::Form(Form::Many));
        record.begin(0, 1, 0, &CpuMask::first_n(2));
        record.accepted(&CpuMask::of(CpuId::new(1)));
        record.ran.insert(CpuId::new(1));
        assert!(record.intruders().is_empty());
        record.ran.insert(CpuId::new(0));
        assert_eq!(record.intruders(), CpuMask::of(CpuId::new(0)));
    }

    #[test]
    fn a_lost_call_frees_its_record() {
        let record = Record::<1>::new(Form::Async, Stream::Device);
        record.accepted(&CpuMask::of(CpuId::new(0)));
        assert!(!record.is_idle());
        record.lost(1);
        assert!(record.is_idle());
    }

    #[test]
    fn a_cpu_is_added_once() {
        let mask = SharedMask::<2>::new();
        assert!(mask.insert(CpuId::new(100)));
        assert!(!mask.insert(CpuId::new(100)));
        assert!(mask.contains(CpuId::new(100)) && !mask.contains(CpuId::new(36)));
        assert!(!mask.contains(CpuId::new(128)));
        assert_eq!(mask.get(), CpuMask::of(CpuId::new(100)));
    }
}
