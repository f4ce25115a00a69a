//! From the model's steps to a [`Trace`], in words: which of them matter, and how they are said.

use standstill::event::{CallInfo, Outcome, Ran, What};
use standstill::stop::Stage;
use standstill::{CpuId, Protocol, Stages};
use standstill_model::{Access, Interrupt, IpiKind, Options, Step as ModelStep, StepWhat};
use standstill_report::{Context, Kind, Lane, Step, Trace};

use crate::table::short_name;

/// How a stage's closing of interrupts is said.
const CLOSES: &str = "closes its interrupts";

/// What went wrong in a run, as far as the picture needs it.
#[derive(Clone, Default, Debug)]
pub struct Broken {
    /// A property's letter, a rule's number, or a word.
    pub rule: String,
    /// Two steps whose reversal makes it pass.
    pub pair: Option<(usize, usize)>,
}

/// The library's event that a step is, if it is one.
fn event(step: &ModelStep) -> Option<&What> {
    step.what.event()
}

/// The run as a trace. `broken`: what went wrong at its end, if something did.
#[must_use]
pub fn trace(options: &Options, steps: &[ModelStep], broken: Option<&Broken>) -> Trace {
    let mut words = Words { protocol: options.protocol, offline: vec![false; options.cpus] };
    for step in steps {
        // Who joins in the run was not there before.
        if let Some(What::OnlineSet { who }) = event(step) {
            let left =
                steps.iter().any(|s| matches!(event(s), Some(What::OnlineCleared { who: w }) if w == who));
            words.offline[who.index()] = !left;
        }
    }
    let mut drawn: Vec<Step> = steps.iter().map(|step| words.step(step)).collect();
    let broken_at = broken.and_then(|broken| at_fault(steps, &broken.rule));
    if broken.is_some_and(|broken| broken.rule == "deadlock") {
        show_waits(&mut drawn, steps, options.cpus);
    }
    let critical_pair = broken
        .and_then(|broken| broken.pair)
        .filter(|(first, second)| (*first).max(*second) < steps.len())
        .map(|pair| telling(&drawn, pair));
    Trace {
        title: title(options),
        sentence: String::new(),
        lanes: lanes(options.cpus, steps),
        steps: drawn,
        critical_pair,
        broken_at,
        rule: broken.map_or_else(String::new, |broken| broken.rule.clone()),
    }
}

/// What was run, in a few words.
#[must_use]
pub fn title(options: &Options) -> String {
    format!(
        "{}: {} CPUs, IPIs {}, memory {}, {}",
        options.protocol.name(),
        options.cpus,
        options.ipi.name(),
        options.memory.name(),
        options.scenario
    )
}

/// The CPUs, with the part that each plays.
fn lanes(cpus: usize, steps: &[ModelStep]) -> Vec<Lane> {
    let role = |cpu: usize| {
        let mut roles = steps.iter().filter_map(|step| match event(step)? {
            What::OnlineCleared { who } | What::AcceptingCleared { who } => {
                Some((who.index(), "goes offline"))
            }
            What::IrqsClosed { active: true, .. } => Some((step.cpu, "goes offline")),
            What::OnlineSet { who } => Some((who.index(), "comes online")),
            _ => None,
        });
        roles.find(|(who, _)| *who == cpu).map_or("stays", |(_, role)| role)
    };
    (0..cpus).map(|cpu| Lane { name: format!("CPU {cpu}"), role: role(cpu).into() }).collect()
}

