//! For each rule the logs that break it, and nothing else.

use standstill::event::{Event, Form, Ran, Sync, What, WorkKey};
use standstill::platform::Ipi;
use standstill::stop::Stage;

use crate::good::{boot, leave, three};
use crate::hotplug;
use crate::log::{Log, cpu, info, work};

/// A rule, what was done to the log, and the log.
pub(crate) struct Broken {
    pub(crate) rule: u8,
    pub(crate) how: &'static str,
    pub(crate) log: Log,
}

/// A good log with something changed.
pub(crate) fn of(rule: u8, how: &'static str, mut log: Log, spoil: impl FnOnce(&mut Log)) -> Broken {
    spoil(&mut log);
    Broken { rule, how, log }
}

pub(crate) fn is(what: What) -> impl Fn(&Event) -> bool {
    move |event| event.what == what
}

pub(crate) fn by(who: usize, what: What) -> impl Fn(&Event) -> bool {
    move |event| *event == Event { cpu: cpu(who), what }
}

fn begins(e: &Event) -> bool {
    matches!(e.what, What::CallBegin(..))
}

fn ends(e: &Event) -> bool {
    matches!(e.what, What::CallEnd(_))
}

fn closes(who: usize) -> impl Fn(&Event) -> bool {
    move |e| e.cpu == cpu(who) && matches!(e.what, What::IrqsClosed { .. })
}

fn restores(who: usize) -> impl Fn(&Event) -> bool {
    move |e| e.cpu == cpu(who) && matches!(e.what, What::IrqsRestored { .. })
}

/// All of them.
pub(crate) fn all() -> Vec<Broken> {
    let mut all = calls();
    all.extend(life());
    all.extend(stops());
    all.extend(works());
    all.extend(hotplug::all());
    all
}

