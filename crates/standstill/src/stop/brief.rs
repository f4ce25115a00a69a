//! What each CPU of a stop has to know while it waits: when to give up, and on whose behalf it waits.
//!
//! One copy for each of the smallest groups (`tree.rs`), so that it is fetched from one cache line by that many CPUs and not by all. The copies are written before
//! the first stage is published, and are relaxed: a CPU that is early, or late for an abandoned stop, may see those of another stop. Then it does not use the
//! deadline (there is none before the first stage; and to abandon a stage that is over does nothing), and names the wrong caller in a report.

use core::panic::Location;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

use crate::cpu::CpuId;
use crate::machine::Machine;
use crate::mask::CpuMask;
use crate::platform::{Deadline, Memory, Platform, Pointer, Site, Word};

/// One such copy.
pub(crate) struct Brief<P: Memory> {
    deadline: P::Word,
    from: P::Ptr<Location<'static>>,
}

impl<P: Memory> Brief<P> {
    pub(crate) const fn new() -> Self {
        Brief { deadline: P::Word::ZERO, from: P::Ptr::NULL }
    }
}

impl<P: Platform, const N: usize, const W: usize> Machine<P, N, W> {
    fn brief_of(&self, cpu: CpuId) -> &Brief<P> {
        // The smallest groups always have a node; it is stored by their first CPU.
        let host = self.shape().host(0, cpu.index()).unwrap_or(cpu.index());
        &self.cpu[host].brief
    }

    /// Before a stop: tells its members.
    pub(super) fn brief(&self, members: &CpuMask<W>, deadline: Deadline, from: &'static Location<'static>) {
        let mut last = ptr::null();
        for cpu in members {
            let brief = self.brief_of(cpu);
            if !ptr::eq(brief, last) {
                last = ptr::from_ref(brief);
                brief.deadline.store(deadline.0, Relaxed);
                brief.from.store(ptr::from_ref(from).cast_mut(), Relaxed);
            }
        }
    }

    /// When a member that waits gives up.
    pub(super) fn deadline_of(&self, me: CpuId) -> Deadline {
        Deadline(self.brief_of(me).deadline.load(Relaxed))
    }

    /// Where a member waits for `what`.
    #[track_caller]
    pub(super) fn site_of(&self, me: CpuId, what: &'static str) -> Site {
        let from = self.brief_of(me).from.load(Relaxed);
        // SAFETY: null, or set from a `&'static Location`.
        Site { what, at: unsafe { from.as_ref() }.unwrap_or(Location::caller()) }
    }
}