/// What is reversed are two blocks: all that one CPU does until the first step of the pair, and all that the other does from the second one on. Of
/// each block the step that says most stands for it.
fn telling(steps: &[Step], (first, second): (usize, usize)) -> (usize, usize) {
    let begin = steps[..first].iter().rposition(|s| s.cpu != steps[first].cpu).map_or(0, |at| at + 1);
    let end =
        steps[second..].iter().position(|s| s.cpu != steps[second].cpu).map_or(steps.len(), |n| second + n);
    let find = |range: std::ops::Range<usize>, says: &dyn Fn(&Step) -> bool| {
        range.clone().find(|at| says(&steps[*at]))
    };
    let drawn = |step: &Step| step.kind != Kind::Detail && step.kind != Kind::Return;
    let block = begin..first + 1;
    let one = find(block.clone(), &|s| drawn(s) && s.text == CLOSES)
        .or_else(|| block.rev().find(|at| drawn(&steps[*at])))
        .unwrap_or(first);
    let block = second..end;
    let other =
        find(block.clone(), &|s| s.kind == Kind::Key).or_else(|| find(block, &drawn)).unwrap_or(second);
    (one, other)
}

/// The step that shows what went wrong: the last one that can.
fn at_fault(steps: &[ModelStep], rule: &str) -> Option<usize> {
    let shows = |step: &ModelStep| {
        let Some(what) = event(step) else { return false };
        match rule {
            "W" => matches!(what, What::CallLate(_)),
            "L" => matches!(what, What::CallLost(_)),
            "S" => matches!(what, What::IpiSpurious),
            "O" | "F" => matches!(what, What::CallBegin(..)),
            "deadlock" => false,
            _ => true,
        }
    };
    steps.iter().rposition(shows).or_else(|| steps.len().checked_sub(1))
}

/// In a deadlock what each CPU did last is what it waits for.
fn show_waits(drawn: &mut [Step], steps: &[ModelStep], cpus: usize) {
    for cpu in 0..cpus {
        let last = steps.iter().rposition(|step| step.cpu == cpu && matches!(step.what, StepWhat::Wait(_)));
        if let Some(last) = last {
            drawn[last].kind = Kind::Key;
        }
    }
}

/// The name of a stage under a protocol: with one disable stage it has the mail's old name.
#[must_use]
pub fn stage_name(stage: Stage, protocol: &Protocol) -> &'static str {
    match (stage, protocol.stages()) {
        (Stage::DisableIrqActive, Stages::Single) => "DISABLE_IRQ",
        _ => stage.name(),
    }
}

/// The name of an interrupt.
const fn interrupt(kind: Interrupt) -> &'static str {
    match kind {
        Interrupt::Call => "call IPI",
        Interrupt::Halt => "halt IPI",
        Interrupt::Device => "device interrupt",
    }
}

struct Words {
    protocol: Protocol,
    offline: Vec<bool>,
}

impl Words {
    fn step(&mut self, step: &ModelStep) -> Step {
        let (kind, text, irqs_on) = self.say(step);
        let context = match step.context {
            standstill_model::Context::Thread { name } => Context::Thread(name.into()),
            standstill_model::Context::Stopper => Context::Stopper,
            standstill_model::Context::Handler { depth, kind } => {
                Context::Handler { of: interrupt(kind).into(), depth }
            }
        };
        Step {
            cpu: step.cpu,
            context,
            kind,
            text,
            location: step.location.clone(),
            irqs_on: irqs_on.unwrap_or(step.irqs_on),
        }
    }

