//! Engine 4: every schedule with at most so many preemptions, over states that are remembered.
//!
//! It is a preemption to leave a CPU whose code could have gone on for another one; interrupts and waits are free. So a state is what
//! the stateful search takes for one, with the CPU that moved last and the preemptions used so far. One that was seen with the same
//! CPU and fewer (or as many) preemptions *subsumes* it: whatever can follow here within the bound could follow there.
//!
//! If the bound has cut nothing off, everything was seen, and the verdict says so.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Instant;

use crate::base::hash::BuildHashed;
use crate::base::room;
use crate::config::options::Options;
use crate::engine::search::{End, Found, limit};
use crate::machine::session::Ready;
use crate::machine::step::take;
use crate::machine::world::with_ptr;
use crate::vocab::choice::{cpu_of, is_device, is_interrupt};
use crate::vocab::progress::{Bound, Progress};

/// Is it a preemption to do `choice` where `possible` can happen and `last` is the CPU that moved last?
pub(crate) fn preempts(possible: &[u32], choice: u32, last: Option<usize>) -> bool {
    last.is_some_and(|last| {
        last != cpu_of(choice) && possible.iter().any(|other| cpu_of(*other) == last && !is_interrupt(*other))
    })
}

/// One state on the way to where the search is.
struct Node {
    /// Where its choices begin in the list of all.
    first: usize,
    /// The one to try next.
    next: usize,
    /// The preemptions on the way here.
    used: u32,
    /// The CPU that moved last.
    last: Option<usize>,
}

/// No more new states than this are between two looks at the limits.
const REPORT: u64 = 1 << 12;

pub(crate) fn search(
    ready: &Ready,
    options: &Options,
    preemptions: u32,
    began: Instant,
    found: &mut Found,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> End {
    // The fewest preemptions with which each state was reached, by the CPU that moved last.
    let mut seen: HashMap<u128, u32, BuildHashed> = HashMap::default();
    // Each state counts once, whoever moved last and however often it is looked at again.
    let mut states: HashSet<u128, BuildHashed> = HashSet::default();
    let (mut nodes, mut choices): (Vec<Node>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut enabled = Vec::new();
    let (mut used, mut last) = (0, None);
    let mut cut_off = false;
    let mut stop = found.look(ready, true);
    loop {
        if with_ptr(ready.world, |w| w.reduction.classes.changed) {
            return End::Again;
        }
        found.steps = with_ptr(ready.world, |w| w.recorder.steps);
        if found.fault.is_some() && !options.keep_going {
            return End::Bounded(Bound::Violation);
        }
        if room::has_run_out() {
            return End::Bounded(Bound::Bytes);
        }
        if !stop {
            let (state, key) = with_ptr(ready.world, |w| {
                let state = w.full_fingerprint();
                let mut key = state;
                key.mix(last.map_or(99, |cpu| cpu as u64));
                w.enabled(&mut enabled);
                (state.to_u128(), key.to_u128())
            });
            let better = seen.get(&key).is_none_or(|before| used < *before);
            if better {
                seen.insert(key, used);
                if states.insert(state) {
                    found.states += 1;
                    if enabled.iter().all(|choice| is_device(*choice)) {
                        found.look_at_end(ready);
                    }
                    if options.is_time_to_look(found.states, REPORT) {
                        found.bytes = bytes(ready, &seen, states.capacity());
                        found.growth = (seen.capacity() * 2 * 33).max(states.capacity() * 2 * 17) as u64;
                        if let Some(bound) = limit(options, began, found, nodes.len(), progress) {
                            return End::Bounded(bound);
                        }
                    }
                }
                if !enabled.is_empty() {
                    let first = choices.len();
                    // What is free comes first: then most states are reached with few preemptions, and not looked at again.
                    let free = |choice: &&u32| Some(cpu_of(**choice)) == last;
                    choices.extend(enabled.iter().filter(free));
                    choices.extend(enabled.iter().filter(|choice| !free(choice)));
                    nodes.push(Node { first, next: first, used, last });
                    found.depth = found.depth.max(nodes.len());
                }
            }
        }
        loop {
            let Some(node) = nodes.last_mut() else {
                found.bytes = bytes(ready, &seen, states.capacity());
                if cut_off {
                    return End::Bounded(Bound::Preemptions);
                }
                found.expect_an_end();
                return End::Exhausted;
            };
            let Some(choice) = choices.get(node.next).copied() else {
                choices.truncate(node.first);
                nodes.pop();
                continue;
            };
            node.next += 1;
            let costs = preempts(&choices[node.first..], choice, node.last);
            if costs && node.used == preemptions {
                cut_off = true;
                continue;
            }
            (used, last) = (node.used + u32::from(costs), Some(cpu_of(choice)));
            let depth = nodes.len() - 1;
            with_ptr(ready.world, |w| w.undo_to(depth));
            take(ready.world, choice, true);
            break;
        }
        stop = found.look(ready, true);
    }
}

fn bytes(ready: &Ready, seen: &HashMap<u128, u32, BuildHashed>, states: usize) -> u64 {
    let undo = with_ptr(ready.world, |w| w.undo.peak());
    (seen.capacity() * 33 + states * 17 + undo) as u64
}
