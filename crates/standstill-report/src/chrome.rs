//! Chrome's JSON trace format, which Perfetto (`ui.perfetto.dev`) and `chrome://tracing` open.
//!
//! One track for each CPU, in which contexts are slices, handlers nested in what they interrupt, and each step a slice of its own; one track
//! for each CPU's closed interrupts; one for the stages. IPIs are flows. A step takes one microsecond, as there is no clock in a list of steps.

use serde_json::{Value, json};

use crate::trace::{Context, Kind, Trace};

/// The one process.
const PROCESS: usize = 1;
/// The tracks: stages, then two for each CPU. Not 1: a track with its process's number is taken for the main thread.
const STAGES: usize = 2;

const fn track(cpu: usize) -> usize {
    STAGES + 1 + 2 * cpu
}

/// One trace as JSON. What can't be drawn ([`Trace::check`]) is an empty trace.
#[must_use]
pub fn render(trace: &Trace) -> String {
    let events = if trace.check().is_ok() { Events::of(trace) } else { Vec::new() };
    let value = json!({
        "displayTimeUnit": "ns",
        "otherData": { "title": trace.title, "sentence": trace.sentence },
        "traceEvents": events,
    });
    value.to_string()
}

/// A context's slice on a CPU's track that has not ended.
struct Open {
    name: String,
    handler: bool,
    /// Its event, which gets its length when it ends. Begin and end as two events would do for `chrome://tracing`, but Perfetto can't
    /// tell whose end it is where a step ends at the same instant.
    event: usize,
    since: usize,
}

struct Events<'a> {
    trace: &'a Trace,
    out: Vec<Value>,
    /// For each CPU what runs there, innermost last.
    contexts: Vec<Vec<Open>>,
    /// For each CPU since when its interrupts are closed.
    closed: Vec<Option<usize>>,
}

impl<'a> Events<'a> {
    fn of(trace: &'a Trace) -> Vec<Value> {
        let lanes = trace.lanes.len();
        let mut events = Events {
            trace,
            out: Vec::new(),
            contexts: (0..lanes).map(|_| Vec::new()).collect(),
            closed: vec![None; lanes],
        };
        events.names();
        for at in 0..trace.steps.len() {
            events.step(at);
        }
        let end = trace.steps.len();
        for cpu in 0..lanes {
            events.close(cpu, 0, end);
            events.irqs(cpu, true, end);
        }
        events.stages();
        events.flows();
        events.out
    }

