//! What is worth drawing, and in which rows: the choice that all pictures share.
//!
//! Steps of kind [`Detail`](Kind::Detail) are left out, unless they are marked. [`Calm`](Kind::Calm) steps that follow each other share a row, each in its lane:
//! their order does not matter to the story. Everything else has a row of its own, so that what is lower happened later. A handler in which
//! nothing is worth drawing is one row instead of a box.

use crate::trace::{Arrow, Kind, Trace};

/// One row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The stage that begins here: a rule across all lanes, with no cells.
    pub stage: Option<String>,
    /// At most one for each lane.
    pub cells: Vec<Cell>,
    /// How each lane's spine looks in this row.
    pub spines: Vec<Spine>,
}

/// What one lane does in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The lane.
    pub lane: usize,
    /// The steps that it stands for; never empty.
    pub steps: Vec<usize>,
    /// In words.
    pub text: String,
    /// A box begins, goes on or ends.
    pub frame: Frame,
    /// The IPI that is sent here.
    pub arrow: Option<Arrow>,
    /// What the receiver of the arrow does about it at this time.
    pub note: String,
    /// Here something went wrong.
    pub broken: bool,
    /// It is the first (1) or second (2) step of the critical pair.
    pub pair: Option<u8>,
}

/// A cell and the box around a handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Neither begins nor ends here.
    Within,
    /// It begins: the text is its heading.
    Begins,
    /// It ends: no text.
    Ends,
}

/// A lane at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spine {
    /// Its interrupts are open.
    pub irqs_on: bool,
    /// It is in the online mask.
    pub online: bool,
    /// It runs.
    pub alive: bool,
    /// How many boxes are around it.
    pub boxes: usize,
}

/// The rows of `trace`, from the first to the last.
///
/// What can't be drawn ([`Trace::check`]) has no rows.
#[must_use]
pub fn rows(trace: &Trace) -> Vec<Row> {
    if trace.check().is_err() {
        return Vec::new();
    }
    let empty = empty_handlers(trace);
    let arrows = trace.arrows();
    let mut spines = first_spines(trace);
    let mut rows: Vec<Row> = Vec::new();
    for (at, step) in trace.steps.iter().enumerate() {
        apply(&mut spines, at, trace, &empty);
        let marked = trace.broken_at == Some(at) || pair(trace, at).is_some();
        if !marked && (step.kind == Kind::Detail || (step.kind == Kind::Return && empty.contains(&at))) {
            continue;
        }
        if let Kind::Stage(name) = &step.kind {
            let stage = Some(name.clone());
            rows.push(Row { stage, cells: Vec::new(), spines: spines.clone() });
            continue;
        }
        if step.kind == Kind::Calm && !marked && join_last(&mut rows, trace, at, &spines) {
            continue;
        }
        let arrow = arrows.iter().find(|arrow| arrow.from == at).copied();
        let cell = Cell {
            lane: step.cpu,
            steps: vec![at],
            text: step.text.clone(),
            frame: match step.kind {
                Kind::Take { .. } if !empty.contains(&at) => Frame::Begins,
                Kind::Return if !empty.contains(&at) => Frame::Ends,
                _ => Frame::Within,
            },
            arrow,
            note: arrow.map_or_else(String::new, |arrow| note(arrow, &spines, trace)),
            broken: trace.broken_at == Some(at),
            pair: pair(trace, at),
        };
        rows.push(Row { stage: None, cells: vec![cell], spines: spines.clone() });
    }
    rows
}

/// Adds a calm step to the last row, if that is calm as well.
fn join_last(rows: &mut [Row], trace: &Trace, at: usize, spines: &[Spine]) -> bool {
    let step = &trace.steps[at];
    let Some(row) = rows.last_mut().filter(|row| row.stage.is_none()) else { return false };
    let calm =
        |cell: &Cell| cell.steps.iter().all(|s| trace.steps[*s].kind == Kind::Calm) && cell.pair.is_none();
    if !row.cells.iter().all(|cell| calm(cell) && !cell.broken) {
        return false;
    }
    row.spines = spines.to_vec();
    if let Some(cell) = row.cells.iter_mut().find(|cell| cell.lane == step.cpu) {
        cell.steps.push(at);
        cell.text = format!("{}, {}", cell.text, step.text);
    } else {
        row.cells.push(Cell {
            lane: step.cpu,
            steps: vec![at],
            text: step.text.clone(),
            frame: Frame::Within,
            arrow: None,
            note: String::new(),
            broken: false,
            pair: None,
        });
    }
    true
}

fn pair(trace: &Trace, at: usize) -> Option<u8> {
    let (first, second) = trace.critical_pair?;
    [(first, 1), (second, 2)].into_iter().find_map(|(step, number)| (step == at).then_some(number))
}

