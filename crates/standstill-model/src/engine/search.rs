//! Engine 1: every state once, depth first, on the real code.
//!
//! A state is remembered by its fingerprint: memory, CPUs, the rules' own state, and for each context the history of what it read. The
//! code is deterministic, so two states with the same fingerprint go on alike. Going back is undoing the last step.
//!
//! What is here is the search of one thread; [`crate::engine::parallel`] begins it, and lets several do it.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::time::Instant;

use standstill::Property;

use crate::base::hash::{BuildHashed, Hash128};
use crate::base::room;
use crate::config::options::Options;
use crate::engine::sample::Sample;
use crate::engine::table::{Table, Visit};
use crate::machine::session::Ready;
use crate::machine::step::take;
use crate::machine::world::with_ptr;
use crate::reduction::explored::Covers;
use crate::vocab::choice::is_device;
use crate::vocab::fault::Fault;
use crate::vocab::progress::{Bound, Progress};

/// What a search has found so far.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) counts: [u64; 5],
    pub(crate) firsts: [Option<Vec<u32>>; 5],
    pub(crate) fault: Option<(Fault, Vec<u32>)>,
    pub(crate) ends: HashSet<u128, BuildHashed>,
    /// The final states, by what does not depend on addresses, if somebody asks for that.
    pub(crate) stable: Option<BTreeSet<u128>>,
    /// Of the engine that counts traces: those, and the runs that were none.
    pub(crate) traces: HashSet<u128, BuildHashed>,
    pub(crate) blocked: u64,
    pub(crate) states: u64,
    pub(crate) runs: u64,
    pub(crate) depth: usize,
    pub(crate) steps: u64,
    pub(crate) bytes: u64,
    /// What the next growth of the largest table takes.
    pub(crate) growth: u64,
    /// The merges that are to be looked at.
    pub(crate) sample: Option<Sample>,
}

impl Found {
    pub(crate) fn new() -> Found {
        Found {
            counts: [0; 5],
            firsts: [const { None }; 5],
            fault: None,
            ends: HashSet::default(),
            stable: None,
            traces: HashSet::default(),
            blocked: 0,
            states: 0,
            runs: 0,
            depth: 0,
            steps: 0,
            bytes: 0,
            growth: 0,
            sample: None,
        }
    }

    /// Looks at the step that was just made; true if the search must not go on from here. `counts`: it was not made before.
    pub(crate) fn look(&mut self, ready: &Ready, counts: bool) -> bool {
        with_ptr(ready.world, |w| {
            if w.step.broken != 0 {
                for property in Property::ALL {
                    if w.step.broken & 1 << property as u8 != 0 {
                        let index = property as usize;
                        self.counts[index] += u64::from(counts);
                        self.firsts[index].get_or_insert_with(|| w.recorder.choices.clone());
                    }
                }
            }
            if let Some(race) = w.step.race.take() {
                self.broken(race, &w.recorder.choices);
            }
            match w.step.fault.take() {
                Some(fault) => {
                    self.broken(fault, &w.recorder.choices);
                    true
                }
                None => false,
            }
        })
    }

    /// Looks at a state in which nothing has to happen any more.
    pub(crate) fn look_at_end(&mut self, ready: &Ready) {
        let (hash, fault) = with_ptr(ready.world, |w| {
            w.finish();
            (w.end_hash().to_u128(), w.step.fault.take())
        });
        self.ends.insert(hash);
        if let Some(stable) = &mut self.stable {
            stable.insert(with_ptr(ready.world, |w| w.stable_end()));
        }
        if let Some(fault) = fault {
            with_ptr(ready.world, |w| self.broken(fault, &w.recorder.choices));
        }
    }

    /// Something is wrong. Of all that is found the rule with the smallest name is told, and its first schedule: whoever finds it, that is the same.
    pub(crate) fn broken(&mut self, fault: Fault, choices: &[u32]) {
        if self.fault.as_ref().is_none_or(|(known, _)| fault.rule < known.rule) {
            self.fault = Some((fault, choices.to_vec()));
        }
    }

    /// What another thread of the same search has found.
    pub(crate) fn add(&mut self, other: Found) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for (first, theirs) in self.firsts.iter_mut().zip(other.firsts) {
            if first.is_none() {
                *first = theirs;
            }
        }
        if let Some((fault, choices)) = other.fault {
            self.broken(fault, &choices);
        }
        self.ends.extend(other.ends);
        if let (Some(stable), Some(theirs)) = (&mut self.stable, other.stable) {
            stable.extend(theirs);
        }
        self.states += other.states;
        self.steps += other.steps;
        self.depth = self.depth.max(other.depth);
        self.bytes += other.bytes;
    }

    /// Everything was searched: somebody has come to an end.
    pub(crate) fn expect_an_end(&mut self) {
        if self.ends.is_empty() && self.fault.is_none() {
            let text = "no run comes to an end: somebody goes round for ever".to_string();
            let fault = Fault { rule: "livelock".to_string(), cpu: 0, text, location: String::new() };
            self.fault = Some((fault, Vec::new()));
        }
    }
}

