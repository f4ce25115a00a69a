//! What senders send with: records, csds, and the handlers that point to them.
//!
//! A handler is a closure, so its type has no name; a slot is generic over it, and the functions below make them. Each form
//! has a function of its own, as its name is what reports show.

use alloc::boxed::Box;
use alloc::vec::Vec;

use standstill::Csd;
use standstill::context::IrqOff;
use standstill::event::Form;

use crate::ground::Ground;
use crate::record::{Record, Stream};
use crate::shared::Core;

/// A record with the handler that serves it.
pub(crate) struct Slot<const W: usize, F> {
    pub(crate) record: &'static Record<W>,
    pub(crate) handler: F,
}

/// A slot with a csd of its own.
pub(crate) struct CsdSlot<P: Ground, const W: usize, F> {
    pub(crate) csd: Csd<P>,
    pub(crate) slot: Slot<W, F>,
}

macro_rules! handlers {
    ($($name:ident)*) => { $(
        /// A handler that serves `record`.
        pub(crate) fn $name<P: Ground, const N: usize, const W: usize>(
            core: &'static Core<P, N, W>,
            record: &'static Record<W>,
        ) -> impl Fn(&IrqOff<'_>) + Sync {
            move |_: &IrqOff<'_>| core.serve(record)
        }
    )* };
}

handlers!(single_handler async_handler many_handler all_handler device_handler);

/// All records, so that the books can be closed over them.
pub(crate) type Records<const W: usize> = Vec<&'static Record<W>>;

/// A new record that lives for ever, as handlers point to it.
pub(crate) fn record<const W: usize>(stream: Stream, records: &mut Records<W>) -> &'static Record<W> {
    let form = match stream {
        Stream::Form(form) => form,
        Stream::Device => Form::Async,
    };
    let record = Box::leak(Box::new(Record::new(form, stream)));
    records.push(record);
    record
}

/// `n` slots of `stream`, with the handlers that `make` makes, for ever.
pub(crate) fn slots<const W: usize, F>(
    n: usize,
    stream: Stream,
    records: &mut Records<W>,
    make: impl Fn(&'static Record<W>) -> F,
) -> &'static [Slot<W, F>] {
    let slots: Vec<_> = (0..n).map(|_| slot(stream, records, &make)).collect();
    Box::leak(slots.into_boxed_slice())
}

/// As [`slots`], each with a csd.
pub(crate) fn csd_slots<P: Ground, const W: usize, F>(
    n: usize,
    stream: Stream,
    records: &mut Records<W>,
    make: impl Fn(&'static Record<W>) -> F,
) -> &'static [CsdSlot<P, W, F>] {
    let slots: Vec<_> =
        (0..n).map(|_| CsdSlot { csd: Csd::new(), slot: slot(stream, records, &make) }).collect();
    Box::leak(slots.into_boxed_slice())
}

fn slot<const W: usize, F>(
    stream: Stream,
    records: &mut Records<W>,
    make: &impl Fn(&'static Record<W>) -> F,
) -> Slot<W, F> {
    let record = record(stream, records);
    Slot { record, handler: make(record) }
}
