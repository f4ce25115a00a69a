//! The fair lock that puts stops of several CPUs in a line, and hotplug operations too.
//!
//! Every stop of more than one CPU, pairs included, takes its turn here. So two such stops are queued in the same order on every
//! CPU that they share, and can't wait for each other in a circle.
//!
//! # Giving up
//! A waiter with a deadline holds a ticket like everybody else. If the deadline expires before its turn, it marks the ticket as
//! abandoned, and the CPU that unlocks skips every mark that comes next. The number that is served and the marks stand in one word,
//! so granting and abandoning race by compare-and-swap, and one of them wins: no turn is lost, and no ticket is left that nobody
//! serves.
//!
//! There is one mark for each of the [`WINDOW`] tickets behind the one that is served. A waiter with a deadline takes no ticket that
//! it could not mark: as long as [`WINDOW`] tickets or more are ahead, it waits without one, and others may overtake it. From the
//! moment that it has its ticket it is overtaken by nobody: the tickets ahead of it are the bound, and not a time.

use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::bound::{Bound, By};
use crate::cpu::CpuId;
use crate::machine::Machine;
use crate::platform::{Deadline, Memory, Platform, Site, WaitContext, WaitFor, Word};

/// How many tickets behind the one that is served can be abandoned.
const WINDOW: u32 = usize::BITS / 8 * 5;

/// A ticket with more of them ahead can't be abandoned.
const MOST_AHEAD: isize = WINDOW as isize;

/// One ticket more, in the word `serving`: the number stands above the marks, and wraps.
const TURN: usize = 1 << WINDOW;

/// The marks in the word `serving`. The lowest one belongs to the ticket that comes next.
const MARKS: usize = TURN - 1;

/// How many tickets have to be served before `ticket`, the one that is served now included. Below 0: it was served before.
const fn ahead(serving: usize, ticket: usize) -> isize {
    ticket.wrapping_sub(serving & !MARKS).cast_signed() >> WINDOW
}

/// The word `serving` when the ticket that is served now is done: the next one that is not marked is served.
const fn served(serving: usize) -> usize {
    let marks = serving & MARKS;
    let turns = marks.trailing_ones() as usize + 1;
    (serving - marks).wrapping_add(turns << WINDOW) | marks >> turns
}

/// The word `serving` with a mark on `ticket`, which has 1 to [`WINDOW`] tickets ahead of it.
const fn marked(serving: usize, ticket: usize) -> usize {
    serving | 1 << (ahead(serving, ticket) - 1)
}

/// A ticket lock whose waiters may sleep, and may give up.
pub(crate) struct TicketLock<P: Memory> {
    /// The number of the next ticket. It does not wrap.
    next: P::Word,
    /// The ticket that is served, and which ones behind it were abandoned.
    serving: P::Word,
    /// The CPU on which the holder took it, for reports.
    holder: P::Word,
}

impl<P: Memory> TicketLock<P> {
    pub(crate) const fn new() -> Self {
        TicketLock { next: P::Word::ZERO, serving: P::Word::ZERO, holder: P::Word::ZERO }
    }
}

/// One request for the lock.
struct Request<'a, P: Platform, const N: usize, const W: usize> {
    machine: &'a Machine<P, N, W>,
    context: WaitContext,
    bound: Bound<'a, P>,
    site: Site,
}

impl<P: Platform> TicketLock<P> {
    /// Waits for its turn, without end: `what` for `at`.
    pub(crate) fn lock<const N: usize, const W: usize>(
        &self,
        machine: &Machine<P, N, W>,
        context: WaitContext,
        what: &'static str,
        at: &'static Location<'static>,
    ) {
        let ticket = self.next.fetch_add(1, Relaxed) << WINDOW;
        let bound = Bound::until(Deadline::NEVER);
        let request = Request { machine, context, bound, site: Site { what, at } };
        self.wait(&request, || self.is_served(ticket));
        self.taken(machine);
    }

    /// As [`lock`](Self::lock), and gives up when the bound is reached: then false.
    pub(crate) fn lock_within<const N: usize, const W: usize>(
        &self,
        machine: &Machine<P, N, W>,
        context: WaitContext,
        what: &'static str,
        by: By<'_, P>,
    ) -> bool {
        let request = Request { machine, context, bound: by.bound, site: Site { what, at: by.from } };
        let Some(ticket) = self.take_ticket(&request) else { return false };
        // Free almost always: then nobody asks for the time.
        let served = self.is_served(ticket).is_some()
            || self.wait(&request, || self.is_served(ticket)).is_some()
            || !self.abandon(ticket);
        if served {
            self.taken(machine);
        }
        served
    }

