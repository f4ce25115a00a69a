//! [`Watch`]: takes events from every context of the machine, and keeps them in order for [`Judge`](crate::judge::Judge).
//!
//! A monitor can't run where an event is emitted: a handler may interrupt the thread that is inside the monitor, on the same CPU.
//! So the events go into one lock-free queue, which gives each its place in one atomic step, and a thread that is no CPU of
//! the machine eats them in that order. If it falls behind, the senders are held until it has caught up; if there is no room at all, the CPU
//! that emits waits, as a CPU does that its hypervisor forgot for a while. A CPU's own events are in the order in which it emitted them; and as whatever others can react to
//! is announced before they can, a cause has its place before its effect. That is what the rules of scopes Local and Pair need.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use standstill::event::Event;
use standstill_hosted::Observer;

/// How many events may wait for the judge.
const ROOM: usize = 1 << 18;

/// Between two looks whether there is room again.
const A_MOMENT: Duration = Duration::from_micros(100);
/// How many looks, until the event is given up: ten seconds and more.
const PATIENCE: u32 = 100_000;

/// What is called for each event at once, on the CPU that emits it.
type Hook = Box<dyn Fn(&Event) + Send + Sync>;
/// What is called when the queue becomes crowded.
type Hold = Box<dyn Fn() + Send + Sync>;

/// Takes events.
pub struct Watch {
    events: ArrayQueue<Event>,
    missed: AtomicU64,
    crowded: AtomicBool,
    hook: OnceLock<Hook>,
    hold: OnceLock<Hold>,
    patience: u32,
}

impl Watch {
    /// With nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Watch {
            events: ArrayQueue::new(ROOM),
            missed: AtomicU64::new(0),
            crowded: AtomicBool::new(false),
            hook: OnceLock::new(),
            hold: OnceLock::new(),
            patience: PATIENCE,
        }
    }

    /// From now on `hook` gets each event at once, and `hold` is called when the queue becomes crowded. Both run in every context. The
    /// first ones given are kept.
    pub fn set_hooks(
        &self,
        hook: impl Fn(&Event) + Send + Sync + 'static,
        hold: impl Fn() + Send + Sync + 'static,
    ) {
        let _ = self.hook.set(Box::new(hook));
        let _ = self.hold.set(Box::new(hold));
    }

    /// The next event.
    #[must_use]
    pub fn next(&self) -> Option<Event> {
        self.events.pop()
    }

    /// How many events found no room. If it is not 0, the rules did not see everything.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }

    /// Should the senders wait for the judge? From when a quarter of the queue is full until it is almost empty, so that the answer does not
    /// flutter.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        if self.events.len() < ROOM / 16 {
            self.crowded.store(false, Relaxed);
        }
        self.crowded.load(Relaxed)
    }

    /// Looks how full the queue is, on the CPU that emits: the judge may be off its core when it matters.
    fn look(&self) {
        if !self.crowded.load(Relaxed) && self.events.len() > ROOM / 4 {
            self.crowded.store(true, Relaxed);
            if let Some(hold) = self.hold.get() {
                hold();
            }
        }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Watch {
    fn event(&self, event: &Event) {
        if let Some(hook) = self.hook.get() {
            hook(event);
        }
        self.look();
        for _ in 0..self.patience {
            if self.events.push(*event).is_ok() {
                return;
            }
            // The judge needs nothing that a CPU holds, so it comes to make room.
            thread::sleep(A_MOMENT);
        }
        self.missed.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use standstill::CpuId;
    use standstill::event::What;

    use super::*;

    const EVENT: Event = Event { cpu: CpuId::BOOT, what: What::StopperOpened };

    #[test]
    fn what_finds_no_room_is_counted() {
        let watch = Watch { patience: 1, ..Watch::new() };
        for _ in 0..ROOM + 3 {
            watch.event(&EVENT);
        }
        assert_eq!(watch.missed(), 3);
        assert_eq!(watch.next(), Some(EVENT));
    }

    #[test]
    fn crowded_stays_until_most_is_eaten() {
        let watch = Watch::new();
        let held = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&held);
        watch.set_hooks(
            |_| (),
            move || {
                count.fetch_add(1, Relaxed);
            },
        );
        assert!(!watch.is_crowded());
        for _ in 0..ROOM / 4 + 2 {
            watch.event(&EVENT);
        }
        assert!(watch.is_crowded());
        for _ in 0..ROOM / 8 {
            let _ = watch.next();
        }
        assert!(watch.is_crowded(), "in the gap it stays as it was");
        while watch.next().is_some() {}
        assert!(!watch.is_crowded());
        assert_eq!(held.load(Relaxed), 1);
    }

    #[test]
    fn the_hook_sees_each_event() {
        let watch = Watch::new();
        let count = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&count);
        watch.set_hooks(
            move |_| {
                seen.fetch_add(1, Relaxed);
            },
            || (),
        );
        watch.event(&EVENT);
        watch.event(&EVENT);
        assert_eq!(count.load(Relaxed), 2);
    }
}
