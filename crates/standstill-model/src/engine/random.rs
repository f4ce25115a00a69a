//! Engine 3: random schedules, plain or with priorities (PCT).
//!
//! Plain: each choice alike. PCT: each CPU and each kind of interrupt has a priority, the highest that can go on goes on, and at
//! `depth - 1` random places the one that would go on falls to the lowest.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::base::room;
use crate::config::options::Options;
use crate::engine::search::{End, Found, limit};
use crate::machine::session::Ready;
use crate::machine::step::take;
use crate::machine::world::with_ptr;
use crate::vocab::choice::{bare, is_device};
use crate::vocab::fault::Fault;
use crate::vocab::progress::{Bound, Progress};

/// Random numbers that are the same everywhere.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Rng {
        Rng(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) const fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// How a random run chooses.
pub(crate) enum Policy {
    Plain,
    Pct {
        /// By what may go on: the choice without its CPU's thread.
        priorities: Vec<(u32, u64)>,
        /// Where the one that would go on falls.
        changes: Vec<usize>,
        lowest: u64,
    },
}

impl Policy {
    fn pct(rng: &mut Rng, depth: u32, longest: usize) -> Policy {
        let changes = (1..depth).map(|_| rng.below(longest.max(1))).collect();
        Policy::Pct { priorities: Vec::new(), changes, lowest: u64::MAX / 2 }
    }

    fn choose(&mut self, enabled: &[u32], step: usize, rng: &mut Rng) -> u32 {
        match self {
            Policy::Plain => enabled[rng.below(enabled.len())],
            Policy::Pct { priorities, changes, lowest } => {
                let falls = changes.contains(&step);
                let mut best = (0, 0);
                for round in 0..=u32::from(falls) {
                    best = (0, 0);
                    for choice in enabled {
                        let known = priorities.iter().find(|(who, _)| *who == bare(*choice)).map(|(_, p)| *p);
                        let priority = known.unwrap_or_else(|| {
                            let fresh = u64::MAX / 2 + rng.next() / 2;
                            priorities.push((bare(*choice), fresh));
                            fresh
                        });
                        if priority >= best.1 {
                            best = (*choice, priority);
                        }
                    }
                    if falls && round == 0 {
                        *lowest -= 1;
                        let to = *lowest;
                        if let Some(entry) = priorities.iter_mut().find(|(who, _)| *who == bare(best.0)) {
                            entry.1 = to;
                        }
                    }
                }
                best.0
            }
        }
    }
}

/// A run that is longer than this goes round in circles.
const LONGEST: usize = 200_000;

/// Makes `runs` runs.
pub(crate) fn search(
    ready: &Ready,
    options: &Options,
    (runs, seed, depth): (u64, u64, Option<u32>),
    began: Instant,
    found: &mut Found,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> End {
    let mut rng = Rng::new(seed);
    let mut enabled = Vec::new();
    let mut longest = 1000;
    for run in 0..runs {
        with_ptr(ready.world, |w| w.undo_to(0));
        let mut policy = match depth {
            Some(depth) => Policy::pct(&mut rng, depth, longest),
            None => Policy::Plain,
        };
        // Devices may stop at any moment; else every run would use them up.
        let quiet_after = rng.below(longest * 2);
        let mut steps = 0;
        loop {
            with_ptr(ready.world, |w| w.enabled(&mut enabled));
            if enabled.iter().all(|choice| is_device(*choice)) {
                found.look_at_end(ready);
                if enabled.is_empty() || steps >= quiet_after {
                    break;
                }
            }
            take(ready.world, policy.choose(&enabled, steps, &mut rng), true);
            steps += 1;
            if found.look(ready, true) {
                break;
            }
            if steps == LONGEST {
                let fault = Fault {
                    rule: "livelock".to_string(),
                    cpu: 0,
                    text: format!("a run of {LONGEST} steps has no end: somebody goes round for ever"),
                    location: String::new(),
                };
                let choices = with_ptr(ready.world, |w| w.recorder.choices.clone());
                found.broken(fault, &choices);
                break;
            }
        }
        longest = longest.max(steps);
        found.depth = found.depth.max(steps);
        found.runs = run + 1;
        found.steps = with_ptr(ready.world, |w| w.recorder.steps);
        found.bytes = with_ptr(ready.world, |w| w.undo.peak()) as u64;
        if found.fault.is_some() && !options.keep_going {
            return End::Bounded(Bound::Violation);
        }
        if room::has_run_out() {
            return End::Bounded(Bound::Bytes);
        }
        if run & 0xff == 0
            && let Some(bound) = limit(options, began, found, steps, progress)
        {
            return End::Bounded(bound);
        }
    }
    End::Exhausted
}
