//! COM1: everything that is printed, and what is typed.

use alloc::collections::VecDeque;
use core::fmt::{self, Write};
use core::sync::atomic::AtomicU16;
use core::sync::atomic::Ordering::Relaxed;

use standstill_console::END_OF_INPUT;
use standstill_x86_64::time::now_ns;
use x86_64::instructions::port::Port;

use crate::lock::SpinLock;
use crate::sleep;

const BASE: u16 = 0x3f8;
const ROOM: u8 = 1 << 5;
const DATA: u8 = 1;

pub(crate) struct Serial(());

static SERIAL: SpinLock<Serial> = SpinLock::new(Serial(()));

impl Serial {
    fn port(offset: u16) -> Port<u8> {
        Port::new(BASE + offset)
    }

    fn set(offset: u16, value: u8) {
        // SAFETY: a register of COM1, which belongs to this module.
        unsafe { Self::port(offset).write(value) };
    }

    fn get(offset: u16) -> u8 {
        // SAFETY: as above.
        unsafe { Self::port(offset).read() }
    }
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while Self::get(5) & ROOM == 0 {
                core::hint::spin_loop();
            }
            Self::set(0, byte);
        }
        Ok(())
    }
}

/// What was typed before the port was set up: one byte at most, as the FIFO was off. Plus one; 0: nothing.
static EARLY: AtomicU16 = AtomicU16::new(0);

/// 115200 baud, 8 bits, FIFOs on, no interrupts.
pub(crate) fn init() {
    // Switching the FIFOs on empties them.
    if Serial::get(5) & DATA != 0 {
        EARLY.store(u16::from(Serial::get(0)) + 1, Relaxed);
    }
    for (offset, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0xc7), (4, 0xb)] {
        Serial::set(offset, value);
    }
}

/// What was typed and nobody has read yet.
static TYPED: SpinLock<VecDeque<u8>> = SpinLock::new(VecDeque::new());
/// How many bytes of it are kept.
const KEPT: usize = 256;

/// From now on the port interrupts when something is typed.
pub(crate) fn listen() {
    let mut typed = TYPED.lock();
    typed.reserve(KEPT);
    if let Some(byte) = EARLY.swap(0, Relaxed).checked_sub(1) {
        typed.push_back(byte as u8);
    }
    drop(typed);
    Serial::set(1, 1);
}

/// The port interrupted: takes all that was typed, as it interrupts anew only when it had nothing in between. What there is no room for
/// stays in the port, which then takes no more from the other side.
pub(crate) fn take() {
    fetch(&mut TYPED.lock());
    sleep::wake((&raw const TYPED).addr());
}

fn fetch(typed: &mut VecDeque<u8>) {
    while typed.len() < KEPT && Serial::get(5) & DATA != 0 {
        typed.push_back(Serial::get(0));
    }
}

/// The next byte that was typed; sleeps until there is one, for `ns` nanoseconds at most.
pub(crate) fn typed(ns: u64) -> Option<u8> {
    let next = || {
        let mut typed = TYPED.lock();
        // It was full, maybe.
        fetch(&mut typed);
        typed.pop_front()
    };
    let mut byte = None;
    sleep::on((&raw const TYPED).addr(), now_ns() + ns, &mut || {
        byte = next();
        byte.is_some()
    });
    byte.or_else(next)
}

/// Was the end of the input typed? For who reads nothing else: what comes before it is thrown away.
pub(crate) fn input_ended() -> bool {
    while Serial::get(5) & DATA != 0 {
        if Serial::get(0) == END_OF_INPUT {
            return true;
        }
    }
    false
}

pub(crate) fn print(text: fmt::Arguments<'_>) {
    // Writing to the port can't fail.
    let _ = SERIAL.lock().write_fmt(text);
}

/// For the last words: whoever holds the lock has halted.
pub(crate) fn break_open() {
    // SAFETY: called by the CPU that stopped the others.
    unsafe { SERIAL.break_open() };
}

/// One line on the console.
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { $crate::serial::print(format_args!("{}\n", format_args!($($arg)*))) };
}