fn calls() -> Vec<Broken> {
    let a = info(0, 1, Form::Async, 0x600);
    let b = info(0, 1, Form::Async, 0x610);
    let w = info(0, 1, Form::SingleWait, 0x620);
    let v = info(2, 1, Form::SingleWait, 0x630);
    let itself = info(1, 1, Form::Async, 0x640);
    let ipi = What::IpiSent { to: cpu(1), why: Ipi::Call };
    let back = What::CallReturned { key: w.key, ran: true };
    vec![
        of(1, "an accepted call never runs", three(), |log| {
            log.send(a, true);
        }),
        of(1, "a call runs twice", three(), |log| {
            log.call(w).run(w, Ran::Handler);
        }),
        of(1, "a call runs that nobody sent", three(), |log| {
            log.run(w, Ran::Handler);
        }),
        of(1, "a call that was refused runs all the same", three(), |log| {
            log.on(0, What::CallRefused { to: cpu(1), form: Form::Async }).run(a, Ran::Handler);
        }),
        of(1, "a call dies with its CPU", three(), |log| {
            log.send(a, true).on(0, What::CallLost(a));
        }),
        of(2, "a call runs on another CPU", three(), |log| {
            log.send(w, true).on(2, What::CallBegin(w, Ran::Handler)).on(2, What::CallEnd(w.key)).on(0, back);
        }),
        of(1, "a call is discarded that its sender did not withdraw", three(), |log| {
            log.send(w, true).on(1, What::CallDiscarded(w));
        }),
        of(1, "a call runs that was withdrawn and discarded", three(), |log| {
            log.send(w, true).on(0, What::CallExpired(w.key)).on(1, What::CallDiscarded(w));
            log.run(w, Ran::Handler);
        }),
        of(2, "a call runs inside another", three(), |log| {
            log.send(w, true).send(v, false).on(1, What::CallBegin(w, Ran::Handler));
            log.on(1, What::CallBegin(v, Ran::Handler))
                .on(1, What::CallEnd(v.key))
                .on(1, What::CallEnd(w.key));
            log.on(0, back).on(2, What::CallReturned { key: v.key, ran: true });
        }),
        of(3, "a slot is queued twice", three(), |log| {
            log.send(a, true).send(a, false).run(a, Ran::Handler);
        }),
        of(3, "a slot is queued whose sender still waits", three(), |log| {
            log.send(w, true).run(w, Ran::Handler).call(w);
        }),
        of(4, "no IPI after a push to an empty list", three(), |log| {
            log.call(a).without(is(ipi));
        }),
        of(4, "an IPI after a push to a list that was not empty", three(), |log| {
            log.send(a, true).send(b, false).on(0, ipi).run(a, Ran::Handler).run(b, Ran::Handler);
        }),
        of(4, "the IPI goes to somebody else", three(), |log| {
            log.call(a).instead(is(ipi), |e| e.what = What::IpiSent { to: cpu(2), why: Ipi::Call });
        }),
        of(5, "the second call overtakes the first", three(), |log| {
            log.send(a, true).send(b, false).run(b, Ran::Handler).run(a, Ran::Handler);
        }),
        of(6, "a slot is never released", three(), |log| {
            log.call(a).without(is(What::CallReleased(a.key)));
        }),
        of(6, "the slot of a sender that waits is released before its function runs", three(), |log| {
            log.call(w).before(begins, 1, What::CallReleased(w.key));
        }),
        of(6, "a sender that waits goes on before its function returned", three(), |log| {
            log.call(w).moved(is(back), ends);
        }),
        of(6, "a sender is told that its call died, and it ran", three(), |log| {
            log.call(w).instead(is(back), |e| e.what = What::CallReturned { key: w.key, ran: false });
        }),
        of(6, "a call has a deadline whose sender does not wait", three(), |log| {
            log.send(a, true).on(0, What::CallExpired(a.key)).run(a, Ran::Handler);
        }),
        of(8, "a call is queued for a CPU that is gone", leave(), |log| {
            log.send(a, true).up(1).run(a, Ran::Handler);
        }),
        of(8, "the CPU that leaves sends to itself in its drain", leave(), |log| {
            let gone = is(What::OnlineCleared { who: cpu(1) });
            log.before(&gone, 1, What::CallQueued(itself));
            log.before(&gone, 1, What::CallPushed { key: itself.key, was_empty: false });
            log.before(&gone, 1, What::CallReleased(itself.key));
            log.before(&gone, 1, What::CallBegin(itself, Ran::DrainInRun));
            log.before(&gone, 1, What::CallEnd(itself.key));
        }),
        of(9, "a foreign call runs after its CPU left the online mask", three(), |log| {
            log.send(a, true).down(1, &[0, 1, 2], &[a]);
            log.moved(is(What::OnlineCleared { who: cpu(1) }), is(What::CallReleased(a.key)));
        }),
        of(10, "the queue is not empty at the dying step", leave(), |log| {
            log.instead(is(What::DyingQueue { empty: true }), |e| e.what = What::DyingQueue { empty: false });
        }),
        of(11, "a handler finds a call while its CPU is offline", leave(), |log| {
            log.before(is(What::DyingQueue { empty: true }), 1, What::CallLate(a));
        }),
        of(12, "a sender that waits never goes on", three(), |log| {
            log.call(w).without(is(back));
        }),
    ]
}

/// The handshake of CPU 3.
fn moves(from: Sync, to: Sync) -> What {
    What::SyncMoved { who: cpu(3), from, to }
}

fn life() -> Vec<Broken> {
    let dying = is(What::DyingQueue { empty: true });
    vec![
        of(48, "a deaf CPU takes an IPI while it is offline", leave(), |log| {
            log.before(&dying, 1, What::IpiSpurious);
        }),
        of(48, "a dead CPU acts", leave(), |log| {
            log.on(1, What::CallRefused { to: cpu(0), form: Form::Async });
        }),
        of(48, "a CPU dies online", boot(), |log| {
            log.on(0, What::CpuDies);
        }),
        of(49, "a CPU comes online and has not answered", three(), |log| {
            log.up(3).without(is(moves(Sync::Kicked, Sync::Alive)));
        }),
        of(
            49,
            "a CPU that was given up and started again comes online and has not answered",
            three(),
            |log| {
                let online = is(moves(Sync::Alive, Sync::Online));
                log.up(3).before(&online, 0, moves(Sync::Alive, Sync::GivenUp));
                log.before(&online, 0, moves(Sync::GivenUp, Sync::Kicked));
            },
        ),
        of(49, "a CPU is given up twice", three(), |log| {
            log.up(3).before(is(What::OnlineSet { who: cpu(3) }), 0, moves(Sync::Kicked, Sync::GivenUp));
            log.before(is(What::OnlineSet { who: cpu(3) }), 0, moves(Sync::Kicked, Sync::GivenUp));
        }),
        of(49, "a CPU is given up that is up", three(), |log| {
            log.up(3).on(0, moves(Sync::Online, Sync::GivenUp));
        }),
        of(49, "a CPU is started again that was given up too late", three(), |log| {
            let online = is(What::OnlineSet { who: cpu(3) });
            log.up(3).before(&online, 0, moves(Sync::Kicked, Sync::GivenUp));
            log.on(0, moves(Sync::GivenUp, Sync::Kicked));
        }),
        of(49, "a CPU dies twice", leave(), |log| {
            log.on(0, What::SyncMoved { who: cpu(1), from: Sync::Dying, to: Sync::Dead });
        }),
        of(53, "a CPU notes its own death", three(), |log| {
            log.on(2, What::DeadSeen { who: cpu(2) });
        }),
        of(53, "a death is noted twice", leave(), |log| {
            log.twice(is(What::DeadSeen { who: cpu(1) }));
        }),
        of(53, "a death is not noted", leave(), |log| {
            log.without(is(What::DeadSeen { who: cpu(1) }));
        }),
    ]
}

