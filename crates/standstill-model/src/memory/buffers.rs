//! x86-TSO: a FIFO of stores in front of memory, one for each CPU.
//!
//! A store enters the buffer of its CPU, where its own loads find it; that its oldest entry reaches memory is a choice of its own
//! (a *flush*). A locked instruction and a fence drain the buffer, and so does taking an interrupt (the manuals list all three). An IPI
//! drains it where the port fences its sends; otherwise the IPI may overtake what is in there.
//!
//! | question | answer |
//! |---|---|
//! | Who has a buffer? | The CPU: its threads, its stopper and its handlers share it. |
//! | What is buffered? | Stores to places that another CPU is known to use. A store that nobody else reads reaches memory at once: no other CPU can tell, and its own can't either. A CPU that turns out to use the place starts the search again, as in `reduction/visibility.rs`. |
//! | Why may a drain be one step? | Each flush of it could have been chosen before, one by one, as long as the instruction that drains was only announced. |
//! | Words on the stack of the thread that stores? | Its stores reach memory at once: it makes them before anybody else knows the word, or after everybody has forgotten it. |
//! | Plain cells? | They are not buffered. Without a data race a reader's flag or IPI comes after the flush of all that was stored before it, and data races are found. |
//! | A thread that is moved? | It takes what is in the buffer with it: a scheduler's lock drains it. |
//! | A dead CPU? | Its last stores reach memory some time later, and at the latest when it is started again. |

use std::panic::Location;

use crate::base::arena::steady;
use crate::base::hash::Hash128;
use crate::vocab::limits::MAX_CPUS;

/// So many stores fit into a buffer: more than any code here leaves in it, also in a replay, where those that nobody else reads wait, too.
pub(crate) const ROOM: usize = 512;

/// A store on its way.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) place: usize,
    pub(crate) value: usize,
    /// How many stores of this CPU went to memory at once since the entry before: a replay, that does not know which, counts.
    pub(crate) passed: u32,
    pub(crate) at: &'static Location<'static>,
}

/// The store buffer of one CPU.
pub(crate) struct Buffer {
    pub(crate) entries: [Entry; ROOM],
    pub(crate) first: usize,
    pub(crate) len: usize,
    /// How many stores went to memory at once since the newest entry.
    pub(crate) passed: u32,
}

/// The store buffers of all CPUs.
pub(crate) struct Buffers(pub(crate) [Buffer; MAX_CPUS]);

impl Buffers {
    #[track_caller]
    pub(crate) fn new() -> Buffers {
        let none = Entry { place: 0, value: 0, passed: 0, at: Location::caller() };
        Buffers(std::array::from_fn(|_| Buffer { entries: [none; ROOM], first: 0, len: 0, passed: 0 }))
    }

    /// What is in the buffer of `cpu`, the oldest first.
    fn of(&self, cpu: usize) -> impl DoubleEndedIterator<Item = &Entry> {
        let buffer = &self.0[cpu];
        (0..buffer.len).map(|index| &buffer.entries[(buffer.first + index) % ROOM])
    }

    /// Is nothing on its way from `cpu`?
    pub(crate) fn is_empty(&self, cpu: usize) -> bool {
        self.0[cpu].len == 0
    }

    /// The newest value on its way from `cpu` to `place`.
    pub(crate) fn newest(&self, cpu: usize, place: usize) -> Option<usize> {
        self.of(cpu).rev().find(|entry| entry.place == place).map(|entry| entry.value)
    }

    /// For the fingerprint.
    pub(crate) fn hash_into(&self, hash: &mut Hash128) {
        for cpu in 0..MAX_CPUS {
            if self.is_empty(cpu) {
                continue;
            }
            hash.mix(cpu as u64 | (self.0[cpu].len as u64) << 8);
            for entry in self.of(cpu) {
                hash.mix(steady(entry.place) as u64);
                hash.mix(steady(entry.value) as u64);
            }
        }
    }
}
