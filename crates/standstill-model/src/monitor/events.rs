//! The library's events: told, fed to the rules, and judged.

use crate::machine::world::World;
use crate::monitor::properties::broken;
use crate::monitor::rules::FOOTPRINT;
use crate::vocab::step::StepWhat;
use std::panic::Location;
use std::sync::Arc;

use standstill::event::{CallInfo, Event, What};
use standstill::invariants::Tally;
use standstill::{CpuId, Property};

use super::footprint::meet_event;
use super::library::of;
use super::rules::steadied;

/// An event of the library: the rules see it.
pub(crate) fn event(w: &mut World, event: &Event, at: &'static Location<'static>) {
    w.note(|| StepWhat::Event(Arc::new(event.what)), at);
    let event = &steadied(*event);
    judge(w, event, at);
    meet_event(w, event);
    if w.undo.depth() > 0
        && let Some(other) = of(w).rules.depends(event)
    {
        let text = format!(
            "the checker is wrong, not the code: it takes two events for independent, {} of CPU {} and {} of CPU {}, and their order makes a difference to the rules (see `monitor/footprint.rs`)",
            name_of(&other.what),
            other.cpu.index(),
            name_of(&event.what),
            event.cpu.index()
        );
        w.fail(FOOTPRINT, text, format!("{}:{}", at.file(), at.line()));
    }
    let verdict =
        if w.undo.depth() == 0 { of(w).rules.feed_for_good(event) } else { of(w).rules.feed(event) };
    if let Err(violation) = verdict {
        let location = place(violation.call(), at);
        w.fail(violation.rule.to_string(), violation.to_string(), location);
    }
    match event.what {
        What::OnlineCleared { who } if who.index() == w.cpu => {
            w.cpu_mut().left = true;
            if of(w).lazy && w.cpu_ref().pending != 0 && w.cpu_ref().notes_offline() {
                let on = w.cpu;
                noted_offline(w, on, at);
            }
        }
        What::IrqsClosed { .. } if !w.cpu_ref().hard_off => {
            let text = "a stop closes a CPU's interrupts, and the hardware's mask stays open";
            w.fail("require", text, format!("{}:{}", at.file(), at.line()));
        }
        What::OnlineSet { who } if who.index() == w.cpu => w.cpu_mut().left = false,
        What::StopBegin { leaving, .. } => w.phase.leaving = leaving.is_some(),
        What::StopPublished { .. } if w.phase.armed && w.phase.leaving && !w.phase.branching => w.branch(),
        _ => {}
    }
}

/// With a lazy mask: an interrupt is noted by a CPU that is out of the online mask. Where none is to be taken there that is one too many.
pub(crate) fn noted_offline(w: &mut World, on: usize, at: &Location<'_>) {
    w.step.broken |= 1 << Property::Spurious as u8;
    if w.options.protocol.promises().contains(&Property::Spurious) {
        let text = format!(
            "CPU {on} is out of the online mask and notes an interrupt: its local mask is closed, and the hardware's is not"
        );
        w.fail(Property::Spurious.letter().to_string(), text, format!("{}:{}", at.file(), at.line()));
    }
}

/// Which of W, L, S, O, F does the event show? The library's own tally says so.
fn judge(w: &mut World, event: &Event, at: &Location<'_>) {
    if !matches!(event.what, What::CallLate(_) | What::IpiSpurious | What::CallLost(_) | What::CallBegin(..))
    {
        return;
    }
    let mut tally = Tally::new();
    if !w.cpu_ref().left {
        tally.feed(&Event { cpu: event.cpu, what: What::OnlineSet { who: event.cpu } });
    }
    tally.feed(event);
    for property in Property::ALL {
        if tally.count(property) > 0 {
            w.step.broken |= 1 << property as u8;
        }
    }
    let protocol = w.options.protocol;
    for property in tally.broken(&protocol) {
        let cpu = CpuId::new(w.cpu);
        let location = place(tally.first(property).and_then(|first| first.call), at);
        w.fail(property.letter().to_string(), format!("{cpu}: {}", broken(property)), location);
    }
}

/// Where a call was asked for; of what is no call, where the event is emitted.
fn place(call: Option<CallInfo>, at: &Location<'_>) -> String {
    let at = call.map_or(at, |call| call.from);
    format!("{}:{}", at.file(), at.line())
}

/// The event's name, without what it says.
fn name_of(what: &What) -> String {
    let text = format!("{what:?}");
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    text[..end].to_string()
}
