//! Logs for the tests of the rules: a script of a machine that does everything right, and the means to spoil it.

use std::panic::Location;

use standstill::event::{CallInfo, CallKey, Event, Form, Outcome, Ran, Sync, Walk, What, WorkKey};
use standstill::hotplug::StateId;
use standstill::invariants::{Checks, Global, Local, Monitor, Pair, RuleId, Scope, Violation};
use standstill::platform::Ipi;
use standstill::stop::Stage;
use standstill::{CpuId, Protocol, Stages};

/// How many CPUs the tests' machines have.
pub(crate) const CPUS: usize = 4;

pub(crate) fn cpu(index: usize) -> CpuId {
    CpuId::new(index)
}

pub(crate) fn state(index: usize) -> StateId {
    StateId::from_index(index).expect("a state")
}

/// A PREPARE, a STARTING and two ONLINE states.
pub(crate) fn prepare() -> StateId {
    state(3)
}
pub(crate) fn starting() -> StateId {
    state(StateId::BRINGUP.index() + 2)
}
pub(crate) fn online(n: usize) -> StateId {
    state(StateId::AP_ONLINE.index() + n)
}

#[track_caller]
pub(crate) fn info(from: usize, to: usize, form: Form, slot: usize) -> CallInfo {
    let key = CallKey { slot, to: cpu(to) };
    CallInfo { key, sender: cpu(from), form, func: "test::func", from: Location::caller() }
}

pub(crate) fn work(to: usize) -> WorkKey {
    WorkKey { work: 0x1000 * (to + 1), to: cpu(to) }
}

/// A log, and the protocol of the machine that wrote it.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) protocol: Protocol,
    pub(crate) events: Vec<Event>,
    epoch: usize,
}