    /// The kind, the words, and how the interrupts are afterwards, if the step says so.
    fn say(&mut self, step: &ModelStep) -> (Kind, String, Option<bool>) {
        let detail = |text: String| (Kind::Detail, text, None);
        match &step.what {
            StepWhat::Access { op, cell, value, written, order } => {
                detail(access(*op, cell, *value, *written, order))
            }
            StepWhat::Event(other) => match event(step) {
                Some(what) => self.event(step.cpu, what),
                None => detail(format!("{other:?}")),
            },
            StepWhat::TakeInterrupt(kind) => {
                let take = Kind::Take { name: interrupt(*kind).into(), ipi: *kind != Interrupt::Device };
                (take, interrupt(*kind).into(), Some(false))
            }
            StepWhat::ReturnFromInterrupt(_) => (Kind::Return, String::new(), Some(true)),
            StepWhat::SendIpi { to, why: IpiKind::Stop } => detail(format!("wakes the stopper of CPU {to}")),
            StepWhat::SendIpi { to, .. } if *to == step.cpu => {
                (Kind::Key, "sends itself an IPI".into(), None)
            }
            StepWhat::SendIpi { to, .. } => (Kind::Send { to: *to }, "sends an IPI".into(), None),
            StepWhat::StopperBegins => detail("the stopper takes the CPU".into()),
            StepWhat::StopperEnds => detail("the stopper gives the CPU back".into()),
            StepWhat::SwitchTo(name) => detail(format!("switches to {name}")),
            StepWhat::CloseIrqs => (Kind::Detail, "closes its interrupts".into(), Some(false)),
            StepWhat::OpenIrqs => (Kind::Detail, "opens its interrupts".into(), Some(true)),
            StepWhat::Wait(what) => detail(format!("waits: {what}")),
            StepWhat::Expire => (Kind::Key, "its deadline is over".into(), None),
            StepWhat::Drain { cell, value } => {
                detail(format!("the store of {} to {cell} reaches memory", number(*value)))
            }
            StepWhat::Start => (Kind::Start, "starts".into(), None),
            StepWhat::Die => (Kind::Die, "dies".into(), None),
            other => detail(format!("{other:?}")),
        }
    }

    fn event(&mut self, cpu: usize, what: &What) -> (Kind, String, Option<bool>) {
        let key = |text: String| (Kind::Key, text, None);
        let calm = |text: &str| (Kind::Calm, text.to_string(), None);
        match *what {
            What::StageEntered { stage: Stage::Seal, .. } => {
                (Kind::Detail, "shuts the queues of those that leave".into(), None)
            }
            What::StageEntered { stage, .. } => {
                let name = stage_name(stage, &self.protocol);
                (Kind::Stage(name.into()), format!("moves all to {name}"), None)
            }
            What::StageAck { .. } => calm("ack"),
            What::IrqsClosed { .. } => (Kind::Calm, CLOSES.into(), Some(false)),
            What::IrqsRestored { are_on: true, .. } => {
                (Kind::Calm, "opens its interrupts".into(), Some(true))
            }
            What::IrqsRestored { were_on: true, are_on: false, .. } => {
                (Kind::Key, "stays deaf: its interrupts stay closed".into(), Some(false))
            }
            What::CallQueued(call) => key(format!(
                "calls {} on {}, which is {}: accepted",
                name(&call),
                call.key.to,
                if self.is_offline(call.key.to) { "offline" } else { "in the online mask" },
            )),
            What::CallRefused { to, .. } => key(format!("a call to {to} is refused: it takes no calls")),
            What::CallBusy { to, .. } => key(format!("a call to {to} is refused: its slot is in use")),
            What::CallBegin(call, Ran::Handler) if self.offline[cpu] => {
                key(format!("runs {} of {}, outside the online mask", name(&call), call.sender))
            }
            What::CallBegin(call, Ran::Handler) => key(format!("runs {} of {}", name(&call), call.sender)),
            What::CallBegin(call, ran) => key(format!(
                "drains its queue{}: runs {} of {}{}",
                if ran == Ran::DrainInRun { " while the machine is frozen" } else { "" },
                name(&call),
                call.sender,
                if self.offline[cpu] { ", outside the online mask" } else { "" },
            )),
            What::CallLate(call) => key(format!("finds {} of {}, but is offline", name(&call), call.sender)),
            What::IpiSpurious => key("is offline: this IPI is too late".into()),
            What::CallDiscarded(call) => key(format!("{} was withdrawn: it never runs", name(&call))),
            What::CallLost(call) => key(format!("{} of {} was never run: lost", name(&call), call.sender)),
            What::DyingQueue { empty: false } => key("its queue is not empty".into()),
            What::DyingQueue { empty: true } => calm("its queue is empty"),
            What::StopAborted { .. } => key("gives the stop up: its deadline is over".into()),
            What::WorkRefused(_) => key("a work of its stopper is refused: offline".into()),
            What::WorkTurnedAway(work) => key(format!("the stopper of {} takes no work", work.to)),
            What::AcceptingCleared { who } => key(self.about(cpu, who, "accepts no more calls")),
            What::OnlineCleared { who } => {
                self.offline[who.index()] = true;
                let leave = Kind::Leave { who: who.index() };
                (leave, self.about(cpu, who, "leaves the online mask"), None)
            }
            What::OnlineSet { who } => {
                self.offline[who.index()] = false;
                (Kind::Join { who: who.index() }, self.about(cpu, who, "joins the online mask"), None)
            }
            What::StateLeave { outcome: Outcome::Failed | Outcome::Injected, .. } => {
                key("a hotplug callback fails".into())
            }
            What::DeadSeen { who } => key(format!("sees that {who} is dead")),
            What::Stalled(stall) => key(format!("waits long for {}", stall.missing)),
            ref other => (Kind::Detail, quiet(other), None),
        }
    }