/// One state on the way from the set-up to where the search is.
struct Node {
    /// How many steps lead here: waits that were moved left are steps, but no states.
    depth: usize,
    /// Where its choices begin in the list of all.
    first: usize,
    /// The one to try next.
    next: usize,
    /// Where those end that are this thread's: the others were given away.
    end: usize,
    /// Nobody was here before: what its steps break counts.
    new: bool,
    hash: Hash128,
}

/// So many steps of each thread's search watch the words that are stored to behind a guess: that costs a tenth of the time of each step.
const WATCHED: u64 = 1 << 15;

/// How a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Exhausted,
    Bounded(Bound),
    /// A place that was taken to be quiet is shared.
    Again,
}

/// How far a [`Search`] came.
pub(crate) enum Came {
    /// Nothing is left of what it had to do.
    Through,
    /// As far as it was to go.
    Far,
    /// To an end of the whole search.
    To(End),
}

/// A part of the search that somebody else can do: what was not tried yet at the states of one run.
/// It takes as much room as the run is long, however many of its states have something left.
pub(crate) struct Job {
    /// The choices that lead to the first of the states; waits that were moved left are not among
    /// them.
    pub(crate) way: Vec<u32>,
    /// From there on each state of the run.
    pub(crate) levels: Vec<Level>,
}

/// A state of a [`Job`].
pub(crate) struct Level {
    /// The choice that leads to the next one. The last state has none.
    pub(crate) taken: Option<u32>,
    /// What was not tried yet.
    pub(crate) untried: Vec<u32>,
    pub(crate) new: bool,
}

/// No more new states than this are between two reports.
const REPORT: u64 = 1 << 10;
/// And no more steps: those of a search that only comes to known states, with more than before.
const STEPS: u64 = 1 << 14;

