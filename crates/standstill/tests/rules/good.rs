//! Logs in which nothing is wrong. Most broken logs are one of these with one thing changed.

use standstill::Protocol;
use standstill::event::{Event, Form, Outcome, Ran, Sync, Walk, What};
use standstill::hotplug::StateId;
use standstill::stop::Stage;

use crate::log::{Log, cpu, info, online, prepare, starting, work};

/// CPU 0 alone.
pub(crate) fn boot() -> Log {
    boot_with(Protocol::STANDSTILL)
}

pub(crate) fn boot_with(protocol: Protocol) -> Log {
    let mut log = Log::new(protocol);
    log.boot();
    log
}

/// CPUs 0, 1 and 2.
pub(crate) fn three() -> Log {
    three_with(Protocol::STANDSTILL)
}

pub(crate) fn three_with(protocol: Protocol) -> Log {
    let mut log = boot_with(protocol);
    log.up(1).up(2);
    log
}

/// Calls of every form, a slot that is used again while its last call runs, and a handler that sends between a push and its IPI.
pub(crate) fn calls() -> Log {
    let mut log = three();
    for (n, form) in Form::ALL.into_iter().enumerate() {
        log.call(info(0, 1, form, 0x100 + n)).call(info(1, 2, form, 0x200 + n));
    }
    let again = info(0, 1, Form::Async, 0x300);
    log.send(again, true).on(1, What::CallReleased(again.key)).send(again, true);
    log.on(1, What::CallBegin(again, Ran::Handler)).on(1, What::CallEnd(again.key)).run(again, Ran::Handler);
    let (below, above) = (info(0, 1, Form::Async, 0x310), info(0, 2, Form::Async, 0x320));
    log.on(0, What::CallQueued(below)).on(0, What::CallPushed { key: below.key, was_empty: true });
    log.send(above, true).run(above, Ran::Handler);
    log.on(0, What::IpiSent { to: cpu(1), why: standstill::platform::Ipi::Call }).run(below, Ran::Handler);
    // Two that stand in line, and the one behind finds the list full.
    let (first, second) = (info(0, 1, Form::Async, 0x400), info(0, 1, Form::Async, 0x410));
    log.send(first, true).send(second, false).run(first, Ran::Handler).run(second, Ran::Handler);
    // An interrupt sends between another one's announcement and push: either order is right.
    log.on(0, What::CallQueued(first)).send(second, true);
    log.on(0, What::CallPushed { key: first.key, was_empty: false });
    log.run(second, Ran::Handler).run(first, Ran::Handler);
    log.on(0, What::CallRefused { to: cpu(3), form: Form::Async })
        .on(0, What::CallInPlace { form: Form::SingleWait });
    log
}

/// One call is withdrawn and discarded, and its slot used again; of another the target was faster.
pub(crate) fn withdrawn() -> Log {
    let mut log = three();
    let late = info(0, 1, Form::SingleWait, 0x500);
    log.send(late, true).on(0, What::CallExpired(late.key)).on(1, What::CallDiscarded(late)).call(late);
    log.send(late, true).on(0, What::CallExpired(late.key)).run(late, Ran::Handler);
    log.on(0, What::CallReturned { key: late.key, ran: true });
    log
}