impl Log {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Log { protocol, events: Vec::new(), epoch: 0 }
    }

    pub(crate) fn on(&mut self, who: usize, what: What) -> &mut Self {
        self.events.push(Event { cpu: cpu(who), what });
        self
    }

    /// CPU 0 boots.
    pub(crate) fn boot(&mut self) -> &mut Self {
        let who = cpu(0);
        self.on(0, What::CpuStarted { incarnation: 1 }).on(0, What::StopperOpened);
        self.on(0, What::OnlineSet { who }).on(0, What::AcceptingSet { who }).on(0, What::ActiveSet { who })
    }

    pub(crate) fn send(&mut self, call: CallInfo, was_empty: bool) -> &mut Self {
        let (from, key) = (call.sender.index(), call.key);
        self.on(from, What::CallQueued(call)).on(from, What::CallPushed { key, was_empty });
        if was_empty {
            self.on(from, What::IpiSent { to: key.to, why: Ipi::Call });
        }
        self
    }

    pub(crate) fn run(&mut self, call: CallInfo, ran: Ran) -> &mut Self {
        let (to, key) = (call.key.to.index(), call.key);
        if !call.form.waits() {
            self.on(to, What::CallReleased(key));
        }
        self.on(to, What::CallBegin(call, ran)).on(to, What::CallEnd(key))
    }

    /// A call from its sending to its end.
    pub(crate) fn call(&mut self, call: CallInfo) -> &mut Self {
        self.send(call, true).run(call, Ran::Handler);
        if call.form.waits() {
            self.on(call.sender.index(), What::CallReturned { key: call.key, ran: true });
        }
        self
    }

    fn ack_all(&mut self, members: &[usize], active: &[usize], stage: Stage) {
        let epoch = self.epoch;
        for &who in members {
            self.on(who, What::StageAck { epoch, stage, active: active.contains(&who) });
        }
    }

    /// The last of `members` announces the next stage.
    fn enter(&mut self, members: &[usize], stage: Stage) {
        let (epoch, last) = (self.epoch, members[members.len() - 1]);
        self.on(last, What::StageEntered { epoch, stage });
    }

    /// The works are queued, and the stop begins to move.
    pub(crate) fn stop_begin(&mut self, control: usize, members: &[usize], leaving: Option<usize>) -> usize {
        self.epoch += 1;
        let epoch = self.epoch;
        self.on(control, What::StopBegin { epoch, leaving: leaving.map(cpu) });
        for &who in members {
            self.on(control, What::WorkQueued(work(who)));
            self.on(control, What::IpiSent { to: cpu(who), why: Ipi::Stop });
        }
        self.on(control, What::StopPublished { epoch, expected: members.len() });
        epoch
    }

    /// A stop of `members`, with `in_run` between RunBegin and RunEnd of the active ones.
    pub(crate) fn stop(
        &mut self,
        control: usize,
        members: &[usize],
        active: &[usize],
        leaving: Option<usize>,
        mut in_run: impl FnMut(&mut Log, usize),
    ) -> &mut Self {
        let epoch = self.stop_begin(control, members, leaving);
        self.on(control, What::StageEntered { epoch, stage: Stage::Prepare });
        for &who in members {
            self.on(who, What::WorkBegin(work(who)));
        }
        self.ack_all(members, active, Stage::Prepare);
        let split = self.protocol.stages() != Stages::Single;
        let close = |log: &mut Log, stage, who, active| {
            log.on(who, What::IrqsClosed { epoch, stage, active, split });
        };
        if split {
            self.enter(members, Stage::DisableIrqInactive);
            for &who in members.iter().filter(|who| !active.contains(who)) {
                close(self, Stage::DisableIrqInactive, who, false);
            }
            self.ack_all(members, active, Stage::DisableIrqInactive);
        }
        self.enter(members, Stage::DisableIrqActive);
        for &who in members.iter().filter(|who| !split || active.contains(who)) {
            close(self, Stage::DisableIrqActive, who, active.contains(&who));
        }
        self.ack_all(members, active, Stage::DisableIrqActive);
        self.enter(members, Stage::Seal);
        if let Some(who) = leaving {
            self.on(members[members.len() - 1], What::AcceptingCleared { who: cpu(who) });
        }
        self.enter(members, Stage::Run);
        for &who in active {
            self.on(who, What::RunBegin { epoch, active: true });
            in_run(self, who);
            self.on(who, What::RunEnd { epoch, value: 0 });
        }
        self.ack_all(members, active, Stage::Run);
        self.enter(members, Stage::Exit);
        self.ack_all(members, active, Stage::Exit);
        for &who in members {
            if leaving == Some(who) {
                self.on(who, What::SyncMoved { who: cpu(who), from: Sync::Online, to: Sync::Dying })
                    .on(who, What::CpuDies);
            } else {
                self.on(who, What::IrqsRestored { epoch, were_on: true, are_on: true });
                self.on(who, What::WorkEnd(work(who)));
            }
        }
        self.on(control, What::StopEnd { epoch })
    }

    /// A stop of `other` by `me`, which takes part in person: it is not online, and has no stopper.
    pub(crate) fn inline_stop(&mut self, me: usize, other: usize) -> &mut Self {
        let start = self.events.len();
        self.stop(me, &[other, me], &[me], None, |_, _| ());
        let mine = work(me);
        let of_stopper = |what: &What| match what {
            What::WorkQueued(key) | What::WorkBegin(key) | What::WorkEnd(key) => *key == mine,
            What::IpiSent { to, .. } => *to == cpu(me),
            _ => false,
        };
        let stop = self.events.split_off(start);
        for mut event in stop.into_iter().filter(|event| !of_stopper(&event.what)) {
            if let (true, What::IrqsRestored { were_on, are_on, .. }) =
                (event.cpu == cpu(me), &mut event.what)
            {
                (*were_on, *are_on) = (false, false);
            }
            self.events.push(event);
        }
        self
    }

    pub(crate) fn callback(&mut self, on: usize, who: usize, state: StateId, walk: Walk) -> &mut Self {
        let starting = StateId::BRINGUP < state && state < StateId::AP_ONLINE;
        self.on(on, What::StateEnter { who: cpu(who), state, name: "test:state", walk, irqs_on: !starting });
        self.on(on, What::StateLeave { who: cpu(who), state, walk, outcome: Outcome::Ok })
    }

    /// The callback that was entered last ends otherwise.
    pub(crate) fn ends(&mut self, with: Outcome) -> &mut Self {
        match &mut self.events.last_mut().expect("a callback").what {
            What::StateLeave { outcome, .. } => *outcome = with,
            other => panic!("{other:?} is no callback's end"),
        }
        self
    }

    pub(crate) fn up_begin(&mut self, who: usize) -> &mut Self {
        self.on(0, What::WriteLocked).on(0, What::UpBegin { who: cpu(who), target: StateId::ACTIVE })
    }

    /// The CPU is started and comes online.
    pub(crate) fn arrive(&mut self, who: usize) -> &mut Self {
        let (w, id) = (who, cpu(who));
        self.on(0, What::SyncMoved { who: id, from: Sync::Dead, to: Sync::Kicked });
        self.on(w, What::CpuStarted { incarnation: 1 });
        self.on(w, What::SyncMoved { who: id, from: Sync::Kicked, to: Sync::Alive });
        self.callback(w, who, starting(), Walk::Up);
        self.on(w, What::StopperOpened)
            .on(w, What::OnlineSet { who: id })
            .on(w, What::AcceptingSet { who: id });
        self.on(w, What::SyncMoved { who: id, from: Sync::Alive, to: Sync::Online });
        self.on(0, What::ThreadsUnparked { who: id })
    }

    pub(crate) fn up_end(&mut self, who: usize, ok: bool) -> &mut Self {
        self.on(0, What::UpEnd { who: cpu(who), ok }).on(0, What::WriteUnlocked)
    }

    /// `who` comes up, controlled by CPU 0.
    pub(crate) fn up(&mut self, who: usize) -> &mut Self {
        self.up_begin(who).callback(0, who, prepare(), Walk::Up).arrive(who);
        self.callback(who, who, online(1), Walk::Up).callback(who, who, online(2), Walk::Up);
        self.on(0, What::ActiveSet { who: cpu(who) }).up_end(who, true)
    }

    pub(crate) fn down_begin(&mut self, who: usize) -> &mut Self {
        self.on(0, What::WriteLocked).on(0, What::DownBegin { who: cpu(who), target: StateId::OFFLINE });
        self.on(0, What::ActiveCleared { who: cpu(who) })
    }

    pub(crate) fn down_end(&mut self, who: usize, ok: bool) -> &mut Self {
        self.on(0, What::DownEnd { who: cpu(who), ok }).on(0, What::WriteUnlocked)
    }

    /// The stop in which `who` leaves; it runs `drained` by hand.
    pub(crate) fn leave(&mut self, who: usize, members: &[usize], drained: &[CallInfo]) -> &mut Self {
        self.on(0, What::ThreadsParked { who: cpu(who) });
        self.stop(0, members, &[who], Some(who), |log, who| {
            for &call in drained {
                log.run(call, Ran::DrainInRun);
            }
            log.on(who, What::OnlineCleared { who: cpu(who) });
            log.callback(who, who, starting(), Walk::Down);
            log.on(who, What::DyingQueue { empty: true }).on(who, What::StopperClosed { refused: 0 });
        });
        self.on(0, What::DeadSeen { who: cpu(who) });
        self.on(0, What::SyncMoved { who: cpu(who), from: Sync::Dying, to: Sync::Dead })
    }

    /// `who` goes down, controlled by CPU 0.
    pub(crate) fn down(&mut self, who: usize, members: &[usize], drained: &[CallInfo]) -> &mut Self {
        self.down_begin(who);
        self.callback(who, who, online(2), Walk::Down).callback(who, who, online(1), Walk::Down);
        self.leave(who, members, drained).callback(0, who, prepare(), Walk::Down).down_end(who, true)
    }

    // ---- spoiling

    fn place(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().rposition(wanted).expect("the event to spoil is in the log")
    }

    /// Removes the last event that is `wanted`.
    pub(crate) fn without(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let place = self.place(wanted);
        self.events.remove(place)
    }

    /// Replaces the last event that is `wanted`.
    pub(crate) fn instead(
        &mut self,
        wanted: impl Fn(&Event) -> bool,
        change: impl FnOnce(&mut Event),
    ) -> &mut Self {
        let place = self.place(wanted);
        change(&mut self.events[place]);
        self
    }

    /// Puts an event right before the last one that is `wanted`.
    pub(crate) fn before(&mut self, wanted: impl Fn(&Event) -> bool, who: usize, what: What) -> &mut Self {
        let place = self.place(wanted);
        self.events.insert(place, Event { cpu: cpu(who), what });
        self
    }

    /// Repeats the last event that is `wanted`.
    pub(crate) fn twice(&mut self, wanted: impl Fn(&Event) -> bool) -> &mut Self {
        let place = self.place(wanted);
        self.events.insert(place, self.events[place]);
        self
    }

    /// Moves the last event that is `first` right before the last one that is `then`.
    pub(crate) fn moved(
        &mut self,
        first: impl Fn(&Event) -> bool,
        then: impl Fn(&Event) -> bool,
    ) -> &mut Self {
        let event = self.without(first);
        let place = self.place(then);
        self.events.insert(place, event);
        self
    }

    // ---- judging

    /// All monitors, as in the model.
    pub(crate) fn judge(&self) -> (Vec<Violation>, Checks) {
        let mut monitor = Monitor::<CPUS>::new(self.protocol);
        let mut violations: Vec<_> =
            self.events.iter().filter_map(|event| monitor.feed(event).err()).collect();
        violations.extend(monitor.finish().err());
        assert_eq!(monitor.overflowed(), 0);
        (violations, monitor.checks())
    }

    /// The counts of the monitors of one scope alone.
    pub(crate) fn judge_by(&self, scope: Scope) -> Checks {
        let mut all = Checks::new();
        match scope {
            Scope::Local => {
                for who in 0..CPUS {
                    let mut local = Local::new(cpu(who), self.protocol);
                    let own = self.events.iter().filter(|event| event.cpu == cpu(who));
                    for event in own {
                        let _ = local.feed(event);
                    }
                    let _ = local.finish();
                    all.merge(local.checks());
                }
            }
            Scope::Pair => {
                let mut pair = Pair::<32>::new(self.protocol);
                for event in &self.events {
                    let _ = pair.feed(event);
                }
                let _ = pair.finish();
                all.merge(pair.checks());
            }
            Scope::Global => {
                let mut global = Global::<CPUS>::new(self.protocol);
                for event in &self.events {
                    let _ = global.feed(event);
                }
                let _ = global.finish();
                all.merge(global.checks());
            }
        }
        all
    }
}

/// The rules that were broken at least once.
pub(crate) fn broken(checks: &Checks) -> Vec<RuleId> {
    checks.iter().filter(|(_, _, broken)| *broken > 0).map(|(rule, _, _)| rule.id).collect()
}
