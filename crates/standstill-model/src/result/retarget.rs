//! The same schedule under other options, e.g. another protocol.
//!
//! The code takes other steps there, so a schedule can't be followed to the letter. What is kept is the order in which CPUs get their turns, how long a
//! turn is, and when devices raise their interrupts: a step that is not possible is made by what the same CPU can do instead, or left out;
//! a device interrupt is taken as soon as its CPU has its interrupts open. What is left at the end happens in a fixed order.

use crate::config::options::{Ipi, Options};
use crate::engine::search::Found;
use crate::machine::session::Ready;
use crate::machine::step::take;
use crate::machine::world::with_ptr;
use crate::result::cost::Cost;
use crate::result::replay::told;
use crate::result::verdict::{ReplayError, Run};
use crate::vocab::choice::{bare, cpu_of, is_device, is_flush, is_interrupt};

/// No run of a scenario is longer.
const PATIENCE: usize = 200_000;

/// A choice as single steps. Its upper bits say how many places it passes at which nobody could notice anything; here somebody may, so
/// each of them is a step, as is each store of a flush.
fn single(choice: u32) -> impl Iterator<Item = u32> {
    let passed = (choice >> 16 & 0x7fff) as usize;
    let flush = is_flush(choice);
    let on = (cpu_of(choice) as u32) << 8;
    let (again, times) = if flush { (bare(choice), passed.max(1) - 1) } else { (on, passed) };
    std::iter::once(bare(choice)).chain(std::iter::repeat_n(again, times))
}

/// Follows `wanted` under `options` as far as that is possible, and then to the end of the run.
///
/// # Errors
/// The options can't be checked.
pub fn follow(options: &Options, wanted: &[u32]) -> Result<Run, ReplayError> {
    let ready = Ready::new(options).map_err(ReplayError::BadOptions)?;
    ready.record();
    let mut found = Found::new();
    let (cost, complete) = along(&ready, wanted, &mut found, |_| false);
    let steps = ready.recorded();
    Ok(told(&ready, found, steps, cost, complete))
}

/// Makes a run along `wanted`, until it ends, breaks a promise or a rule, or `enough` says so. The cost, and whether it came to its end.
pub(crate) fn along(
    ready: &Ready,
    wanted: &[u32],
    found: &mut Found,
    enough: impl Fn(&Found) -> bool,
) -> (Cost, bool) {
    // Each place where somebody could come in is a step of its own: what is known of who shares what plays no part.
    with_ptr(ready.world, |w| {
        w.undo_to(0);
        (w.step.budget, w.step.blocks) = (Some(0), None);
    });
    let mut wanted = wanted.iter().flat_map(|choice| single(*choice));
    // Device interrupts that were raised and could not be taken yet.
    let mut raised: Vec<u32> = Vec::new();
    let instant = with_ptr(ready.world, |w| w.options.ipi == Ipi::Instant);
    let (mut possible, mut cost, mut last) = (Vec::new(), Cost::default(), None);
    for _ in 0..PATIENCE {
        with_ptr(ready.world, |w| w.enabled(&mut possible));
        let due = raised.iter().position(|choice| possible.contains(choice)).map(|at| raised.remove(at));
        let next = due
            .or_else(|| next(&possible, &mut wanted, &mut raised, instant))
            .or_else(|| rest(&possible, last));
        let Some(choice) = next else { return (cost, true) };
        cost = cost.after(&possible, choice, last);
        last = Some(cpu_of(choice));
        with_ptr(ready.world, |w| w.step.budget = Some(u32::from(is_flush(choice))));
        take(ready.world, choice, true);
        if found.look(ready, true) || enough(found) {
            break;
        }
    }
    (cost, false)
}

/// What happens when the schedule is over: whoever ran last goes on, so that nothing is torn apart; and interrupts come as late as they may, so that
/// what goes well does so not because of them.
fn rest(possible: &[u32], last: Option<usize>) -> Option<u32> {
    let code = possible.iter().copied().filter(|choice| !is_interrupt(*choice));
    let own = code.clone().find(|choice| Some(cpu_of(*choice)) == last);
    own.or_else(|| code.clone().next())
        .or_else(|| possible.iter().copied().find(|choice| !is_device(*choice)))
}

/// The next step of the schedule that is possible, or what its CPU can do instead.
fn next(
    possible: &[u32],
    wanted: &mut impl Iterator<Item = u32>,
    raised: &mut Vec<u32>,
    instant: bool,
) -> Option<u32> {
    for choice in wanted {
        if possible.contains(&choice) {
            return Some(choice);
        }
        if is_device(choice) {
            raised.push(choice);
        } else if !is_interrupt(choice) && !is_flush(choice) {
            let instead = possible.iter().copied().filter(|c| cpu_of(*c) == cpu_of(choice) && !is_device(*c));
            let code = instead.clone().find(|choice| !is_interrupt(*choice) && !is_flush(*choice));
            // A CPU that waits takes no interrupt for that: those have their own places in the schedule. But one that must be taken at once is.
            let must = instead.clone().find(|choice| !is_interrupt(*choice) || instant);
            if let Some(choice) = code.or(must) {
                return Some(choice);
            }
        }
    }
    None
}