/// A stop, one that is abandoned, a pass, and works of their own.
pub(crate) fn stops() -> Log {
    let mut log = three();
    log.stop(0, &[0, 1, 2], &[1], None, |_, _| ());
    log.stop(2, &[0, 1, 2], &[0, 1, 2], None, |_, _| ());

    let epoch = log.stop_begin(0, &[0, 1, 2], None);
    log.on(0, What::StageEntered { epoch, stage: Stage::Prepare }).on(1, What::WorkBegin(work(1)));
    log.on(1, What::StageAck { epoch, stage: Stage::Prepare, active: false });
    log.on(1, What::StopAborted { epoch, stage: Stage::Prepare }).on(1, What::WorkEnd(work(1)));
    log.on(0, What::WorkClaimed(work(0))).on(0, What::WorkClaimed(work(2))).on(0, What::StopEnd { epoch });

    let epoch = log.stop_begin(0, &[0, 1], None);
    log.on(0, What::StageEntered { epoch, stage: Stage::Prepare });
    for who in [0, 1] {
        log.on(who, What::WorkBegin(work(who)))
            .on(who, What::StageAck { epoch, stage: Stage::Prepare, active: false });
        if who == 1 {
            log.on(1, What::StageEntered { epoch, stage: Stage::Exit });
        }
        log.on(who, What::WorkEnd(work(who)));
    }
    log.on(0, What::StopEnd { epoch });
    log.on(1, What::WorkQueued(work(2))).on(2, What::WorkBegin(work(2))).on(2, What::WorkEnd(work(2)));
    log.on(1, What::WorkQueued(work(3))).on(1, What::WorkTurnedAway(work(3)));
    log
}

/// CPU 1 leaves, with two calls that it has to run by hand, and comes back.
pub(crate) fn cycle() -> Log {
    cycle_with(Protocol::STANDSTILL)
}

pub(crate) fn cycle_with(protocol: Protocol) -> Log {
    let mut log = leave_with(protocol);
    log.up(1).call(info(0, 1, Form::SingleWait, 0x500));
    log
}

pub(crate) fn leave_with(protocol: Protocol) -> Log {
    let mut log = three_with(protocol);
    let drained = [info(2, 1, Form::Async, 0x510), info(0, 1, Form::Single, 0x520)];
    log.send(drained[0], true).send(drained[1], false);
    log.down(1, &[0, 1, 2], &drained);
    log
}

/// CPU 1 leaves and does not come back.
pub(crate) fn leave() -> Log {
    leave_with(Protocol::STANDSTILL)
}

/// The last callback that comes up fails, and everything is undone.
pub(crate) fn failed_up() -> Log {
    let mut log = three();
    log.up_begin(3).callback(0, 3, prepare(), Walk::Up).arrive(3);
    log.callback(3, 3, online(1), Walk::Up).callback(3, 3, online(2), Walk::Up);
    log.callback(3, 3, online(3), Walk::Up).ends(Outcome::Failed);
    log.callback(3, 3, online(2), Walk::RollbackDown).callback(3, 3, online(1), Walk::RollbackDown);
    // The way back takes the CPU out as every other way down.
    log.on(0, What::ThreadsParked { who: cpu(3) });
    log.stop(0, &[0, 1, 2, 3], &[3], Some(3), |log, who| {
        log.on(who, What::OnlineCleared { who: cpu(who) });
        log.callback(who, who, starting(), Walk::Down);
        log.on(who, What::DyingQueue { empty: true }).on(who, What::StopperClosed { refused: 0 });
    });
    log.on(0, What::DeadSeen { who: cpu(3) });
    log.callback(0, 3, prepare(), Walk::RollbackDown).up_end(3, false);
    log
}

/// The last callback that comes up fails, and the CPU can't leave again: it stays online, and what came up before is undone.
pub(crate) fn stays() -> Log {
    let mut log = three();
    log.up_begin(3).callback(0, 3, prepare(), Walk::Up).arrive(3);
    log.callback(3, 3, online(1), Walk::Up).callback(3, 3, online(2), Walk::Up).ends(Outcome::Failed);
    log.callback(3, 3, online(1), Walk::RollbackDown).up_end(3, false);
    log
}

