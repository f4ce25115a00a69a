//! [`Trace`]: what is drawn.

use serde::{Deserialize, Serialize};

/// One run of several CPUs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Default, Debug)]
pub struct Trace {
    /// What ran, in a few words.
    pub title: String,
    /// What became of it, in one sentence.
    pub sentence: String,
    /// The CPUs; [`Step::cpu`] is a place in this list.
    pub lanes: Vec<Lane>,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// The step at which something went wrong.
    pub broken_at: Option<usize>,
    /// The rule that it broke: a letter, a number or a word.
    pub rule: String,
    /// Two steps: the other way round, nothing goes wrong.
    pub critical_pair: Option<(usize, usize)>,
}

/// One CPU.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Lane {
    /// Its name, e.g. `CPU 1`.
    pub name: String,
    /// Its part in the story, e.g. `goes offline`. May be empty.
    pub role: String,
}

/// One step.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Step {
    /// Who.
    pub cpu: usize,
    /// In which part of its code.
    pub context: Context,
    /// What for the picture.
    pub kind: Kind,
    /// What in words, without the CPU's name.
    pub text: String,
    /// Where in the code: `file:line`, or nothing.
    pub location: String,
    /// The CPU's interrupts are open after the step.
    pub irqs_on: bool,
}

/// Which part of a CPU's code runs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// A thread with this name.
    Thread(String),
    /// The stopper.
    Stopper,
    /// The handler of an interrupt.
    Handler {
        /// Its name, e.g. `call IPI`.
        of: String,
        /// How many handlers it is nested in.
        depth: u8,
    },
}

impl Context {
    /// In words.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Context::Thread(name) => name.clone(),
            Context::Stopper => "stopper".into(),
            Context::Handler { of, .. } => format!("handler of the {of}"),
        }
    }
}

/// What a step is for the picture.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The last acknowledgement moves all CPUs to the stage with this name.
    Stage(String),
    /// A step of the usual course, of which several may share a line: an acknowledgement, interrupts closed by a stage.
    Calm,
    /// A step that the story needs.
    Key,
    /// A step that the story does not need.
    Detail,
    /// The handler of the interrupt with this name begins; an IPI if `ipi`.
    Take {
        /// The interrupt's name.
        name: String,
        /// It is the end of the arrow that begins at a [`Send`](Kind::Send).
        ipi: bool,
    },
    /// The handler returns.
    Return,
    /// An IPI is sent.
    Send {
        /// To this lane.
        to: usize,
    },
    /// This lane leaves the online mask.
    Leave {
        /// Who.
        who: usize,
    },
    /// This lane joins the online mask.
    Join {
        /// Who.
        who: usize,
    },
    /// The CPU stops to run.
    Die,
    /// It runs again.
    Start,
}

/// An IPI from its sending to the handler that it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrow {
    /// The step that sends.
    pub from: usize,
    /// To this lane.
    pub to: usize,
    /// The step at which its handler begins; several IPIs may end in one handler.
    pub taken: Option<usize>,
}

impl Trace {
    /// The IPIs.
    #[must_use]
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows: Vec<Arrow> = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            match step.kind {
                Kind::Send { to } => arrows.push(Arrow { from: at, to, taken: None }),
                // An interrupt controller keeps one pending bit: whatever is under way ends here.
                Kind::Take { ipi: true, .. } => {
                    for arrow in arrows.iter_mut().filter(|a| a.to == step.cpu && a.taken.is_none()) {
                        arrow.taken = Some(at);
                    }
                }
                _ => {}
            }
        }
        arrows
    }

    /// Why it can't be drawn, if it can't.
    ///
    /// # Errors
    /// A step, or a mark, points to something that is not there.
    pub fn check(&self) -> Result<(), String> {
        let lanes = self.lanes.len();
        for (at, step) in self.steps.iter().enumerate() {
            let other = match step.kind {
                Kind::Send { to } => to,
                Kind::Leave { who } | Kind::Join { who } => who,
                _ => step.cpu,
            };
            if step.cpu >= lanes || other >= lanes {
                return Err(format!("step {at} is about a lane that is not there: there are {lanes}"));
            }
        }
        let marks = [self.broken_at, self.critical_pair.map(|p| p.0), self.critical_pair.map(|p| p.1)];
        match marks.into_iter().flatten().find(|mark| *mark >= self.steps.len()) {
            Some(mark) => {
                Err(format!("step {mark} is marked, but there are only {} steps", self.steps.len()))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn step(cpu: usize, kind: Kind, text: &str, irqs_on: bool) -> Step {
        Step {
            cpu,
            context: Context::Stopper,
            kind,
            text: text.into(),
            location: "src/stop/machine.rs:10".into(),
            irqs_on,
        }
    }

    fn in_handler(cpu: usize, of: &str, kind: Kind, text: &str) -> Step {
        Step {
            context: Context::Handler { of: of.into(), depth: 1 },
            location: "src/call/single.rs:20".into(),
            ..step(cpu, kind, text, false)
        }
    }

    /// The mail's race, made by hand.
    pub(crate) fn race() -> Trace {
        let stage = |name: &str| Kind::Stage(name.into());
        let take = |name: &str, ipi| Kind::Take { name: name.into(), ipi };
        let (device, call) = ("device interrupt", "call IPI");
        let steps = vec![
            step(1, stage("PREPARE"), "moves all to PREPARE", true),
            step(0, Kind::Detail, "loads `stop.word`", true),
            step(0, Kind::Calm, "ack", true),
            step(1, Kind::Calm, "ack, the last", true),
            step(1, stage("DISABLE_IRQ"), "moves all to DISABLE_IRQ", true),
            step(1, Kind::Calm, "closes its interrupts", false),
            step(1, Kind::Calm, "ack", false),
            in_handler(0, device, take(device, false), "device interrupt"),
            in_handler(0, device, Kind::Key, "calls `work` on CPU 1: it is online, so the call is accepted"),
            in_handler(0, device, Kind::Detail, "pushes the call"),
            in_handler(0, device, Kind::Send { to: 1 }, "sends an IPI"),
            step(0, Kind::Return, "", true),
            step(0, Kind::Calm, "closes its interrupts", false),
            step(0, Kind::Calm, "ack, the last", false),
            step(0, stage("RUN"), "moves all to RUN", false),
            step(0, Kind::Calm, "spins, interrupts closed", false),
            step(1, Kind::Leave { who: 1 }, "leaves the online mask", false),
            step(1, Kind::Calm, "ack, the last", false),
            step(1, stage("EXIT"), "moves all to EXIT", false),
            step(0, Kind::Calm, "opens its interrupts", true),
            step(1, Kind::Calm, "opens its interrupts", true),
            in_handler(1, call, take(call, true), "call IPI"),
            in_handler(1, call, Kind::Key, "finds `work` of CPU 0, but is offline"),
            step(1, Kind::Return, "", true),
        ];
        Trace {
            title: "linux-3.14, 2 CPUs".into(),
            sentence: "late (W): CPU 1 finds `work` of CPU 0 when it is offline, at src/call/flush.rs:77."
                .into(),
            lanes: vec![
                Lane { name: "CPU 0".into(), role: "stays".into() },
                Lane { name: "CPU 1".into(), role: "goes offline".into() },
            ],
            steps,
            broken_at: Some(22),
            rule: "W".into(),
            critical_pair: Some((5, 8)),
        }
    }

    #[test]
    fn an_arrow_ends_in_the_next_handler_of_its_lane() {
        assert_eq!(race().arrows(), [Arrow { from: 10, to: 1, taken: Some(21) }]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = serde_json::to_string(&race()).unwrap();
        assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), race());
    }
}
