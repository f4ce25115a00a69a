//! For each rule the logs that break it, and nothing else.

use standstill::Protocol;
use standstill::event::{Event, Form, Outcome, Ran, Sync, Walk, What};
use standstill::platform::Ipi;
use standstill::stop::Stage;

use crate::good::{boot, calls, cycle, failed_down, failed_up, leave, stops, three};
use crate::log::{Log, cpu, info, key, online, prepare, starting, state, work};

/// A rule, what was done to the log, and the log.
pub(crate) struct Broken {
    pub(crate) rule: u8,
    pub(crate) how: &'static str,
    pub(crate) log: Log,
}

/// A good log with one thing changed.
fn of(rule: u8, how: &'static str, mut log: Log, spoil: impl FnOnce(&mut Log)) -> Broken {
    spoil(&mut log);
    Broken { rule, how, log }
}

fn is(what: What) -> impl Fn(&Event) -> bool {
    move |event| event.what == what
}

fn by(who: usize, what: What) -> impl Fn(&Event) -> bool {
    move |event| *event == Event { cpu: cpu(who), what }
}

fn ends(e: &Event) -> bool {
    matches!(e.what, What::CallEnd(_))
}

fn begins(e: &Event) -> bool {
    matches!(e.what, What::CallBegin(..))
}

/// All of them.
pub(crate) fn all() -> Vec<Broken> {
    let mut all = calls_and_queues();
    all.extend(stops_and_works());
    all.extend(masks_and_locks());
    all.extend(walks());
    all
}

fn calls_and_queues() -> Vec<Broken> {
    let a = info(0, 1, Form::Async, 0x600);
    let b = info(0, 1, Form::Async, 0x610);
    let w = info(0, 1, Form::SingleWait, 0x620);
    let self_send = info(1, 1, Form::Async, 0x630);
    vec![
        of(1, "an accepted call never runs", three(), |log| drop(log.send(a, true))),
        of(1, "a call runs twice", three(), |log| drop(log.call(w).run(w, Ran::Handler))),
        of(1, "a call runs that nobody sent", three(), |log| drop(log.run(w, Ran::Handler))),
        of(1, "a refused call runs all the same", three(), |log| {
            log.on(0, What::CallRefused { to: cpu(1), form: Form::Async }).run(a, Ran::Handler);
        }),
        of(1, "a call dies with its CPU", three(), |log| drop(log.send(a, true).on(0, What::CallLost(a)))),
        of(2, "a call runs on another CPU", three(), |log| {
            log.send(w, true).on(2, What::CallBegin(w, Ran::Handler)).on(2, What::CallEnd(w.key));
            log.on(0, What::CallReturned { key: w.key, ran: true });
        }),
        of(2, "a call runs inside another", calls(), |log| {
            let (x, y) = (info(0, 1, Form::SingleWait, 0x640), info(2, 1, Form::SingleWait, 0x650));
            log.send(x, true).send(y, false).on(1, What::CallBegin(x, Ran::Handler));
            log.on(1, What::CallBegin(y, Ran::Handler)).on(1, What::CallEnd(y.key)).on(1, What::CallEnd(x.key));
            log.on(0, What::CallReturned { key: x.key, ran: true });
            log.on(2, What::CallReturned { key: y.key, ran: true });
        }),
        of(3, "a slot is queued twice", three(), |log| {
            log.send(a, true).send(a, false).run(a, Ran::Handler);
        }),
        of(3, "a slot is queued whose sender still waits", three(), |log| {
            log.send(w, true).run(w, Ran::Handler).call(w);
        }),
        of(4, "no IPI after a push to an empty list", three(), |log| {
            log.call(a).without(is(What::IpiSent { to: cpu(1), why: Ipi::Call }));
        }),
        of(4, "an IPI after a push to a list that was not empty", three(), |log| {
            log.send(a, true).send(b, false).on(0, What::IpiSent { to: cpu(1), why: Ipi::Call });
            log.run(a, Ran::Handler).run(b, Ran::Handler);
        }),
        of(4, "the IPI goes to somebody else", three(), |log| {
            log.call(a).instead(is(What::IpiSent { to: cpu(1), why: Ipi::Call }), |e| {
                e.what = What::IpiSent { to: cpu(2), why: Ipi::Call };
            });
        }),
        of(5, "the second overtakes the first", three(), |log| {
            log.send(a, true).send(b, false).run(b, Ran::Handler).run(a, Ran::Handler);
        }),
        of(6, "a slot is not released", three(), |log| {
            log.call(a).without(is(What::CallReleased(a.key)));
        }),
        of(6, "a slot is released after its function began", three(), |log| {
            log.call(a).moved(begins, is(What::CallReleased(a.key)));
        }),
        of(6, "a waiting sender's slot is released before its function runs", three(), |log| {
            log.call(w).before(begins, 1, What::CallReleased(w.key));
        }),
        of(6, "a waiting sender goes on before its function returned", three(), |log| {
            log.call(w).moved(is(What::CallReturned { key: w.key, ran: true }), ends);
            // The end of a call whose sender is gone is one that did not begin: that is rule 1, so leave it out.
            log.moved(is(What::CallReturned { key: w.key, ran: true }), ends).without(ends);
            log.on(1, What::CallEnd(w.key));
        }),
        of(8, "a call is queued for a CPU that is gone", leave(), |log| {
            log.send(a, true).up(1).run(a, Ran::Handler);
        }),
        of(8, "the CPU that leaves sends to itself in its drain", leave(), |log| {
            let gone = is(What::OnlineCleared { who: cpu(1) });
            log.before(&gone, 1, What::CallQueued(self_send));
            log.before(&gone, 1, What::CallPushed { key: self_send.key, was_empty: false });
            log.before(&gone, 1, What::CallReleased(self_send.key));
            log.before(&gone, 1, What::CallBegin(self_send, Ran::DrainInRun));
            log.before(&gone, 1, What::CallEnd(self_send.key));
        }),
        of(9, "a foreign call runs after its CPU left the online mask", leave(), |log| {
            let mut late = three();
            late.send(a, true);
            late.down(1, &[0, 1, 2], &[a]);
            late.moved(is(What::OnlineCleared { who: cpu(1) }), is(What::CallReleased(a.key)));
            *log = late;
        }),
        of(10, "the queue is not empty at the dying step", leave(), |log| {
            log.instead(is(What::DyingQueue { empty: true }), |e| e.what = What::DyingQueue { empty: false });
        }),
        of(11, "a handler finds a call while its CPU is offline", leave(), |log| {
            let sealed = is(What::DyingQueue { empty: true });
            log.before(sealed, 1, What::CallLate(a));
        }),
        of(12, "a sender never goes on", three(), |log| {
            log.call(w).without(is(What::CallReturned { key: w.key, ran: true }));
        }),
        of(48, "a deaf CPU takes an IPI while it is offline", leave(), |log| {
            log.before(is(What::DyingQueue { empty: true }), 1, What::IpiSpurious);
        }),
        of(48, "a dead CPU acts", leave(), |log| {
            log.on(1, What::CallRefused { to: key(1, 0).to, form: Form::Async });
        }),
        of(48, "a CPU dies online", boot(), |log| {
            log.on(0, What::CpuDies);
        }),
    ]
}