    fn names(&mut self) {
        let title = &self.trace.title;
        self.out.push(json!({"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": title}}));
        let mut name = |tid: usize, name: String| {
            self.out.push(
                json!({"ph": "M", "pid": PROCESS, "tid": tid, "name": "thread_name", "args": {"name": name}}),
            );
            self.out.push(json!({
                "ph": "M", "pid": PROCESS, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid},
            }));
        };
        name(STAGES, "stages".into());
        for (cpu, lane) in self.trace.lanes.iter().enumerate() {
            let role = if lane.role.is_empty() { String::new() } else { format!(" ({})", lane.role) };
            name(track(cpu), format!("{}{role}", lane.name));
            name(track(cpu) + 1, format!("{} interrupts", lane.name));
        }
    }

    fn step(&mut self, at: usize) {
        let step = &self.trace.steps[at];
        let cpu = step.cpu;
        match (&step.kind, &step.context) {
            (Kind::Take { name, .. }, _) => self.open(cpu, name.clone(), true, at),
            (Kind::Return, _) => {}
            (_, Context::Handler { .. }) => {}
            (_, base) => self.base(cpu, base.name(), at),
        }
        self.irqs(cpu, step.irqs_on, at);
        let text = if step.text.is_empty() { "returns" } else { &step.text };
        self.out.push(json!({
            "ph": "X", "pid": PROCESS, "tid": track(cpu), "ts": at, "dur": 1, "name": text, "cat": "step",
            "args": {"step": at, "location": step.location, "context": step.context.name()},
        }));
        if self.trace.broken_at == Some(at) {
            self.out.push(json!({
                "ph": "i", "s": "t", "pid": PROCESS, "tid": track(cpu), "ts": at, "cat": "broken",
                "name": format!("broken: {}", self.trace.rule), "args": {"sentence": self.trace.sentence},
            }));
        }
        match step.kind {
            Kind::Return => {
                let innermost = self.contexts[cpu].iter().rposition(|open| open.handler);
                if let Some(innermost) = innermost {
                    self.close(cpu, innermost, at + 1);
                }
            }
            Kind::Die => self.close(cpu, 0, at + 1),
            _ => {}
        }
    }

    /// What is not a handler is the outermost slice, and there is one.
    fn base(&mut self, cpu: usize, name: String, at: usize) {
        let handlers = self.contexts[cpu].iter().any(|open| open.handler);
        if handlers || self.contexts[cpu].first().is_some_and(|open| open.name == name) {
            return;
        }
        self.close(cpu, 0, at);
        self.open(cpu, name, false, at);
    }

    fn open(&mut self, cpu: usize, name: String, handler: bool, at: usize) {
        let event = self.out.len();
        self.out.push(json!({
            "ph": "X", "pid": PROCESS, "tid": track(cpu), "ts": at, "name": name, "cat": if handler { "handler" } else { "context" },
        }));
        self.contexts[cpu].push(Open { name, handler, event, since: at });
    }

    /// Closes all slices from the `from`th on.
    fn close(&mut self, cpu: usize, from: usize, at: usize) {
        let from = from.min(self.contexts[cpu].len());
        for open in self.contexts[cpu].drain(from..) {
            self.out[open.event]["dur"] = json!(at - open.since);
        }
    }

    fn irqs(&mut self, cpu: usize, on: bool, at: usize) {
        match (self.closed[cpu], on) {
            (None, false) => self.closed[cpu] = Some(at),
            (Some(since), true) => {
                self.out.push(json!({
                    "ph": "X", "pid": PROCESS, "tid": track(cpu) + 1, "ts": since, "dur": at - since,
                    "name": "interrupts closed", "cat": "irq",
                }));
                self.closed[cpu] = None;
            }
            _ => {}
        }
    }

    fn stages(&mut self) {
        let stages: Vec<_> = (self.trace.steps.iter().enumerate())
            .filter_map(|(at, step)| match &step.kind {
                Kind::Stage(name) => Some((at, name)),
                _ => None,
            })
            .collect();
        for (nth, (at, name)) in stages.iter().enumerate() {
            let end = stages.get(nth + 1).map_or(self.trace.steps.len(), |next| next.0);
            self.out.push(json!({
                "ph": "X", "pid": PROCESS, "tid": STAGES, "ts": at, "dur": end - at, "name": name, "cat": "stage",
            }));
        }
    }

    fn flows(&mut self) {
        for (id, arrow) in self.trace.arrows().into_iter().enumerate() {
            let Some(taken) = arrow.taken else { continue };
            let from = self.trace.steps[arrow.from].cpu;
            self.out.push(json!({
                "ph": "s", "id": id, "pid": PROCESS, "tid": track(from), "ts": arrow.from, "name": "IPI", "cat": "ipi",
            }));
            self.out.push(json!({
                "ph": "f", "bp": "e", "id": id, "pid": PROCESS, "tid": track(arrow.to), "ts": taken, "name": "IPI", "cat": "ipi",
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::race;

    fn events(trace: &Trace) -> Vec<Value> {
        let value: Value = serde_json::from_str(&render(trace)).expect("it is JSON");
        value["traceEvents"].as_array().expect("it is a list").clone()
    }

    fn of<'a>(events: &'a [Value], phase: &'a str) -> impl Iterator<Item = &'a Value> {
        events.iter().filter(move |event| event["ph"] == phase)
    }

    /// Those of a track that have a length, from the outside in: `(from, to, event)`.
    fn slices(events: &[Value], track: usize) -> Vec<(u64, u64, &Value)> {
        let all = of(events, "X").filter(|event| event["tid"] == track);
        let number =
            |event: &Value, name: &str| event[name].as_u64().expect("each slice has a start and a length");
        all.map(|event| (number(event, "ts"), number(event, "ts") + number(event, "dur"), event)).collect()
    }

    #[test]
    fn slices_lie_in_one_another_and_outer_ones_come_first() {
        let events = events(&race());
        for cpu in 0..2 {
            let slices = slices(&events, track(cpu));
            for (nth, (from, to, event)) in slices.iter().enumerate() {
                assert!(from < to, "{event}");
                for (later, end, inner) in &slices[nth + 1..] {
                    assert!(later >= from && (later >= to || end <= to), "{inner} in {event}");
                }
            }
        }
        assert_eq!(of(&events, "X").filter(|event| event["cat"] == "handler").count(), 2);
        // Perfetto can't tell whose end an end is, where a step ends at the same instant.
        assert_eq!(of(&events, "B").chain(of(&events, "E")).count(), 0);
    }

    #[test]
    fn handlers_are_nested_in_what_they_interrupt() {
        let events = events(&race());
        let slices = slices(&events, track(0));
        let find = |name: &str| slices.iter().find(|slice| slice.2["name"] == name).expect("it is there");
        let (stopper, handler) = (find("stopper"), find("device interrupt"));
        assert!(stopper.0 < handler.0 && handler.1 <= stopper.1, "{slices:?}");
    }

    #[test]
    fn an_ipi_is_a_flow_from_its_sender_to_its_handler() {
        let events = events(&race());
        let (start, end) = (of(&events, "s").next().unwrap(), of(&events, "f").next().unwrap());
        assert_eq!((&start["tid"], &end["tid"]), (&json!(track(0)), &json!(track(1))));
        assert_eq!(start["id"], end["id"]);
    }

    #[test]
    fn what_broke_is_marked_and_closed_interrupts_have_a_length() {
        let events = events(&race());
        assert_eq!(of(&events, "i").count(), 1);
        let closed: Vec<_> = of(&events, "X").filter(|event| event["cat"] == "irq").collect();
        assert!(!closed.is_empty() && closed.iter().all(|event| event["dur"].as_u64() > Some(0)));
        let stages: Vec<_> = of(&events, "X").filter(|event| event["cat"] == "stage").collect();
        assert_eq!(stages.len(), 4);
    }
}