    /// Takes a ticket that can be abandoned. `None` if the bound is reached before there is one.
    fn take_ticket<const N: usize, const W: usize>(&self, request: &Request<'_, P, N, W>) -> Option<usize> {
        let mut number = self.next.load(Relaxed);
        loop {
            // What is read here may be old: then more tickets seem to be ahead than there are. If the number is old, it was
            // served before: it fits, and the exchange fails.
            let fits = || (ahead(self.serving.load(Relaxed), number << WINDOW) <= MOST_AHEAD).then_some(());
            if fits().is_none() {
                self.wait(request, fits)?;
            }
            // Each try that fails is a ticket that somebody else took.
            match self.next.compare_exchange(number, number + 1, Relaxed, Relaxed) {
                Ok(_) => return Some(number << WINDOW),
                Err(now) => number = now,
            }
        }
    }

    fn is_served(&self, ticket: usize) -> Option<()> {
        // Acquire: pairs with the release of the one before.
        (ahead(self.serving.load(Acquire), ticket) == 0).then_some(())
    }

    /// Marks `ticket`, and says whether it did: false if the ticket is served by now, and the caller has the lock.
    fn abandon(&self, ticket: usize) -> bool {
        // Acquire: pairs with the release of the one before, for a ticket that is served.
        let mut seen = self.serving.load(Acquire);
        while ahead(seen, ticket) > 0 {
            // Relaxed: there is nothing to hand over, and what others released goes on in the word.
            match self.serving.compare_exchange(seen, marked(seen, ticket), Relaxed, Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    #[track_caller]
    fn wait<const N: usize, const W: usize>(
        &self,
        request: &Request<'_, P, N, W>,
        poll: impl Fn() -> Option<()>,
    ) -> Option<()> {
        let &Request { machine, context, bound, site } = request;
        let stalled = |waited_ns| {
            if core::ptr::eq(self, &raw const machine.hotplug.lock.writers) {
                machine.report_operation(site, waited_ns, self);
            } else {
                machine.report_turn(site, waited_ns, self);
            }
        };
        let wait = WaitFor { site, context, deadline: machine.limit(bound), stalled: &stalled };
        machine.wait_within(&self.serving, &wait, bound, poll)
    }

    fn taken<const N: usize, const W: usize>(&self, machine: &Machine<P, N, W>) {
        self.holder.store(machine.platform.this_cpu().index(), Relaxed);
    }

    /// The CPU on which it was taken last.
    pub(crate) fn holder(&self) -> CpuId {
        CpuId::new(self.holder.load(Relaxed))
    }

    /// The caller holds the lock.
    pub(crate) fn unlock(&self, platform: &P) {
        let mut seen = self.serving.load_for_cas();
        // Only the holder changes the number; others may add marks meanwhile. Release: what the holder did is visible to the next one.
        while let Err(now) = self.serving.compare_exchange(seen, served(seen), Release, Relaxed) {
            seen = now;
        }
        platform.notify(&raw const self.serving);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock that serves ticket number `number`.
    fn serving(number: usize) -> usize {
        number << WINDOW
    }

    #[test]
    fn the_next_ticket_that_is_not_marked_is_served() {
        for first in [0, 7, usize::MAX >> WINDOW] {
            let ticket = |number: usize| serving(first.wrapping_add(number));
            let mut word = serving(first);
            assert_eq!(served(word), ticket(1));
            assert_eq!((ahead(word, serving(first)), ahead(served(word), serving(first))), (0, -1));
            for number in [1, 2, 4, WINDOW as usize] {
                assert_eq!(ahead(word, ticket(number)), number as isize);
                word = marked(word, ticket(number));
            }
            word = served(word);
            assert_eq!((ahead(word, ticket(3)), ahead(word, ticket(5))), (0, 2));
            word = served(word);
            assert_eq!(ahead(word, ticket(5)), 0);
            for number in 6..WINDOW as usize {
                word = served(word);
                assert_eq!(ahead(word, ticket(number)), 0);
            }
            assert_eq!(
                served(word),
                ticket(WINDOW as usize + 1),
                "the last mark is skipped, and none is left"
            );
        }
    }

    #[test]
    fn a_whole_window_of_marks_is_skipped_at_once() {
        let mut word = serving(5);
        for number in 6..6 + WINDOW as usize {
            word = marked(word, serving(number));
        }
        assert_eq!(served(word), serving(6 + WINDOW as usize));
    }
}