/// One stop of CPUs 0, 1 and 2, in which `active` run the function.
fn stop(active: &[usize]) -> Log {
    let mut log = three();
    log.stop(0, &[0, 1, 2], active, None, |_, _| ());
    log
}

/// A stop that nobody has joined is abandoned.
fn abandon(log: &mut Log, epoch: usize, members: &[usize]) {
    for &who in members {
        log.on(0, What::WorkClaimed(work(who)));
    }
    log.on(0, What::StopAborted { epoch, stage: Stage::None }).on(0, What::StopEnd { epoch });
}

fn stops() -> Vec<Broken> {
    let epoch = 1;
    let runs = What::RunBegin { epoch, active: true };
    let ran = What::RunEnd { epoch, value: 0 };
    let ack = |who: usize, stage, active| by(who, What::StageAck { epoch, stage, active });
    let entered = |stage| is(What::StageEntered { epoch, stage });
    vec![
        of(16, "the function runs on a CPU that is not active", stop(&[1]), |log| {
            log.before(is(ran), 2, What::RunBegin { epoch, active: false }).before(is(ran), 2, ran);
        }),
        of(16, "the function runs twice", stop(&[1]), |log| {
            log.twice(is(runs));
        }),
        of(16, "the function does not run", stop(&[1]), |log| {
            log.without(is(runs));
            log.without(is(ran));
        }),
        of(17, "the active CPU has not closed its interrupts", stop(&[1]), |log| {
            log.without(closes(1));
        }),
        of(17, "a CPU opens its interrupts while the function runs", stop(&[1]), |log| {
            log.moved(restores(2), is(ran));
        }),
        of(18, "a CPU skips a stage", stop(&[1]), |log| {
            log.without(ack(2, Stage::DisableIrqInactive, false));
        }),
        of(18, "a stage is entered before the last acknowledgement", stop(&[1]), |log| {
            log.moved(entered(Stage::Seal), ack(2, Stage::DisableIrqActive, false));
        }),
        of(18, "the function runs before RUN", stop(&[1]), |log| {
            log.moved(is(runs), entered(Stage::Run));
        }),
        of(18, "a stop is over before its end", stop(&[1]), |log| {
            log.moved(is(What::StopEnd { epoch }), ack(0, Stage::Exit, false));
        }),
        of(18, "a stop is abandoned in RUN", stop(&[1]), |log| {
            log.before(is(ran), 0, What::StopAborted { epoch, stage: Stage::Run });
        }),
        of(19, "a stop waits for a CPU whose stopper was closed", three(), |log| {
            let epoch = log.stop_begin(0, &[0, 1, 2], None);
            log.instead(is(What::StopPublished { epoch, expected: 3 }), |e| {
                e.what = What::StopPublished { epoch, expected: 4 };
            });
            abandon(log, epoch, &[0, 1, 2]);
        }),
        of(19, "more CPUs take part than the stop waits for", three(), |log| {
            let epoch = log.stop_begin(0, &[], None);
            log.without(is(What::StopPublished { epoch, expected: 0 }));
            log.on(0, What::WorkQueued(work(1))).on(0, What::StopPublished { epoch, expected: 1 });
            log.on(0, What::StageEntered { epoch, stage: Stage::Prepare });
            log.on(1, What::WorkBegin(work(1)))
                .on(1, What::StageAck { epoch, stage: Stage::Prepare, active: false });
            log.on(2, What::StageAck { epoch, stage: Stage::Prepare, active: false });
            log.on(2, What::StageEntered { epoch, stage: Stage::Exit });
            log.on(1, What::WorkEnd(work(1))).on(0, What::StopEnd { epoch });
        }),
        of(20, "the active CPU closes its interrupts with those that stay", stop(&[1]), |log| {
            let stage = Stage::DisableIrqInactive;
            log.instead(closes(1), |e| e.what = What::IrqsClosed { epoch, stage, active: true, split: true });
        }),
        of(20, "the two disable stages are merged", stop(&[1]), |log| {
            let stage = Stage::DisableIrqActive;
            log.instead(closes(2), |e| {
                e.what = What::IrqsClosed { epoch, stage, active: false, split: false }
            });
        }),
        of(20, "the active CPU is deaf before the others are quiet", stop(&[1]), |log| {
            log.moved(closes(1), closes(2));
        }),
        of(21, "interrupts were on, and are off after the stop", stop(&[1]), |log| {
            log.instead(restores(2), |e| e.what = What::IrqsRestored { epoch, were_on: true, are_on: false });
        }),
        of(21, "interrupts are not restored", stop(&[1]), |log| {
            log.without(restores(2));
        }),
        of(27, "a stop begins inside another one", three(), |log| {
            let first = log.stop_begin(0, &[0, 1, 2], None);
            let second = log.stop_begin(2, &[0, 1, 2], None);
            abandon(log, first, &[0, 1, 2]);
            abandon(log, second, &[0, 1, 2]);
        }),
        of(27, "a CPU joins an older stop after a newer one", three(), |log| {
            let first = log.stop_begin(0, &[0], None);
            abandon(log, first, &[0]);
            log.stop(0, &[0, 1, 2], &[1], None, |_, _| ());
            log.on(1, What::StageAck { epoch: first, stage: Stage::Prepare, active: false });
        }),
        of(43, "the CPU that leaves controls the stop", leave(), |log| {
            log.instead(is(What::StopBegin { epoch, leaving: Some(cpu(1)) }), |e| e.cpu = cpu(1));
        }),
    ]
}