    fn is_offline(&self, cpu: CpuId) -> bool {
        self.offline.get(cpu.index()).is_some_and(|offline| *offline)
    }

    fn about(&self, cpu: usize, who: CpuId, does: &str) -> String {
        if who.index() == cpu { does.into() } else { format!("{who} {does}") }
    }
}

fn name(call: &CallInfo) -> String {
    format!("`{}`", short_name(call.func))
}

/// An event that is not drawn, in words.
fn quiet(what: &What) -> String {
    match what {
        What::CallPushed { key, was_empty } => format!(
            "the call is in the queue of {}{}",
            key.to,
            if *was_empty { ", which was empty: an IPI follows" } else { "" }
        ),
        What::IpiSent { to, .. } => format!("is about to send an IPI to {to}"),
        What::CallReleased(_) => "the slot is free again".into(),
        What::CallExpired(_) => "withdraws the call, unless it has begun".into(),
        What::CallEnd(_) => "the function returns".into(),
        What::CallReturned { key, ran } => {
            format!("{} {}", key.to, if *ran { "has run the call" } else { "died with the call" })
        }
        What::StopBegin { .. } => "a stop begins".into(),
        What::StopPublished { expected, .. } => format!("all {expected} works of the stop are queued"),
        What::RunBegin { .. } => "runs the function of the stop".into(),
        What::RunEnd { .. } => "the function of the stop returns".into(),
        What::StopEnd { .. } => "the stop is over".into(),
        What::StateEnter { who, name, .. } => format!("hotplug state {name} of {who}"),
        What::StateLeave { who, .. } => format!("the callback for {who} returns"),
        What::CpuDies => "is about to die".into(),
        other => {
            let text = format!("{other:?}");
            text.split(['(', '{']).next().unwrap_or_default().trim().into()
        }
    }
}

fn access(op: Access, cell: &str, value: u64, written: Option<u64>, order: &str) -> String {
    let value = number(value);
    match (op, written.map(number)) {
        (Access::Fence, _) => format!("fence ({order})"),
        (Access::Load, _) => format!("loads {cell}: {value} ({order})"),
        (Access::Store, _) => format!("stores {value} to {cell} ({order})"),
        (Access::CellRead, _) => format!("reads {cell}"),
        (Access::CellWrite, _) => format!("writes {cell}"),
        (_, Some(new)) => format!("{op:?} on {cell}: {value} becomes {new} ({order})"),
        (_, None) => format!("{op:?} on {cell}: {value} ({order})"),
    }
}

/// Small numbers as they are, addresses as such: they differ from run to run.
fn number(value: u64) -> String {
    if value < 1 << 24 { value.to_string() } else { "an address".into() }
}

/// What becomes of the first call in a run in which nothing breaks, in one sentence.
#[must_use]
pub fn fate(trace: &Trace) -> String {
    let fates = ["runs `", "drains its queue", "a call to"];
    let step = trace
        .steps
        .iter()
        .find(|step| step.kind == Kind::Key && fates.iter().any(|fate| step.text.starts_with(fate)));
    match step.and_then(|step| Some((trace.lanes.get(step.cpu)?, step))) {
        Some((lane, step)) => format!("Nothing breaks: {} {}.", lane.name, step.text),
        None => "Nothing breaks.".into(),
    }
}
