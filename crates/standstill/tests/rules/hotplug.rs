//! Broken logs of masks, locks, callbacks and walks.

use standstill::Protocol;
use standstill::event::{Event, Outcome, Sync, Walk, What};
use standstill::hotplug::StateId;
use standstill::stop::Stage;

use crate::broken::{Broken, by, is, of};
use crate::good::{boot_with, failed_down, failed_up, leave, refused_down, stays, three, together};
use crate::log::{Log, cpu, online, prepare, starting};

fn enters(who: usize, state: StateId) -> impl Fn(&Event) -> bool {
    move |e| matches!(e.what, What::StateEnter { who: w, state: s, .. } if (w, s) == (cpu(who), state))
}

fn leaves(who: usize, state: StateId) -> impl Fn(&Event) -> bool {
    move |e| matches!(e.what, What::StateLeave { who: w, state: s, .. } if (w, s) == (cpu(who), state))
}

/// The callback of `state` that ended last ends otherwise.
fn ends_in(log: &mut Log, who: usize, state: StateId, with: Outcome) {
    log.instead(leaves(who, state), |e| match &mut e.what {
        What::StateLeave { outcome, .. } => *outcome = with,
        other => panic!("{other:?}"),
    });
}

pub(crate) fn all() -> Vec<Broken> {
    let mut all = masks_and_locks();
    all.extend(places());
    all.extend(walks());
    all
}

fn masks_and_locks() -> Vec<Broken> {
    let who = cpu(3);
    vec![
        of(31, "a CPU leaves and nobody holds the lock", leave(), |log| {
            log.without(is(What::WriteLocked));
            log.without(is(What::WriteUnlocked));
        }),
        of(31, "a CPU comes online and its operation has ended", three(), |log| {
            let moves = |from, to| What::SyncMoved { who, from, to };
            log.up_begin(3).callback(0, 3, prepare(), Walk::Up);
            log.on(0, moves(Sync::Dead, Sync::Kicked)).on(3, What::CpuStarted { incarnation: 1 });
            log.on(3, moves(Sync::Kicked, Sync::Alive)).on(0, moves(Sync::Alive, Sync::GivenUp));
            log.up_end(3, false).on(3, What::StopperOpened).on(3, What::OnlineSet { who });
        }),
        of(31, "a CPU leaves and its operation has ended", boot_with(Protocol::REFUSE), |log| {
            let (who, down) = (cpu(1), Walk::Down);
            log.up(1).down_begin(1).callback(1, 1, online(2), down);
            log.callback(1, 1, online(1), down).ends(Outcome::Failed);
            log.callback(1, 1, online(2), Walk::RollbackUp).ends(Outcome::Failed);
            log.on(0, What::ThreadsParked { who }).down_end(1, false);
            log.on(1, What::AcceptingCleared { who }).on(1, What::OnlineCleared { who });
        }),
        of(32, "a CPU is active before it is online", three(), |log| {
            log.up(3).moved(is(What::ActiveSet { who }), is(What::OnlineSet { who }));
        }),
        of(32, "a CPU is active and no longer online", leave(), |log| {
            log.moved(is(What::ActiveCleared { who: cpu(1) }), is(What::DyingQueue { empty: true }));
        }),
        of(33, "two CPUs move at a time", three(), |log| {
            log.down_begin(1).on(0, What::UpBegin { who, target: online(1) });
            log.on(0, What::UpEnd { who, ok: false })
                .on(0, What::ActiveSet { who: cpu(1) })
                .down_end(1, false);
        }),
        of(33, "a CPU goes down beside one that comes up", three(), |log| {
            let one = cpu(1);
            log.up_begin(3).on(0, What::DownBegin { who: one, target: online(1) });
            log.on(0, What::DownEnd { who: one, ok: false }).up_end(3, false);
        }),
        of(33, "a CPU leaves while another one runs its STARTING callbacks", leave(), |log| {
            let leaves = |e: &Event| matches!(e.what, What::StopBegin { leaving: Some(_), .. });
            let enter = What::StateEnter {
                who,
                state: starting(),
                name: "test:state",
                walk: Walk::Up,
                irqs_on: false,
            };
            let back = What::StateLeave { who, state: starting(), walk: Walk::Up, outcome: Outcome::Ok };
            log.before(leaves, 3, enter).on(3, back);
        }),
        of(34, "a CPU comes online in the stop by another one that comes up", together(), |log| {
            let two = cpu(2);
            let run = is(What::RunBegin { epoch: 1, active: true });
            log.moved(by(2, What::StopperOpened), &run);
            log.moved(is(What::OnlineSet { who: two }), &run);
        }),
        of(34, "a CPU is put online by another", three(), |log| {
            log.up(3).instead(is(What::OnlineSet { who }), |e| e.cpu = cpu(0));
        }),
        of(34, "a CPU leaves the mask before the others are frozen", three(), |log| {
            log.down(1, &[0, 1, 2], &[]);
            let run = is(What::StageEntered { epoch: 1, stage: Stage::Run });
            log.moved(is(What::OnlineCleared { who: cpu(1) }), run);
        }),
        of(41, "a reader beside the writer", three(), |log| {
            log.up_begin(3).on(1, What::ReadLocked).on(1, What::ReadUnlocked).up_end(3, false);
        }),
        of(41, "a writer beside a reader", three(), |log| {
            log.on(1, What::ReadLocked).up_begin(3).up_end(3, false).on(1, What::ReadUnlocked);
        }),
        of(41, "a lock that is never given back", three(), |log| {
            log.on(1, What::ReadLocked);
        }),
        of(42, "the last CPU leaves", boot_with(Protocol::REFUSE), |log| {
            let who = cpu(0);
            log.down_begin(0).on(0, What::ThreadsParked { who }).on(0, What::AcceptingCleared { who });
            log.on(0, What::OnlineCleared { who }).down_end(0, false);
        }),
        of(44, "a CPU leaves and its threads are not parked", leave(), |log| {
            log.without(is(What::ThreadsParked { who: cpu(1) }));
        }),
        of(44, "threads run on a CPU that is not online", three(), |log| {
            log.up(3).moved(is(What::ThreadsUnparked { who }), is(What::OnlineSet { who }));
        }),
        of(52, "a CPU is up and not active", three(), |log| {
            log.up(3).without(is(What::ActiveSet { who }));
        }),
        of(52, "a CPU is down and still accepts calls", leave(), |log| {
            log.without(is(What::AcceptingCleared { who: cpu(1) }));
        }),
    ]
}