fn works() -> Vec<Broken> {
    let other = WorkKey { work: 0x77, to: cpu(2) };
    let one = |log: &mut Log, on: usize, key| {
        log.on(on, What::WorkBegin(key)).on(on, What::WorkEnd(key));
    };
    vec![
        of(22, "a work runs twice", three(), |log| {
            log.on(0, What::WorkQueued(other));
            one(log, 2, other);
            one(log, 2, other);
        }),
        of(22, "a work runs that was claimed back", three(), |log| {
            log.on(0, What::WorkQueued(other)).on(0, What::WorkClaimed(other));
            one(log, 2, other);
        }),
        of(22, "a work is refused that ran", three(), |log| {
            log.on(0, What::WorkQueued(other));
            one(log, 2, other);
            log.on(2, What::WorkRefused(other));
        }),
        of(23, "a CPU is online and its stopper is closed", three(), |log| {
            log.up(3).moved(is(What::OnlineSet { who: cpu(3) }), by(3, What::StopperOpened));
        }),
        of(24, "a work runs on another CPU", three(), |log| {
            log.on(0, What::WorkQueued(other));
            one(log, 1, other);
        }),
        of(25, "a work is forgotten", three(), |log| {
            log.on(0, What::WorkQueued(other));
        }),
        of(28, "a work runs on a stopper that is closed", three(), |log| {
            log.on(0, What::WorkQueued(other)).on(2, What::StopperClosed { refused: 0 });
            one(log, 2, other);
        }),
        of(29, "a work runs inside another", three(), |log| {
            log.on(0, What::WorkQueued(other)).on(0, What::WorkQueued(work(2))).on(2, What::WorkBegin(other));
            one(log, 2, work(2));
            log.on(2, What::WorkEnd(other));
        }),
        of(29, "a work never ends", three(), |log| {
            log.on(0, What::WorkQueued(other)).on(2, What::WorkBegin(other));
        }),
    ]
}