/// The search of one thread, depth first, on a machine of its own.
pub(crate) struct Search<'a> {
    pub(crate) ready: &'a Ready,
    options: &'a Options,
    table: &'a Table,
    covers: Covers,
    nodes: Vec<Node>,
    choices: Vec<u32>,
    enabled: Vec<u32>,
    /// The choices that lead to the first of `nodes`.
    way: Vec<u32>,
    /// Steps since the last report.
    unreported: u64,
    pub(crate) found: Found,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        ready: &'a Ready,
        options: &'a Options,
        table: &'a Table,
        covers: Covers,
    ) -> Search<'a> {
        with_ptr(ready.world, |w| {
            w.reduction.movers.switch_on(options);
            w.look.watches_until = w.recorder.steps + WATCHED;
            w.memory.clocks.refresh(|place| w.reduction.classes.is_shared(place));
        });
        Search {
            ready,
            options,
            table,
            covers,
            nodes: Vec::new(),
            choices: Vec::new(),
            enabled: Vec::new(),
            way: Vec::new(),
            unreported: 0,
            found: Found { sample: Sample::new(&options.audit), ..Found::new() },
        }
    }

    /// Looks at the state in which the branching begins.
    pub(crate) fn begin(&mut self) {
        let stop = self.found.look(self.ready, true);
        self.arrive(stop, true);
    }

    /// Goes to where all jobs begin.
    fn rewind(&mut self, seen: &mut Found) {
        with_ptr(self.ready.world, |w| w.undo_to(0));
        hurry(self.ready, seen, false, &mut self.enabled);
    }

    /// Goes one step of a job on.
    fn walk(&mut self, choice: u32, seen: &mut Found) {
        take(self.ready.world, choice, true);
        seen.look(self.ready, false);
        hurry(self.ready, seen, false, &mut self.enabled);
    }

    /// Can these choices be taken here?
    fn are_possible(&self, choices: &[u32]) -> bool {
        let possible = |choice: &u32| self.enabled.contains(choice);
        with_ptr(self.ready.world, |w| {
            choices.iter().all(|choice| possible(choice) || w.may_be_meant(*choice))
        })
    }

    /// Is it a job of this program? One of a file may be anybody's.
    pub(crate) fn fits(&mut self, job: &Job) -> bool {
        let mut seen = Found::new();
        self.rewind(&mut seen);
        for choice in &job.way {
            if !self.are_possible(&[*choice]) {
                return false;
            }
            self.walk(*choice, &mut seen);
        }
        for level in &job.levels {
            if !self.are_possible(&level.untried) || !self.are_possible(level.taken.as_slice()) {
                return false;
            }
            if let Some(choice) = level.taken {
                self.walk(choice, &mut seen);
            }
        }
        true
    }

    /// Takes over a job.
    pub(crate) fn take_over(&mut self, job: Job) {
        // What happens on the way was seen by who was here before.
        let mut seen = Found::new();
        self.rewind(&mut seen);
        job.way.iter().for_each(|choice| self.walk(*choice, &mut seen));
        self.way = job.way;
        self.choices.clear();
        self.nodes.clear();
        for Level { taken, untried, new } in job.levels {
            let (depth, hash) = with_ptr(self.ready.world, |w| (w.undo.depth(), w.fingerprint()));
            let first = self.choices.len();
            self.choices.extend(taken.into_iter().chain(untried));
            let next = first + usize::from(taken.is_some());
            self.nodes.push(Node { depth, first, next, end: self.choices.len(), new, hash });
            if let Some(choice) = taken {
                self.walk(choice, &mut seen);
            }
        }
        self.found.depth = self.found.depth.max(self.way.len() + self.nodes.len());
    }

    /// Gives away what is left to do at the state that is nearest to the beginning, if that is not all there is.
    pub(crate) fn give_away(&mut self) -> Option<Job> {
        let untried = |node: &Node| node.next < node.end;
        let at = self.nodes.iter().position(untried)?;
        if at + 1 == self.nodes.len() && self.nodes[at].end - self.nodes[at].next < 2 {
            return None;
        }
        let mut way = self.way.clone();
        way.extend(self.nodes[..at].iter().map(|node| self.choices[node.next - 1]));
        let last = at + 1 == self.nodes.len();
        let node = &mut self.nodes[at];
        // Of the last state only a part.
        let keeps = if last { (node.end - node.next).div_ceil(2) } else { 0 };
        let untried = self.choices[node.next + keeps..node.end].to_vec();
        node.end = node.next + keeps;
        Some(Job { way, levels: vec![Level { taken: None, untried, new: node.new }] })
    }

    /// All that is left to do.
    pub(crate) fn left(&self) -> Option<Job> {
        let untried = |node: &Node| node.next < node.end;
        let first = self.nodes.iter().position(untried)?;
        let last = self.nodes.iter().rposition(untried)?;
        let taken = |node: &Node| self.choices[node.next - 1];
        let mut way = self.way.clone();
        way.extend(self.nodes[..first].iter().map(taken));
        let level = |(at, node): (usize, &Node)| Level {
            taken: (at < last).then(|| taken(node)),
            untried: self.choices[node.next..node.end].to_vec(),
            new: node.new,
        };
        let levels = self.nodes.iter().enumerate().take(last + 1).skip(first).map(level).collect();
        Some(Job { way, levels })
    }

    /// Searches, as long as `each` says so before each step; `report` is called now and then.
    pub(crate) fn go(
        &mut self,
        mut each: impl FnMut(&mut Search<'a>) -> bool,
        report: &mut dyn FnMut(&mut Found, usize) -> Option<End>,
    ) -> Came {
        loop {
            if with_ptr(self.ready.world, |w| w.reduction.classes.changed || w.reduction.movers.changed) {
                return Came::To(End::Again);
            }
            if self.found.fault.is_some() && !self.options.keep_going {
                return Came::To(End::Bounded(Bound::Violation));
            }
            if room::has_run_out() {
                return Came::To(End::Bounded(Bound::Bytes));
            }
            if !each(self) {
                return Came::Far;
            }
            let Some(new) = self.advance() else { return Came::Through };
            self.unreported += 1;
            let due = new && self.options.is_time_to_look(self.found.states, REPORT);
            if due || self.unreported == STEPS {
                self.unreported = 0;
                if let Some(end) = self.report(report) {
                    return Came::To(end);
                }
            }
        }
    }

    /// Makes one step; says whether it leads to a new state. `None`: there is no step left.
    fn advance(&mut self) -> Option<bool> {
        loop {
            let node = self.nodes.last_mut()?;
            if node.next < node.end {
                let choice = self.choices[node.next];
                node.next += 1;
                let (hash, depth, new) = (node.hash, node.depth, node.new);
                with_ptr(self.ready.world, |w| {
                    w.undo_to(depth);
                    if self.options.audit.undone {
                        assert_eq!(w.fingerprint(), hash, "a step was not undone completely");
                    }
                });
                take(self.ready.world, choice, true);
                let stop = self.found.look(self.ready, new);
                return Some(self.arrive(stop, new));
            }
            self.choices.truncate(node.first);
            self.nodes.pop();
        }
    }

    /// Looks at a state; true if it is a new one. `stop`: the search does not go on from here.
    fn arrive(&mut self, stop: bool, counts: bool) -> bool {
        if stop || hurry(self.ready, &mut self.found, counts, &mut self.enabled) {
            return false;
        }
        if with_ptr(self.ready.world, |w| w.reduction.classes.changed || w.reduction.movers.changed) {
            return false;
        }
        let covers = &mut self.covers;
        let (hash, cover, depth) =
            with_ptr(self.ready.world, |w| (w.fingerprint(), w.cover(covers), w.undo.depth()));
        let visit = self.table.visit(hash, cover, covers);
        let new = visit == Visit::New;
        if let Some(sample) = &mut self.found.sample {
            with_ptr(self.ready.world, |w| sample.visit(hash.to_u128(), new, &w.recorder.choices));
        }
        if visit == Visit::Done {
            return false;
        }
        self.found.states += u64::from(new);
        if new && self.enabled.iter().all(|choice| is_device(*choice)) {
            self.found.look_at_end(self.ready);
        }
        if !self.enabled.is_empty() {
            let first = self.choices.len();
            self.choices.extend_from_slice(&self.enabled);
            if with_ptr(self.ready.world, |w| w.reduction.movers.on) {
                // The last CPU first, and a CPU goes on before it is interrupted. Any order is as sound, but steps that are merged are learnt about
                // on the way, and this order learns of fewer points: as measured, 35,097 states with four CPUs, 50,896 the other way round.
                self.choices[first..].reverse();
            }
            self.nodes.push(Node { depth, first, next: first, end: self.choices.len(), new, hash });
            self.found.depth = self.found.depth.max(self.way.len() + self.nodes.len());
        }
        new
    }

    /// Reports what was found so far, and how deep the search is.
    pub(crate) fn report(&mut self, report: &mut dyn FnMut(&mut Found, usize) -> Option<End>) -> Option<End> {
        self.count();
        report(&mut self.found, self.nodes.len())
    }

    /// Fills in what the machine counts.
    pub(crate) fn count(&mut self) {
        let (undo, steps) = with_ptr(self.ready.world, |w| (w.undo.peak(), w.recorder.steps));
        (self.found.bytes, self.found.steps) = ((undo + self.covers.bytes().1) as u64, steps);
        self.found.growth = self.covers.growth().max(self.found.ends.capacity() * 34) as u64;
    }
}