/// CPUs 1, 2 and 3 come up together. CPU 1 stops the machine before it is online, control looks too late whether it has answered, and CPU 3 is
/// given up before it has.
pub(crate) fn together() -> Log {
    let mut log = boot();
    log.on(0, What::WriteLocked);
    for who in 1..4 {
        log.on(0, What::UpBegin { who: cpu(who), target: StateId::ACTIVE });
        log.callback(0, who, prepare(), Walk::Up);
    }
    for who in 1..4 {
        log.on(0, moved(who, Sync::Dead, Sync::Kicked));
    }
    for who in [2, 1] {
        log.on(who, What::CpuStarted { incarnation: 1 }).on(who, moved(who, Sync::Kicked, Sync::Alive));
    }
    log.callback(2, 2, starting(), Walk::Up);
    log.on(
        1,
        What::StateEnter {
            who: cpu(1),
            state: starting(),
            name: "test:state",
            walk: Walk::Up,
            irqs_on: false,
        },
    );
    log.inline_stop(1, 0);
    log.on(1, What::StateLeave { who: cpu(1), state: starting(), walk: Walk::Up, outcome: Outcome::Ok });
    for who in [2, 1] {
        log.on(who, moved(who, Sync::Alive, Sync::Online)).on(who, What::StopperOpened);
        log.on(who, What::OnlineSet { who: cpu(who) }).on(who, What::AcceptingSet { who: cpu(who) });
    }
    log.on(0, moved(1, Sync::Kicked, Sync::GivenUp)).on(0, moved(3, Sync::Kicked, Sync::GivenUp));
    for who in [1, 2] {
        log.on(0, What::ThreadsUnparked { who: cpu(who) });
    }
    log.callback(0, 3, prepare(), Walk::RollbackDown).on(0, What::UpEnd { who: cpu(3), ok: false });
    for who in [2, 1] {
        log.callback(who, who, online(1), Walk::Up).callback(who, who, online(2), Walk::Up);
    }
    for who in [1, 2] {
        log.on(0, What::ActiveSet { who: cpu(who) }).on(0, What::UpEnd { who: cpu(who), ok: true });
    }
    log.on(0, What::WriteUnlocked);
    log.down(2, &[0, 1, 2], &[]);
    log
}

fn moved(who: usize, from: Sync, to: Sync) -> What {
    What::SyncMoved { who: cpu(who), from, to }
}

/// A callback that goes down is struck by an injection, and what went down comes up again. The next time it works.
pub(crate) fn failed_down() -> Log {
    let mut log = three();
    log.on(0, What::InjectionArmed { who: cpu(1), state: online(1) });
    log.down_begin(1).callback(1, 1, online(2), Walk::Down);
    log.callback(1, 1, online(1), Walk::Down).ends(Outcome::Injected);
    log.callback(1, 1, online(2), Walk::RollbackUp).on(0, What::ActiveSet { who: cpu(1) }).down_end(1, false);
    // Another one is forgotten before it strikes.
    let (who, state) = (cpu(1), online(1));
    log.on(0, What::InjectionArmed { who, state }).on(0, What::InjectionDropped { who, state });
    log.down(1, &[0, 1, 2], &[]);
    log
}

/// CPU 1 refuses in RUN, when its calls were turned away already, and runs on as before.
pub(crate) fn refused_down() -> Log {
    let mut log = three();
    log.down_begin(1).callback(1, 1, online(1), Walk::Down).on(0, What::ThreadsParked { who: cpu(1) });
    log.stop(0, &[0, 1, 2], &[1], None, |_, _| ());
    let run = |e: &Event| matches!(e.what, What::StageEntered { stage: Stage::Run, .. });
    log.before(run, 2, What::AcceptingCleared { who: cpu(1) });
    log.on(0, What::AcceptingSet { who: cpu(1) }).on(0, What::ThreadsUnparked { who: cpu(1) });
    log.callback(1, 1, online(1), Walk::RollbackUp).on(0, What::ActiveSet { who: cpu(1) }).down_end(1, false);
    log
}

/// Each with a name.
pub(crate) fn all() -> Vec<(&'static str, Log)> {
    vec![
        ("boot", boot()),
        ("calls", calls()),
        ("withdrawn calls", withdrawn()),
        ("stops", stops()),
        ("cycle", cycle()),
        ("cycle, one disable stage", cycle_with(Protocol::SINGLE_DEAF)),
        ("failed up", failed_up()),
        ("stays", stays()),
        ("together", together()),
        ("failed down", failed_down()),
        ("refused down", refused_down()),
    ]
}