/// Lanes begin as the first step that says something about them needs it.
fn first_spines(trace: &Trace) -> Vec<Spine> {
    (0..trace.lanes.len())
        .map(|lane| {
            let mask = trace.steps.iter().find_map(|step| match step.kind {
                Kind::Leave { who } if who == lane => Some(true),
                Kind::Join { who } if who == lane => Some(false),
                _ => None,
            });
            let first = trace.steps.iter().find(|step| step.cpu == lane);
            let started = first.is_some_and(|step| step.kind == Kind::Start);
            Spine {
                // A CPU that opens its interrupts first had them closed, and the other way round, as far as one can know.
                irqs_on: first.is_none_or(|step| step.irqs_on),
                online: mask.unwrap_or(true),
                alive: !started,
                boxes: 0,
            }
        })
        .collect()
}

fn apply(spines: &mut [Spine], at: usize, trace: &Trace, empty: &[usize]) {
    let step = &trace.steps[at];
    let spine = &mut spines[step.cpu];
    spine.irqs_on = step.irqs_on;
    match step.kind {
        Kind::Take { .. } if !empty.contains(&at) => spine.boxes += 1,
        Kind::Return if !empty.contains(&at) => spine.boxes = spine.boxes.saturating_sub(1),
        Kind::Die => {
            spine.alive = false;
            spine.boxes = 0;
        }
        Kind::Start => spine.alive = true,
        Kind::Leave { who } => spines[who].online = false,
        Kind::Join { who } => spines[who].online = true,
        _ => {}
    }
}

/// The begins and ends of handlers in which nothing is drawn.
fn empty_handlers(trace: &Trace) -> Vec<usize> {
    let mut empty = Vec::new();
    // For each lane the handlers that are open: where each began, and whether something is in it.
    let mut open: Vec<Vec<(usize, bool)>> = vec![Vec::new(); trace.lanes.len()];
    for (at, step) in trace.steps.iter().enumerate() {
        let stack = &mut open[step.cpu];
        match step.kind {
            Kind::Take { .. } => stack.push((at, false)),
            Kind::Return => {
                if let Some((began, used)) = stack.pop() {
                    if used || trace.broken_at == Some(at) {
                        mark(stack);
                    } else {
                        empty.extend([began, at]);
                    }
                }
            }
            Kind::Detail if trace.broken_at != Some(at) && pair(trace, at).is_none() => {}
            _ => mark(stack),
        }
    }
    empty
}

fn mark(stack: &mut [(usize, bool)]) {
    for handler in stack {
        handler.1 = true;
    }
}

/// What happens at the other end of the arrow.
fn note(arrow: Arrow, spines: &[Spine], trace: &Trace) -> String {
    let spine = spines[arrow.to];
    let taken_at_once =
        arrow.taken.is_some_and(|t| trace.steps[arrow.from + 1..t].iter().all(|s| s.kind == Kind::Detail));
    match spine {
        _ if taken_at_once => "",
        Spine { alive: false, .. } => "nobody is there",
        Spine { irqs_on: false, .. } => "the IPI waits: interrupts are closed",
        _ => "the IPI is under way",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::{race, step};

    #[test]
    fn details_are_left_out_unless_marked() {
        let mut trace = race();
        let all = rows(&trace).len();
        let detail = trace.steps.iter().position(|step| step.kind == Kind::Detail).unwrap();
        trace.broken_at = Some(detail);
        assert_eq!(rows(&trace).len(), all + 1);
    }

    #[test]
    fn calm_steps_share_a_row_and_others_do_not() {
        let rows = rows(&race());
        let first = rows.iter().find(|row| row.stage.is_none()).unwrap();
        assert_eq!(first.cells.iter().map(|cell| cell.lane).collect::<Vec<_>>(), [0, 1]);
        assert!(rows.iter().all(|row| row.cells.len() <= 1 || row.cells.iter().all(|c| c.arrow.is_none())));
    }

    #[test]
    fn boxes_begin_and_end_as_often() {
        let rows = rows(&race());
        let frames =
            |frame| rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.frame == frame).count();
        assert_eq!((frames(Frame::Begins), frames(Frame::Ends)), (2, 2));
        assert!(rows.last().unwrap().spines.iter().all(|spine| spine.boxes == 0));
    }

    #[test]
    fn a_handler_with_nothing_in_it_is_one_row() {
        let mut trace = race();
        let take = Kind::Take { name: "device interrupt".into(), ipi: false };
        trace.steps = vec![
            step(0, take, "device interrupt", false),
            step(0, Kind::Detail, "load", false),
            step(0, Kind::Return, "", true),
            step(0, Kind::Key, "goes on", true),
        ];
        (trace.broken_at, trace.critical_pair) = (None, None);
        let rows = rows(&trace);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].cells[0].frame, rows[0].spines[0].boxes), (Frame::Within, 0));
    }

    #[test]
    fn the_spine_knows_who_is_online() {
        let rows = rows(&race());
        assert!(rows[0].spines[1].online);
        assert!(!rows.last().unwrap().spines[1].online);
    }

    #[test]
    fn a_trace_that_points_nowhere_has_no_rows() {
        let mut trace = race();
        trace.steps[3].cpu = 7;
        assert!(trace.check().unwrap_err().contains("step 3"));
        assert!(rows(&trace).is_empty());
        let mut trace = race();
        trace.broken_at = Some(999);
        assert!(trace.check().unwrap_err().contains("step 999"));
    }
}
