//! A choice as one number: what (bits 12 to 15), the CPU (bits 8 to 11), and which (bits 0 to 7). In a schedule the bits from 16 on say how
//! many places were passed in its step where others could have come in, and nobody could have noticed (of a flush: how many stores it
//! stands for); bit 31, whether it ended in a wait that blocks.

use super::step::Interrupt;

/// What a choice does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// This thread does what it announced: the one that the CPU runs, or, if that idles, any.
    Thread(usize),
    Interrupt(Interrupt),
    Stopper,
    /// The deadline of this thread's wait is over.
    Expire(usize),
    /// The oldest store in the buffer of the CPU reaches memory.
    Flush,
    /// As `Thread`, with a message that is by so many older than the newest.
    Old {
        thread: usize,
        age: u32,
    },
}

impl Choice {
    pub(crate) const fn encode(self, cpu: usize) -> u32 {
        let (kind, arg) = match self {
            Choice::Thread(thread) => (1, thread as u32),
            Choice::Interrupt(kind) => (2, interrupt_code(kind)),
            Choice::Stopper => (3, 0),
            Choice::Expire(thread) => (4, thread as u32),
            Choice::Flush => (5, 0),
            Choice::Old { thread, age } => (6, thread as u32 | age << 4),
        };
        kind << 12 | (cpu as u32) << 8 | arg
    }

    pub(crate) fn decode(choice: u32) -> Option<(usize, Choice)> {
        let (cpu, arg) = (cpu_of(choice), choice & 0xff);
        let what = match choice >> 12 & 0xf {
            1 => Choice::Thread(arg as usize),
            2 => Choice::Interrupt(match arg {
                0 => Interrupt::Call,
                1 => Interrupt::Halt,
                2 => Interrupt::Device,
                _ => return None,
            }),
            3 => Choice::Stopper,
            4 => Choice::Expire(arg as usize),
            5 => Choice::Flush,
            6 => Choice::Old { thread: (arg & 0xf) as usize, age: arg >> 4 },
            _ => return None,
        };
        Some((cpu, what))
    }
}

/// The CPU of a choice.
pub(crate) const fn cpu_of(choice: u32) -> usize {
    (choice >> 8 & 0xf) as usize
}

/// Does the choice take a device interrupt? Those may as well never come.
pub(crate) const fn is_device(choice: u32) -> bool {
    choice >> 12 & 0xf == 2 && choice & 0xff == interrupt_code(Interrupt::Device)
}

/// Is the choice an interrupt at all?
pub(crate) const fn is_interrupt(choice: u32) -> bool {
    choice >> 12 & 0xf == 2
}

/// Does the choice let a store reach memory?
pub(crate) const fn is_flush(choice: u32) -> bool {
    choice >> 12 & 0xf == 5
}

/// A choice without what its step passed.
pub(crate) const fn bare(choice: u32) -> u32 {
    choice & 0xffff
}

/// The kind of an interrupt as bits of a choice.
pub(crate) const fn interrupt_code(kind: Interrupt) -> u32 {
    match kind {
        Interrupt::Call => 0,
        Interrupt::Halt => 1,
        Interrupt::Device => 2,
    }
}
