//! For stateright: the whole stop as a hand-written state machine, the same as `stop.pml`.

use std::time::{Duration, Instant};

use stateright::{Checker, Model, Property};

use crate::{Found, Protocol};

const MOST: usize = 6;

/// Where a stopper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Waits for a stage later than the one that it saw.
    Waits,
    Closes,
    Drains,
    Leaves,
    Acknowledges,
    /// It came last: the counter is reset.
    Resets,
    /// The next stage is published.
    Advances,
    /// After EXIT.
    Ends,
    Done,
}

/// Where a handler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Handler {
    None,
    /// A device's: looks at the mask.
    Looks,
    Pushes,
    Sends,
    /// The call IPI's: takes what is queued.
    Takes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Cpu {
    at: At,
    handler: Handler,
    seen: u8,
    closed: bool,
    budget: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    cpus: [Cpu; MOST],
    stage: u8,
    missing: u8,
    online: bool,
    pending: bool,
    calls: u8,
    late: bool,
    spurious: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Stopper(usize),
    Device(usize),
    Ipi,
    Handler(usize),
}

struct Stop {
    protocol: Protocol,
    cpus: usize,
}

impl Stop {
    const fn leaver(&self) -> usize {
        self.cpus - 1
    }

    fn after(&self, me: usize, stage: usize) -> At {
        let (closes, run, _) = self.protocol.stages(me == self.leaver());
        if stage == closes {
            At::Closes
        } else if stage == run && me == self.leaver() {
            if self.protocol.cured() { At::Drains } else { At::Leaves }
        } else {
            At::Acknowledges
        }
    }

    fn acknowledged(&self, cpu: &Cpu) -> At {
        if usize::from(cpu.seen) == self.protocol.stages(false).2 { At::Ends } else { At::Waits }
    }
}

impl Model for Stop {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let cpu = Cpu { at: At::Waits, handler: Handler::None, seen: 0, closed: false, budget: 1 };
        let mut cpus = [cpu; MOST];
        cpus[self.leaver()].budget = 0;
        vec![State {
            cpus,
            stage: 1,
            missing: self.cpus as u8,
            online: true,
            pending: false,
            calls: 0,
            late: false,
            spurious: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (me, cpu) in state.cpus[..self.cpus].iter().enumerate() {
            if cpu.handler != Handler::None {
                steps.push(Step::Handler(me));
                continue;
            }
            let waits = cpu.at == At::Done || (cpu.at == At::Waits && state.stage == cpu.seen);
            if !waits {
                steps.push(Step::Stopper(me));
            }
            if !cpu.closed && cpu.budget > 0 {
                steps.push(Step::Device(me));
            }
        }
        let leaver = &state.cpus[self.leaver()];
        if leaver.handler == Handler::None && state.pending && !leaver.closed {
            steps.push(Step::Ipi);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Device(me) => {
                state.cpus[me].budget -= 1;
                state.cpus[me].handler = Handler::Looks;
            }
            Step::Ipi => {
                state.pending = false;
                state.spurious |= !state.online;
                state.cpus[self.leaver()].handler = Handler::Takes;
            }
            Step::Handler(me) => {
                state.cpus[me].handler = match state.cpus[me].handler {
                    Handler::Looks if state.online => Handler::Pushes,
                    Handler::Pushes => {
                        state.calls += 1;
                        if state.calls == 1 { Handler::Sends } else { Handler::None }
                    }
                    Handler::Sends => {
                        state.pending = true;
                        Handler::None
                    }
                    Handler::Takes => {
                        state.late |= state.calls > 0 && !state.online;
                        state.calls = 0;
                        Handler::None
                    }
                    Handler::Looks | Handler::None => Handler::None,
                }
            }
            Step::Stopper(me) => {
                let mut cpu = state.cpus[me];
                cpu.at = match cpu.at {
                    At::Waits => {
                        cpu.seen = state.stage;
                        self.after(me, usize::from(cpu.seen))
                    }
                    At::Closes => {
                        cpu.closed = true;
                        At::Acknowledges
                    }
                    At::Drains => {
                        state.calls = 0;
                        At::Leaves
                    }
                    At::Leaves => {
                        state.online = false;
                        At::Acknowledges
                    }
                    At::Acknowledges => {
                        state.missing -= 1;
                        if state.missing == 0 { At::Resets } else { self.acknowledged(&cpu) }
                    }
                    At::Resets => {
                        state.missing = self.cpus as u8;
                        At::Advances
                    }
                    At::Advances => {
                        state.stage = cpu.seen + 1;
                        self.acknowledged(&cpu)
                    }
                    At::Ends => {
                        // The leaver of the cured protocol parks as it is; the other one closes again in its idle loop.
                        let parks = me == self.leaver() && self.protocol.cured();
                        let opens_for_a_moment = me == self.leaver() && !parks && cpu.closed;
                        cpu.closed = parks || (me == self.leaver() && !cpu.closed);
                        if opens_for_a_moment { At::Ends } else { At::Done }
                    }
                    At::Done => At::Done,
                };
                state.cpus[me] = cpu;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("W", |_, state: &State| !state.late),
            Property::always("S", |_, state: &State| !state.spurious),
            Property::always("L", |model: &Stop, state: &State| {
                let mut steps = Vec::new();
                model.actions(state, &mut steps);
                !steps.is_empty() || state.calls == 0
            }),
        ]
    }
}

pub(crate) fn run(protocol: Protocol, cpus: usize, limit: Duration) -> Found {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = Stop { protocol, cpus };
    let checker = model.checker().threads(threads).timeout(limit).spawn_bfs().join();
    let time = began.elapsed();
    let violation = !checker.discoveries().is_empty();
    Found {
        states: Some(checker.unique_state_count() as u64),
        // It ends early when each property has a counterexample.
        exhausted: checker.is_done() && time < limit && !violation,
        violation,
        ..Found::new(time)
    }
}
