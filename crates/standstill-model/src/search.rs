//! Engine 1: every state once, depth first, on the real code.
//!
//! A state is remembered by its fingerprint: memory, CPUs, the rules' own state, and for each context the history of what it read. The
//! code is deterministic, so two states with the same fingerprint go on alike. Going back is undoing the last step.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Instant;

use standstill::Property;

use crate::audit::Sample;
use crate::covers::{Cover, Covers};
use crate::hash::BuildHashed;
use crate::options::Options;
use crate::sched::{is_device, take};
use crate::setup::Ready;
use crate::verdict::{Bound, Coverage, Progress, PropertyResult, Verdict};
use crate::world::{Fault, with_ptr};

/// What a search has found so far.
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
            sample: None,
        }
    }

    /// Looks at the step that was just made; true if the search must not go on from here.
    pub(crate) fn look(&mut self, ready: &Ready) -> bool {
        with_ptr(ready.world, |w| {
            if w.broken != 0 {
                for property in Property::ALL {
                    if w.broken & 1 << property as u8 != 0 {
                        let index = property as usize;
                        self.counts[index] += 1;
                        self.firsts[index].get_or_insert_with(|| w.choices.clone());
                    }
                }
            }
            match w.fault.take() {
                Some(fault) => {
                    self.fault.get_or_insert_with(|| (fault, w.choices.clone()));
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
            (w.end_hash().to_u128(), w.fault.take())
        });
        self.ends.insert(hash);
        if let Some(stable) = &mut self.stable {
            stable.insert(with_ptr(ready.world, |w| w.stable_end()));
        }
        if let Some(fault) = fault {
            let choices = with_ptr(ready.world, |w| w.choices.clone());
            self.fault.get_or_insert((fault, choices));
        }
    }

    /// Everything was searched: somebody has come to an end.
    pub(crate) fn expect_an_end(&mut self) {
        if self.ends.is_empty() && self.fault.is_none() {
            let text = "no run comes to an end: somebody goes round for ever".to_string();
            let fault = Fault { rule: "livelock".to_string(), cpu: 0, text, location: String::new() };
            self.fault = Some((fault, Vec::new()));
        }
    }

    pub(crate) fn verdict(self, options: &Options, coverage: Coverage, began: Instant) -> Verdict {
        let mut ends: Vec<_> = self.ends.into_iter().collect();
        ends.sort_unstable();
        let mut traces: Vec<_> = self.traces.into_iter().collect();
        traces.sort_unstable();
        let mut firsts = self.firsts.into_iter();
        let counts = self.counts;
        Verdict {
            coverage,
            properties: Property::ALL.map(|property| PropertyResult {
                property,
                count: counts[property as usize],
                first: firsts.next().flatten(),
            }),
            violation: None,
            assumptions: crate::check::assumptions(options),
            states: self.states,
            steps: self.steps,
            runs: self.runs,
            depth: self.depth,
            time_ns: began.elapsed().as_nanos() as u64,
            peak_bytes: self.bytes,
            ends,
            traces,
            blocked: self.blocked,
            audited: None,
            error: None,
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
    hash: u128,
}

/// How a search ended.
pub(crate) enum End {
    Exhausted,
    Bounded(Bound),
    /// A place that was taken to be quiet is shared.
    Again,
}

const REPORT: u64 = 0x3ff;

pub(crate) fn search(
    ready: &Ready,
    options: &Options,
    began: Instant,
    found: &mut Found,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> End {
    let mut seen: HashMap<u128, Cover, BuildHashed> = HashMap::default();
    let mut covers = Covers::new();
    let (mut nodes, mut choices): (Vec<Node>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut enabled = Vec::new();
    with_ptr(ready.world, |w| w.movers.switch_on(options));
    found.sample = Sample::new(&options.audit);
    let mut stop = found.look(ready);
    loop {
        if !stop {
            stop = hurry(ready, found, &mut enabled);
        }
        if with_ptr(ready.world, |w| w.classes.changed || w.movers.changed) {
            return End::Again;
        }
        if found.fault.is_some() && !options.keep_going {
            found.steps = with_ptr(ready.world, |w| w.steps);
            return End::Bounded(Bound::Violation);
        }
        if !stop {
            let (hash, cover) =
                with_ptr(ready.world, |w| (w.fingerprint().to_u128(), w.movers.cover(&mut covers)));
            if let Some(sample) = &mut found.sample {
                with_ptr(ready.world, |w| sample.visit(hash, !seen.contains_key(&hash), &w.choices));
            }
            let new = match seen.entry(hash) {
                Vacant(entry) => {
                    entry.insert(cover);
                    Some(true)
                }
                Occupied(mut entry) => {
                    let before = entry.insert(covers.union(*entry.get(), cover));
                    (before != *entry.get()).then_some(false)
                }
            };
            if let Some(new) = new {
                found.states += u64::from(new);
                if new && enabled.iter().all(|choice| is_device(*choice)) {
                    found.look_at_end(ready);
                }
                if !enabled.is_empty() {
                    let first = choices.len();
                    choices.extend_from_slice(&enabled);
                    let depth = with_ptr(ready.world, |w| w.undo.depth());
                    nodes.push(Node { depth, first, next: first, hash });
                    found.depth = found.depth.max(nodes.len());
                }
                if new && found.states & REPORT == 0 {
                    let (undo, steps) = with_ptr(ready.world, |w| (w.undo.peak(), w.steps));
                    found.bytes = (seen.capacity() * 33 + undo) as u64;
                    found.steps = steps;
                    if let Some(bound) = limit(options, began, found, nodes.len(), progress) {
                        return End::Bounded(bound);
                    }
                }
            }
        }
        loop {
            let Some(node) = nodes.last_mut() else {
                let (undo, steps) = with_ptr(ready.world, |w| (w.undo.peak(), w.steps));
                found.bytes = (seen.capacity() * 33 + undo) as u64;
                found.steps = steps;
                found.expect_an_end();
                return End::Exhausted;
            };
            if node.next < choices.len() {
                let choice = choices[node.next];
                node.next += 1;
                let (hash, depth) = (node.hash, node.depth);
                with_ptr(ready.world, |w| {
                    w.undo_to(depth);
                    if options.audit.undone {
                        assert_eq!(w.fingerprint().to_u128(), hash, "a step was not undone completely");
                    }
                });
                take(ready.world, choice, true);
                break;
            }
            choices.truncate(node.first);
            nodes.pop();
        }
        stop = found.look(ready);
    }
}

/// More waits than this do not end one after the other without anybody else.
const HURRY: usize = 256;

/// Carries out the waits that were moved left to here. `enabled` is what can happen then.
fn hurry(ready: &Ready, found: &mut Found, enabled: &mut Vec<u32>) -> bool {
    for _ in 0..HURRY {
        let next = with_ptr(ready.world, |w| {
            w.enabled(enabled);
            let next = w.eager(enabled);
            w.movers.eager = next.is_some();
            next
        });
        let Some(choice) = next else { return false };
        take(ready.world, choice, true);
        if found.look(ready) {
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
    let limits = options.limits;
    if progress(&now).is_break() {
        Some(Bound::Stopped)
    } else if limits.states != 0 && found.states.max(found.runs) >= limits.states {
        Some(Bound::States)
    } else if limits.seconds != 0 && began.elapsed().as_secs() >= limits.seconds {
        Some(Bound::Seconds)
    } else if limits.bytes != 0 && found.bytes >= limits.bytes {
        Some(Bound::Bytes)
    } else {
        None
    }
}