fn places() -> Vec<Broken> {
    let irqs = |log: &mut Log, state, on| {
        log.up(3).instead(enters(3, state), |e| match &mut e.what {
            What::StateEnter { irqs_on, .. } => *irqs_on = on,
            other => panic!("{other:?}"),
        });
    };
    let moved_to = |log: &mut Log, state, on: usize| {
        log.up(3).instead(enters(3, state), |e| e.cpu = cpu(on));
    };
    vec![
        of(36, "a PREPARE callback with interrupts off", three(), |log| irqs(log, prepare(), false)),
        of(36, "a PREPARE callback on the CPU itself", three(), |log| moved_to(log, prepare(), 3)),
        of(36, "a STARTING callback with interrupts on", three(), |log| irqs(log, starting(), true)),
        of(36, "a STARTING callback on another CPU", three(), |log| moved_to(log, starting(), 0)),
        of(36, "an ONLINE callback with interrupts off", three(), |log| irqs(log, online(1), false)),
        of(36, "an ONLINE callback on another CPU", three(), |log| moved_to(log, online(1), 0)),
    ]
}

fn walks() -> Vec<Broken> {
    let back = Walk::RollbackDown;
    let starts = |log: &mut Log| {
        log.up_begin(3).callback(0, 3, prepare(), Walk::Up);
    };
    vec![
        of(35, "states are passed in the wrong order", three(), |log| {
            starts(log);
            log.arrive(3).callback(3, 3, online(2), Walk::Up).callback(3, 3, online(1), Walk::Up);
            log.on(0, What::ActiveSet { who: cpu(3) }).up_end(3, true);
        }),
        of(35, "a state is passed twice", three(), |log| {
            starts(log);
            log.callback(0, 3, prepare(), Walk::Up)
                .arrive(3)
                .on(0, What::ActiveSet { who: cpu(3) })
                .up_end(3, true);
        }),
        of(35, "a callback returns that was not entered", three(), |log| {
            log.up(3).without(enters(3, online(2)));
        }),
        of(35, "an operation ends inside a callback", three(), |log| {
            starts(log);
            log.events.pop();
            log.up_end(3, false);
        }),
        of(37, "a rollback in the order of the walk", failed_up(), |log| {
            let parked = is(What::ThreadsParked { who: cpu(3) });
            log.moved(enters(3, online(2)), &parked).moved(leaves(3, online(2)), &parked);
        }),
        of(37, "a rollback undoes the state that failed", three(), |log| {
            starts(log);
            log.ends(Outcome::Failed).callback(0, 3, prepare(), back).up_end(3, false);
        }),
        of(37, "an operation reports success after a failure", three(), |log| {
            log.on(0, What::WriteLocked).on(0, What::DownBegin { who: cpu(1), target: online(1) });
            log.on(0, What::ActiveCleared { who: cpu(1) });
            log.callback(1, 1, online(2), Walk::Down).ends(Outcome::Failed).down_end(1, true);
        }),
        of(37, "a rollback that leaves something out", failed_up(), |log| {
            log.without(enters(3, prepare()));
            log.without(leaves(3, prepare()));
        }),
        of(37, "a CPU that can't leave again keeps what succeeded", stays(), |log| {
            log.without(enters(3, online(1)));
            log.without(leaves(3, online(1)));
        }),
        of(37, "a CPU that refused to leave takes no calls any more", refused_down(), |log| {
            log.without(is(What::AcceptingSet { who: cpu(1) }));
        }),
        of(39, "a STARTING callback turns the walk around", three(), |log| {
            starts(log);
            log.on(3, What::CpuStarted { incarnation: 1 })
                .callback(3, 3, starting(), Walk::Up)
                .ends(Outcome::Failed);
            log.callback(3, 3, starting(), Walk::Down).callback(0, 3, prepare(), back).up_end(3, false);
        }),
        of(40, "an injection strikes where none is armed", failed_down(), |log| {
            log.without(is(What::InjectionArmed { who: cpu(1), state: online(1) }));
        }),
        of(40, "an injection does not strike", three(), |log| {
            log.on(0, What::InjectionArmed { who: cpu(3), state: online(1) }).up(3);
        }),
        of(40, "an injection is forgotten that nobody armed", three(), |log| {
            log.on(0, What::InjectionDropped { who: cpu(3), state: online(1) });
        }),
        of(40, "an injection strikes a STARTING callback", three(), |log| {
            log.on(0, What::InjectionArmed { who: cpu(3), state: starting() }).up(3);
            ends_in(log, 3, starting(), Outcome::Injected);
        }),
        of(40, "an injection strikes in the rollback", failed_up(), |log| {
            log.events.insert(
                0,
                Event { cpu: cpu(0), what: What::InjectionArmed { who: cpu(3), state: online(1) } },
            );
            ends_in(log, 3, online(1), Outcome::Injected);
        }),
    ]
}
