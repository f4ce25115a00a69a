//! COM1: everything that is printed, and what is typed.

use core::fmt::{self, Write};

use x86_64::instructions::port::Port;

use crate::lock::SpinLock;

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

/// 115200 baud, 8 bits, FIFOs on, no interrupts.
pub(crate) fn init() {
    for (offset, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0xc7), (4, 0xb)] {
        Serial::set(offset, value);
    }
}

/// A byte that was typed.
pub(crate) fn typed() -> Option<u8> {
    let _serial = SERIAL.lock();
    (Serial::get(5) & DATA != 0).then(|| Serial::get(0))
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