/// More waits than this do not end one after the other without anybody else.
const HURRY: usize = 256;

/// Carries out the waits that were moved left to here. `enabled` is what can happen then.
fn hurry(ready: &Ready, found: &mut Found, counts: bool, enabled: &mut Vec<u32>) -> bool {
    for _ in 0..HURRY {
        let next = with_ptr(ready.world, |w| {
            w.enabled(enabled);
            let next = w.eager(enabled);
            w.reduction.movers.eager = next.is_some();
            next
        });
        let Some(choice) = next else { return false };
        take(ready.world, choice, true);
        if found.look(ready, counts) {
            return true;
        }
    }
    false
}

/// Is it time to stop? Tells how far the search has got.
pub(crate) fn limit(
    options: &Options,
    began: Instant,
    found: &Found,
    depth: usize,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Option<Bound> {
    let now = Progress {
        states: found.states,
        steps: found.steps,
        runs: found.runs,
        depth,
        time_ns: began.elapsed().as_nanos() as u64,
    };
    limit_at(options, &now, (found.bytes, found.growth), progress)
}

/// As [`limit`], for what all threads have done together. `bytes`: what it remembers takes, and what
/// the next growth of it takes.
pub(crate) fn limit_at(
    options: &Options,
    now: &Progress,
    (bytes, growth): (u64, u64),
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Option<Bound> {
    let limits = options.limits;
    if progress(now).is_break() {
        Some(Bound::Stopped)
    } else if limits.states != 0 && now.states.max(now.runs) >= limits.states {
        Some(Bound::States)
    } else if limits.seconds != 0 && now.time_ns / 1_000_000_000 >= limits.seconds {
        Some(Bound::Seconds)
    } else if limits.bytes != 0 && bytes >= limits.bytes
        || options.room.as_ref().is_some_and(|room| room.is_short(growth))
    {
        Some(Bound::Bytes)
    } else {
        None
    }
}

/// Searches again until nothing that was taken to be quiet turns out to be shared.
pub(crate) fn until_settled(
    ready: &Ready,
    found: &mut Found,
    search: &mut dyn FnMut(&mut Found) -> End,
) -> End {
    loop {
        match search(found) {
            End::Again => {
                with_ptr(ready.world, |w| {
                    w.undo_to(0);
                    w.reduction.classes.changed = false;
                    w.reduction.movers.changed = false;
                });
                *found = Found::new();
            }
            end => return end,
        }
    }
}
